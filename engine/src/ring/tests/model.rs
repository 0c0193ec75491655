//! Any interleaving of both ends against a queue.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::ring::consumer::{Consumer, Writer};
use crate::ring::producer::ReserveError;
use crate::ring::tests::{event, ring};
use crate::shm::aligned::AlignedBuf;
use crate::wire::frame::payload_max;

const CAPACITY: usize = 1024;

#[derive(Clone, Debug)]
enum Step {
    Send { len: usize },
    Abandon { len: usize },
    Receive,
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0..64_usize, 0..=payload_max(CAPACITY)];
    prop_oneof![
        4 => len.clone().prop_map(|len| Step::Send { len }),
        1 => len.prop_map(|len| Step::Abandon { len }),
        4 => Just(Step::Receive),
        2 => Just(Step::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_out_whole_and_in_order(
        laps_before_the_wrap in 0_u64..3,
        cell in 0_u64..16,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let start = 0_u64
            .wrapping_sub(laps_before_the_wrap * CAPACITY as u64)
            .wrapping_add(cell * 64);
        let (mut producer, mut consumer, _) = ring(CAPACITY, start);
        let mut queue = VecDeque::new();
        let mut buffer = AlignedBuf::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Send { len } => match producer.reserve(len) {
                    Ok(reservation) => {
                        let payload: Vec<u8> = (0..len).map(|i| (i ^ number as usize) as u8).collect();
                        producer.write(&reservation, &payload);
                        producer.commit(reservation, event(number));
                        queue.push_back((number, payload));
                    }
                    Err(error) => {
                        prop_assert_eq!(error, ReserveError::Full);
                        prop_assert!(producer.in_flight_bytes() > 0, "an empty ring takes any frame");
                    }
                },
                Step::Abandon { len } => {
                    if let Ok(reservation) = producer.reserve(len) {
                        producer.payload_mut(&reservation).fill(0xff);
                    }
                }
                Step::Receive => match consumer.peek().unwrap() {
                    Some(frame) => {
                        consumer.copy_payload(&frame, &mut buffer);
                        let got = (frame.header.channel, buffer.as_slice().to_vec());
                        prop_assert_eq!(Some(got), queue.pop_front());
                        consumer.advance(frame);
                    }
                    None => prop_assert!(queue.is_empty()),
                },
                Step::Publish => {
                    consumer.publish();
                }
            }
        }
    }

    #[test]
    fn no_forged_words_take_a_consumer_out_of_its_ring(
        words in prop::collection::vec(hostile_word(), CAPACITY / 8),
        cell in 0_u64..16,
    ) {
        let memory = crate::shm::shared::OutboxMemory::heap(CAPACITY);
        for (word, forged) in memory.data.iter().zip(words) {
            word.store(forged, crate::primitives::Ordering::Relaxed);
        }
        let (data, control) = (memory.data, memory.control);
        let mut consumer = Consumer::new(Writer::Renderer, data, control, cell * 64);
        let mut buffer = AlignedBuf::new();
        for _ in 0..100 {
            match consumer.peek() {
                Ok(Some(frame)) => {
                    consumer.copy_payload(&frame, &mut buffer);
                    consumer.advance(frame);
                    consumer.publish();
                }
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// Anything, but often enough something that passes for a header.
fn hostile_word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        (0_u64..600, 1_u64..10).prop_map(|(len, kind)| len | kind << 32),
        (1_u64..17).prop_map(|cells| (cells * 64) | (9 << 32)),
    ]
}
