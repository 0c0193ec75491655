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
    time::{Duration, Instant},
    vec,
};

use crate::portable::watcher::{Signs, WatchedProcess, Watcher};
use crate::{
    config::Backend,
    kill_points::{KillPoint, reach},
    os::{
        process::user_id,
        processor,
        report::{Credentials, Readiness},
    },
    peer::Side,
    portable::{
        event::NamedEvent,
        event_threads::{Listener, Ringer, Sleepers},
        memory::NamedMemory,
        name::SegmentName,
        named::Segment,
        processes::group_id,
        rendezvous::{SessionPage, SharedFlag},
    },
    primitives::{Arc, AtomicU32, Mutex},
    ring::{
        consumer::{Consumer, Writer},
        producer::{Producer, ReserveError},
    },
    session::control_channel::{ControlPacket, PacketLink},
    shm::{
        aligned::AlignedBuf,
        handle::MemoryHandle,
        shared::{OutboxMemory, Shared},
    },
    sync::flag::Flag,
    wake::bell::{Interrupt, Signal, Sleep},
    wire::{
        frame::{Kind, Label},
        words::Bell,
    },
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
        own.control.identity.initialise(MAIL_CAPACITY);
        let consumer = Consumer::new(Writer::Renderer, theirs.data, own.control.clone(), 0);
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

    /// Whether there is a packet, or the end.
    pub(super) fn readiness(&self) -> Readiness {
        let hangup = self.is_over();
        // A packet that cannot be read is one too: whoever receives it finds out.
        let readable = hangup || !matches!(self.inbox.lock().consumer.peek(), Ok(None));
        Readiness { readable, hangup }
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

    /// Main's: whether the renderer has rung since the last look.
    pub(super) fn take_ring(&self) -> Readiness {
        Readiness { readable: self.page.rung.take(), hangup: false }
    }

    /// How this end wakes the other's threads, and how its own sleep.
    fn signals(&self) -> (Box<dyn Signal>, Interrupt) {
        let rung = self.page.clone().map(|page| &*page.rung);
        let rung = (self.side == Side::Renderer).then_some(rung);
        let signal = RingerSignal { rung, ringer: self.ringer.clone() };
        (Box::new(signal), Interrupt::of(self.sleepers.clone()))
    }
}

impl PacketLink for Mailbox {
    /// There is room for all of a handshake.
    fn send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        self.try_send(bytes, handles)
    }

    fn try_send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        if self.is_over() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut packet = Vec::with_capacity(1 + handles.len() * NUMBER + bytes.len());
        packet.push(u8::try_from(handles.len()).map_err(io::Error::other)?);
        for handle in handles {
            packet.extend(handle.of_kind::<NamedMemory>()?.name.number().to_ne_bytes());
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

    fn try_receive(&self, buffer: &mut [u8], handles_max: usize) -> io::Result<ControlPacket> {
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
            MemoryHandle::from(self.page_name().sibling(u32::from_ne_bytes(*number)))
        });
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(ControlPacket { len: bytes.len(), handles: handles.collect() })
    }

    fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<Readiness> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.sleepers.sleep_while(|| !self.readiness().readable, deadline);
        Ok(self.readiness())
    }

    fn shutdown(&self) -> io::Result<()> {
        if self.closed.is_raised() {
            return Ok(());
        }
        self.closed.raise();
        match self.side {
            Side::Main => self.page.main_left.raise(),
            Side::Renderer => self.page.renderer.leave(),
        }
        self.ring_peer();
        self.ringer.end();
        drop(self.listener.lock().take());
        Sleepers::wake(&self.sleepers);
        Ok(())
    }

    /// Between processes that trust each other it is who it says it is; and of this user, since nobody else can open
    /// the memory. 0 if it has not come yet.
    fn peer_credentials(&self) -> io::Result<Credentials> {
        Ok(Credentials { pid: self.peer.pid(), uid: user_id(), gid: group_id() })
    }

    fn mains_signals(&self) -> io::Result<(Box<dyn Signal>, Interrupt)> {
        Ok(self.signals())
    }

    fn bell_to_hand_over(&self) -> io::Result<Option<MemoryHandle>> {
        Ok(None)
    }

    fn renderers_signals(
        &self,
        _handed_over: &mut vec::IntoIter<MemoryHandle>,
    ) -> Option<(Box<dyn Signal>, Interrupt)> {
        Some(self.signals())
    }

    fn backend(&self) -> Backend {
        Backend::Portable
    }
}

/// Wakes the other end's threads by its event.
struct RingerSignal {
    /// What tells main which renderer has set its event.
    rung: Option<Shared<SharedFlag>>,
    ringer: Arc<Ringer>,
}

impl Signal for RingerSignal {
    fn wake_all(&self, bell: &Bell) {
        bell.bump(processor::current());
        reach(KillPoint::BellBumped);
        if let Some(rung) = &self.rung {
            rung.raise();
        }
        self.ringer.ring();
    }
}

impl Sleep for Arc<Sleepers> {
    fn sleep(&self, bell: (&Bell, u32), own: (&Interrupt, u32), deadline: Option<Instant>) {
        let unchanged = || bell.0.read() == bell.1 && own.0.read() == own.1;
        self.sleep_while(unchanged, deadline);
    }

    fn wake(&self, _word: &AtomicU32) {
        Sleepers::wake(self);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.shutdown();
        if self.side == Side::Main {
            // A thread that is left behind in an event keeps the page mapped.
            self.segment.remove_name();
        }
    }
}
