//! The memory of rings and payloads.
//!
//! ```text
//!   Backing (sealed, or named) ──makes──▶ Mapping + MemoryHandle ──▶ the other process maps it too
//!                                           │
//!        Region (a ring) ── Shared<T> ──────┤
//!        Blank, Writable, Readable ─────────┘   (one large payload)
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | [`backing`] | the source of all memory of an endpoint, whatever its kind |
//! | [`handle`] | the means by which another process maps memory |
//! | `mapping` | a mapping, and its owner |
//! | `sealed` | memory without a name, and its seals |
//! | [`region`] | a ring's memory: created, checked, mapped |
//! | [`attachment`] | the memory of one large payload |
//! | [`shared`] | a pointer into memory that keeps it alive |
//! | [`heap`] | rings and topics on the heap, for tests and models |
//! | [`bytes`] | copies between words of shared memory and private bytes |
//! | [`aligned`] | a private buffer, aligned for any payload type |
//!
//! Most unsafe code is here and in [`crate::os`]; `engine/tests/tidy/` names the other files. Folders above this one
//! cannot tell a mapping from the heap.

#![allow(unsafe_code, reason = "memory that another process writes has no other way in")]

pub(crate) mod aligned;
#[cfg(not(loom))]
pub(crate) mod attachment;
#[cfg(not(loom))]
pub(crate) mod backing;
pub(crate) mod bytes;
#[cfg(not(loom))]
pub(crate) mod handle;
#[cfg(any(test, loom))]
pub(crate) mod heap;
#[cfg(not(loom))]
pub(crate) mod mapping;
#[cfg(not(loom))]
pub(crate) mod region;
#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) mod sealed;
pub(crate) mod shared;
