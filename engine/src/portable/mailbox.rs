//! One end of what ties two processes together that share nothing but names: what a socket is elsewhere.
//!
//! ```text
//!   page         who is here, who has left; the two events of this session
//!   mail, two    rings like those for messages, one each way: packets, with the numbers of the segments that
//!                a packet hands over
//! ```
//!
//! A packet is one frame: how many segments it hands over, their numbers, and its bytes. Its end is the peer's leaving,
//! or its death, which the watcher finds out; what was sent before either can still be received.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::portable::watcher::{Signs, WatchedProcess, Watcher};
use crate::{
    os::socket::Readiness,
    peer::Side,
    portable::{
        event::NamedEvent,
        event_threads::{Listener, Ringer, Sleepers},
        name::SegmentName,
        named::Segment,
        rendezvous::SessionPage,
    },
    primitives::Mutex,
    ring::{
        consumer::Consumer,
        producer::{Producer, ReserveError},
    },
    session::control_channel::ControlPacket,
    shm::{
        aligned::AlignedBuf,
        handle::MemoryHandle,
        shared::{OutboxMemory, Shared},
    },
    sync::flag::Flag,
    wake::bell::{Interrupt, Signal},
    wire::frame::{Kind, Label},
};

/// How much each ring for packets holds. The longest packet is half of it, less a cell: a contract of some thousand
/// channels.
pub(crate) const MAIL_CAPACITY: usize = 128 * 1024;
/// A handed-over segment's number.
const NUMBER: usize = size_of::<u32>();

/// What both ends map.
pub(crate) struct Parts {
    pub(crate) page: Shared<SessionPage>,
    /// Where the page is.
    pub(crate) segment: Arc<Segment>,
    /// What this process writes, and what it reads.
    pub(crate) own: OutboxMemory,
    pub(crate) peer: OutboxMemory,
}

pub(crate) struct Mailbox {
    page: Shared<SessionPage>,
    segment: Arc<Segment>,
    side: Side,
    out: Mutex<Producer>,
    inbox: Mutex<Inbox>,
    /// Of this process.
    sleepers: Arc<Sleepers>,
    ringer: Arc<Ringer>,
    /// `None`: this end has left.
    listener: Mutex<Option<Listener>>,
    peer: Arc<WatchedProcess>,
    /// This end has left.
    closed: Flag,
    /// A renderer's own; main has one for all.
    _watcher: Option<Watcher>,
}

struct Inbox {
    consumer: Consumer,
    packet: AlignedBuf,
}

impl Mailbox {
    /// Main's end. It makes the events, so nobody else has the page yet.
    pub(super) fn of_main(
        parts: Parts,
        watcher: &Watcher,
        sleepers: Arc<Sleepers>,
    ) -> io::Result<Self> {
        let peer =
            WatchedProcess::new(Signs::Presence(parts.page.clone().map(|page| &*page.renderer)));
        watcher.watch(peer.clone());
        Self::new(parts, Side::Main, peer, sleepers, None)
    }

    /// A renderer's end. `main` says that main lives.
    pub(super) fn of_renderer(parts: Parts, main: Signs) -> io::Result<Self> {
        let sleepers = Arc::new(Sleepers::default());
        let presence = parts.page.clone().map(|page| &*page.renderer);
        let watcher = Watcher::start(presence, sleepers.clone(), || false)?;
        let peer = WatchedProcess::new(main);
        watcher.watch(peer.clone());
        Self::new(parts, Side::Renderer, peer, sleepers, Some(watcher))
    }

    fn new(
        parts: Parts,
        side: Side,
        peer: Arc<WatchedProcess>,
        sleepers: Arc<Sleepers>,
        watcher: Option<Watcher>,
    ) -> io::Result<Self> {
        let Parts { page, segment, own, peer: theirs } = parts;
        own.control.initialise(MAIL_CAPACITY);
        let consumer = Consumer::new(theirs.data, own.control.clone(), 0);
        let mains = page.clone().map(|page| &page.mains_event);
        let renderers = page.clone().map(|page| &page.renderers_event);
        let (rings, hears) = match side {
            Side::Main => (NamedEvent::create(renderers)?, NamedEvent::create(mains)?),
            Side::Renderer => (NamedEvent::open(mains)?, NamedEvent::open(renderers)?),
        };
        Ok(Self {
            page,
            segment,
            side,
            out: Mutex::new(Producer::new(own.data, theirs.control, 0)),
            inbox: Mutex::new(Inbox { consumer, packet: AlignedBuf::new() }),
            ringer: Arc::new(Ringer::start(rings)?),
            listener: Mutex::new(Some(Listener::start(hears, sleepers.clone())?)),
            sleepers,
            peer,
            closed: Flag::default(),
            _watcher: watcher,
        })
    }

    /// By what the other end finds it.
    pub(crate) fn page_name(&self) -> &SegmentName {
        self.segment.name()
    }

    /// The other end's process, as it says of itself; 0 if it has not come yet.
    pub(crate) fn peer_pid(&self) -> u32 {
        self.peer.pid()
    }

    // --- packets ---------------------------------------------------------------------------------

    /// Sends one packet, or fails with [`ErrorKind::WouldBlock`].
    pub(crate) fn try_send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        if self.is_over() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut packet = Vec::with_capacity(1 + handles.len() * NUMBER + bytes.len());
        packet.push(u8::try_from(handles.len()).map_err(io::Error::other)?);
        for handle in handles {
            packet.extend(segment_of(handle)?.number().to_ne_bytes());
        }
        packet.extend_from_slice(bytes);

        let mut out = self.out.lock();
        let reservation = out.reserve(packet.len()).map_err(|error| match error {
            ReserveError::Full => ErrorKind::WouldBlock.into(),
            error => io::Error::other(error),
        })?;
        out.write(&reservation, &packet);
        out.commit(reservation, Label { kind: Kind::Send, flags: 0, channel: 0, id: None });
        drop(out);
        self.ring_peer();
        Ok(())
    }

    /// Receives one packet, which hands over no more than `handles_max` segments; fails with
    /// [`ErrorKind::WouldBlock`] if there is none.
    pub(crate) fn try_receive(
        &self,
        buffer: &mut [u8],
        handles_max: usize,
    ) -> io::Result<ControlPacket> {
        // Before the look: what was sent before the end is received before it.
        let is_over = self.is_over();
        let mut inbox = self.inbox.lock();
        let Inbox { consumer, packet } = &mut *inbox;
        let Some(frame) = consumer.peek().map_err(io::Error::other)? else {
            if is_over {
                return Ok(ControlPacket { len: 0, handles: Vec::new() });
            }
            return Err(ErrorKind::WouldBlock.into());
        };
        consumer.copy_payload(&frame, packet);
        consumer.advance(frame);
        consumer.publish();
        let malformed = || io::Error::new(ErrorKind::InvalidData, "a packet that makes no sense");
        let (&[count], rest) = packet.as_slice().split_first_chunk().ok_or_else(malformed)?;
        let count = usize::from(count);
        let (numbers, bytes) = rest.split_at_checked(count * NUMBER).ok_or_else(malformed)?;
        if count > handles_max || bytes.len() > buffer.len() {
            return Err(malformed());
        }
        let (numbers, _) = numbers.as_chunks::<NUMBER>();
        let handles = numbers.iter().map(|number| {
            MemoryHandle::Segment(self.page_name().sibling(u32::from_ne_bytes(*number)))
        });
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(ControlPacket { len: bytes.len(), handles: handles.collect() })
    }

    /// Whether there is a packet, or the end.
    pub(crate) fn readiness(&self) -> Readiness {
        let hangup = self.is_over();
        // A packet that cannot be read is one too: whoever receives it finds out.
        let readable = hangup || !matches!(self.inbox.lock().consumer.peek(), Ok(None));
        Readiness { readable, hangup }
    }

    /// Sleeps until there is something to read, at most for `timeout`. May come back early.
    pub(crate) fn poll_readable(&self, timeout: Option<Duration>) -> Readiness {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.sleepers.sleep_while(|| !self.readiness().readable, deadline);
        self.readiness()
    }

    /// Ends it for both sides. What was sent before can still be received.
    pub(crate) fn shutdown(&self) {
        if self.closed.is_raised() {
            return;
        }
        self.closed.raise();
        match self.side {
            Side::Main => self.page.main_left.raise(),
            Side::Renderer => self.page.renderer.leave(),
        }
        self.ring_peer();
        self.ringer.end();
        drop(self.listener.lock().take());
        self.sleepers.wake();
    }

    /// Whether either end has left, or the other is dead.
    fn is_over(&self) -> bool {
        let peer_has_left = match self.side {
            Side::Main => self.page.renderer.has_left(),
            Side::Renderer => self.page.main_left.is_raised(),
        };
        peer_has_left || self.peer.is_gone() || self.closed.is_raised()
    }

    fn ring_peer(&self) {
        if !self.peer.is_gone() {
            if self.side == Side::Renderer {
                self.page.rung.raise();
            }
            self.ringer.ring();
        }
    }

    // --- waking ----------------------------------------------------------------------------------

    /// How this end wakes the other's threads, and how its own sleep.
    pub(crate) fn signals(&self) -> (Signal, Interrupt) {
        let rung = self.page.clone().map(|page| &*page.rung);
        let rung = (self.side == Side::Renderer).then_some(rung);
        let signal = Signal::Ringer { rung, ringer: self.ringer.clone() };
        (signal, Interrupt::of_sleepers(self.sleepers.clone()))
    }

    /// Main's: whether the renderer has rung since the last look.
    pub(crate) fn take_ring(&self) -> bool {
        self.page.rung.take()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.shutdown();
        if self.side == Side::Main {
            // A thread that is left behind in an event keeps the page mapped.
            self.segment.remove_name();
        }
    }
}

pub(super) fn segment_of(handle: &MemoryHandle) -> io::Result<&SegmentName> {
    match handle {
        MemoryHandle::Segment(name) => Ok(name),
        #[cfg(target_os = "linux")]
        MemoryHandle::Descriptor(_) => Err(io::Error::other("memory without a name")),
    }
}
