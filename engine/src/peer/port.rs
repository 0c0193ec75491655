//! Everything that both directions of a conversation share.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use fixedbitset::FixedBitSet;

use crate::{
    contract::channel_table::ChannelTable,
    error::GoneReason,
    metrics::{SessionMetrics, counters::SessionCounters},
    peer::{
        incoming_request::IncomingRequest, large::Attachments, outgoing_requests::OutgoingRequests,
        timed_requests::TimedRequests,
    },
    primitives::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering},
    ring::{producer::Producer, unread_frames::UnreadFrames},
    shm::shared::Shared,
    sync::owner_lock::OwnerLock,
    wake::{
        bell::{Interrupt, PeerBell},
        space_waiters::SpaceWaiters,
    },
    wire::{frame::Label, id::RequestId, outbox::OutboxControl},
};

use super::invocation::{EventLoop, Notify, Outcome, Reason};
use super::replies::Kept;

/// Which end of a session this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Main,
    Renderer,
}

/// What a send does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Fails at once.
    None,
    /// Waits as long as plain sends do.
    Usual,
    /// Waits for so long at the most.
    For(Duration),
}

/// The settings that both ends of a session share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// How many requests of the peer may be unanswered here.
    pub(crate) owed_max: u16,
    /// How many requests of ours may be unanswered there.
    pub(crate) pending_max: u16,
    /// How long a plain send waits for room.
    pub(crate) send_timeout: Duration,
    /// How long a message of the peer may be. In a renderer, of any length: main is trusted.
    pub(crate) received_max: u64,
    /// Whether a message of the peer that a validator refuses is a violation.
    pub(crate) rejection_is_violation: bool,
}

pub(crate) struct Port {
    pub(crate) side: Side,
    /// The window's number, the same on both sides.
    pub(crate) window: u32,
    /// 0 until it is known.
    pub(crate) peer_pid: AtomicU32,
    pub(crate) channels: Arc<ChannelTable>,
    /// What the renderer of this session may say and hear.
    pub(crate) allowed: FixedBitSet,
    pub(crate) limits: SessionLimits,
    pub(crate) counters: SessionCounters,
    pub(crate) own: Shared<OutboxControl>,
    pub(crate) peer: Shared<OutboxControl>,
    pub(crate) bell: PeerBell,
    /// Ends the sleeps of this process's threads on the peer's bell.
    pub(crate) interrupt: Interrupt,
    pub(crate) event_loop: Weak<dyn EventLoop>,
    pub(crate) attachments: Attachments,
    /// The longest payload of a frame, and of a message: what is longer than the first is attached.
    pub(super) in_band_max: usize,
    pub(super) message_max: usize,
    /// How many bytes the ring that the peer writes holds.
    pub(super) inbox_capacity: usize,
    pub(crate) timed_requests: TimedRequests,

    pub(super) outbox: OwnerLock<Outbox>,
    pub(super) space_waiters: SpaceWaiters,
    /// The loop wants to know that there is a frame that the peer has to take.
    pub(super) tell: AtomicBool,
    /// What the peer has yet to take.
    pub(super) unread_frames: UnreadFrames,
    /// The handshake is over.
    pub(super) connected: AtomicBool,

    /// Our requests, and whether replies or cancels wait for room.
    pub(super) pending: OutgoingRequests<Notify, Outcome>,
    pub(super) owed: Mutex<HashMap<RequestId, Arc<IncomingRequest>>>,
    /// How many there are at the most: only the driver adds any, and it reads this without the lock.
    pub(super) owed_count: AtomicU64,
    pub(super) gone: OnceLock<GoneReason>,
    /// The peer is dead, and what it committed is being taken: its invokes are counted, not run.
    pub(super) orphaned: AtomicBool,
    pub(super) close_requested: AtomicBool,
    /// In how long the peer is launched again.
    pub(super) restarts_in: Mutex<Option<Duration>>,
}

/// What writes into our outbox, one thread at a time.
pub(super) struct Outbox {
    pub(super) producer: Producer,
    pub(super) backlog: VecDeque<(Label, Kept)>,
    pub(super) backlog_bytes: usize,
    /// The id of the next request: begun while the last one was on its way, so that this one need not
    /// wait for the table.
    pub(super) spare: Option<RequestId>,
}

/// What a port is made of.
pub(crate) struct PortParts {
    pub(crate) side: Side,
    pub(crate) window: u32,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) allowed: FixedBitSet,
    pub(crate) limits: SessionLimits,
    pub(crate) own: Shared<OutboxControl>,
    pub(crate) peer: Shared<OutboxControl>,
    pub(crate) bell: PeerBell,
    pub(crate) interrupt: Interrupt,
    pub(crate) producer: Producer,
    pub(crate) inbox_capacity: usize,
    pub(crate) peer_pid: u32,
    pub(crate) event_loop: Weak<dyn EventLoop>,
    pub(crate) attachments: Attachments,
    /// The longest payload that may be attached, in bytes.
    pub(crate) attached_max: u64,
}

impl Port {
    pub(crate) fn new(parts: PortParts) -> Arc<Self> {
        let PortParts {
            side,
            window,
            channels,
            allowed,
            limits,
            own,
            peer,
            bell,
            interrupt,
            producer,
            inbox_capacity,
            peer_pid,
            event_loop,
            attachments,
            attached_max,
        } = parts;
        let in_band_max = producer.payload_max();
        let unread_frames = producer.unread_frames();
        Arc::new(Self {
            side,
            window,
            peer_pid: AtomicU32::new(peer_pid),
            channels,
            allowed,
            limits,
            counters: SessionCounters::default(),
            space_waiters: SpaceWaiters::new(own.clone()),
            own,
            peer,
            bell,
            interrupt,
            event_loop,
            attachments,
            in_band_max,
            message_max: in_band_max.max(usize::try_from(attached_max).unwrap_or(usize::MAX)),
            inbox_capacity,
            timed_requests: TimedRequests::new(),
            outbox: OwnerLock::new(Outbox {
                producer,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
                spare: None,
            }),
            tell: AtomicBool::new(false),
            unread_frames,
            connected: AtomicBool::new(false),
            pending: OutgoingRequests::new(limits.pending_max),
            owed: Mutex::new(HashMap::new()),
            owed_count: AtomicU64::new(0),
            gone: OnceLock::new(),
            orphaned: AtomicBool::new(false),
            close_requested: AtomicBool::new(false),
            restarts_in: Mutex::new(None),
        })
    }

    /// How the peer went, if it did.
    pub(crate) fn gone(&self) -> Option<&GoneReason> {
        self.gone.get()
    }

    /// The session is over: nothing is sent any more, and everything that waits ends. Only the first
    /// reason counts.
    pub(crate) fn end(&self, reason: GoneReason) {
        let _ = self.gone.set(reason.clone());
        let waiting =
            self.requests(|requests| requests.fail_all(|outcome| outcome.set_gone(reason.clone())));
        for notify in waiting {
            self.notify(notify);
        }
        let owed: Vec<_> = self.owed(|owed| owed.drain().collect());
        for (_, owed) in owed {
            owed.cancel();
        }
        self.end_attachments();
        self.interrupt.raise();
    }

    pub(crate) fn mark_orphaned(&self) {
        // Relaxed: the driver writes these and reads them; the driver lock orders one driver after another.
        self.orphaned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    /// Asks the loop to end the session.
    pub(crate) fn request_close(&self) {
        // Relaxed: the notice hands it over.
        if !self.close_requested.swap(true, Ordering::Relaxed) {
            self.notice(Reason::Ended);
        }
    }

    pub(crate) fn close_requested(&self) -> bool {
        self.close_requested.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts_in(&self) -> Option<Duration> {
        *self.restarts_in.lock()
    }

    pub(crate) fn set_restarts_in(&self, span: Option<Duration>) {
        *self.restarts_in.lock() = span;
    }

    /// The driver's part: whether the peer has yet to take something that asks anything of it.
    pub(crate) fn has_untaken(&self) -> bool {
        self.unread_frames.asks_something(self.consumed())
    }

    /// How this session is doing. Without the outbox's lock, which its favourite would pay for.
    pub(crate) fn metrics(&self) -> SessionMetrics {
        // One slot is taken beforehand for the next request once there was a first, unless all are in use.
        let spare = usize::from(self.counters.invokes_sent.get() > 0);
        let pending = self.requests(|requests| requests.pending());
        let all = pending == usize::from(self.limits.pending_max);
        SessionMetrics {
            outbox_capacity_bytes: self.unread_frames.capacity() as u64,
            outbox_used_bytes: self.unread_frames.bytes(self.consumed()) as u64,
            inbox_capacity_bytes: self.inbox_capacity as u64,
            pending_invokes: if all { pending } else { pending.saturating_sub(spare) } as u64,
            unanswered_invokes: self.owed_count.load(Ordering::Relaxed),
            asleep: u64::from(self.peer.parked.asleep().is_some()),
        }
    }

    /// The driver's part: the handshake is over.
    pub(crate) fn set_connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}
