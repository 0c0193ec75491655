//! The two ends of a ring, and a topic's reader, over memory that a hostile process writes.
//!
//! Each input is a program: the peer's writes, in turns with this side's calls.

use std::{cell::OnceCell, collections::VecDeque};

use crate::fuzzing::Input;
use crate::{
    // Relaxed: the fuzzer's peer writes on the same thread.
    primitives::{AtomicU64, Ordering::Relaxed},
    ring::{
        broadcast::{TopicReader, TopicWriter},
        cells::Cells,
        consumer::{Consumer, Writer},
        producer::{Producer, ReserveError},
    },
    shm::{
        aligned::AlignedBuf,
        backing::Backing,
        bytes,
        region::{Access, Region},
        shared::{OutboxMemory, Shared, TopicMemory},
    },
    wire::{
        CELL, HEADER_LEN,
        frame::{Kind, Label, Violation, frame_max},
        id::RequestId,
        padded,
        topic::record_max,
    },
};

/// The largest ring. It is small, so that a lap is short.
const CAPACITY_MAX: usize = 4096;

fn region() -> Region {
    let len = Region::ring_len(CAPACITY_MAX);
    Region::create(&Backing::sealed(), "ringbridge-fuzz", len, Access::Write)
        .expect("memory can be had")
}

/// Returns an outbox with a ring of the size that the input chooses.
fn outbox(input: &mut Input<'_>) -> OutboxMemory {
    thread_local!(static MEMORY: OnceCell<OutboxMemory> = const { OnceCell::new() });
    let outbox = || region().outbox().expect("made with a ring's length");
    let OutboxMemory { control, data } = MEMORY.with(|memory| memory.get_or_init(outbox).clone());
    control.consumed.publish(0);
    OutboxMemory { control, data: ring_in(data, input) }
}

fn ring_in(data: Shared<[AtomicU64]>, input: &mut Input<'_>) -> Shared<[AtomicU64]> {
    data.iter().for_each(|word| word.store(0, Relaxed));
    let smaller = input.byte().unwrap_or(0) % 5;
    data.map(|words| &words[..words.len() >> smaller])
}

/// The position at which both ends begin, which may be near the wrap.
fn start(input: &mut Input<'_>) -> u64 {
    input.word() / CELL as u64 * CELL as u64
}

fn scribble(data: &[AtomicU64], input: &mut Input<'_>) {
    let at = usize::from(input.short()) % data.len();
    data[at].store(input.word(), Relaxed);
}

/// Commits a frame of any kind at `position`, as an honest producer does.
fn commit(cells: &Cells, position: u64, input: &mut Input<'_>) {
    let Some(kind) = Kind::from_wire(input.byte().unwrap_or(0) % 14) else { return };
    let payload_len = u32::from(input.short()) % CAPACITY_MAX as u32;
    let (flags, channel) = (input.byte().unwrap_or(0), input.short());
    let id = RequestId::from_wire(input.word());
    let header = Label { kind, flags, channel, id }.with_payload(payload_len);
    cells.head(position).commit(header);
}

/// Tests that a consumer of a hostile producer stays in its ring, moves forward, and reports violations.
pub fn consumer(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let OutboxMemory { control, data } = outbox(&mut input);
    let start = start(&mut input);
    let cells = Cells::new(data.clone());
    let mut consumer = Consumer::new(Writer::Renderer, data.clone(), control.clone(), start);
    let mut buffer = AlignedBuf::new();
    let mut position = start;
    while let Some(step) = input.byte() {
        match step % 8 {
            0 | 1 => scribble(&data, &mut input),
            2 => {
                let cell = usize::from(input.byte().unwrap_or(0));
                commit(&cells, (cell * CELL) as u64, &mut input);
            }
            3 | 4 => commit(&cells, position, &mut input),
            5 => {
                let pad = cells.to_end(position) as u32 - HEADER_LEN as u32;
                let label = Label { kind: Kind::Pad, flags: 0, channel: 0, id: None };
                cells.head(position).commit(label.with_payload(pad));
            }
            _ => {
                let frame = match consumer.peek() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => continue,
                    Err(_violation) => return,
                };
                let len = frame.payload_len();
                assert!(frame.header.kind != Kind::Pad);
                assert!(HEADER_LEN + len <= frame_max(cells.capacity()));
                if step & 0x80 != 0 {
                    // Between the check and the copy, where an honest producer writes nothing.
                    scribble(&data, &mut input);
                }
                consumer.copy_payload(&frame, &mut buffer);
                assert_eq!(buffer.as_slice().len(), len);
                let frame_len = padded(HEADER_LEN + len);
                consumer.advance(frame);
                assert!(consumer.publish());
                let read = control.consumed.observe().wrapping_sub(position) as usize;
                let most = frame_len + cells.pad_before(position, cells.to_end(position) + 1);
                assert!((frame_len..=most).contains(&read));
                position = control.consumed.observe();
            }
        }
    }
}

/// Tests that a producer whose consumer lies about its position believes nothing impossible, and overwrites no frame that
/// the consumer has not reported as read.
pub fn producer(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let OutboxMemory { control: peer, data } = outbox(&mut input);
    let start = start(&mut input);
    peer.consumed.publish(start);
    let mut unread = Unread { cells: Cells::new(data.clone()), frames: VecDeque::new() };
    let mut producer = Producer::new(data, peer.clone(), start);
    let mut number = 0_u8;
    while let Some(step) = input.byte() {
        match step % 8 {
            0 => peer.consumed.publish(input.word()),
            1 => peer.consumed.publish(producer.position()),
            2 => {
                let behind = u64::from(input.short());
                peer.consumed.publish(producer.position().wrapping_sub(behind));
            }
            3 => {
                // Never committed.
                if let Ok(reservation) = producer.reserve(usize::from(input.short())) {
                    producer.payload_mut(&reservation).fill(0xff);
                }
            }
            _ => {
                let len = usize::from(input.short()) % CAPACITY_MAX;
                let seen = producer.position().wrapping_sub(producer.in_flight_bytes() as u64);
                number = number.wrapping_add(1);
                let reservation = match producer.reserve(len) {
                    Ok(reservation) => reservation,
                    Err(ReserveError::Full) => {
                        assert!(producer.in_flight_bytes() > 0, "an empty ring takes any frame");
                        continue;
                    }
                    Err(ReserveError::TooLarge { max, .. }) => {
                        assert!(len > max);
                        continue;
                    }
                    Err(ReserveError::Peer(violation)) => {
                        let read = peer.consumed.observe().wrapping_sub(seen);
                        let is_possible = read <= producer.position().wrapping_sub(seen);
                        assert!(!is_possible, "an honest consumer was refused: {violation}");
                        assert!(matches!(violation, Violation::CursorOutOfRange { .. }));
                        return;
                    }
                };
                let payload = vec![number; len];
                producer.write(&reservation, &payload);
                let label = Label { kind: Kind::Send, flags: 0, channel: 0, id: None };
                producer.commit(reservation, label);
                assert!(producer.in_flight_bytes() + CELL <= producer.capacity());
                let end = producer.position();
                let start = end.wrapping_sub(padded(HEADER_LEN + len) as u64);
                unread.frames.push_back((start, payload));
                unread.check(end.wrapping_sub(producer.in_flight_bytes() as u64), end);
            }
        }
    }
}

/// The committed frames that the consumer has not reported as read.
struct Unread {
    cells: Cells,
    /// Each with its position.
    frames: VecDeque<(u64, Vec<u8>)>,
}

impl Unread {
    /// Checks that every unread frame is intact.
    fn check(&mut self, read: u64, newest: u64) {
        let unread = newest.wrapping_sub(read);
        while self.frames.pop_front_if(|(start, _)| newest.wrapping_sub(*start) > unread).is_some()
        {
        }
        for (start, payload) in &self.frames {
            let (wire, _) = self.cells.head(*start).read();
            assert_eq!(wire.0 as u32 as usize, HEADER_LEN + payload.len());
            let mut found = vec![0; payload.len()];
            bytes::copy_out(self.cells.payload(*start, payload.len()), &mut found);
            assert_eq!(&found, payload);
        }
    }
}

/// Tests that a topic's reader never leaves the ring, whatever the memory holds.
pub fn topic(bytes: &[u8]) {
    thread_local!(static MEMORY: OnceCell<TopicMemory> = const { OnceCell::new() });
    let mut input = Input::new(bytes);
    let topic = || region().topic().expect("made with a ring's length");
    let TopicMemory { control, data } = MEMORY.with(|memory| memory.get_or_init(topic).clone());
    let data = ring_in(data, &mut input);
    let start = start(&mut input);
    let memory = TopicMemory { control: control.clone(), data: data.clone() };
    let mut writer = TopicWriter::new(memory.clone(), start);
    let max = record_max(size_of_val(&*data));
    let mut buffer = AlignedBuf::new();
    let mut reader = TopicReader::new(memory.clone());
    while let Some(step) = input.byte() {
        match step % 8 {
            0 => scribble(&data, &mut input),
            1 => control.newest.publish(start.wrapping_add(u64::from(input.short()))),
            2 => control.newest.publish(input.word()),
            3 => control.claim.stake(input.word()),
            4 => {
                let len = usize::from(input.short()) % max;
                let published = writer.publish(&vec![step; len]);
                assert_eq!(published.is_ok(), HEADER_LEN + len <= max);
            }
            5 => reader = TopicReader::new(memory.clone()),
            6 => _ = reader.next(&mut buffer),
            _ => _ = reader.latest(&mut buffer),
        }
        assert!(buffer.as_slice().len() + HEADER_LEN <= max);
        let _ = reader.has_news();
    }
}
