//! The state that all parts of a conversation share: the peer, its rights, and whether it is there.

use std::{
    sync::{Arc, OnceLock, Weak},
    thread::Thread,
    time::{Duration, Instant},
};

use fixedbitset::FixedBitSet;

use crate::{
    contract::{ChannelKey, ChannelKind, channel_table::ChannelTable},
    metrics::counters::SessionCounters,
    peer::{error::SendError, requests::outcome::Awaited},
    primitives::AtomicU32,
    session::liveness::GoneReason,
    shm::shared::Shared,
    sync::reentrancy::{self, CurrentLoop},
    wake::bell::{Interrupt, PeerBell},
    wire::{
        frame::Violation,
        kind::{ChannelUse, Kind},
        outbox::OutboxControl,
    },
};

/// The end of a session that this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Main,
    Renderer,
}

/// The settings that both ends of a session share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// The most requests of the peer that may be unanswered here.
    pub(crate) owed_max: u16,
    /// The most requests of ours that may be unanswered there.
    pub(crate) pending_max: u16,
    /// The longest time that a plain send waits for room.
    pub(crate) send_timeout: Duration,
    /// The longest message of the peer. Unlimited in a renderer: main is trusted.
    pub(crate) received_max: u64,
    /// Whether a message of the peer that a validator refuses is a violation.
    pub(crate) rejection_is_violation: bool,
}

/// The loop of this process, as its sessions and their callers reach it.
pub(crate) trait EventLoop: Send + Sync {
    /// Drives until the awaited request is settled or the time-out has passed. `false`: another
    /// thread drives, and unparks `me` when it stops.
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> bool;

    /// Tells the loop that something happened to a window outside its rings. Ends the loop's sleep, if the reason
    /// does not wait for the next housekeeping.
    fn notice(&self, window: u32, reason: Reason);
}

/// Why the loop is to look after a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The session was broken off, or is to be closed.
    Ended,
    /// Cancels wait for room in the outbox.
    Deferred,
    /// A request with a deadline has begun. The loop need not wake for it.
    Begun,
    /// No thread blocks on a request that has begun, so the loop enforces its deadline.
    Unattended,
    /// A frame was or is about to be committed, and the loop had asked to be told.
    Sent,
    /// There are attachments to free, or parcels to send, when the renderer has read more.
    Untidy,
}

/// Both control pages of a session, the bell, the limits, the counters and the end.
pub(crate) struct Link {
    pub(crate) side: Side,
    /// The window's number, the same on both sides.
    pub(crate) window: u32,
    /// 0 until it is known.
    pub(crate) peer_pid: AtomicU32,
    pub(crate) channels: Arc<ChannelTable>,
    /// The channels that the policy allows the renderer of this session.
    pub(crate) allowed: FixedBitSet,
    pub(crate) limits: SessionLimits,
    pub(crate) counters: SessionCounters,
    /// This side's control page, which it alone writes.
    pub(crate) own: Shared<OutboxControl>,
    /// The peer's control page.
    pub(crate) peer: Shared<OutboxControl>,
    pub(crate) bell: PeerBell,
    /// Ends the sleeps of this process's threads on the peer's bell.
    pub(crate) interrupt: Interrupt,
    pub(crate) event_loop: Weak<dyn EventLoop>,
    pub(crate) gone: OnceLock<GoneReason>,
}

impl Link {
    /// How the peer went, if it did.
    #[inline]
    pub(crate) fn gone(&self) -> Option<&GoneReason> {
        self.gone.get()
    }

    /// Ends the session because the peer broke the protocol where no driver sees it. The driver cleans
    /// up at its next turn.
    pub(crate) fn break_off(&self, violation: Violation) {
        self.counters.violations.add();
        let _ = self.gone.set(GoneReason::ProtocolViolation(violation));
        self.notice(Reason::Ended);
    }

    /// Has the loop look after this window.
    pub(super) fn notice(&self, reason: Reason) {
        if let Some(event_loop) = self.event_loop.upgrade() {
            event_loop.notice(self.window, reason);
        }
    }

    /// Returns the position up to which the peer claims to have read. For attachments it may be
    /// believed: a renderer that lies spoils its own payloads, and main is trusted.
    pub(crate) fn consumed(&self) -> u64 {
        self.peer.consumed.observe()
    }

    /// Returns the channel's number, if both contracts have it.
    pub(crate) fn known(&self, key: &ChannelKey) -> Result<u16, SendError> {
        self.channels.number(key).ok_or_else(|| self.not_permitted(key, false))
    }

    /// Returns the channel's number, if the policy lets this session use it.
    #[inline]
    pub(crate) fn permitted(&self, key: &ChannelKey) -> Result<u16, SendError> {
        match self.channels.number(key) {
            Some(number) if self.allowed.contains(usize::from(number)) => Ok(number),
            found => Err(self.not_permitted(key, found.is_some())),
        }
    }

    /// Returns whether the policy lets this session use the channel.
    pub(crate) fn allows(&self, key: &ChannelKey) -> bool {
        self.channels.number(key).is_some_and(|number| self.allowed.contains(usize::from(number)))
    }

    #[cold]
    fn not_permitted(&self, key: &ChannelKey, is_known: bool) -> SendError {
        let channel = key.name();
        if is_known {
            self.counters.forbidden.add();
            SendError::Forbidden { channel }
        } else {
            self.counters.unknown_channels.add();
            SendError::UnknownChannel { channel }
        }
    }

    /// Checks that the peer may send a message of this kind and length on this channel.
    #[inline(always)]
    pub(super) fn check(&self, kind: Kind, channel: u16, len: u64) -> Result<(), Violation> {
        let max = self.limits.received_max;
        if len > max {
            return Err(Violation::MessageTooLong { len, max });
        }
        let wrong_way = Violation::WrongDirection { kind: kind as u8, channel };
        if kind.rules().from_renderer_only && self.side == Side::Renderer {
            return Err(wrong_way);
        }
        let expected = match kind.rules().channel {
            ChannelUse::None => return Ok(()),
            ChannelUse::OneWay if self.side == Side::Main => ChannelKind::Event,
            ChannelUse::OneWay => ChannelKind::Push,
            ChannelUse::Method => ChannelKind::Method,
            ChannelUse::Topic => ChannelKind::Topic,
        };
        match self.channels.kind(channel) {
            Some(found) if found == expected => {}
            Some(_) => return Err(wrong_way),
            None => return Err(Violation::UnknownChannel { channel }),
        }
        // The policy binds the renderer; main may invoke any method that the renderer handles.
        if self.side == Side::Main && !self.allowed.contains(usize::from(channel)) {
            return Err(Violation::ForbiddenChannel { channel });
        }
        Ok(())
    }
}

/// What a send does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Fails at once.
    None,
    /// Waits as long as plain sends do.
    Usual,
    /// Waits for this time at most.
    For(Duration),
}

/// The longest time that one call may wait, in all its steps together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// `None`: it does not wait.
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
}

impl Limit {
    /// Begins now. In main's loop, which never waits for a renderer, the time is none.
    pub(super) fn begin(link: &Link, patience: Patience) -> Self {
        let in_main_loop =
            link.side == Side::Main && matches!(reentrancy::now(), CurrentLoop::Main(_));
        let timeout = match patience {
            Patience::Usual if !in_main_loop => Some(link.limits.send_timeout),
            Patience::For(timeout) if !in_main_loop => Some(timeout),
            _ => None,
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { timeout, deadline }
    }

    pub(super) fn is_over(self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}
