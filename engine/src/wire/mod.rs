//! The protocol: the bytes of shared memory, and the packets over the socket.
//!
//! ```text
//!   page 0     control: identity, its owner's read position, its owner's sleep
//!   page 1..   data: a ring of cells, a power of two in bytes
//!
//!              |  cell 0   |  cell 1   |  cell 2   | ...              |  cell n-1 |
//!              | frame ............... | frame     | ...              | pad       |
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | [`frame`], [`kind`], [`id`] | one message in a ring, the rules of its kind, its request id |
//! | [`attached`] | the frames about large payloads |
//! | [`outbox`], [`topic`], [`identity`] | the control pages |
//! | [`words`] | the atomic words of a control page, with their memory orderings |
//! | [`handshake`], [`parcel`] | the packets over the socket |
//! | [`fnv`] | a hash that is the same in every build |
//!
//! Each field names the process that writes it. The kernel enforces that for sealed memory. A check in this folder
//! turns the peer's bytes into another type before other code uses them. No system call, clock, unsafe code or policy
//! is here.

pub(crate) mod attached;
pub(crate) mod fnv;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod id;
pub(crate) mod identity;
pub(crate) mod kind;
pub(crate) mod outbox;
pub(crate) mod parcel;
pub(crate) mod topic;
pub(crate) mod words;

/// The unit of room in a ring: one cache line.
pub(crate) const CELL: usize = 64;
pub(crate) const WORDS_PER_CELL: usize = CELL / size_of::<u64>();
/// The commit word and the request id (or sequence) in front of every payload.
pub(crate) const HEADER_LEN: usize = 16;
pub(crate) const WORDS_PER_HEADER: usize = HEADER_LEN / size_of::<u64>();
/// The page in front of the cells.
pub(crate) const CONTROL_LEN: usize = 4096;

/// The length of the whole cells that hold `len` bytes.
#[inline]
pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(CELL)
}
