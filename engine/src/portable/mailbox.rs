//! One end of a session's packets, between processes that share only names.
//!
//! ```text
//!   page         presence and departure of both processes; the session's two events
//!   mail, two    rings like those for messages, one each way: packets, with the numbers of the segments that
//!                a packet hands over
//! ```
//!
//! A packet is one frame: the count of the segments that it hands over, their numbers, and its bytes. The packets end
//! when the peer leaves, or when the watcher notices its death. Earlier packets can still be received.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
    vec,
};

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
        event_threads::{EventThreads, Sleepers, settle},
        name::SegmentName,
        named::Segment,
        processes::group_id,
        rendezvous::SessionPage,
        segments::NamedMemory,
        watcher::{Signs, WatchedProcess, Watcher},
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

/// The capacity of each ring for packets. The longest packet is half of it, less a cell: a contract of some thousand
/// channels.
pub(crate) const MAIL_CAPACITY: usize = 128 * 1024;
/// The length of a segment's number.
const NUMBER: usize = size_of::<u32>();

pub(crate) struct Mailbox {
    page: Shared<SessionPage>,
    segment: Arc<Segment>,
    side: Side,
    out: Mutex<Producer>,
    inbox: Mutex<Inbox>,
    sleepers: Arc<Sleepers>,
    signal: RingerSignal,
    peer: Arc<WatchedProcess>,
    /// This end has left.
    closed: Flag,
    _watcher: Watcher,
}

struct Inbox {
    consumer: Consumer,
    packet: AlignedBuf,
}

impl Mailbox {
    /// Opens one end. Main's creates the events, so no other process may know the page yet. `peer` shows that the other
    /// process lives.
    pub(super) fn new(
        side: Side,
        segment: Arc<Segment>,
        [own, theirs]: [OutboxMemory; 2],
        peer: Signs,
        watcher: Watcher,
        sleepers: Arc<Sleepers>,
    ) -> io::Result<Self> {
        let page = segment.shared::<SessionPage>();
        own.control.identity.initialise(MAIL_CAPACITY);
        let consumer = Consumer::new(Writer::Renderer, theirs.data, own.control.clone(), 0);
        let mains = page.clone().map(|page| &page.mains_event);
        let renderers = page.clone().map(|page| &page.renderers_event);
        let (rings, hears) = match side {
            Side::Main => (NamedEvent::create(renderers)?, NamedEvent::create(mains)?),
            Side::Renderer => (NamedEvent::open(mains)?, NamedEvent::open(renderers)?),
        };
        let rung = page.clone().map(|page| &*page.rung);
        let rung = (side == Side::Renderer).then_some(rung);
        let threads = Arc::new(EventThreads::start(rings, hears, sleepers.clone())?);
        Ok(Self {
            page,
            segment,
            side,
            out: Mutex::new(Producer::new(own.data, theirs.control, 0)),
            inbox: Mutex::new(Inbox { consumer, packet: AlignedBuf::new() }),
            sleepers,
            signal: RingerSignal { rung, threads },
            peer: watcher.watch(peer),
            closed: Flag::default(),
            _watcher: watcher,
        })
    }

    /// The name by which the other end finds the session's page.
    pub(crate) fn page_name(&self) -> SegmentName {
        self.segment.name()
    }

    pub(super) fn readiness(&self) -> Readiness {
        let hangup = self.is_over();
        // An unreadable packet counts too: its receiver gets the error.
        let readable = hangup || !matches!(self.inbox.lock().consumer.peek(), Ok(None));
        Readiness { readable, hangup }
    }

    /// Returns whether either end has left, or the other process is dead.
    fn is_over(&self) -> bool {
        let peer_has_left = match self.side {
            Side::Main => self.page.renderer.has_left(),
            Side::Renderer => self.page.main_left.is_raised(),
        };
        peer_has_left || self.peer.is_gone() || self.closed.is_raised()
    }

    fn ring_peer(&self) {
        if !self.peer.is_gone() {
            self.signal.ring();
        }
    }

    /// For main: returns whether the renderer has rung since the last call.
    pub(super) fn take_ring(&self) -> bool {
        self.page.rung.take()
    }

    /// Returns the means to wake the other end's threads, and those by which this end's sleep.
    fn signals(&self) -> (Box<dyn Signal>, Interrupt) {
        (Box::new(self.signal.clone()), Interrupt::of(self.sleepers.clone()))
    }
}

impl PacketLink for Mailbox {
    /// There is space for a whole handshake, so this never waits.
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
        // Read before the ring, so that packets from before the end are received before it.
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
        self.signal.threads.end();
        Sleepers::wake(&self.sleepers);
        if self.side == Side::Renderer {
            // The process may exit next. (Main settles all sessions at its own end.)
            settle(&self.sleepers);
        }
        Ok(())
    }

    /// Returns the process id that the peer has written: the processes trust each other. 0 if it has not come yet. No
    /// other user can open the memory.
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
#[derive(Clone)]
struct RingerSignal {
    /// A renderer's: tells main which renderer has set its event.
    rung: Option<Shared<Flag>>,
    threads: Arc<EventThreads>,
}

impl RingerSignal {
    fn ring(&self) {
        if let Some(rung) = &self.rung {
            rung.raise();
        }
        self.threads.ring();
    }
}

impl Signal for RingerSignal {
    fn wake_all(&self, bell: &Bell) {
        bell.bump(processor::current());
        reach(KillPoint::BellBumped);
        self.ring();
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
            // Threads that are left behind in an event keep the page mapped.
            self.segment.remove_name();
        }
    }
}
