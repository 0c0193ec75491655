//! A shared mapping that outlives all processes and records what each is about to do and has done.
//!
//! ```text
//!   Board    phase, orders          written by the controller
//!            MainPage × 64          written by the main process of that generation
//!            Slot × N               the present session of each renderer's place
//!            Record × 2048          one per session; renderer and main write different words
//! ```
//!
//! A sender notes `begun` before each call and `done` after it returns. A receiver notes each message. So after a
//! death the journal says what was committed, except for the one call that was under way.
//!
//! Every word has one writer at a time. The journal is no part of what is tested.

use std::{
    fmt, io,
    mem::ManuallyDrop,
    os::fd::{AsFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    mm::{MapFlags, ProtFlags, mmap},
    time::{ClockId, clock_gettime},
};

/// How many renderers there may be.
pub(super) const SLOTS_MAX: usize = 256;
/// A record is used again after so many sessions. A session is judged within seconds of its end.
const RECORDS: usize = 2048;
/// The same for main processes.
const MAINS: usize = 64;
/// Descriptors of the journal are above this, since a launch arranges lower ones.
const DESCRIPTOR_MIN: RawFd = 100;

/// A count, or a time in nanoseconds, that another process may read at any moment.
#[derive(Default)]
#[repr(transparent)]
pub(super) struct Tally(AtomicU64);

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Tally {
    pub(super) fn get(&self) -> u64 {
        // Acquire: pairs with the Release of `set`, `add` and `raise`; makes everything before the note visible.
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    pub(super) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::AcqRel)
    }

    /// Sets it, unless it is more already.
    pub(super) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::AcqRel);
    }
}

#[repr(C)]
pub(super) struct Board {
    /// A [`Phase`].
    phase: Tally,
    pub(super) sessions: Tally,
    mains: [MainPage; MAINS],
    slots: [Slot; SLOTS_MAX],
    records: [Record; RECORDS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// Everyone sends as fast as possible.
    Run = 0,
    /// Nobody sends, everyone takes what is there, and the sessions end.
    Quiet = 1,
    /// Everyone leaves.
    End = 2,
}

/// The page of one main process.
#[repr(C)]
pub(super) struct MainPage {
    /// It has bound its name and started its threads, which do nothing before `may_begin`.
    pub(super) ready: Tally,
    /// The controller has counted what main holds without any renderer.
    pub(super) may_begin: Tally,
    /// The pause for which the controller wants all sessions to end, and the last one in which they all had.
    pub(super) pause_wanted: Tally,
    pub(super) pause_reached: Tally,
    pub(super) published_done: Tally,
    pub(super) order: Order,
    /// Launches that failed with an error while nothing was short, and other things that must not happen.
    pub(super) unexpected: Tally,
    /// Launches that failed with an error while something was short.
    pub(super) refused: Tally,
    /// Renderers that died without being hurt.
    pub(super) crashes: Tally,
}

/// The controller's order that a process be short of something until a time.
#[repr(C)]
pub(super) struct Order {
    of_memory: Tally,
    until_ns: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortage {
    Descriptors,
    Memory,
}

impl Order {
    /// Controller only.
    pub(super) fn give(&self, what: Shortage, duration: Duration) {
        self.of_memory.set((what == Shortage::Memory).into());
        self.until_ns.set(now_ns() + duration.as_nanos() as u64);
    }

    /// The present shortage.
    pub(super) fn shortage(&self) -> Option<Shortage> {
        let is_due = now_ns() < self.until_ns.get();
        let of_memory = self.of_memory.get() != 0;
        is_due.then_some(if of_memory { Shortage::Memory } else { Shortage::Descriptors })
    }
}

#[repr(C)]
pub(super) struct Slot {
    /// Its present session, or 0.
    pub(super) session: Tally,
    pub(super) order: Order,
    /// Descriptors, threads or mappings that an attached renderer still had after a session.
    pub(super) leaks: Tally,
}

/// One session, from both sides.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Record {
    /// Set last. Another number: not begun yet, or used again.
    pub(super) session: Tally,
    pub(super) slot: Tally,
    /// Of the main process; 0 until that knows of the session.
    pub(super) generation: Tally,
    /// Whether the renderer attached by name, and so outlives main.
    pub(super) attached: Tally,
    pub(super) process: Tally,
    pub(super) began_ns: Tally,
    /// The renderer has told main its session's number.
    pub(super) joined: Tally,
    /// When the controller killed the renderer, or 0.
    pub(super) killed_ns: Tally,
    /// Main let it end in order, with everything sent, and the renderer saw that.
    pub(super) in_order: Tally,
    /// When each side expected nothing more.
    pub(super) settled_by_main_ns: Tally,
    pub(super) settled_by_renderer_ns: Tally,
    /// When the last waiter was told of the death.
    pub(super) last_error_ns: Tally,
    /// Requests whose callers were not told of the end.
    pub(super) unsettled: Tally,
    pub(super) violations: Tally,
    /// Sends that failed with an error that fits a shortage or a long stop.
    pub(super) refused: Tally,
    /// Errors without an explanation.
    pub(super) unexpected: Tally,
    pub(super) topic: TopicFlow,
    /// By [`Stream`].
    flows: [Flow; Stream::ALL.len()],
}

/// A renderer's view of the topic.
#[derive(Debug)]
#[repr(C)]
pub(super) struct TopicFlow {
    /// The number of the last message.
    pub(super) last: Tally,
    pub(super) received: Tally,
    /// Messages that the event's count of lost ones does not explain.
    pub(super) out_of_order: Tally,
    pub(super) corrupt: Tally,
}

/// Messages of one kind, in one direction, in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// `send` and `on`.
    Event,
    /// The same, longer than the ring carries.
    Large,
    /// `invoke` and `handle`.
    Call,
    /// `WebContents::try_send` and `on`.
    Push,
    /// `WebContents::send`, which waits for room.
    Patient,
    /// Longer than the ring carries.
    Blob,
    /// `WebContents::invoke` and `handle`.
    Ask,
}

impl Stream {
    pub(super) const ALL: [Self; 7] =
        [Self::Event, Self::Large, Self::Call, Self::Push, Self::Patient, Self::Blob, Self::Ask];

    pub(super) fn to_main(self) -> bool {
        matches!(self, Self::Event | Self::Large | Self::Call)
    }
}

/// The notes of both ends of a stream.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Flow {
    // By the sender.
    pub(super) begun: Tally,
    pub(super) done: Tally,
    /// Requests that were answered.
    pub(super) acknowledged: Tally,
    // By the receiver.
    pub(super) received: Tally,
    /// Messages that the library counted instead of delivering them.
    pub(super) counted: Tally,
    /// Numbers that were passed over.
    pub(super) skipped: Tally,
    pub(super) duplicates: Tally,
    pub(super) corrupt: Tally,
}

impl Board {
    /// Makes a board, and a descriptor of it that child processes inherit.
    pub(super) fn create() -> io::Result<(&'static Self, OwnedFd)> {
        let memory = memfd_create("stress-journal", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, size_of::<Self>() as u64)?;
        let inherited = fcntl_dupfd_cloexec(&memory, DESCRIPTOR_MIN)?;
        fcntl_setfd(&inherited, FdFlags::empty())?;
        Ok((Self::map(&memory)?, inherited))
    }

    /// Maps the board that this process inherited. With `keep` its children inherit it too.
    pub(super) fn inherited(descriptor: RawFd, keep: bool) -> io::Result<&'static Self> {
        // SAFETY: the controller passes the number of a descriptor that this process inherits. Nothing else in
        // this process knows or closes it.
        let memory = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let board = Self::map(&memory)?;
        if keep {
            // The end of the process closes it.
            let _ = ManuallyDrop::new(memory);
        }
        Ok(board)
    }

    /// Maps it for as long as the process lives.
    fn map(memory: &impl AsFd) -> io::Result<&'static Self> {
        // SAFETY: a new shared mapping at a place of the kernel's choice touches no other memory.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                memory,
                0,
            )?
        };
        // SAFETY: the memory is as long as a board, aligned to a page and never unmapped. A board consists of
        // atomics, for which any bytes are a value.
        Ok(unsafe { &*start.cast::<Self>() })
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.get() {
            0 => Phase::Run,
            1 => Phase::Quiet,
            _ => Phase::End,
        }
    }

    /// Controller only.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase as u64);
    }

    pub(super) fn main(&self, generation: u64) -> &MainPage {
        &self.mains[generation as usize % MAINS]
    }

    /// Clears the page of the main process that is about to start. Controller only.
    pub(super) fn begin_main(&self, generation: u64) {
        // SAFETY: a page consists of tallies, as does the order in it.
        unsafe { clear(self.main(generation)) };
    }

    pub(super) fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    /// Finds the record of this session, from its beginning until its place is used again.
    pub(super) fn record(&self, session: u64) -> Option<&Record> {
        let record = self.place(session);
        (record.session.get() == session).then_some(record)
    }

    fn place(&self, session: u64) -> &Record {
        &self.records[session as usize % RECORDS]
    }

    /// Begins a session's record. Sessions count from 1.
    pub(super) fn begin(&self, slot: usize, generation: u64, attached: bool) -> &Record {
        let session = self.sessions.add(1) + 1;
        let record = self.place(session);
        // SAFETY: a record consists of tallies, as do the flows in it.
        unsafe { clear(record) };
        record.slot.set(slot as u64);
        record.generation.set(generation);
        record.attached.set(u64::from(attached));
        record.began_ns.set(now_ns());
        record.session.set(session);
        self.slot(slot).session.set(session);
        record
    }
}

impl Record {
    pub(super) fn flow(&self, stream: Stream) -> &Flow {
        &self.flows[stream as usize]
    }
}

/// Sets all words to 0.
///
/// # Safety
///
/// `words` consists of [`Tally`]s.
unsafe fn clear<T>(words: &T) {
    let count = size_of::<T>() / size_of::<Tally>();
    // SAFETY: by the caller's promise; each word is accessed as the atomic that it is.
    let words = unsafe { std::slice::from_raw_parts(ptr::from_ref(words).cast::<Tally>(), count) };
    words.iter().for_each(|word| word.set(0));
}

/// Returns the time that all processes share and that cannot be set.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_its_session_until_its_place_is_used_again() {
        let (board, _descriptor) = Board::create().unwrap();
        let first = board.begin(3, 1, true);
        first.flow(Stream::Ask).received.set(7);
        assert_eq!(board.slot(3).session.get(), 1);
        assert!(ptr::eq(board.record(1).unwrap(), first));
        assert!(board.record(2).is_none());
        for _ in 0..RECORDS {
            board.begin(4, 1, false);
        }
        assert!(board.record(1).is_none());
        let again = board.record(1 + RECORDS as u64).unwrap();
        assert_eq!((again.flow(Stream::Ask).received.get(), again.attached.get()), (0, 0));
    }

    #[test]
    fn an_order_holds_until_its_time() {
        let (board, _descriptor) = Board::create().unwrap();
        let order = &board.slot(0).order;
        assert_eq!(order.shortage(), None);
        order.give(Shortage::Memory, Duration::from_secs(3600));
        assert_eq!(order.shortage(), Some(Shortage::Memory));
        order.give(Shortage::Descriptors, Duration::ZERO);
        assert_eq!(order.shortage(), None);
    }
}
