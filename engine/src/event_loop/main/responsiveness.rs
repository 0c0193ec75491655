//! Renderers that do not take what main has sent: Electron's `unresponsive` and `responsive`.
//!
//! ```text
//!                    from another thread, or not taken yet
//!   the first send ────────────────────────────────────────▶ watched
//!   after a quiet                                               │
//!   time           ◀────────────────────────────────────────────┘
//!                    all taken: tell of the next send, look once more, forget
//! ```
//!
//! Only the first send after a quiet time tells the loop; the others cost nothing. The loop has a timer only
//! while a window is watched, so an idle process does not wake up. The loop looks at its own sends before it
//! sleeps, and usually finds them taken. Without a hook no window is watched.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::shared::MainShared;
use crate::{peer::Port, trace};

/// The times between two looks.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// A window to which main has sent something.
struct WatchedWindow {
    port: Arc<Port>,
    /// The position up to which it had read, and when that was first seen.
    consumed: u64,
    since: Instant,
    unresponsive: bool,
}

pub(super) struct Responsiveness {
    /// The time for which a renderer may take nothing.
    after: Duration,
    look_every: Duration,
    /// Looked at when the next look is due.
    watched: Vec<WatchedWindow>,
    next: Option<Instant>,
}

impl Responsiveness {
    pub(super) fn new(after: Duration) -> Self {
        Self {
            after,
            look_every: (after / 4).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX),
            watched: Vec::new(),
            next: None,
        }
    }

    /// Begins to watch a window to which something was sent, if it has not taken that already.
    pub(super) fn watch(&mut self, port: Arc<Port>, from_elsewhere: bool, now: Instant) {
        // Two threads may tell of it, or one while it is still watched.
        let is_known = self.watched.iter().any(|known| Arc::ptr_eq(&known.port, &port));
        if !is_known && (from_elsewhere || !may_leave(&port)) {
            let consumed = port.consumed();
            self.watched.push(WatchedWindow { port, consumed, since: now, unresponsive: false });
        }
    }

    /// Looks at the watched windows if it is time to. Returns when it is again.
    pub(super) fn look(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.watched.retain_mut(|each| each.stays(main, now, self.after));
        }
        if self.next.is_none() && !self.watched.is_empty() {
            self.next = now.checked_add(self.look_every);
        }
        self.next
    }
}

impl WatchedWindow {
    /// Looks at the window, and tells the application of a change. Returns whether it is looked at again.
    fn stays(&mut self, main: &MainShared, now: Instant, after: Duration) -> bool {
        let Self { port, consumed, since, unresponsive } = self;
        if port.gone().is_some() {
            return false;
        }
        let has_unread = port.sender.has_unread_messages();
        let (consumed_before, before) = (*consumed, *unresponsive);
        *consumed = port.consumed();
        // One that has not connected yet has a deadline of its own.
        if !has_unread || *consumed != consumed_before || !port.is_connected() {
            *since = now;
            *unresponsive = false;
        } else if now.saturating_duration_since(*since) >= after {
            *unresponsive = true;
        }
        if *unresponsive != before {
            let (tell, hooks): (fn(u32), _) = if *unresponsive {
                (trace::unresponsive, &main.hooks.unresponsive)
            } else {
                (trace::responsive, &main.hooks.responsive)
            };
            tell(port.window);
            hooks.run(port, &());
        }
        has_unread || !may_leave(port)
    }
}

/// Returns whether a window has taken all. Then the loop is told of the next send.
fn may_leave(port: &Port) -> bool {
    if port.sender.has_unread_messages() {
        return false;
    }
    port.sender.tell_of_next_send();
    // A thread that was sending meanwhile has not seen the wish.
    !port.sender.has_unread_messages()
}
