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
        if self.watched.iter().any(|known| Arc::ptr_eq(&known.port, &port)) {
            return;
        }
        let each = WatchedWindow::new(port, now);
        if from_elsewhere || !each.may_leave() {
            self.watched.push(each);
        }
    }

    /// Looks at the watched windows if it is time to. Returns when it is again.
    pub(super) fn look(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        if self.next.is_some_and(|next| next <= now) {
            self.next = None;
            self.look_at_watched(main, now);
        }
        if self.next.is_none() && !self.watched.is_empty() {
            self.next = now.checked_add(self.look_every);
        }
        self.next
    }

    fn look_at_watched(&mut self, main: &MainShared, now: Instant) {
        let mut index = 0;
        while let Some(each) = self.watched.get_mut(index) {
            if each.port.gone().is_some() {
                self.watched.swap_remove(index);
                continue;
            }
            let before = each.unresponsive;
            let unread_frames = each.look(now, self.after);
            if each.unresponsive != before {
                let tell = if each.unresponsive { trace::unresponsive } else { trace::responsive };
                tell(each.port.window);
                main.hooks.responsiveness(&each.port, !each.unresponsive);
            }
            if unread_frames || !each.may_leave() {
                index += 1;
            } else {
                self.watched.swap_remove(index);
            }
        }
    }
}

impl WatchedWindow {
    fn new(port: Arc<Port>, now: Instant) -> Self {
        let consumed = port.consumed();
        Self { port, consumed, since: now, unresponsive: false }
    }

    /// Returns whether there is something that it has not taken.
    fn look(&mut self, now: Instant, after: Duration) -> bool {
        let unread_frames = self.port.sender.has_unread_messages();
        let consumed = self.port.consumed();
        let moves = consumed != self.consumed;
        self.consumed = consumed;
        // One that has not connected yet has a deadline of its own.
        if !unread_frames || moves || !self.port.is_connected() {
            self.since = now;
            self.unresponsive = false;
        } else if now.saturating_duration_since(self.since) >= after {
            self.unresponsive = true;
        }
        unread_frames
    }

    /// Returns whether it has taken all. Then the loop is told of the next send.
    fn may_leave(&self) -> bool {
        if self.port.sender.has_unread_messages() {
            return false;
        }
        self.port.sender.tell_of_next_send();
        // A thread that was sending meanwhile has not seen the wish.
        !self.port.sender.has_unread_messages()
    }
}
