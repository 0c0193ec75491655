//! One property a test, by example.

use crate::primitives::{Ordering::Relaxed, thread};
use crate::ring::consumer::{Consumer, Writer};
use crate::ring::producer::{Producer, ReserveError};
use crate::ring::tests::{event, ring};
use crate::shm::aligned::AlignedBuf;
use crate::shm::shared::OutboxMemory;
use crate::wire::frame::{Kind, Label, TimeoutCode, Violation, payload_max};
use crate::wire::id::RequestId;
use crate::wire::{CELL, HEADER_LEN};

const CAPACITY: usize = 1024;
/// The bit in the commit words of every other lap.
const ODD_LAP: u64 = 1 << 39;
const LAP: u64 = CAPACITY as u64;

/// Exactly fills the given number of cells.
const fn payload_of_cells(cells: usize) -> usize {
    cells * CELL - HEADER_LEN
}

fn send(producer: &mut Producer, channel: u16, payload: &[u8]) -> Result<(), ReserveError> {
    let reservation = producer.reserve(payload.len())?;
    producer.write(&reservation, payload);
    producer.commit(reservation, event(channel));
    Ok(())
}

/// Reads past the next frame and says its channel and payload.
fn receive(consumer: &mut Consumer) -> Option<(u16, Vec<u8>)> {
    let frame = consumer.peek().unwrap()?;
    let payload = consumer.payload(&frame).to_vec();
    let mut copy = AlignedBuf::new();
    consumer.copy_payload(&frame, &mut copy);
    assert_eq!(copy.as_slice(), payload);
    let channel = frame.header.channel;
    consumer.advance(frame);
    Some((channel, payload))
}

#[test]
fn an_empty_ring_has_nothing_to_read() {
    let (_, mut consumer, _) = ring(CAPACITY, 0);
    assert!(consumer.peek().unwrap().is_none());
}

#[test]
fn a_frame_comes_out_as_it_went_in() {
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0);
    let label = Label {
        kind: Kind::Invoke,
        flags: TimeoutCode(77).0,
        channel: 513,
        id: Some(RequestId::new(9, 3)),
    };
    let reservation = producer.reserve(5).unwrap();
    producer.payload_mut(&reservation).copy_from_slice(b"hello");
    producer.commit(reservation, label);

    let frame = consumer.peek().unwrap().unwrap();
    assert_eq!(frame.header, label.with_payload(5));
    assert_eq!(consumer.payload(&frame), b"hello");
}

#[test]
fn a_reservation_that_is_dropped_never_happened() {
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0);
    let dropped = producer.reserve(payload_of_cells(4)).unwrap();
    producer.payload_mut(&dropped).fill(0xff);
    drop(dropped);
    assert!(consumer.peek().unwrap().is_none());

    send(&mut producer, 1, b"short").unwrap();
    assert_eq!(receive(&mut consumer), Some((1, b"short".to_vec())));
    assert!(consumer.peek().unwrap().is_none());
}

#[test]
#[should_panic(expected = "another frame was committed meanwhile")]
fn a_reservation_is_not_good_after_another_commit() {
    let (mut producer, _, _) = ring(CAPACITY, 0);
    let (first, second) = (producer.reserve(1).unwrap(), producer.reserve(1).unwrap());
    producer.commit(first, event(1));
    producer.payload_mut(&second);
}

#[test]
fn the_longest_payload_fits_wherever_an_empty_ring_stands() {
    let longest = vec![7; payload_max(CAPACITY)];
    for start in (0..LAP).step_by(CELL) {
        let (mut producer, mut consumer, _) = ring(CAPACITY, start);
        send(&mut producer, 1, &longest).unwrap();
        assert_eq!(receive(&mut consumer), Some((1, longest.clone())), "{start}");
    }
}

#[test]
fn what_never_fits_is_another_error_than_what_does_not_fit_now() {
    let (mut producer, _, _) = ring(CAPACITY, 0);
    let max = payload_max(CAPACITY);
    assert_eq!(
        producer.reserve(max + 1).unwrap_err(),
        ReserveError::TooLarge { len: max + 1, max }
    );
    assert_eq!(
        producer.reserve(usize::MAX).unwrap_err(),
        ReserveError::TooLarge { len: usize::MAX, max }
    );
    send(&mut producer, 1, &vec![0; max]).unwrap();
    send(&mut producer, 2, &vec![0; max]).unwrap();
    send(&mut producer, 3, b"the last cell but the guard's").unwrap();
    assert_eq!(producer.reserve(0).unwrap_err(), ReserveError::Full);
    assert_eq!(producer.has_room_for(0), Ok(false));
}

#[test]
fn one_cell_always_stays_free_for_the_guard() {
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0);
    let cells = CAPACITY / CELL;
    for channel in 0..cells - 1 {
        send(&mut producer, channel as u16, b"").unwrap();
    }
    assert_eq!(producer.reserve(0).unwrap_err(), ReserveError::Full);
    assert_eq!(producer.in_flight_bytes(), CAPACITY - CELL);
    for channel in 0..cells - 1 {
        assert_eq!(receive(&mut consumer), Some((channel as u16, Vec::new())));
    }
    assert!(consumer.peek().unwrap().is_none());
}

#[test]
fn room_comes_back_only_when_the_consumer_says_so() {
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0);
    while send(&mut producer, 1, b"x").is_ok() {}
    assert!(!consumer.publish(), "nothing was read");

    receive(&mut consumer).unwrap();
    assert_eq!(producer.has_room_for(1), Ok(false), "read but not said");
    assert!(!consumer.publish_due(), "one cell of sixteen");
    receive(&mut consumer).unwrap();
    assert!(consumer.publish_due(), "two of sixteen are an eighth");

    assert!(consumer.publish());
    assert!(!consumer.publish(), "said already");
    assert_eq!(producer.has_room_for(1), Ok(true));
}

#[test]
fn a_frame_that_ends_where_the_ring_ends_has_its_guard_at_the_start() {
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0);
    for round in 0..5 {
        // The cell at the start holds the last lap's header until the guard erases it.
        for channel in [1, 2, 3, 4] {
            send(&mut producer, channel, &[round; payload_of_cells(4)]).ok().unwrap();
            assert_eq!(receive(&mut consumer), Some((channel, vec![round; payload_of_cells(4)])));
            assert!(consumer.peek().unwrap().is_none());
            consumer.publish();
        }
    }
}

#[test]
fn a_frame_that_does_not_fit_into_the_lap_starts_the_next() {
    for (start, lap) in [(LAP - 64, 0), (0_u64.wrapping_sub(64), 1)] {
        let (mut producer, mut consumer, _) = ring(CAPACITY, start);
        send(&mut producer, 1, &[1; payload_of_cells(2)]).unwrap();
        assert_eq!(
            producer.position(),
            start.wrapping_add(64 + 128),
            "a pad of one cell, two for the frame, lap {lap}"
        );
        send(&mut producer, 2, b"behind").unwrap();
        assert_eq!(receive(&mut consumer), Some((1, vec![1; payload_of_cells(2)])));
        assert_eq!(receive(&mut consumer), Some((2, b"behind".to_vec())));
        assert!(consumer.peek().unwrap().is_none());
    }
}

#[test]
fn pad_frame_and_guard_need_room_together() {
    // The unread frames start at cell 8: the next lap's frame takes cells 0 to 6, its guard cell 7.
    let (mut producer, mut consumer, _) = ring(CAPACITY, 8 * CELL as u64);
    send(&mut producer, 1, &[1; payload_of_cells(2)]).unwrap();
    assert_eq!(producer.has_room_for(payload_of_cells(7)), Ok(true), "6 + 7 + 1 of 14");
    send(&mut producer, 2, b"one more cell").unwrap();
    assert_eq!(producer.has_room_for(payload_of_cells(7)), Ok(true), "5 + 7 + 1 of 13");
    send(&mut producer, 3, &[3; payload_of_cells(7)]).unwrap();
    assert_eq!(producer.has_room_for(0), Ok(false), "only the guard is left");
    for channel in [1, 2, 3] {
        assert_eq!(receive(&mut consumer).unwrap().0, channel);
    }
    assert!(consumer.peek().unwrap().is_none());

    // A cell earlier there is room for pad and frame, but none for the guard.
    let (mut producer, _, _) = ring(CAPACITY, 7 * CELL as u64);
    send(&mut producer, 1, &[1; payload_of_cells(3)]).unwrap();
    assert_eq!(producer.has_room_for(payload_of_cells(7)), Ok(false));
    assert_eq!(producer.has_room_for(payload_of_cells(6)), Ok(true));
}

#[test]
fn positions_wrap_past_the_end_of_sixty_four_bits() {
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0_u64.wrapping_sub(3 * LAP));
    for number in 0..200_u16 {
        let payload = vec![number as u8; usize::from(number * 37 % 400)];
        send(&mut producer, number, &payload).unwrap();
        assert_eq!(receive(&mut consumer), Some((number, payload)));
        consumer.publish();
    }
    assert!(producer.position() < 200 * LAP);
}

#[test]
fn a_forged_commit_word_is_named_not_followed() {
    let sixteen = 16_u64;
    let pad = |len: u64| len | 9 << 32;
    let cases = [
        (sixteen | 13 << 32, "unknown-kind"),
        (sixteen, "unknown-kind"),
        (8 | 1 << 32, "bad-length"),
        (u64::from(u32::MAX) | 1 << 32, "bad-length"),
        ((LAP / 2) | (1 << 32), "bad-length"),
        (sixteen | 2 << 32, "bad-request-id"),
        (sixteen | 1 << 32 | 1 << 40, "bad-flags"),
        (17 | 7 << 32, "unexpected-payload"),
        (pad(64), "bad-pad"),
        (pad(LAP), "bad-pad"),
        (pad(0), "bad-pad"),
    ];
    for (word, name) in cases {
        let OutboxMemory { control, data } = OutboxMemory::heap(CAPACITY);
        let mut consumer = Consumer::new(Writer::Renderer, data.clone(), control, 0);
        data[0].store(word, Relaxed);
        assert_eq!(consumer.peek().unwrap_err().name(), name, "{word:#x}");
        assert!(!consumer.publish(), "nothing was read past");
    }
}

#[test]
fn a_frame_past_the_end_of_the_ring_is_named_not_followed() {
    let OutboxMemory { control, data } = OutboxMemory::heap(CAPACITY);
    let mut consumer = Consumer::new(Writer::Renderer, data.clone(), control, LAP - 64);
    data[(CAPACITY - 64) / 8].store(65 | 1 << 32, Relaxed);
    assert_eq!(consumer.peek().unwrap_err(), Violation::BadLength { len: 65, readable: 64 });
}

#[test]
fn a_word_of_the_lap_before_is_no_frame_and_one_of_this_lap_is() {
    let OutboxMemory { control, data } = OutboxMemory::heap(CAPACITY);
    let mut consumer = Consumer::new(Writer::Renderer, data.clone(), control, LAP);
    data[0].store(16 | 1 << 32, Relaxed);
    assert!(consumer.peek().unwrap().is_none());
    data[0].store(16 | 1 << 32 | ODD_LAP, Relaxed);
    assert!(consumer.peek().unwrap().is_some());
}

#[test]
fn a_payload_that_looks_like_a_frame_of_the_next_lap_is_cleared_in_time() {
    // Two cells; the second begins with a word that is a frame wherever an odd lap reads it.
    let mut forged = [0; 112];
    forged[48..56].copy_from_slice(&(16_u64 | 1 << 32 | ODD_LAP).to_le_bytes());
    let (mut producer, mut consumer, _) = ring(CAPACITY, 0);
    for _ in 0..2 {
        while send(&mut producer, 1, &forged).is_ok() {}
        while receive(&mut consumer).is_some() {}
        consumer.publish();
    }
    // Now the frames are one cell longer, so that their guards fall on every kind of cell.
    for _ in 0..64 {
        send(&mut producer, 2, b"one cell").unwrap();
        assert_eq!(receive(&mut consumer).unwrap().1, b"one cell");
        assert!(consumer.peek().unwrap().is_none());
        consumer.publish();
    }
}

#[test]
fn a_second_pad_is_named_not_followed() {
    let OutboxMemory { control, data } = OutboxMemory::heap(CAPACITY);
    let mut consumer = Consumer::new(Writer::Renderer, data.clone(), control, LAP - 64);
    data[(CAPACITY - 64) / 8].store(64 | 9 << 32, Relaxed);
    data[0].store(LAP | 9 << 32 | ODD_LAP, Relaxed);
    assert_eq!(consumer.peek().unwrap_err(), Violation::SecondPad);
    assert_eq!(consumer.peek().unwrap_err(), Violation::SecondPad, "to whoever looks again");
    assert!(consumer.peek().is_err(), "it is not followed later either");
}

#[test]
fn a_reader_that_runs_backwards_is_named_not_believed() {
    let (mut producer, mut consumer, control) = ring(CAPACITY, 0);
    while send(&mut producer, 1, b"x").is_ok() {}
    while receive(&mut consumer).is_some() {}
    consumer.publish();
    while send(&mut producer, 2, b"y").is_ok() {}

    let seen = LAP - 64;
    control.consumed.publish(seen - 64);
    assert_eq!(
        producer.reserve(1).unwrap_err(),
        ReserveError::Peer(Violation::CursorOutOfRange {
            consumed: seen - 64,
            seen,
            position: 2 * seen
        })
    );
}

#[test]
fn a_reader_that_runs_ahead_is_named_not_believed() {
    for lie in [LAP, u64::MAX, 1 << 63] {
        let (mut producer, _, control) = ring(CAPACITY, 0);
        while send(&mut producer, 1, b"x").is_ok() {}
        control.consumed.publish(lie);
        assert!(matches!(
            producer.has_room_for(1),
            Err(Violation::CursorOutOfRange { consumed, .. }) if consumed == lie
        ));
    }
}

#[test]
#[should_panic(expected = "must be copied")]
fn a_payload_of_a_renderer_is_not_seen_in_place() {
    let OutboxMemory { control, data } = OutboxMemory::heap(CAPACITY);
    let mut producer = Producer::new(data.clone(), control.clone(), 0);
    let mut consumer = Consumer::new(Writer::Renderer, data, control, 0);
    send(&mut producer, 1, b"x").unwrap();
    let frame = consumer.peek().unwrap().unwrap();
    consumer.payload(&frame);
}

#[test]
fn what_asks_something_of_the_peer_is_untaken_until_it_has_read_past_it() {
    // Near the wrap of positions, and with a pad on the way.
    for start in [0, 0_u64.wrapping_sub(LAP)] {
        let (mut producer, mut consumer, control) = ring(CAPACITY, start);
        let unread_frames = producer.unread_frames();
        let asks = || unread_frames.asks_something(control.consumed.observe());
        assert!(!asks());
        let id = Some(RequestId::new(1, 0));
        for _ in 0..3 * CAPACITY / (5 * CELL) {
            let reply = Label { kind: Kind::Reply, flags: 0, channel: 1, id };
            let reservation = producer.reserve(payload_of_cells(1)).unwrap();
            producer.commit(reservation, reply);
            assert!(!asks(), "a reply asks nothing");
            send(&mut producer, 1, &[0; payload_of_cells(4)]).unwrap();
            assert!(asks());
            receive(&mut consumer).unwrap();
            consumer.publish();
            assert!(asks(), "the message is left");
            receive(&mut consumer).unwrap();
            assert!(asks(), "that it was read is not known yet");
            consumer.publish();
            assert!(!asks());
        }
    }
}

#[test]
fn a_cursor_that_lies_gets_an_answer_and_no_more() {
    let (mut producer, _, _) = ring(CAPACITY, 0);
    let unread_frames = producer.unread_frames();
    send(&mut producer, 1, &[0xff; payload_of_cells(4)]).unwrap();
    for lie in [1, 64, 65, 128, 256, LAP - 1, LAP, u64::MAX, u64::MAX / 2] {
        // Any answer will do, if there is one.
        let _ = unread_frames.asks_something(lie);
    }
    assert!(unread_frames.asks_something(0));
}

/// Written and read in place, so that a sanitizer sees plain accesses on both sides, and nothing but the ring
/// between them.
#[test]
fn two_threads_pass_frames_in_place_whole_and_in_order() {
    const FRAMES: u16 = 20_000;
    let (mut producer, mut consumer, _) = ring(4096, 0_u64.wrapping_sub(100 * 4096));
    let len = |number: u16| usize::from(number) * 7919 % 900;
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..FRAMES {
                let reservation = loop {
                    match producer.reserve(len(number)) {
                        Ok(reservation) => break reservation,
                        Err(error) => assert_eq!(error, ReserveError::Full),
                    }
                    thread::yield_now();
                };
                producer.payload_mut(&reservation).fill(number as u8);
                producer.commit(reservation, event(number));
            }
        });
        scope.spawn(move || {
            for number in 0..FRAMES {
                let frame = loop {
                    if let Some(frame) = consumer.peek().unwrap() {
                        break frame;
                    }
                    consumer.publish();
                    thread::yield_now();
                };
                assert_eq!(frame.header.channel, number);
                let payload = consumer.payload(&frame);
                assert_eq!(payload.len(), len(number));
                assert!(payload.iter().all(|byte| *byte == number as u8));
                consumer.advance(frame);
            }
        });
    });
}
