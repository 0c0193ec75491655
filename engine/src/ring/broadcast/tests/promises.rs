use proptest::prelude::*;

use super::*;
use crate::primitives::thread;

const CAPACITY: usize = 1024;

/// One cell a record, sixteen a lap.
const SMALL: [u8; 8] = [1; 8];

fn received(sequence: u64, lost: u64) -> Option<ReceivedRecord> {
    Some(ReceivedRecord { sequence, lost })
}

#[test]
fn a_reader_gets_what_is_published_after_it_joined() {
    let (mut writer, memory) = topic(CAPACITY, 0);
    writer.publish(b"before").unwrap();
    let mut reader = TopicReader::new(memory);
    let mut buffer = AlignedBuf::new();
    assert!(!reader.has_news());
    assert_eq!(reader.next(&mut buffer), None);

    assert_eq!(writer.publish(b"after"), Ok(2));
    assert!(reader.has_news());
    assert_eq!(reader.next(&mut buffer), received(2, 0));
    assert_eq!(buffer.as_slice(), b"after");
    assert!(!reader.has_news());
}

#[test]
fn the_first_message_of_a_topic_has_the_sequence_one() {
    let (mut writer, memory) = topic(CAPACITY, 0);
    let mut reader = TopicReader::new(memory);
    let mut buffer = AlignedBuf::new();
    assert_eq!(reader.next(&mut buffer), None, "the opening record is no message");
    assert_eq!(writer.publish(b""), Ok(1));
    assert_eq!(reader.next(&mut buffer), received(1, 0));
}

#[test]
fn a_reader_that_keeps_up_loses_nothing_across_laps() {
    for start in [0, 15 * 64, 0_u64.wrapping_sub(2048)] {
        let (mut writer, memory) = topic(CAPACITY, start);
        let mut reader = TopicReader::new(memory);
        let mut buffer = AlignedBuf::new();
        for number in 1..200_u64 {
            let message = vec![number as u8; (number * 29 % 241) as usize];
            assert_eq!(writer.publish(&message), Ok(number));
            assert_eq!(reader.next(&mut buffer), received(number, 0));
            assert_eq!(buffer.as_slice(), message);
        }
    }
}

#[test]
fn a_lapped_reader_goes_on_with_the_newest_and_knows_how_many_it_missed() {
    let (mut writer, memory) = topic(CAPACITY, 0);
    let mut reader = TopicReader::new(memory);
    let mut buffer = AlignedBuf::new();
    for _ in 1..=100 {
        writer.publish(&SMALL).unwrap();
    }
    assert_eq!(reader.next(&mut buffer), received(100, 99));
    writer.publish(&SMALL).unwrap();
    assert_eq!(reader.next(&mut buffer), received(101, 0));
}

#[test]
fn a_reader_is_not_lapped_a_cell_too_early() {
    let (mut writer, memory) = topic(CAPACITY, 0);
    let mut reader = TopicReader::new(memory);
    let mut buffer = AlignedBuf::new();
    for _ in 1..=16 {
        writer.publish(&SMALL).unwrap();
    }
    assert_eq!(reader.next(&mut buffer), received(1, 0), "the oldest of a whole lap");
    writer.publish(&SMALL).unwrap();
    writer.publish(&SMALL).unwrap();
    assert_eq!(reader.next(&mut buffer), received(18, 16), "its place was just taken");
}

#[test]
fn the_latest_is_the_newest_and_only_once() {
    let (mut writer, memory) = topic(CAPACITY, 0);
    let mut reader = TopicReader::new(memory);
    let mut buffer = AlignedBuf::new();
    assert_eq!(reader.latest(&mut buffer), None);
    for message in [b"one", b"two", b"six"] {
        writer.publish(message).unwrap();
    }
    assert_eq!(reader.latest(&mut buffer), received(3, 2));
    assert_eq!(buffer.as_slice(), b"six");
    assert_eq!(reader.latest(&mut buffer), None);
    assert_eq!(reader.next(&mut buffer), None);
}

#[test]
fn a_message_that_never_fits_is_refused_and_takes_no_sequence() {
    let (mut writer, _) = topic(CAPACITY, 0);
    let max = writer.payload_max();
    assert_eq!(writer.publish(&vec![0; max + 1]), Err(TooLarge { len: max + 1, max }));
    assert_eq!(writer.publish(&vec![0; max]), Ok(1));
}

#[test]
fn the_newest_record_survives_the_next_one_being_written() {
    let (mut writer, memory) = topic(CAPACITY, 0);
    let longest = vec![1; writer.payload_max()];
    for cells_before in 0..16 {
        for _ in 0..cells_before {
            writer.publish(&SMALL).unwrap();
        }
        writer.publish(&longest).unwrap();
        let newest = memory.control.newest.observe();
        writer.publish(&longest).unwrap();
        let claim = memory.control.claim.staked();
        assert!(claim.wrapping_sub(newest) <= CAPACITY as u64);
    }
}

#[test]
fn a_topic_that_was_never_opened_reads_as_empty() {
    let mut reader = TopicReader::new(TopicMemory::heap(CAPACITY));
    assert_eq!(reader.next(&mut AlignedBuf::new()), None);
}

#[test]
fn two_threads_count_every_message_and_tear_none() {
    const MESSAGES: u64 = 20_000;
    let (mut writer, memory) = topic(4096, 0_u64.wrapping_sub(100 * 4096));
    let mut readers = [TopicReader::new(memory.clone()), TopicReader::new(memory)];
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 1..=MESSAGES {
                let len = (number * 7919 % 900) as usize;
                writer.publish(&vec![number as u8; len]).unwrap();
            }
        });
        for (index, reader) in readers.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut buffer = AlignedBuf::new();
                let (mut got, mut lost, mut last) = (0, 0, 0);
                while last < MESSAGES {
                    let message = match index {
                        0 => reader.next(&mut buffer),
                        _ => reader.latest(&mut buffer),
                    };
                    let Some(message) = message else {
                        thread::yield_now();
                        continue;
                    };
                    assert_eq!(buffer.as_slice().len(), (message.sequence * 7919 % 900) as usize);
                    assert!(buffer.as_slice().iter().all(|byte| *byte == message.sequence as u8));
                    (got, lost, last) = (got + 1, lost + message.lost, message.sequence);
                }
                assert_eq!(got + lost, MESSAGES);
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn received_and_lost_are_all_that_was_published(
        cell in 0_u64..32,
        steps in prop::collection::vec(prop_oneof![
            3 => (0..241_usize).prop_map(Some),
            1 => Just(None),
        ], 1..300),
    ) {
        let (mut writer, memory) = topic(CAPACITY, 0_u64.wrapping_sub(cell * 64));
        let mut reader = TopicReader::new(memory);
        let mut buffer = AlignedBuf::new();
        let mut messages = vec![Vec::new()];
        let mut accounted = 0;
        for step in steps {
            match step {
                Some(len) => {
                    let message = vec![messages.len() as u8; len];
                    prop_assert_eq!(writer.publish(&message), Ok(messages.len() as u64));
                    messages.push(message);
                }
                None => {
                    while let Some(ReceivedRecord { sequence, lost }) = reader.next(&mut buffer) {
                        accounted += lost + 1;
                        prop_assert_eq!(sequence, accounted);
                        prop_assert_eq!(buffer.as_slice(), &messages[sequence as usize][..]);
                    }
                    prop_assert_eq!(accounted, messages.len() as u64 - 1);
                }
            }
        }
    }
}
