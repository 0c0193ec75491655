//! What the bytes are: the protocol, readable without any other file.
//!
//! ```text
//!   page 0     control: who this is, how far its owner has read, whether its owner sleeps
//!   page 1..   data: a ring of cells, a power of two in bytes
//!
//!              |  cell 0   |  cell 1   |  cell 2   | ...              |  cell n-1 |
//!              | frame ............... | frame     | ...              | pad       |
//! ```
//!
//! Each field below names the process that writes it. With the sealed backend the kernel enforces that.
//! With the portable backend it is an agreement between processes that trust each other. A check in
//! this folder turns the peer's bytes into another type before other code uses them.
//!
//! This folder has no system call, no unsafe code and no policy. Its memory orderings are in [`words`],
//! inside methods that say what they are for.

pub(crate) mod attached;
pub(crate) mod board;
pub(crate) mod fnv;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod id;
pub(crate) mod identity;
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

/// What `len` bytes occupy: whole cells.
#[inline]
pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(CELL)
}

/// Fields that one side writes together, away from all others: two cache lines, because processors
/// fetch neighbouring lines in pairs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Line<T>(T);

impl<T> Line<T> {
    #[cfg(any(test, loom))]
    pub(crate) fn new(fields: T) -> Self {
        Self(fields)
    }
}

impl<T> std::ops::Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
