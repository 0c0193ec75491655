//! How a main process is doing, seen from another process of the same user: what `ringbridge inspect` shows.
//!
//! Main shows it on a *board*, memory that the kernel lets nobody else write (`event_loop/main/inspectors.rs` says
//! what that costs main, `inspection/board.rs` what lies there). Numbers and names of channels, no payloads.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    inspection::{
        attach::{InspectError, attach, fingerprint},
        board::{self, BoardError, BoardSlot, WindowState},
    },
    metrics::{MainMetrics, SessionMetrics, counters::Counters, sleeps::Sleeps},
    ring::broadcast::TopicReader,
    session::control_channel::ControlChannel,
    shm::aligned::AlignedBuf,
};

/// How long main may take to let an inspector in: its loop must come to it.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at the board while nothing new is there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Watches one main process, as long as it lives. Main shows its numbers some ten times a second, to all who
/// watch at once, and does nothing for it when nobody does.
///
/// ```no_run
/// # fn main() -> Result<(), ringbridge::Error> {
/// use std::time::Duration;
/// let mut inspector = ringbridge::Inspector::attach("demo")?;
/// let seen = inspector.next(Duration::from_secs(1))?.expect("main's loop runs");
/// for window in &seen.windows {
///     println!("{} is {}: {} frames", window.id, window.state.name(), window.counters.frames_received);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Inspector {
    /// Its hang-up is the end.
    control: ControlChannel,
    board: TopicReader,
    buffer: AlignedBuf,
}

/// How a main process was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The endpoint's name.
    pub endpoint: String,
    /// Main's process id.
    pub pid: u32,
    /// How long the endpoint had been open.
    pub open_for: Duration,
    /// The numbers of the endpoint as a whole.
    pub metrics: MainMetrics,
    /// How long main's loop slept, each time.
    pub sleeps: Sleeps,
    /// Its windows, up to 256 of them.
    pub windows: Vec<InspectedWindow>,
    /// How many more there are.
    pub windows_unshown: u32,
}

/// How one window was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InspectedWindow {
    /// Its number.
    pub id: u32,
    /// Its renderer's process id.
    pub pid: u32,
    /// What main did with it.
    pub state: WindowState,
    /// How long it had been there.
    pub open_for: Duration,
    /// Its policy in a line: limits on what is sent, and the channels that are allowed. Cut, with "…", where it is long.
    pub policy: String,
    /// Whether it had sent something that main had not taken.
    pub unread: bool,
    /// What waited, and for whom, seen from main.
    pub metrics: SessionMetrics,
    /// What had happened, seen from main.
    pub counters: Counters,
}

impl Inspector {
    /// Begins to watch the main process that has bound `endpoint`.
    ///
    /// # Errors
    ///
    /// If there is none, if it belongs to another user or another version, or if too many are watching. Its loop must be
    /// running: else this takes 5 s and then fails.
    pub fn attach(endpoint: &str) -> Result<Self, InspectError> {
        let (control, board) = attach(endpoint, ATTACH_TIMEOUT)?;
        Ok(Self { control, board: TopicReader::new(board), buffer: AlignedBuf::new() })
    }

    /// What main shows next, if it does so within `timeout`; it does not while its loop is busy with one thing.
    /// What it has shown meanwhile is skipped.
    ///
    /// # Errors
    ///
    /// [`InspectError::Gone`] when main is, and [`InspectError::BadBoard`] if what it shows makes no sense.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Inspection>, InspectError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if self.board.latest(&mut self.buffer).is_some() {
                let bad = |error: BoardError| match error {
                    BoardError::OtherBuild => InspectError::OtherBuild,
                    error => InspectError::BadBoard { why: error.to_string() },
                };
                return Inspection::parse(self.buffer.as_slice()).map(Some).map_err(bad);
            }
            let left =
                deadline.map_or(LOOK_EVERY, |end| end.saturating_duration_since(Instant::now()));
            let found = self.control.poll_readable(Some(left.min(LOOK_EVERY)))?;
            if found.hangup || found.readable {
                // Main says nothing to who watches, so this is its end.
                return Err(InspectError::Gone);
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

impl Inspection {
    fn parse(record: &[u8]) -> Result<Self, BoardError> {
        let (head, slots) = board::parse(record, fingerprint())?;
        let windows = slots.iter().map(InspectedWindow::from_slot);
        Ok(Self {
            endpoint: board::text(&head.name, head.name_len)?.to_owned(),
            pid: head.pid,
            open_for: Duration::from_nanos(head.open_ns),
            metrics: MainMetrics::from_values(first(&head.metrics)),
            sleeps: Sleeps { buckets: head.sleeps },
            windows: windows.collect::<Result<_, _>>()?,
            windows_unshown: head.unshown,
        })
    }
}

impl InspectedWindow {
    fn from_slot(slot: &BoardSlot) -> Result<Self, BoardError> {
        let (metrics, counters) = slot.metrics.split_at(SessionMetrics::COUNT);
        Ok(Self {
            id: slot.id,
            pid: slot.pid,
            state: slot.state()?,
            open_for: Duration::from_nanos(slot.open_ns),
            policy: board::text(&slot.policy, slot.policy_len)?.to_owned(),
            unread: slot.unread != 0,
            metrics: SessionMetrics::from_values(first(metrics)),
            counters: Counters::from_values(first(counters)),
        })
    }
}

/// The numbers that are used, of a field with room for more.
fn first<const N: usize>(field: &[u64]) -> [u64; N] {
    // `event_loop/main/inspectors.rs` asserts that the room is enough.
    *field.first_chunk().expect("there is room for all of them")
}
