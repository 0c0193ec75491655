//! The activity of pages, for the summary.

use std::{
    fmt::{self, Display},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::{door::Refusal, page::CloseReason};

/// Counters. They are independent of each other, so Relaxed is enough.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(super) pages: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) pushes: AtomicU64,
    pub(super) frames: AtomicU64,
    refused_host: AtomicU64,
    refused_origin: AtomicU64,
    refused_token: AtomicU64,
    pub(super) refused_full: AtomicU64,
    too_long: AtomicU64,
    too_fast: AtomicU64,
    malformed: AtomicU64,
    stalled: AtomicU64,
}

impl Counts {
    pub(super) fn refused(&self, refusal: Refusal) {
        match refusal {
            Refusal::Host => self.refused_host.fetch_add(1, Relaxed),
            Refusal::Origin => self.refused_origin.fetch_add(1, Relaxed),
            Refusal::Token => self.refused_token.fetch_add(1, Relaxed),
        };
    }

    pub(super) fn closed(&self, reason: CloseReason) {
        match reason {
            CloseReason::Left | CloseReason::Ended => 0,
            CloseReason::TooLong => self.too_long.fetch_add(1, Relaxed),
            CloseReason::TooFast => self.too_fast.fetch_add(1, Relaxed),
            CloseReason::Malformed => self.malformed.fetch_add(1, Relaxed),
            CloseReason::Stalled => self.stalled.fetch_add(1, Relaxed),
        };
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pages, messages, pushes, frames, .. } = self;
        let Self { refused_host, refused_origin, refused_token, refused_full, .. } = self;
        let Self { too_long, too_fast, malformed, stalled, .. } = self;
        // Debug prints an atomic's value.
        write!(
            f,
            "{pages:?} pages said {messages:?} messages and drew {frames:?} frames of {pushes:?} pushes; \
             refused for host {refused_host:?}, origin {refused_origin:?}, token {refused_token:?}, \
             as one too many {refused_full:?}; closed as too long {too_long:?}, too fast {too_fast:?}, \
             malformed {malformed:?}, stalled {stalled:?}"
        )
    }
}
