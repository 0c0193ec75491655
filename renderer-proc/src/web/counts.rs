//! What pages did, for the summary.

use std::{
    fmt::{self, Display},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::{door::Refusal, page::CloseReason};

/// Counters, each of its own: no order among them is promised, so they are Relaxed.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pages: AtomicU64,
    messages: AtomicU64,
    pushes: AtomicU64,
    frames: AtomicU64,
    refused_host: AtomicU64,
    refused_origin: AtomicU64,
    refused_token: AtomicU64,
    refused_full: AtomicU64,
    too_long: AtomicU64,
    too_fast: AtomicU64,
    malformed: AtomicU64,
    stalled: AtomicU64,
}

impl Counts {
    pub(super) fn page(&self) {
        self.pages.fetch_add(1, Relaxed);
    }

    pub(super) fn message(&self) {
        self.messages.fetch_add(1, Relaxed);
    }

    /// A frame with the newest of so many pushes.
    pub(super) fn frame(&self, pushes: u64) {
        self.frames.fetch_add(1, Relaxed);
        self.pushes.fetch_add(pushes, Relaxed);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Host => &self.refused_host,
            Refusal::Origin => &self.refused_origin,
            Refusal::Token => &self.refused_token,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// There are as many pages as may be.
    pub(super) fn refused_full(&self) {
        self.refused_full.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self, reason: CloseReason) {
        let counter = match reason {
            CloseReason::Left | CloseReason::Ended => return,
            CloseReason::TooLong => &self.too_long,
            CloseReason::TooFast => &self.too_fast,
            CloseReason::Malformed => &self.malformed,
            CloseReason::Stalled => &self.stalled,
        };
        counter.fetch_add(1, Relaxed);
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        write!(
            f,
            "{} pages said {} messages and drew {} frames of {} pushes; refused for host {}, origin {}, token {}, \
             as one too many {}; closed as too long {}, too fast {}, malformed {}, stalled {}",
            read(&self.pages),
            read(&self.messages),
            read(&self.frames),
            read(&self.pushes),
            read(&self.refused_host),
            read(&self.refused_origin),
            read(&self.refused_token),
            read(&self.refused_full),
            read(&self.too_long),
            read(&self.too_fast),
            read(&self.malformed),
            read(&self.stalled),
        )
    }
}
