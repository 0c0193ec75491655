//! The wire format, restated independently of the engine's code.
//!
//! ```text
//!   an outbox    0 magic "ringbox\0" u64, 8 version u32, 16 capacity u64      a control page,
//!                128 consumed u64    256 parked u32    260 space_wanted u32   4096 bytes, and
//!                264 alarm u64       384 bell u32      4096 cells of 64 bytes the cells
//!
//!   a frame      len u32 | kind u8 | flags u8 | channel u16,  request u64,  payload
//!                bit 39 is inverted in every other lap
//!
//!   a packet     MessagePack, structs as arrays: Hello [magic, version, [[kind, name, fingerprint] ...]],
//!                Ready [magic];  an inspector's hello [magic, version]
//! ```

use serde::Serialize;

use rustix::time::{ClockId, clock_gettime};

use crate::contract::CONTRACT;

/// The unit of room.
pub const CELL: u64 = 64;
/// In front of a payload.
pub const HEADER: u64 = 16;
/// In front of the cells.
pub const CONTROL: u64 = 4096;

pub const OUTBOX_MAGIC: u64 = u64::from_le_bytes(*b"ringbox\0");
pub const TOPIC_MAGIC: u64 = u64::from_le_bytes(*b"ringtop\0");
pub const LAYOUT_VERSION: u32 = 1;

pub const VERSION_AT: u64 = 8;
pub const CAPACITY_AT: u64 = 16;
pub const CONSUMED: u64 = 128;
/// Odd: the owner sleeps.
pub const PARKED: u64 = 256;
/// Odd: the owner waits for room.
pub const SPACE_WANTED: u64 = 260;
/// When the sleeping owner wakes up by itself, in nanoseconds of `CLOCK_MONOTONIC`.
pub const ALARM: u64 = 264;
/// The peer sleeps on it.
pub const BELL: u64 = 384;
pub const TOPIC_NEWEST: u64 = 136;

/// The bit of a commit word that every other lap has inverted.
pub const ODD_LAP: u64 = 1 << 39;

pub const SEND: u8 = 1;
pub const INVOKE: u8 = 2;
pub const REPLY: u8 = 3;
pub const REJECT: u8 = 4;
pub const FAIL: u8 = 5;
pub const CANCEL: u8 = 6;
pub const SUBSCRIBE: u8 = 7;
pub const UNSUBSCRIBE: u8 = 8;
pub const PAD: u8 = 9;
pub const ATTACHED: u8 = 10;
pub const ASK: u8 = 11;
pub const GIVE_BACK: u8 = 12;

/// The first word of a hello, and the only one of a ready.
pub const MAGIC: u32 = u32::from_le_bytes(*b"rbrg");
pub const VERSION: u32 = 3;

/// The first word of an inspector's hello.
pub const INSPECTOR_MAGIC: u32 = u32::from_le_bytes(*b"rbin");
/// The second.
pub const INSPECTOR_VERSION: u32 = 1;

pub const CHANNELS_MAX: usize = 512;
/// The longest name of a channel, in bytes.
pub const NAME_MAX: usize = 128;
/// The longest packet, in bytes.
pub const PACKET_MAX: usize = 128 * 1024;

pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub const fn word(len: u32, kind: u8, flags: u8, channel: u16) -> u64 {
    len as u64 | (kind as u64) << 32 | (flags as u64) << 40 | (channel as u64) << 48
}

pub const fn frame_max(capacity: u64) -> u64 {
    capacity / 2 - CELL
}

pub const fn padded(len: u64) -> u64 {
    len.next_multiple_of(CELL)
}

pub const fn request(generation: u64, slot: u16) -> u64 {
    generation << 16 | slot as u64
}

/// A channel's number: its place in main's contract.
pub fn channel(name: &str) -> u16 {
    let place = CONTRACT.iter().position(|channel| channel.key().name() == name);
    place.unwrap_or_else(|| panic!("no channel '{name}'")) as u16
}

/// One offer of a hello: the kind's name, the channel's, and the fingerprint of its types.
pub type Offer<'a> = (&'a str, &'a str, u64);

pub fn hello(magic: u32, version: u32, offers: &[Offer<'_>]) -> Vec<u8> {
    packet(&(magic, version, offers))
}

pub fn ready(magic: u32) -> Vec<u8> {
    packet(&(magic,))
}

pub fn inspector_hello(version: u32) -> Vec<u8> {
    packet(&(INSPECTOR_MAGIC, version))
}

fn packet(content: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(content).expect("a vector takes everything")
}

/// The payload of a frame of the kind [`ATTACHED`].
pub fn attached(id: u64, len: u64, request: u64, kind: u8) -> [u8; 32] {
    let mut payload = [0; 32];
    payload[..8].copy_from_slice(&id.to_le_bytes());
    payload[8..16].copy_from_slice(&len.to_le_bytes());
    payload[16..24].copy_from_slice(&request.to_le_bytes());
    payload[24] = kind;
    payload
}
