//! Inspectors: processes that observe main, and the board that shows them its numbers.
//!
//! ```text
//!   counters, rings ──▶ record ──▶ board (a topic in sealed memory) ──▶ inspectors, read-only
//!                 10 times a second, while an inspector observes
//! ```
//!
//! The board holds copies: counters in shared memory would cost every frame a cache line that an inspector's
//! processor has just taken. A copy takes some microseconds for all inspectors together, and at most a
//! hundredth of the loop's time ([`SHARE`]). Without inspectors there is no board and no timer.
//!
//! An inspector gets one descriptor, of memory that only main can write or resize. Anything that it sends ends
//! its visit.

use std::{
    io,
    time::{Duration, Instant},
};

use zerocopy::{FromZeros, IntoBytes};

use super::{
    connection::{Connection, Stage},
    shared::MainShared,
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
    session::control_channel::ControlChannel,
    shm::{
        backing::Backing,
        region::{Access, Region},
    },
    trace,
    wire::handshake::encode,
};

/// The most inspectors at once.
const INSPECTORS_MAX: usize = 16;
/// The shortest time between two records.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The pause after a record is this many times the time that the record took, if that is longer.
const SHARE: u32 = 100;

const _: () = assert!(MainMetrics::COUNT <= board::MAIN_METRICS_MAX);
const _: () = assert!(SessionMetrics::COUNT + Counters::COUNT <= board::WINDOW_METRICS_MAX);
const _: () = assert!(sleeps::BUCKETS == board::SLEEP_BUCKETS);

/// The board, which is there while an inspector observes.
#[derive(Default)]
pub(super) struct Inspectors {
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
}

/// The number of inspectors that observe.
fn observers(connections: &[Option<Connection>]) -> usize {
    let connections = connections.iter().flatten();
    connections.filter(|connection| connection.stage == Stage::Observing).count()
}

impl Inspectors {
    /// Lets an inspector observe, or returns why not.
    pub(super) fn admit(
        &mut self,
        main: &MainShared,
        connections: &mut [Option<Connection>],
        place: usize,
    ) -> Result<(), InspectorAnswer> {
        let refused = |why: String| Err(InspectorAnswer::Refused { why });
        let observers = observers(connections);
        let Some(connection) = connections[place].as_mut() else { return Ok(()) };
        if !connection.control.peer_credentials().is_ok_and(|peer| peer.uid == process::user_id()) {
            return refused("it belongs to another user".to_owned());
        }
        if observers >= INSPECTORS_MAX {
            return refused(format!("{INSPECTORS_MAX} inspectors are watching already"));
        }
        if let Err(error) = self.show_to(main, &connection.control) {
            return refused(error.to_string());
        }
        connection.stage = Stage::Observing;
        connection.stage_until = None;
        self.count(main, connections);
        Ok(())
    }

    /// Call when the number of inspectors may have changed. The board goes with the last of them. The pause
    /// stays: an inspector that comes and goes gets no more records than one that stays.
    pub(super) fn count(&mut self, main: &MainShared, connections: &[Option<Connection>]) {
        let count = observers(connections) as u32;
        if count == 0 {
            self.board = None;
        }
        // Relaxed: for people.
        if main.inspectors.swap(count, Ordering::Relaxed) != count {
            trace::inspectors(count);
        }
    }

    /// Hands the board's memory over.
    fn show_to(&mut self, main: &MainShared, control: &ControlChannel) -> io::Result<()> {
        let board = match &mut self.board {
            Some(board) => board,
            none => none.insert(Board::create(&main.meeting.backing(), &main.name)?),
        };
        let answer = InspectorAnswer::Board { capacity: board::CAPACITY as u32 };
        control.try_send(&encode(&answer), &[board.region.handle()])
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
        board.record.clear();
        board.record.extend_from_slice(head.as_bytes());
        let windows = connections.iter_mut().flatten().filter_map(Connection::picture);
        for slot in windows.take(SLOTS_MAX) {
            board.record.extend_from_slice(slot.as_bytes());
        }
        // The fullest record fits: see `inspection::board`.
        let written = board.writer.publish(&board.record);
        debug_assert!(written.is_ok());
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
            // An inspector is no window.
            Stage::Hello | Stage::Observing => WindowState::Launching,
            Stage::Ready => WindowState::Joining,
            Stage::Ending => WindowState::Ending,
            Stage::Live if self.rings.are_ignored() => WindowState::Storming,
            Stage::Live if self.held_until.is_some() => WindowState::Held,
            Stage::Live => WindowState::Live,
        };
        let session = self.session.as_mut()?;
        let port = &session.port;
        let mut slot = BoardSlot::new_zeroed();
        slot.id = port.window;
        slot.pid = port.peer_pid.load(Ordering::Relaxed);
        slot.state = state as u32;
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
