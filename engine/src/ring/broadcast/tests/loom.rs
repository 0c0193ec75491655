//! A reader copies while the writer laps it. Permitted outcomes: the message whole, or a later one
//! whole with the exact number lost, or nothing yet. Never a mixture.

use super::*;
use crate::model::{WRONG, check_bounded};
use crate::primitives::thread;

/// One cell each, four to a lap.
fn message(number: u64) -> [u8; 16] {
    [number as u8; 16]
}

/// Guards both fences of the claim, that it is staked before the words and looked at after the copy.
#[test]
fn loom_a_copy_is_whole_or_counted_as_lost() {
    check_bounded(
        3,
        &[
            ("Cursor::publish: Release", WRONG),
            ("Cursor::observe: Acquire", WRONG),
            ("Claim::stake: fence", WRONG),
            ("Claim::staked: fence", WRONG),
            ("TopicReader::read: claim", WRONG),
        ],
        || {
            let (mut writer, memory) = topic(256, 0_u64.wrapping_sub(128));
            let mut reader = TopicReader::new(memory);
            for number in 1..=4 {
                writer.publish(&message(number)).unwrap();
            }
            // The next records take the places of the messages that the reader is about to copy.
            let writing = thread::spawn(move || {
                for number in 5..=6 {
                    writer.publish(&message(number)).unwrap();
                }
            });
            let mut buffer = AlignedBuf::new();
            let mut last = 0;
            for _ in 0..2 {
                if let Some(ReceivedRecord { sequence, lost }) = reader.next(&mut buffer) {
                    assert_eq!(buffer.as_slice(), message(sequence));
                    assert_eq!(sequence, last + lost + 1);
                    last = sequence;
                }
            }
            writing.join().unwrap();
        },
    );
}

/// Guards that the newest is looked for once: no message comes twice.
#[test]
fn loom_the_latest_is_later_than_the_last_one() {
    check_bounded(3, &[("TopicReader::receive: one look", WRONG)], || {
        let (mut writer, memory) = topic(256, 0);
        let mut reader = TopicReader::new(memory);
        let writing = thread::spawn(move || {
            for number in 1..=2 {
                writer.publish(&message(number)).unwrap();
            }
        });
        let mut buffer = AlignedBuf::new();
        let mut last = 0;
        for _ in 0..3 {
            if let Some(ReceivedRecord { sequence, lost }) = reader.latest(&mut buffer) {
                assert_eq!(buffer.as_slice(), message(sequence));
                assert_eq!(Some(sequence), lost.checked_add(last + 1));
                last = sequence;
            }
        }
        writing.join().unwrap();
    });
}

/// Guards the order of joining: position and sequence come from one whole record.
#[test]
fn loom_a_reader_that_joins_counts_from_where_it_joined() {
    check_bounded(3, &[("TopicReader::new: place and count of one record", WRONG)], || {
        let (mut writer, memory) = topic(256, 0);
        let writing = thread::spawn(move || {
            writer.publish(&message(1)).unwrap();
            writer.publish(&message(2)).unwrap();
            writer
        });
        let mut reader = TopicReader::new(memory);
        let mut writer = writing.join().unwrap();
        writer.publish(&message(3)).unwrap();

        let mut buffer = AlignedBuf::new();
        let first = reader.next(&mut buffer).unwrap();
        assert_eq!(first.lost, 0);
        assert_eq!(buffer.as_slice(), message(first.sequence));
    });
}
