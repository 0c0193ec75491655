//! Which windows the loop looks at: busy ones in every turn, armed ones in rotation, held ones not at all.
//!
//! A window is armed once and stays so until it rings. While the loop is awake for others, armed windows
//! are looked at in memory, a few at a time: a frame that is seen there needs no system call, and a ring
//! that is not seen is heard at the next housekeeping.

use std::time::Instant;

use super::windows::{Input, Windows};
use crate::{
    kill_points::{KillPoint, reach},
    trace,
};

/// Up to this number, quiet windows stay busy while the loop is awake: a look costs less than the ring that
/// arming asks for.
const BUSY_KEPT: usize = 4;
/// Looks in which a window had nothing, before it is armed while others keep the loop awake.
const QUIET_LOOKS: u32 = 4096;
/// The same for all busy windows together, some 10 ms. Of very many windows each gets fewer looks, but at
/// least the cost of its ring.
const QUIET_LOOKS_OF_ALL: u32 = 1 << 20;
const QUIET_LOOKS_MIN: u32 = 256;
/// While the loop is awake, it looks at this many armed windows ...
const ARMED_LOOKS: usize = 8;
/// ... for this much effort: an eighth of its time, whatever their number.
const ARMED_EVERY: usize = 64;
/// The effort of a frame, in looks. A turn that finds nothing is one.
const FRAME_EFFORT: usize = 8;

impl Windows {
    /// Returns whether to arm a busy window, while others keep the loop awake.
    #[inline]
    pub(super) fn is_quiet(&self, place: usize) -> bool {
        let busy = self.busy.len();
        busy > BUSY_KEPT
            && self.connections[place].as_ref().is_some_and(|connection| {
                let of_each = QUIET_LOOKS_OF_ALL / busy as u32;
                connection.quiet > of_each.clamp(QUIET_LOOKS_MIN, QUIET_LOOKS)
            })
    }

    /// Asks the renderer to ring with its next frame. The caller takes the window out of the busy ones.
    /// `false`: the renderer has sent one meanwhile.
    pub(super) fn arm(&mut self, place: usize) -> bool {
        // It fails only for want of memory, and then the window is looked at as before.
        if self.listen(place, Input::Bell, true).is_err() {
            return false;
        }
        let Self { connections, armed, .. } = self;
        let Some(connection) = connections[place].as_mut() else { return true };
        let Some(session) = connection.session.as_mut() else { return true };
        session.port.own.parked.announce();
        reach(KillPoint::ParkAnnounced);
        if session.has_news() {
            session.port.own.parked.withdraw();
            connection.quiet = 0;
            return false;
        }
        session.port.counters.parks.add_alone(1);
        connection.armed = Some(armed.len());
        armed.push(place);
        true
    }

    /// Takes a window out of the armed ones, if it is one.
    pub(super) fn disarm(&mut self, place: usize) -> bool {
        let Some(connection) = self.connection(place) else { return false };
        let Some(at) = connection.armed.take() else { return false };
        connection.quiet = 0;
        if let Some(port) = connection.port() {
            reach(KillPoint::ParkEnded);
            port.own.parked.withdraw();
        }
        self.armed.swap_remove(at);
        // The last one has moved there, unless it was this one.
        if let Some(&moved) = self.armed.get(at)
            && let Some(connection) = self.connection(moved)
        {
            connection.armed = Some(at);
        }
        true
    }

    /// Has an armed window looked at in every turn from now on: it has rung, or has a frame.
    fn make_busy(&mut self, place: usize) {
        if self.disarm(place) {
            self.busy.push(place);
        }
    }

    /// Looks at armed windows, as many as the effort since the last look allows.
    #[inline]
    pub(super) fn look_at_armed_in_turn(&mut self, taken: usize) {
        self.effort += 1 + taken * FRAME_EFFORT;
        if self.effort >= ARMED_EVERY {
            let looks = self.effort / ARMED_EVERY * ARMED_LOOKS;
            self.effort = 0;
            self.look_at_armed(looks);
        }
    }

    /// Looks at this many of the armed windows, in memory, where the frame of a ring shows first.
    pub(super) fn look_at_armed(&mut self, looks: usize) {
        for _ in 0..looks.min(self.armed.len()) {
            if self.next_armed >= self.armed.len() {
                self.next_armed = 0;
            }
            let Some(&place) = self.armed.get(self.next_armed) else { return };
            if self.session(place).is_some_and(|session| session.has_news()) {
                // Another one takes its place in the list.
                self.make_busy(place);
            } else {
                self.next_armed += 1;
            }
        }
    }

    // --- held windows ----------------------------------------------------------------------------

    /// Leaves a busy window alone until its quota allows more. What it commits stays in its ring, and its
    /// rings are not heard.
    #[cold]
    pub(super) fn hold(&mut self, place: usize, until: Instant) {
        let Some(session) = self.session(place) else { return };
        session.port.counters.throttled.add_alone(1);
        trace::held(session.port.window);
        session.publish();
        session.port.sender.flush();
        let _ = self.listen(place, Input::Bell, false);
        self.busy.retain(|&busy| busy != place);
        self.hold_until(place, until);
    }

    /// Leaves a busy window that floods main with wakes alone for a moment, if it is one. The caller takes
    /// it out of the busy ones.
    #[inline]
    pub(super) fn hold_in_flood(&mut self, place: usize) -> bool {
        let until = self.connection(place).and_then(|connection| connection.rings.next_look());
        until.inspect(|until| self.hold_until(place, *until)).is_some()
    }

    fn hold_until(&mut self, place: usize, until: Instant) {
        if let Some(connection) = self.connection(place) {
            connection.held_until = Some(until);
            self.reschedule(place);
        }
    }

    /// Looks again at a window whose time has come.
    pub(super) fn release(&mut self, place: usize) {
        if let Some(session) = self.session(place) {
            trace::released(session.port.window);
        }
        self.busy.push(place);
    }

    /// Acts on a window's ring. If that was for nothing, and too often, its rings are not heard for a while.
    pub(super) fn heed_ring(&mut self, place: usize) {
        let Some(connection) = self.connection(place) else { return };
        let Some(session) = connection.session.as_mut() else { return };
        let (position, has_news) = (session.consumer.position(), session.has_news());
        if !connection.deaf && connection.rings.note(position, has_news) {
            session.port.counters.storms.add_alone(1);
            trace::storm(session.port.window);
            let _ = self.listen(place, Input::Bell, false);
        }
        self.make_busy(place);
    }
}
