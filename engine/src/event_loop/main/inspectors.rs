//! Inspectors: processes that observe main, and the board that shows them its numbers.
//!
//! ```text
//!   counters, rings ──▶ record ──▶ board (a topic in sealed memory) ──▶ inspectors, read-only
//!                 10 times a second, while an inspector observes
//! ```
//!
//! The board holds copies. Counters in the board itself would cost every frame a pointer, and a cache line
//! that an inspector's processor has just taken. A copy costs some microseconds, whatever the number of
//! inspectors. It takes at most a hundredth of the loop's time: a longer pause follows an expensive record
//! ([`SHARE`]). Without inspectors there is no board and no timer.
//!
//! An inspector can only read. It gets one descriptor, of memory that the kernel lets only main write or
//! resize. It holds one descriptor of main's, and [`INSPECTORS_MAX`] of them are let in. Anything that it
//! sends ends its visit.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use zerocopy::IntoBytes;

use super::{
    connection::{Connection, Stage},
    shared::MainShared,
    token::{TokenKind, token},
};
use crate::{
    inspection::{
        attach::{InspectorAnswer, fingerprint},
        board::{self, BoardSlot, Head, SLOTS_MAX, WindowState},
    },
    metrics::{MainMetrics, SessionMetrics, counters::Counters, sleeps},
    os::process,
    primitives::Ordering,
    ring::broadcast::TopicWriter,
    session::{
        control_channel::ControlChannel,
        transport::{PollSource, Poller},
    },
    shm::{
        backing::Backing,
        region::{Access, Region},
    },
    trace,
    wire::handshake::encode,
};

/// The most inspectors at once.
pub(super) const INSPECTORS_MAX: usize = 16;
/// The shortest time between two records.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The pause after a record is this many times the time that the record took, if that is longer.
const SHARE: u32 = 100;

const _: () = assert!(MainMetrics::COUNT <= board::MAIN_METRICS_MAX);
const _: () = assert!(SessionMetrics::COUNT + Counters::COUNT <= board::WINDOW_METRICS_MAX);
const _: () = assert!(sleeps::BUCKETS == board::SLEEP_BUCKETS);

#[derive(Default)]
pub(super) struct Inspectors {
    /// Who watches; the place is in its token.
    inspectors: Vec<Option<Arc<ControlChannel>>>,
    /// There while anybody watches.
    board: Option<Board>,
    /// Not before then is there another record.
    next: Option<Instant>,
}

struct Board {
    region: Region,
    writer: TopicWriter,
    record: Vec<u8>,
}

impl Board {
    fn create(backing: &Backing, endpoint: &str) -> io::Result<Self> {
        let len = Region::ring_len(board::CAPACITY);
        let name = format!("ringbridge-board-{endpoint}");
        let region = Region::create(backing, &name, len, Access::Write)?;
        let memory = region.topic().expect("made with a ring's length");
        memory.control.identity.initialise(board::CAPACITY);
        Ok(Self { region, writer: TopicWriter::new(memory, 0), record: Vec::new() })
    }

    /// Hands its memory over.
    fn show_to(&self, control: &ControlChannel) -> io::Result<()> {
        let answer = InspectorAnswer::Board { capacity: board::CAPACITY as u32 };
        control.try_send(&encode(&answer), &[self.region.handle()])
    }

    fn write(&mut self, head: &Head, slots: impl Iterator<Item = BoardSlot>) {
        self.record.clear();
        self.record.extend_from_slice(head.as_bytes());
        slots.for_each(|slot| self.record.extend_from_slice(slot.as_bytes()));
        // The fullest record fits: see `inspection::board`.
        let written = self.writer.publish(&self.record);
        debug_assert!(written.is_ok());
    }
}

impl Inspectors {
    fn count(&self) -> usize {
        self.inspectors.iter().flatten().count()
    }

    /// Lets an inspector observe, or says why not.
    pub(super) fn admit(
        &mut self,
        main: &MainShared,
        poller: &mut dyn Poller,
        control: &Arc<ControlChannel>,
    ) -> Result<(), InspectorAnswer> {
        let refused = |why: &str| InspectorAnswer::Refused { why: why.to_owned() };
        if !control.peer_credentials().is_ok_and(|peer| peer.uid == process::user_id()) {
            return Err(refused("it belongs to another user"));
        }
        if self.count() >= INSPECTORS_MAX {
            return Err(refused(&format!("{INSPECTORS_MAX} inspectors are watching already")));
        }
        let shown = self.show_to(main, poller, control);
        self.note(main);
        shown.map_err(|error| refused(&error.to_string()))
    }

    fn show_to(
        &mut self,
        main: &MainShared,
        poller: &mut dyn Poller,
        control: &Arc<ControlChannel>,
    ) -> io::Result<()> {
        let board = match &mut self.board {
            Some(board) => board,
            none => none.insert(Board::create(&main.meeting.backing(), &main.name)?),
        };
        board.show_to(control)?;
        let free = self.inspectors.iter().position(Option::is_none);
        let place = free.unwrap_or(self.inspectors.len());
        poller.add(PollSource::ControlChannel(control), token(place, TokenKind::Inspector))?;
        if place == self.inspectors.len() {
            self.inspectors.push(None);
        }
        self.inspectors[place] = Some(control.clone());
        Ok(())
    }

    /// Ends a visit.
    pub(super) fn remove(
        &mut self,
        main: &MainShared,
        poller: &mut dyn Poller,
        place: usize,
    ) -> Option<Arc<ControlChannel>> {
        let control = self.inspectors.get_mut(place)?.take()?;
        let token = token(place, TokenKind::Inspector);
        let _ = poller.remove(PollSource::ControlChannel(&control), token);
        self.note(main);
        Some(control)
    }

    pub(super) fn close(&mut self, main: &MainShared) {
        self.inspectors.clear();
        self.note(main);
    }

    /// Call when their number may have changed. The board goes with the last of them. The pause stays: an
    /// inspector that comes and goes gets no more records than one that stays.
    fn note(&mut self, main: &MainShared) {
        let count = self.count() as u32;
        if count == 0 {
            self.inspectors.clear();
            self.board = None;
        }
        // Relaxed: for people.
        if main.inspectors.swap(count, Ordering::Relaxed) != count {
            trace::inspectors(count);
        }
    }

    /// Shows the inspectors how things are, if it is time to. Returns when it is again.
    pub(super) fn show(
        &mut self,
        main: &MainShared,
        connections: &mut [Option<Connection>],
        now: Instant,
    ) -> Option<Instant> {
        let board = self.board.as_mut()?;
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Some(next);
        }
        let count = connections.iter().flatten().filter_map(Connection::port).count();
        let mut head = main.picture();
        head.slots = count.min(SLOTS_MAX) as u32;
        head.unshown = count.saturating_sub(SLOTS_MAX) as u32;
        head.fingerprint = fingerprint();
        let windows = connections.iter_mut().flatten().filter_map(Connection::picture);
        board.write(&head, windows.take(SLOTS_MAX));
        let pause = (now.elapsed() * SHARE).max(LOOK_EVERY);
        self.next = now.checked_add(pause);
        self.next
    }
}

impl MainShared {
    /// What a record says of the endpoint as a whole.
    fn picture(&self) -> Head {
        let mut head = Head::new();
        head.open_ns = since(self.opened);
        head.pid = std::process::id();
        head.name_len = board::put_text(&mut head.name, &self.name);
        head.metrics[..MainMetrics::COUNT].copy_from_slice(&self.metrics().values());
        head.sleeps = self.sleeps.read().buckets;
        head
    }
}

impl Connection {
    /// What a record says of a window.
    fn picture(&mut self) -> Option<BoardSlot> {
        let state = match self.stage {
            Stage::Hello => WindowState::Launching,
            Stage::Ready => WindowState::Joining,
            Stage::Ending => WindowState::Ending,
            Stage::Live if self.rings.are_ignored() => WindowState::Storming,
            Stage::Live if self.held_until.is_some() => WindowState::Held,
            Stage::Live => WindowState::Live,
        };
        let session = self.session.as_mut()?;
        let port = &session.port;
        let mut slot = BoardSlot::new();
        slot.id = port.window;
        slot.pid = port.peer_pid.load(Ordering::Relaxed);
        slot.state = state.to_wire();
        slot.open_ns = since(session.opened);
        slot.policy_len = board::put_text(&mut slot.policy, &session.summary);
        let (metrics, counters) = slot.metrics.split_at_mut(SessionMetrics::COUNT);
        metrics.copy_from_slice(&port.metrics().values());
        counters[..Counters::COUNT].copy_from_slice(&port.counters.read().values());
        slot.unread = u32::from(session.has_news());
        Some(slot)
    }
}

fn since(moment: Instant) -> u64 {
    u64::try_from(moment.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
