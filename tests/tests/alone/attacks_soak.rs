//! The catalogue again and again, in one main process: what that keeps of it all is nothing.
//!
//! `RINGBRIDGE_SOAK=20000 cargo test --release -p tests --test attacks_soak` has so many attacks. A number and
//! not a time, so that a run is the same everywhere.

use std::env;

use tests::{
    attacks::{self, Attack},
    prelude::*,
    siege::Siege,
};

/// What main may have more of at the end than after the first of them, in bytes: what an allocator keeps.
const GROWTH_MAX: u64 = 6 << 20;
/// Those that take seconds, most of them by waiting.
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

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    memory: u64,
    descriptors: usize,
    mappings: usize,
    threads: usize,
}

impl Holdings {
    fn now() -> Self {
        Self {
            memory: resident_memory(),
            descriptors: open_descriptors(),
            mappings: mappings_of_the_library(),
            threads: threads(),
        }
    }
}

#[test]
fn what_main_holds_after_many_attacks_is_what_it_held_after_few() {
    // Each of the quick ones once, unless the environment says otherwise.
    let asked: Option<usize> =
        env::var("RINGBRIDGE_SOAK").ok().map(|count| count.parse().expect("it is a number"));
    let attacks: Vec<&Attack> =
        attacks::all().filter(|attack| asked.is_some() || !SLOW.contains(&attack.name)).collect();
    let count = asked.unwrap_or(attacks.len());
    assert!(SLOW.iter().all(|slow| attacks::all().any(|attack| attack.name == *slow)));
    let siege = Siege::new();
    let mut withstand = |number: usize| {
        // In an order in which neighbours are of different kinds.
        siege.withstand(attacks[number * 37 % attacks.len()]);
    };
    let few = attacks.len().min(count) / 3;
    (0..few).for_each(&mut withstand);
    let after_few = Holdings::now();
    let mut most = after_few.memory;
    for number in few..count {
        withstand(number);
        most = most.max(resident_memory());
        if number.is_multiple_of(1000) {
            println!("{number} attacks: {:?}", Holdings::now());
        }
    }
    let after_many = Holdings::now();
    println!("after {few} attacks: {after_few:?}\nafter {count}: {after_many:?}, at most {most}");
    assert!(after_many.memory <= after_few.memory + GROWTH_MAX);
    assert_eq!(
        (after_many.descriptors, after_many.mappings, after_many.threads),
        (after_few.descriptors, after_few.mappings, after_few.threads),
    );
}
