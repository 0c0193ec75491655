//! A pair of fences between threads of this process, of which the frequent one is free.
//!
//! One side stores, runs [`light_fence`] and loads. The other stores, runs [`heavy_fence`] and loads. At least
//! one of the two sees the other's store, as with two `SeqCst` fences. The light fence only keeps the compiler
//! from reordering. The heavy fence has the kernel run a fence on every processor that runs a thread of this
//! process (`membarrier`), and waits for it, some microseconds.
//!
//! In a model both are `SeqCst` fences. Each touches a shared word first: loom tries both orders of two accesses to
//! one word, but not of two fences.

use crate::primitives::{Ordering::SeqCst, fence};

/// Keeps the order of an earlier store and a later load against a [`heavy_fence`].
#[inline]
pub(crate) fn light_fence() {
    #[cfg(not(loom))]
    // No model: the kernel makes this a fence by `membarrier`. `owner_lock::tests` runs it on real processors.
    std::sync::atomic::compiler_fence(SeqCst);
    #[cfg(loom)]
    modelled_fence();
}

/// Keeps the order of an earlier store and a later load against every [`light_fence`].
///
/// # Panics
///
/// If it is not [available](heavy_fence_available).
pub(crate) fn heavy_fence() {
    #[cfg(not(loom))]
    crate::os::process::process_fence().expect("it was there when the process registered for it");
    // No model: in a model both fences are SeqCst fences; the callers' fences are guarded.
    #[cfg(not(loom))]
    fence(SeqCst);
    #[cfg(loom)]
    modelled_fence();
}

#[cfg(loom)]
fn modelled_fence() {
    // No model: this is the model.
    loom::lazy_static! {
        static ref FENCES: crate::primitives::AtomicU32 = crate::primitives::AtomicU32::new(0);
    }
    // Relaxed: orders nothing.
    FENCES.fetch_add(1, crate::primitives::Ordering::Relaxed);
    fence(SeqCst);
}

/// Returns whether the kernel has [`heavy_fence`]. Asks it once.
pub(crate) fn heavy_fence_available() -> bool {
    #[cfg(not(loom))]
    {
        static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *AVAILABLE.get_or_init(|| crate::os::process::register_process_fence().is_ok())
    }
    #[cfg(loom)]
    true
}
