//! Counters of events. Every dropped message is counted.
//!
//! All accesses are Relaxed: a counter orders nothing.

use crate::{
    metrics::metrics,
    primitives::{AtomicU64, Ordering},
};

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one, from any thread.
    #[inline]
    pub(crate) fn add(&self) {
        // Relaxed: counts, for display.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `n` without an atomic addition. Only one thread at a time may call it.
    #[inline]
    pub(crate) fn add_alone(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Defines the counters of a session and the public struct that reads them.
macro_rules! counters {
    ($($(#[doc = $help:literal])* $name:ident,)*) => {
        /// The counters of one session, as [`Counters`] reads them.
        #[derive(Debug, Default)]
        pub(crate) struct SessionCounters {
            $(pub(crate) $name: Counter,)*
        }

        metrics! {
            /// The counts of one session's events, as this process saw them.
            pub struct Counters {
                $($(#[doc = $help])* Counter $name,)*
            }
        }

        impl SessionCounters {
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Frames sent: messages, invokes, replies, cancels.
    frames_sent,
    /// Frames received, whatever is in them.
    frames_received,
    /// Messages that came on a channel without a listener, and were dropped.
    unheard,
    /// Messages and invokes whose payload was no valid value of the channel's type.
    bad_payloads,
    /// Sends that the policy forbade, stopped in this process.
    forbidden,
    /// Sends on a channel that the two contracts do not share, stopped in this process.
    unknown_channels,
    /// Sends of a payload that can never fit.
    too_large,
    /// Sends that found no room at first.
    stalls,
    /// Sends that failed for want of room.
    full,
    /// Wake-ups of the peer, one system call or two each.
    wakes,
    /// Times that this side of the session began to wait for a ring: a renderer slept, main armed the window.
    parks,
    /// Listeners and handlers that panicked.
    panics,
    /// Invokes sent.
    invokes_sent,
    /// Invokes received.
    invokes_received,
    /// Invokes that came on a channel without a handler.
    unhandled,
    /// Replies to invokes that were not pending any more: late, repeated or forged; dropped.
    stale_replies,
    /// Invokes that ended by their deadline.
    timed_out,
    /// Invokes of the peer that it cancelled before they were answered.
    cancelled,
    /// Replies that nobody waited for any more, dropped here.
    late_replies,
    /// Replies that found the ring full and waited in the backlog.
    backlogged,
    /// Invokes of a peer that was gone before they were run.
    orphaned,
    /// Protocol rules that the peer broke.
    violations,
    /// Times that main held this renderer's frames back, since its quota was used up.
    throttled,
    /// Times that main ignored this renderer's rings for a while, since too many came without a frame.
    storms,
    /// Messages and invokes that a validator refused.
    rejected,
    /// Large payloads sent by attachment.
    attachments_sent,
    /// Large payloads received by attachment.
    attachments_received,
    /// Attachments for which main made memory, for a renderer or for itself.
    attachment_buffers,
    /// Requests of the renderer for memory that main refused, by its quota or for want of memory.
    attachments_refused,
    /// Large payloads that came and could not be mapped, and were dropped.
    attachments_lost,
    /// Topic messages received.
    topic_received,
    /// Topic messages lost because this reader was lapped.
    topic_lost,
}
