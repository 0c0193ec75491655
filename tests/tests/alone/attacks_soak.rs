//! The catalogue of attacks again and again in one main process, which must keep no memory and no descriptor of it.
//!
//! `RINGBRIDGE_SOAK=20000 cargo test --release -p tests --test alone attacks_soak` makes that number of attacks. It is
//! not a time, so that a run is the same everywhere.

use std::env;

use tests::{
    attacks::{self, Attack},
    prelude::*,
    siege::Siege,
};

/// The growth of main's memory in bytes that an allocator may cause.
const GROWTH_MAX: u64 = 6 << 20;
/// Attacks that take seconds, most of them by waiting.
const SLOW: &[&str] = &[
    "flood-of-messages",
    "flood-of-the-longest",
    "flood-of-invokes",
    "invokes-and-cancels-by-the-thousand",
    "memory-again-and-again",
    "memory-taken-and-given-back",
    "bell-drained",
    "half-of-a-hang-up",
    "mains-waiting-thread-moved-elsewhere",
    "is-never-ready",
];

/// The descriptors, mappings and threads of this process.
fn holdings() -> [usize; 3] {
    [open_descriptors(), mappings_of_the_library(), threads()]
}

#[test]
fn main_holds_as_much_after_many_attacks_as_after_few() {
    // Each of the quick ones once, unless the environment says otherwise.
    let asked: Option<usize> =
        env::var("RINGBRIDGE_SOAK").ok().map(|count| count.parse().expect("it is a number"));
    let attacks: Vec<&Attack> =
        attacks::all().filter(|attack| asked.is_some() || !SLOW.contains(&attack.name)).collect();
    let count = asked.unwrap_or(attacks.len());
    SLOW.iter().for_each(|slow| _ = attacks::find(slow));
    let siege = Siege::new();
    let few = attacks.len().min(count) / 3;
    let (mut after_few, mut most) = ((0, [0; 3]), 0);
    for number in 0..count {
        if number == few {
            after_few = (resident_memory(), holdings());
        }
        // In an order in which neighbours are of different kinds.
        siege.withstand(attacks[number * 37 % attacks.len()]);
        most = most.max(resident_memory());
        if number.is_multiple_of(1000) {
            println!("{number} attacks: {:?}, {most} bytes at most", holdings());
        }
    }
    let after_many = (resident_memory(), holdings());
    println!("after {few} attacks: {after_few:?}\nafter {count}: {after_many:?}, at most {most}");
    assert!(after_many.0 <= after_few.0 + GROWTH_MAX);
    assert_eq!(after_many.1, after_few.1);
}
