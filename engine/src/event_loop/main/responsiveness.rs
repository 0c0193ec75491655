//! Who does not take what main has sent: Electron's `unresponsive` and `responsive`.
//!
//! ```text
//!                    from another thread, or not taken yet
//!   the first send ────────────────────────────────────────▶ watched
//!   after a quiet                                               │
//!   time           ◀────────────────────────────────────────────┘
//!                    all taken: tell of the next send, look once more, forget
//! ```
//!
//! A send costs nothing for it, but the first to a renderer after a quiet time, which tells the loop. The loop
//! has a timer only while there is something that was not taken when it last looked. So it wakes up now and then
//! while others of main's threads send, and idle processes do not wake up at all. What a loop sends itself it looks
//! after when it goes to sleep, where it usually finds it taken.
//!
//! Nobody is watched unless the application listens for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::shared::MainShared;
use crate::{peer::Port, trace};

/// The times between two looks.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// One renderer that main has sent something to.
struct WatchedWindow {
    port: Arc<Port>,
    /// How far it had read, and when that was first seen.
    consumed: u64,
    since: Instant,
    unresponsive: bool,
}

pub(super) struct Responsiveness {
    /// How long a renderer may take nothing.
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

    /// Says whether there is something that it has not taken.
    fn look(&mut self, now: Instant, after: Duration) -> bool {
        let unread_frames = self.port.has_untaken();
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

    /// Whether it has taken all, and its next message is told of.
    fn may_leave(&self) -> bool {
        if self.port.has_untaken() {
            return false;
        }
        self.port.tell_of_next_send();
        // Asked first, now looked again: who was sending did not hear of the wish.
        !self.port.has_untaken()
    }
}
