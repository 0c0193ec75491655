//! A pair of fences of which one is free: for what happens with every message against what happens
//! hardly ever, between threads of this process.
//!
//! Store, [`light_fence`], load on the one side; store, [`heavy_fence`], load on the other: at least
//! one of the two sees the other's store, as with two `SeqCst` fences. The light one only keeps the
//! compiler from reordering. The heavy one has the kernel run a fence on every processor that runs a thread
//! of this process (`membarrier`, private and expedited), and waits for that: some microseconds.
//!
//! In a model both are `SeqCst` fences: loom knows no other, and it is what the pair amounts to. Each
//! touches a word first that orders nothing: loom tries both orders of two accesses to one word, and
//! would not try both orders of two fences.

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
    crate::os::process_fence().expect("it was there when the process registered for it");
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

/// Whether the kernel has it. Asks once.
pub(crate) fn heavy_fence_available() -> bool {
    #[cfg(not(loom))]
    {
        static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *AVAILABLE.get_or_init(|| crate::os::register_process_fence().is_ok())
    }
    #[cfg(loom)]
    true
}
