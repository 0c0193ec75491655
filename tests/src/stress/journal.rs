//! What each process was about to do, and what it has done: a shared mapping that outlives all of them.
//!
//! ```text
//!   Board    phase, orders          by the controller
//!            MainPage × 64          by the main process of that generation
//!            Slot × N               which session a renderer's place has at present
//!            Record × 2048          one a session: by its renderer, by its main, each its own words
//! ```
//!
//! A process that is killed says nothing any more, but what it has noted here before stays. A sender notes
//! `begun` before each call and `done` once it has returned; a receiver notes each message that it gets. So
//! after a death whoever looks knows what was committed, give or take the one call that was under way.
//!
//! Every word has one writer at a time, and nothing here is part of what is tested.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    mm::{MapFlags, ProtFlags, mmap},
    time::{ClockId, clock_gettime},
};

/// How many renderers there may be.
pub(super) const SLOTS_MAX: usize = 256;
/// After so many more sessions a record is used again. A session is judged within seconds of its end.
const RECORDS: usize = 2048;
/// The same for main processes.
const MAINS: usize = 64;
/// Descriptors of the journal are above this, out of the way of those that a launch arranges.
const DESCRIPTOR_MIN: RawFd = 100;

/// A count, or a time in nanoseconds, that another process may read at any moment.
#[repr(transparent)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn get(&self) -> u64 {
        // Acquire and Release: what was done before a note was made is seen with it, and no note is made
        // before what it tells of.
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Returns what it was.
    pub(super) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::AcqRel)
    }

    /// Sets it, unless it is more already.
    pub(super) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::AcqRel);
    }
}

/// What all processes of one run share.
#[repr(C)]
pub(super) struct Board {
    /// A [`Phase`].
    phase: Tally,
    /// How many sessions have begun.
    pub(super) sessions: Tally,
    mains: [MainPage; MAINS],
    slots: [Slot; SLOTS_MAX],
    records: [Record; RECORDS],
}

/// What everyone is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Phase {
    /// Send as fast as you can.
    Run = 0,
    /// Send no more, take what is there, and let the sessions end.
    Quiet = 1,
    /// Leave.
    End = 2,
}

/// What one main process tells, and is told.
#[repr(C)]
pub(super) struct MainPage {
    pub(super) process: Tally,
    /// When it had bound its name, and what it held then, without any renderer.
    pub(super) ready_ns: Tally,
    pub(super) baseline: Census,
    /// What it held when all renderers had gone, in which pause.
    pub(super) census: Census,
    pub(super) census_of: Tally,
    /// Which pause the controller asks a census for.
    pub(super) census_wanted: Tally,
    pub(super) published_begun: Tally,
    pub(super) published_done: Tally,
    pub(super) order: Order,
    /// Launches that failed with an error while nothing was short, and other things that must not happen.
    pub(super) unexpected: Tally,
    /// Launches that failed with an error while something was short.
    pub(super) refused: Tally,
    /// Renderers that died of something that nobody did to them.
    pub(super) crashes: Tally,
}

/// What a process holds.
#[repr(C)]
pub(super) struct Census {
    pub(super) descriptors: Tally,
    pub(super) threads: Tally,
    pub(super) left_behind: Tally,
    pub(super) sessions_left_behind: Tally,
    /// Mappings of the library's memory.
    pub(super) mappings: Tally,
    pub(super) resident_kib: Tally,
}

/// What the controller asks one process for: to be short of something for a while.
#[repr(C)]
pub(super) struct Order {
    number: Tally,
    what: Tally,
    duration_ns: Tally,
    done: Tally,
}

/// What a process can be short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Shortage {
    Descriptors = 1,
    Memory = 2,
}

impl Order {
    /// Controller only.
    pub(super) fn give(&self, what: Shortage, duration_ns: u64) {
        self.what.set(what as u64);
        self.duration_ns.set(duration_ns);
        self.number.add(1);
    }

    /// An order that has not been taken yet, and how long it is for.
    pub(super) fn take(&self) -> Option<(Shortage, u64)> {
        let number = self.number.get();
        if number == self.done.get() {
            return None;
        }
        self.done.set(number);
        let what = match self.what.get() {
            1 => Shortage::Descriptors,
            _ => Shortage::Memory,
        };
        Some((what, self.duration_ns.get()))
    }
}

/// A renderer's place.
#[repr(C)]
pub(super) struct Slot {
    /// Its present session, or 0.
    pub(super) session: Tally,
    pub(super) order: Order,
    /// Descriptors, threads or mappings that an attached renderer still had after a session.
    pub(super) leaks: Tally,
}

/// One session, from both sides.
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
    /// When each side had nothing more to expect.
    pub(super) settled_by_main_ns: Tally,
    pub(super) settled_by_renderer_ns: Tally,
    /// When the last thing that waited for the dead was told so.
    pub(super) last_error_ns: Tally,
    /// Requests whose callers were not told of the end.
    pub(super) unsettled: Tally,
    pub(super) violations: Tally,
    /// Sends that failed with an error that fits a shortage or a long stop.
    pub(super) refused: Tally,
    /// Errors that nothing explains.
    pub(super) unexpected: Tally,
    pub(super) topic: TopicFlow,
    flows: [Flow; Stream::ALL.len()],
}

/// A renderer's view of the topic.
#[repr(C)]
pub(super) struct TopicFlow {
    /// The last one that came.
    pub(super) last: Tally,
    pub(super) received: Tally,
    /// Those that were counted as lost, so that the writer need not wait.
    pub(super) lapped: Tally,
    /// Neither the next one nor explained by the count.
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

/// Both ends of a stream.
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

    /// The board that this process was given. With `keep` its children inherit it too.
    pub(super) fn inherited(descriptor: RawFd, keep: bool) -> io::Result<&'static Self> {
        // SAFETY: the controller passes the number of a descriptor that it has let us inherit, and nothing
        // else in this process knows or closes it.
        let memory = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let board = Self::map(&memory)?;
        if keep {
            // Closed by the end of the process.
            let _ = std::mem::ManuallyDrop::new(memory).as_raw_fd();
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
        // SAFETY: the memory is as long as a board, aligned to a page and never unmapped; a board is nothing
        // but atomics, for which zeroes, and whatever other processes write there, are values.
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

    pub(super) fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    /// The record of this session, once it has begun and until its place is used again.
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
        record.clear();
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

    fn clear(&self) {
        // SAFETY: a record is nothing but such words, `repr(C)` and without padding, as asserted below; each
        // is accessed as the atomic that it is.
        let words = unsafe {
            std::slice::from_raw_parts(ptr::from_ref(self).cast::<Tally>(), RECORD_WORDS)
        };
        words.iter().for_each(|word| word.set(0));
    }
}

const RECORD_WORDS: usize = size_of::<Record>() / size_of::<Tally>();
const _: () = assert!(RECORD_WORDS * size_of::<Tally>() == size_of::<Record>());

/// The time that all processes agree on, and that nobody can set.
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
    fn an_order_is_taken_once() {
        let (board, _descriptor) = Board::create().unwrap();
        let order = &board.slot(0).order;
        assert_eq!(order.take(), None);
        order.give(Shortage::Memory, 5);
        assert_eq!(order.take(), Some((Shortage::Memory, 5)));
        assert_eq!(order.take(), None);
    }
}
