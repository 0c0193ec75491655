//! Atomics, locks and threads: `std`'s, or loom's when the crate is built with `--cfg loom`.
//!
//! This is the one place where that is decided. Everything in the crate that two threads (or two
//! processes) touch comes from here, so a loom model checks the code that ships and not a copy.

#![allow(unused_imports, reason = "a facade offers the same names in every configuration")]

#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
    thread,
};

#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
    thread,
};
