//! The view of a main process from another process of the same user, for `ringbridge inspect`.
//!
//! Main shows numbers and the names of channels, no payloads, on a *board*: memory that only main can write.
//! `event_loop/main/inspectors.rs` describes its costs, `inspection/board.rs` its contents.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    inspection::{
        attach::{InspectError, attach, fingerprint},
        board::{self, BoardSlot, WindowState},
    },
    metrics::{MainMetrics, SessionMetrics, counters::Counters, sleeps::Sleeps},
    ring::broadcast::TopicReader,
    session::control_channel::ControlChannel,
    shm::aligned::AlignedBuf,
};

/// The longest time in which main's loop lets an inspector in.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between two looks at the board.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// An observer of one main process. Main shows its numbers some ten times a second to all inspectors at once,
/// and does nothing while there are none.
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

/// The state of a main process at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The endpoint's name.
    pub endpoint: String,
    /// Main's process id.
    pub pid: u32,
    /// The time since the endpoint was opened.
    pub open_for: Duration,
    /// The numbers of the endpoint as a whole.
    pub metrics: MainMetrics,
    /// The sleeps of main's loop.
    pub sleeps: Sleeps,
    /// Its windows, up to 256 of them.
    pub windows: Vec<InspectedWindow>,
    /// The number of windows beyond these.
    pub windows_unshown: u32,
}

/// The state of one window.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InspectedWindow {
    /// Its number.
    pub id: u32,
    /// Its renderer's process id.
    pub pid: u32,
    /// The attention that main gives it.
    pub state: WindowState,
    /// The time since its session was opened.
    pub open_for: Duration,
    /// Its policy in a line: limits, and the allowed channels. A long one is cut with "…".
    pub policy: String,
    /// It had sent something that main had not taken.
    pub unread: bool,
    /// Its metrics, seen from main.
    pub metrics: SessionMetrics,
    /// Its counters, seen from main.
    pub counters: Counters,
}

impl Inspector {
    /// Begins to watch the main process that has bound `endpoint`.
    ///
    /// # Errors
    ///
    /// If there is none, if it belongs to another user or another version, or if too many inspectors are watching.
    /// If its loop does not run, this fails after 5 s.
    pub fn attach(endpoint: &str) -> Result<Self, InspectError> {
        let (control, board) = attach(endpoint, ATTACH_TIMEOUT)?;
        Ok(Self { control, board: TopicReader::new(board), buffer: AlignedBuf::new() })
    }

    /// Waits for the next record of main, at most for `timeout`. Older records are skipped. Main shows none while
    /// its loop is busy with one thing.
    ///
    /// # Errors
    ///
    /// [`InspectError::Gone`] when main is gone, and [`InspectError::BadBoard`] if the record is invalid.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Inspection>, InspectError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if self.board.latest(&mut self.buffer).is_some() {
                return Inspection::parse(self.buffer.as_slice()).map(Some);
            }
            let left =
                deadline.map_or(LOOK_EVERY, |end| end.saturating_duration_since(Instant::now()));
            let found = self.control.poll_readable(Some(left.min(LOOK_EVERY)))?;
            if found.hangup || found.readable {
                // Main sends an inspector nothing more, so this is its end.
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
    fn parse(record: &[u8]) -> Result<Self, InspectError> {
        let (head, slots) = board::parse(record, fingerprint())?;
        let windows = slots.iter().map(InspectedWindow::from_slot);
        Ok(Self {
            endpoint: board::text(&head.name, head.name_len)?,
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
    fn from_slot(slot: &BoardSlot) -> Result<Self, InspectError> {
        let (metrics, counters) = slot.metrics.split_at(SessionMetrics::COUNT);
        Ok(Self {
            id: slot.id,
            pid: slot.pid,
            state: slot.state()?,
            open_for: Duration::from_nanos(slot.open_ns),
            policy: board::text(&slot.policy, slot.policy_len)?,
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
