//! Every interleaving, and every reordering that the memory model permits, of small scenes.
//!
//! A capacity of four or eight cells makes each scene wrap.

use crate::metrics::counters::Counter;
use crate::model::{DEADLOCK, WRONG, check_bounded};
use crate::os::clock;
use crate::primitives::thread;
use crate::ring::producer::{Producer, ReserveError};
use crate::ring::tests::{Consumer, event, ring};
use crate::shm::aligned::AlignedBuf;
use crate::shm::shared::{OutboxMemory, Shared};
use crate::wake::bell::{FutexSignal, Interrupt, PeerBell};
use crate::wire::outbox::OutboxControl;

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

/// Guards the Release of `commit` and the Acquire of `frame_at`, of frames and of pads.
#[test]
fn loom_two_frames_across_a_pad_arrive_whole_and_in_order() {
    check_bounded(
        3,
        &[("HeadCell::commit: Release", WRONG), ("Cells::frame_at: Acquire", WRONG)],
        || {
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
        },
    );
}

/// Guards the guard: that it is cleared, and before the commit.
#[test]
fn loom_what_an_earlier_lap_left_is_never_taken_for_a_frame() {
    // What a frame of an odd lap begins with, where the second cell of a long one will begin.
    let mut forged = [0; 112];
    forged[48..56].copy_from_slice(&(16_u64 | 1 << 32 | 1 << 39).to_le_bytes());
    check_bounded(
        3,
        &[("HeadCell::guard", WRONG), ("Producer::commit: guard first", WRONG)],
        move || {
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
        },
    );
}

/// Guards the check for room. (Not the orderings of `consumed`, since loom never delays a load past a later
/// store: those have a model beside `Cursor`.)
#[test]
fn loom_room_is_used_again_only_after_it_was_read() {
    check_bounded(3, &[("Producer::reserve: space", WRONG)], || {
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

/// The control pages of a ring's reader and its writer, and how the one wakes the other.
struct Pages {
    reader: Shared<OutboxControl>,
    writer: Shared<OutboxControl>,
    interrupt: Interrupt,
}

impl Pages {
    fn new(reader: Shared<OutboxControl>) -> Self {
        let writer = OutboxMemory::heap(256).control;
        Self { reader, writer, interrupt: Interrupt::default() }
    }

    fn bell_of_the_reader(&self) -> PeerBell {
        PeerBell::new(Box::new(FutexSignal), self.reader.clone(), self.writer.clone())
    }

    fn bell_of_the_writer(&self) -> PeerBell {
        PeerBell::new(Box::new(FutexSignal), self.writer.clone(), self.reader.clone())
    }
}

/// Guards both fences of a wake-up and the second look: without one of them, a deadlock.
#[test]
fn loom_a_sleeper_never_misses_a_frame() {
    check_bounded(
        3,
        &[("Epoch::announce: fence", DEADLOCK), ("fence_before_look", DEADLOCK)],
        || {
            let (mut producer, mut consumer, reader) = ring(256, 0);
            let pages = Pages::new(reader);
            let bell = pages.bell_of_the_writer();
            let waker = thread::spawn(move || {
                send(&mut producer, 1, &[1; 8]).unwrap();
                bell.frames_committed(&Counter::default());
            });
            while consumer.peek().unwrap().is_none() {
                let (bell_seen, seen) = (pages.writer.bell.read(), pages.interrupt.read());
                pages.reader.parked.announce();
                if consumer.peek().unwrap().is_none() {
                    pages.interrupt.sleep(&pages.writer.bell, bell_seen, seen, None);
                }
                pages.reader.parked.withdraw();
            }
            waker.join().unwrap();
        },
    );
}

/// Guards that an alarm is set before the sleep is announced: else an earlier one's, which is near, would keep
/// the waker from ringing for a sleep that nothing else ends.
#[test]
fn loom_a_sleeper_without_an_alarm_is_rung_whatever_alarms_it_had() {
    check_bounded(3, &[("Alarm::set: clears", DEADLOCK)], || {
        let (mut producer, mut consumer, reader) = ring(256, 0);
        let pages = Pages::new(reader);
        let bell = pages.bell_of_the_writer();
        let waker = thread::spawn(move || {
            send(&mut producer, 1, &[1; 8]).unwrap();
            bell.frames_committed(&Counter::default());
        });
        // This alarm goes off at once.
        pages.reader.alarm.set(Some(clock::now_ns()));
        pages.reader.parked.announce();
        pages.reader.parked.withdraw();
        while consumer.peek().unwrap().is_none() {
            let (bell_seen, seen) = (pages.writer.bell.read(), pages.interrupt.read());
            pages.reader.alarm.set(None);
            pages.reader.parked.announce();
            if consumer.peek().unwrap().is_none() {
                pages.interrupt.sleep(&pages.writer.bell, bell_seen, seen, None);
            }
            pages.reader.parked.withdraw();
        }
        waker.join().unwrap();
    });
}

/// Guards the same where room is waited for: `consumed`, fence, look at `space_wanted`.
#[test]
fn loom_a_sleeper_never_misses_room() {
    check_bounded(
        3,
        &[("Epoch::announce: fence", DEADLOCK), ("fence_before_look", DEADLOCK)],
        || {
            let (mut producer, mut consumer, reader) = ring(256, 0);
            let pages = Pages::new(reader);
            let bell = pages.bell_of_the_reader();
            for channel in 0..3 {
                send(&mut producer, channel, &[0; 8]).unwrap();
            }
            let waker = thread::spawn(move || {
                receive(&mut consumer);
                consumer.publish();
                bell.room_published(&Counter::default());
            });
            while !producer.has_room_for(8).unwrap() {
                let (bell_seen, seen) = (pages.reader.bell.read(), pages.interrupt.read());
                pages.writer.space_wanted.announce();
                if !producer.has_room_for(8).unwrap() {
                    pages.interrupt.sleep(&pages.reader.bell, bell_seen, seen, None);
                }
                pages.writer.space_wanted.withdraw();
            }
            waker.join().unwrap();
        },
    );
}
