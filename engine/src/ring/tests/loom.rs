//! Every interleaving, and every reordering that the memory model permits, of small scenes.
//!
//! A capacity of four or eight cells makes each scene wrap. Locks and condition variables stand for
//! the futex. Each of these fails when what it guards (named in its comment) is taken out.

use ::loom::model::Builder;
use ::loom::sync::Condvar;

use super::super::producer::{Producer, ReserveError};
use super::{Consumer, event, ring};
use crate::layout::outbox::OutboxControl;
use crate::layout::words::fence_before_look;
use crate::memory::aligned::AlignedBuf;
use crate::memory::shared::{OutboxMemory, Shared};
use crate::sync::{Arc, Mutex, thread};

fn check(preemptions_max: usize, scene: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(scene);
}

fn send(producer: &mut Producer, channel: u16, payload: &[u8]) -> Result<(), ReserveError> {
    let reservation = producer.reserve(payload.len())?;
    producer.write(&reservation, payload);
    producer.commit(reservation, event(channel));
    Ok(())
}

fn receive(consumer: &mut Consumer) -> (u16, Vec<u8>) {
    loop {
        if let Some(frame) = consumer.peek().unwrap() {
            let mut copy = AlignedBuf::new();
            consumer.copy_payload(&frame, &mut copy);
            let channel = frame.header.channel;
            consumer.advance(frame);
            return (channel, copy.as_slice().to_vec());
        }
        thread::yield_now();
    }
}

/// Guards `commit`'s Release and `observe`'s Acquire, of frames and of pads.
#[test]
fn loom_two_frames_across_a_pad_arrive_whole_and_in_order() {
    check(3, || {
        let (mut producer, mut consumer, _) = ring(512, 0);
        // Six cells on: the start of the next lap holds an old header, to be overwritten in time.
        for channel in 11..17 {
            send(&mut producer, channel, &[0; 8]).unwrap();
            receive(&mut consumer);
        }
        consumer.publish();
        let writer = thread::spawn(move || {
            send(&mut producer, 1, &[1; 8]).unwrap();
            send(&mut producer, 2, &[2; 56]).unwrap();
        });
        assert_eq!(receive(&mut consumer), (1, vec![1; 8]));
        assert_eq!(receive(&mut consumer), (2, vec![2; 56]));
        writer.join().unwrap();
    });
}

/// Guards the guard: that it is cleared, and before the commit.
#[test]
fn loom_what_an_earlier_lap_left_is_never_taken_for_a_frame() {
    // What a frame of an odd lap begins with, where the second cell of a long one will begin.
    let mut forged = [0; 112];
    forged[48..56].copy_from_slice(&(16_u64 | 1 << 32 | 1 << 39).to_le_bytes());
    check(3, move || {
        let (mut producer, mut consumer, _) = ring(512, 0);
        for payload in [&forged[..], &[0; 160], &[0; 160]] {
            send(&mut producer, 1, payload).unwrap();
            receive(&mut consumer);
            consumer.publish();
        }
        let writer = thread::spawn(move || send(&mut producer, 9, &[9; 8]).unwrap());
        assert_eq!(receive(&mut consumer), (9, vec![9; 8]));
        assert!(consumer.peek().unwrap().is_none());
        writer.join().unwrap();
    });
}

/// Guards the check for room. (Not the orderings of `consumed`, since loom never delays a load past a later
/// store: those have a model beside `Cursor`.)
#[test]
fn loom_room_is_used_again_only_after_it_was_read() {
    check(3, || {
        let (mut producer, mut consumer, _) = ring(256, 0);
        for channel in 0..3 {
            send(&mut producer, channel, &[channel as u8; 8]).unwrap();
        }
        let writer = thread::spawn(move || {
            for channel in 3..5 {
                while send(&mut producer, channel, &[channel as u8; 8]) == Err(ReserveError::Full) {
                    thread::yield_now();
                }
            }
        });
        for channel in 0..5 {
            assert_eq!(receive(&mut consumer), (channel, vec![channel as u8; 8]));
            consumer.publish();
        }
        writer.join().unwrap();
    });
}

/// The futex of one bell: sleeps while the bell is as it was read.
#[derive(Default)]
struct Futex {
    queue: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn wait(&self, control: &OutboxControl, seen: u32) {
        let queue = self.queue.lock().unwrap();
        if control.bell.read() == seen {
            drop(self.woken.wait(queue).unwrap());
        }
    }

    fn wake(&self) {
        let _queue = self.queue.lock().unwrap();
        self.woken.notify_all();
    }
}

/// The sleeper's control page has `parked`, the waker's has the bell.
fn ring_if_asleep(sleeper: &Shared<OutboxControl>, waker: &Shared<OutboxControl>, futex: &Futex) {
    fence_before_look();
    if sleeper.parked.asleep().is_some() || sleeper.space_wanted.asleep().is_some() {
        waker.bell.bump();
        futex.wake();
    }
}

/// Guards both fences of a wake-up and the second look: without one of them, a deadlock.
#[test]
fn loom_a_sleeper_never_misses_a_frame() {
    check(3, || {
        let (mut producer, mut consumer, reader) = ring(256, 0);
        let writer = OutboxMemory::heap(256).control;
        let futex = Arc::new(Futex::default());
        let waker = {
            let (reader, writer, futex) = (reader.clone(), writer.clone(), futex.clone());
            thread::spawn(move || {
                send(&mut producer, 1, &[1; 8]).unwrap();
                ring_if_asleep(&reader, &writer, &futex);
            })
        };
        while consumer.peek().unwrap().is_none() {
            let seen = writer.bell.read();
            reader.parked.announce();
            if consumer.peek().unwrap().is_none() {
                futex.wait(&writer, seen);
            }
            reader.parked.withdraw();
        }
        waker.join().unwrap();
    });
}

/// Guards the same where room is waited for: `consumed`, fence, look at `space_wanted`.
#[test]
fn loom_a_sleeper_never_misses_room() {
    check(3, || {
        let (mut producer, mut consumer, reader) = ring(256, 0);
        let writer = OutboxMemory::heap(256).control;
        for channel in 0..3 {
            send(&mut producer, channel, &[0; 8]).unwrap();
        }
        let futex = Arc::new(Futex::default());
        let waker = {
            let (reader, writer, futex) = (reader.clone(), writer.clone(), futex.clone());
            thread::spawn(move || {
                receive(&mut consumer);
                consumer.publish();
                ring_if_asleep(&writer, &reader, &futex);
            })
        };
        while !producer.has_room_for(8).unwrap() {
            let seen = reader.bell.read();
            writer.space_wanted.announce();
            if !producer.has_room_for(8).unwrap() {
                futex.wait(&reader, seen);
            }
            writer.space_wanted.withdraw();
        }
        waker.join().unwrap();
    });
}
