//! The channels of the scenes.

use std::{collections::BTreeMap, fmt};

use ringbridge::{Contract, Dynamic, Event, Failure, Method, Push, Topic, zerocopy::IntoBytes};

ringbridge::payload! {
    /// A fixed layout with more than one field.
    pub struct Reading {
        /// In whole degrees.
        pub celsius: f64,
        /// Which sensor.
        pub sensor: u32,
        /// Where it is.
        pub place: Place,
    }
}

ringbridge::payload! {
    /// A fixed layout that not every bit pattern is a value of.
    pub enum Place: u32 {
        /// In the house.
        Inside = 0,
        /// In the garden.
        Outside = 1,
    }
}

ringbridge::payload! {
    /// A message with its sender, for several senders on one channel.
    pub struct Numbered {
        /// Which thread or process sent it.
        pub sender: u64,
        /// Counts that sender's messages.
        pub number: u64,
    }
}

ringbridge::payload! {
    /// An error type of an application's own.
    pub enum DivideError: u32 {
        /// There is no such quotient.
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

/// A value whose shape is not fixed.
pub type Settings = Dynamic<BTreeMap<String, Vec<i64>>>;

/// Rows of pixels, a mebibyte in all.
pub type Picture = [[u8; 1024]; 1024];

/// What a renderer has to say to its test.
pub const REPORT: Event<str> = Event::new("report");
/// Main's sign to go on.
pub const CUE: Push<str> = Push::new("cue");

/// Text.
pub const TEXT: Event<str> = Event::new("text");
/// A number.
pub const NUMBER: Event<u64> = Event::new("number");
/// A number and its sender.
pub const NUMBERED: Event<Numbered> = Event::new("numbered");
/// A fixed layout.
pub const READING: Event<Reading> = Event::new("reading");
/// A run of fixed layouts.
pub const READINGS: Event<[Reading]> = Event::new("readings");
/// Bytes.
pub const BYTES: Event<[u8]> = Event::new("bytes");
/// Nothing but the message itself.
pub const NOTHING: Event<()> = Event::new("nothing");
/// A run of the widest numbers: without optimisation long ones are validated sooner than bytes.
pub const WIDE: Event<[u128]> = Event::new("wide");
/// A fixed layout that is longer than a ring carries.
pub const PICTURE: Event<Picture> = Event::new("picture");
/// Any serde type.
pub const SETTINGS: Event<Settings> = Event::new("settings");
/// A type with an invalid bit pattern.
pub const FLAG: Event<bool> = Event::new("flag");

/// Adds.
pub const ADD: Method<[u64; 2], u64> = Method::new("add");
/// Returns what it is given.
pub const ECHO: Method<[u8], [u8]> = Method::new("echo");
/// Fails with an error of its own type.
pub const DIVIDE: Method<[i64; 2], i64, DivideError> = Method::new("divide");
/// Answered in whatever way the test is about.
pub const ASK: Method<u64, u64> = Method::new("ask");
/// Answered in whatever way the test is about, with text.
pub const READ: Method<str, str, Failure> = Method::new("read");
/// Takes a type with an invalid bit pattern.
pub const NEGATE: Method<bool, bool> = Method::new("negate");
/// Any serde type, there and back.
pub const MERGE: Method<Settings, Settings> = Method::new("merge");

/// A number.
pub const TICK: Push<u64> = Push::new("tick");
/// A number and its sender.
pub const NUMBERED_TICK: Push<Numbered> = Push::new("numbered-tick");
/// A fixed layout.
pub const PUSHED_READING: Push<Reading> = Push::new("pushed-reading");
/// A run of fixed layouts.
pub const PUSHED_READINGS: Push<[Reading]> = Push::new("pushed-readings");
/// Bytes.
pub const BLOB: Push<[u8]> = Push::new("blob");
/// A run of the widest numbers.
pub const PUSHED_WIDE: Push<[u128]> = Push::new("pushed-wide");
/// A fixed layout that is longer than a ring carries.
pub const PUSHED_PICTURE: Push<Picture> = Push::new("pushed-picture");
/// Any serde type.
pub const PUSHED_SETTINGS: Push<Settings> = Push::new("pushed-settings");

/// Numbers from 1 on.
pub const NEWS: Topic<u64> = Topic::new("news");
/// Longer messages.
pub const BULLETIN: Topic<[u8]> = Topic::new("bulletin");

/// All of the above.
pub const CONTRACT: Contract = &[
    &REPORT,
    &CUE,
    &TEXT,
    &NUMBER,
    &NUMBERED,
    &READING,
    &READINGS,
    &BYTES,
    &NOTHING,
    &SETTINGS,
    &FLAG,
    &ADD,
    &ECHO,
    &DIVIDE,
    &ASK,
    &READ,
    &NEGATE,
    &MERGE,
    &TICK,
    &NUMBERED_TICK,
    &PUSHED_READING,
    &PUSHED_READINGS,
    &BLOB,
    &PUSHED_SETTINGS,
    &NEWS,
    &BULLETIN,
    &WIDE,
    &PICTURE,
    &PUSHED_WIDE,
    &PUSHED_PICTURE,
];

/// Two readings that both sides of a test know.
pub fn readings() -> [Reading; 2] {
    [
        Reading { celsius: 21.5, sensor: 7, place: Place::Inside },
        Reading { celsius: -3.25, sensor: u32::MAX, place: Place::Outside },
    ]
}

/// Settings that both sides of a test know.
pub fn settings() -> Settings {
    let entries = [("none", vec![]), ("some", vec![i64::MIN, 0, i64::MAX])];
    Dynamic(entries.map(|(name, values)| (name.to_owned(), values)).into())
}

/// Bytes that both sides of a test know: any shift or repetition of them shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index ^ (index >> 8)) as u8).collect()
}

const CHUNK: usize = 64 * 1024;

/// Bytes that both sides of a test know, quickly made and checked however many they are: each chunk has
/// its number and the seed in it.
pub fn large(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill_large(&mut bytes, seed);
    bytes
}

/// The bytes of [`large`] as numbers.
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

/// Whether these are the bytes of [`large`].
pub fn is_large(bytes: &[u8], len: usize, seed: u64) -> bool {
    let mut expected = pattern(CHUNK);
    bytes.len() == len
        && (0_u64..).zip(bytes.chunks(CHUNK)).all(|(number, chunk)| {
            stamp(&mut expected, number, seed);
            expected.starts_with(chunk)
        })
}

/// With which seed these bytes were made.
pub fn seed_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first) >> 32)
}

fn stamp(chunk: &mut [u8], number: u64, seed: u64) {
    for (place, byte) in chunk.iter_mut().zip((number ^ seed << 32).to_le_bytes()) {
        *place = byte;
    }
}
