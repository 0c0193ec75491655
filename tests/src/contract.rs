//! The channels of the scenes.

use std::{collections::BTreeMap, fmt};

use ringbridge::{Contract, Dynamic, Event, Failure, Method, Push, Topic, zerocopy::IntoBytes};

ringbridge::payload! {
    /// A fixed layout with more than one field.
    pub struct Reading {
        pub celsius: f64,
        pub sensor: u32,
        pub place: Place,
    }
}

ringbridge::payload! {
    /// A fixed layout that not every bit pattern is a value of.
    pub enum Place: u32 {
        Inside = 0,
        Outside = 1,
    }
}

ringbridge::payload! {
    /// A message with its sender, for several senders on one channel.
    pub struct Numbered {
        pub sender: u64,
        /// Counts that sender's messages.
        pub number: u64,
    }
}

ringbridge::payload! {
    /// An error type of an application's own.
    pub enum DivideError: u32 {
        ByZero = 0,
        /// There is one, but it cannot be represented.
        Overflow = 1,
    }
}

impl fmt::Display for DivideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByZero => "division by zero",
            Self::Overflow => "overflow",
        })
    }
}

/// A value without a fixed layout.
pub type Settings = Dynamic<BTreeMap<String, Vec<i64>>>;

/// Rows of pixels, a mebibyte in all.
pub type Picture = [[u8; 1024]; 1024];

macro_rules! channels {
    ($($(#[$doc:meta])* $name:ident: $kind:ident<$($type:ty),+> = $channel:literal,)*) => {
        $($(#[$doc])* pub const $name: $kind<$($type),+> = $kind::new($channel);)*

        pub const CONTRACT: Contract = &[$(&$name),*];
    };
}

channels! {
    REPORT: Event<str> = "report",
    CUE: Push<str> = "cue",
    TEXT: Event<str> = "text",
    NUMBER: Event<u64> = "number",
    NUMBERED: Event<Numbered> = "numbered",
    READING: Event<Reading> = "reading",
    READINGS: Event<[Reading]> = "readings",
    BYTES: Event<[u8]> = "bytes",
    NOTHING: Event<()> = "nothing",
    /// A run of the widest numbers: without optimisation long ones are validated sooner than bytes.
    WIDE: Event<[u128]> = "wide",
    /// A fixed layout that is longer than a ring carries.
    PICTURE: Event<Picture> = "picture",
    SETTINGS: Event<Settings> = "settings",
    /// A type with an invalid bit pattern.
    FLAG: Event<bool> = "flag",
    ADD: Method<[u64; 2], u64> = "add",
    ECHO: Method<[u8], [u8]> = "echo",
    DIVIDE: Method<[i64; 2], i64, DivideError> = "divide",
    ASK: Method<u64, u64> = "ask",
    READ: Method<str, str, Failure> = "read",
    /// Takes a type with an invalid bit pattern.
    NEGATE: Method<bool, bool> = "negate",
    MERGE: Method<Settings, Settings> = "merge",
    TICK: Push<u64> = "tick",
    NUMBERED_TICK: Push<Numbered> = "numbered-tick",
    PUSHED_READING: Push<Reading> = "pushed-reading",
    PUSHED_READINGS: Push<[Reading]> = "pushed-readings",
    BLOB: Push<[u8]> = "blob",
    PUSHED_WIDE: Push<[u128]> = "pushed-wide",
    /// A fixed layout that is longer than a ring carries.
    PUSHED_PICTURE: Push<Picture> = "pushed-picture",
    PUSHED_SETTINGS: Push<Settings> = "pushed-settings",
    NEWS: Topic<u64> = "news",
    BULLETIN: Topic<[u8]> = "bulletin",
}

pub fn readings() -> [Reading; 2] {
    [
        Reading { celsius: 21.5, sensor: 7, place: Place::Inside },
        Reading { celsius: -3.25, sensor: u32::MAX, place: Place::Outside },
    ]
}

pub fn settings() -> Settings {
    let entries = [("none", vec![]), ("some", vec![i64::MIN, 0, i64::MAX])];
    Dynamic(entries.map(|(name, values)| (name.to_owned(), values)).into())
}

/// Bytes that both sides of a test know. Any shift or repetition of them shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index ^ (index >> 8)) as u8).collect()
}

const CHUNK: usize = 64 * 1024;

/// Bytes that both sides of a test know, which are quickly made and checked. Each chunk contains its number and the seed.
pub fn large(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill_large(&mut bytes, seed);
    bytes
}

pub fn large_wide(len: usize, seed: u64) -> Vec<u128> {
    let mut numbers = vec![0; len / size_of::<u128>()];
    fill_large(numbers.as_mut_bytes(), seed);
    numbers
}

fn fill_large(bytes: &mut [u8], seed: u64) {
    let pattern = pattern(CHUNK);
    for (number, chunk) in (0_u64..).zip(bytes.chunks_mut(CHUNK)) {
        chunk.copy_from_slice(&pattern[..chunk.len()]);
        stamp(chunk, number, seed);
    }
}

pub fn is_large(bytes: &[u8], len: usize, seed: u64) -> bool {
    let mut expected = pattern(CHUNK);
    bytes.len() == len
        && (0_u64..).zip(bytes.chunks(CHUNK)).all(|(number, chunk)| {
            stamp(&mut expected, number, seed);
            expected.starts_with(chunk)
        })
}

/// The seed of these bytes.
pub fn seed_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first) >> 32)
}

fn stamp(chunk: &mut [u8], number: u64, seed: u64) {
    for (place, byte) in chunk.iter_mut().zip((number ^ seed << 32).to_le_bytes()) {
        *place = byte;
    }
}
