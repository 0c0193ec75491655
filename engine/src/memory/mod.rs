//! Where the bytes are.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`region`] | shared memory: created, sealed, checked, mapped |
//! | [`attachment`] | the memory of one large payload |
//! | [`heap`] | the same shapes on the heap, for tests and model checks |
//! | [`shared`] | a pointer into memory and a share in what keeps it alive |
//! | [`bytes`] | words of shared memory to and from bytes of our own |
//! | [`aligned`] | a private buffer that any payload type can be read from |
//!
//! Unsafe code lives here and in [`crate::sys`], nowhere else. What is above this module holds
//! [`shared::Shared`] values and cannot tell a mapping from the heap; what is below it (the layout)
//! knows no memory at all.

#![allow(unsafe_code, reason = "memory that another process writes has no other way in")]

pub(crate) mod aligned;
#[cfg(not(loom))]
pub(crate) mod attachment;
pub(crate) mod bytes;
#[cfg(any(test, loom))]
pub(crate) mod heap;
#[cfg(not(loom))]
pub(crate) mod region;
pub(crate) mod shared;
