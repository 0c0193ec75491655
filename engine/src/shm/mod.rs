//! Where the bytes are.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`backing`] | what main makes memory of: sealed memory, or segments with names |
//! | [`handle`] | what another process needs to map it too |
//! | [`region`] | a ring's memory: created, checked, mapped |
//! | [`attachment`] | the memory of one large payload |
//! | `mapping` | a mapping, and what keeps it |
//! | `sealed` | memory without a name, and its seals |
//! | `named` | memory with a name: segments |
//! | `segments` | the segments of one main process, listed so that others find what the dead left |
//! | `name` | the names of segments |
//! | [`heap`] | the same shapes on the heap, for tests and model checks |
//! | [`shared`] | a pointer into memory and a share in what keeps it alive |
//! | [`bytes`] | words of shared memory to and from bytes of our own |
//! | [`aligned`] | a private buffer that any payload type can be read from |
//!
//! Most unsafe code lives here and in [`crate::os`]; `engine/tests/tidy/` names the other files that
//! need some. Folders above this one hold [`shared::Shared`] values and cannot tell a mapping from the
//! heap. `wire`, below it, knows no memory at all.

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
