//! One end of what ties two processes together that share nothing but names: what a socket is elsewhere.
//!
//! ```text
//!   page         who is here, who has left; the events on which this session's threads sleep
//!   mail, two    rings like those for messages, one each way: packets, with the numbers of the segments that
//!                a packet hands over
//! ```
//!
//! A packet is one frame: how many segments it hands over, their numbers, and its bytes. Its end is the peer's leaving,
//! or its death, which the watcher finds out; what was sent before either can still be received.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use crate::portable::watcher::{End, Signs, WatchedProcess, Watcher};
use crate::{
    os::socket::Readiness,
    portable::{
        doorbell::Doorbell, event::NamedEvent, event_sleep::EventSleep, name::SegmentName,
        rendezvous::SessionPage,
    },
    primitives::Mutex,
    ring::{
        consumer::{Consumer, Writer},
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
/// No wait for packets is longer: a look finds the other end gone, of which nothing tells.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// A handed-over segment's number.
const NUMBER: usize = size_of::<u32>();

/// What both ends map.
pub(crate) struct Parts {
    pub(crate) page: Shared<SessionPage>,
    pub(crate) page_name: SegmentName,
    /// What this process writes, and what it reads.
    pub(crate) own: OutboxMemory,
    pub(crate) peer: OutboxMemory,
    pub(crate) doorbell: Arc<Doorbell>,
}

pub(crate) struct Mailbox {
    page: Shared<SessionPage>,
    page_name: SegmentName,
    out: Mutex<Producer>,
    inbox: Mutex<Inbox>,
    doorbell: Arc<Doorbell>,
    events: Events,
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

/// The session's events, from either end.
enum Events {
    Main { bell: Arc<NamedEvent>, room: Arc<EventSleep>, post: Arc<NamedEvent> },
    Renderer { bell: Arc<EventSleep>, room: Arc<NamedEvent>, post: Arc<NamedEvent> },
}

impl Mailbox {
    /// Main's end. It makes the events, so nobody else has the page yet.
    pub(super) fn of_main(parts: Parts, watcher: &Watcher) -> io::Result<Self> {
        let Parts { page, doorbell, .. } = &parts;
        let bell = Arc::new(NamedEvent::create(page.clone().map(|page| &page.bell))?);
        let room = NamedEvent::create(page.clone().map(|page| &page.room))?;
        let room = Arc::new(EventSleep::new(room));
        let post = Arc::new(NamedEvent::create(page.clone().map(|page| &page.post))?);
        let events = Events::Main { bell: bell.clone(), room: room.clone(), post: post.clone() };
        let renderer = Signs::Presence(page.clone().map(|page| &*page.renderer));
        let doorbell = doorbell.clone();
        let on_gone = move |end| {
            if end == End::Died {
                bell.rescue();
                room.rescue();
                post.rescue();
                doorbell.give_up_present();
            }
        };
        let peer = WatchedProcess::new(renderer, on_gone);
        watcher.watch(peer.clone());
        Ok(Self::new(parts, events, peer, None))
    }

    /// A renderer's end. `main` says that main lives.
    pub(super) fn of_renderer(parts: Parts, main: Signs) -> io::Result<Self> {
        let Parts { page, doorbell, .. } = &parts;
        let bell = NamedEvent::open(page.clone().map(|page| &page.bell))?;
        let bell = Arc::new(EventSleep::new(bell));
        let room = Arc::new(NamedEvent::open(page.clone().map(|page| &page.room))?);
        let post = Arc::new(NamedEvent::open(page.clone().map(|page| &page.post))?);
        let events =
            Events::Renderer { bell: bell.clone(), room: room.clone(), post: post.clone() };
        let presence = page.clone().map(|page| &*page.renderer);
        let (doorbell, rung) = (doorbell.clone(), doorbell.clone());
        let watcher = Watcher::start(presence, move || rung.free_the_caught())?;
        let on_gone = move |end| {
            if end == End::Died {
                bell.rescue();
                room.rescue();
                post.rescue();
                doorbell.give_up();
            }
        };
        let peer = WatchedProcess::new(main, on_gone);
        watcher.watch(peer.clone());
        Ok(Self::new(parts, events, peer, Some(watcher)))
    }

    fn new(
        parts: Parts,
        events: Events,
        peer: Arc<WatchedProcess>,
        watcher: Option<Watcher>,
    ) -> Self {
        let Parts { page, page_name, own, peer: theirs, doorbell } = parts;
        own.control.initialise(MAIL_CAPACITY);
        let consumer = Consumer::new(Writer::Renderer, theirs.data, own.control.clone(), 0);
        Self {
            page,
            page_name,
            out: Mutex::new(Producer::new(own.data, theirs.control, 0)),
            inbox: Mutex::new(Inbox { consumer, packet: AlignedBuf::new() }),
            doorbell,
            events,
            peer,
            closed: Flag::default(),
            _watcher: watcher,
        }
    }

    /// By what the other end finds it.
    pub(crate) fn page_name(&self) -> &SegmentName {
        &self.page_name
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
            MemoryHandle::Segment(self.page_name.sibling(u32::from_ne_bytes(*number)))
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

    /// A renderer's: sleeps until there is something to read, at most for `timeout`. May come back early.
    pub(crate) fn poll_readable(&self, timeout: Option<Duration>) -> Readiness {
        let found = self.readiness();
        if !found.readable
            && let Events::Renderer { post, .. } = &self.events
        {
            post.wait(timeout.unwrap_or(WAIT_MAX).min(WAIT_MAX));
            return self.readiness();
        }
        found
    }

    /// Ends it for both sides. What was sent before can still be received.
    pub(crate) fn shutdown(&self) {
        if self.closed.is_raised() {
            return;
        }
        self.closed.raise();
        match &self.events {
            Events::Main { .. } => self.page.main_left.say(),
            Events::Renderer { post, .. } => {
                self.page.renderer_left.say();
                post.set();
            }
        }
        self.ring_peer();
        if let Events::Renderer { .. } = &self.events {
            // Behind the ring: who dies in that has not left in order, and main frees whoever it has caught.
            self.page.renderer.leave();
        }
    }

    /// Whether either end has left, or the other is dead.
    fn is_over(&self) -> bool {
        let peer_has_left = match &self.events {
            Events::Main { .. } => self.page.renderer_left.is_said(),
            Events::Renderer { .. } => self.page.main_left.is_said(),
        };
        peer_has_left || self.peer.is_gone() || self.closed.is_raised()
    }

    fn ring_peer(&self) {
        match &self.events {
            // A dead one's event is nobody's business any more.
            _ if self.peer.is_gone() => {}
            Events::Main { post, .. } => post.set(),
            Events::Renderer { .. } => {
                self.page.rung.set();
                self.doorbell.ring();
            }
        }
    }

    // --- waking ----------------------------------------------------------------------------------

    /// How this end wakes the other's threads, and how its own sleep.
    pub(crate) fn signals(&self) -> (Signal, Interrupt) {
        match &self.events {
            Events::Main { bell, room, .. } => {
                (Signal::OfRenderer(bell.clone()), Interrupt::of_event(room.clone()))
            }
            Events::Renderer { bell, room, .. } => {
                let rung = self.page.clone().map(|page| &*page.rung);
                let (doorbell, room) = (self.doorbell.clone(), room.clone());
                (Signal::OfMain { rung, doorbell, room }, Interrupt::of_event(bell.clone()))
            }
        }
    }

    /// Main's: whether the renderer has rung since the last look.
    pub(crate) fn take_ring(&self) -> bool {
        self.page.rung.hear()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.shutdown();
    }
}

pub(super) fn segment_of(handle: &MemoryHandle) -> io::Result<&SegmentName> {
    match handle {
        MemoryHandle::Segment(name) => Ok(name),
        #[cfg(target_os = "linux")]
        MemoryHandle::Descriptor(_) => Err(io::Error::other("memory without a name")),
    }
}
