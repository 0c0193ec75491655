//! The benchmarks' own shared memory: the words that the floors bounce, and the word by which the receiver
//! of a push paces its sender. Both processes write it and trust each other.
//!
//! Every wait is bounded: a partner that is gone is an error, not a hang.

use std::{
    io,
    os::fd::OwnedFd,
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap},
    thread::futex,
    time::Timespec,
};

use crate::{
    Error,
    pair::{
        Limit,
        side::{OVER, ask_until},
    },
    system::now_ns,
};

/// The time that a partner may take for one turn on a busy machine.
const TURN_MAX_S: u32 = 10;
/// Loads between two readings of the clock while spinning.
const LOOKS_PER_CLOCK: u32 = 1 << 16;
const FUTEX_OVER: u32 = u32::MAX;

/// A word with a cache line, and the neighbour that is prefetched with it, to itself.
#[repr(C, align(128))]
struct Alone<T>(T);

/// The words that both processes write. All zeroes is a fresh board.
#[repr(C)]
pub(crate) struct Board {
    /// The lines to bounce: the leader makes one odd, the follower even. The distance that a line travels
    /// depends on its address. Messages lie on many lines, so each slice of the floor bounces another.
    lines: [Alone<AtomicU64>; LINES],
    there: Alone<AtomicU32>,
    back: Alone<AtomicU32>,
    taken: Alone<AtomicU64>,
    /// The numbers of meetings at which each side has arrived.
    arrived: [Alone<AtomicU64>; 2],
    /// A bare ring each way, to main and back. Only one side writes each.
    pub(crate) rings: [[BareCell; CELLS]; 2],
}

/// A cell of a bare ring, one cache line: the turn in which it was written, and a message.
#[repr(C, align(64))]
pub(crate) struct BareCell {
    turn: AtomicU64,
    _id: AtomicU64,
    message: [AtomicU64; MESSAGE_WORDS],
}

/// The words that share a line with a header.
const MESSAGE_WORDS: usize = 6;
pub(crate) const CELLS: usize = 4096;

impl BareCell {
    #[inline]
    pub(crate) fn say(&self, turn: u64) {
        self.turn.store(turn, Ordering::Release);
    }

    #[inline]
    pub(crate) fn hear(&self, turn: u64) -> Result<u64, Error> {
        let mut heard = 0;
        let found = &mut heard;
        spin_until(|| {
            *found = self.turn.load(Ordering::Acquire);
            *found >= turn
        })?;
        Ok(heard)
    }

    #[inline]
    pub(crate) fn write(&self, message: &[u64; MESSAGE_WORDS]) {
        for (word, value) in self.message.iter().zip(message) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn read(&self) -> [u64; MESSAGE_WORDS] {
        std::array::from_fn(|at| self.message[at].load(Ordering::Relaxed))
    }
}

const LINES: usize = 256;
const BOARD_LEN: usize = size_of::<Board>();

impl Board {
    pub(crate) fn create() -> io::Result<(&'static Self, OwnedFd)> {
        let memory = memfd_create("ringbridge-bench", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, BOARD_LEN as u64)?;
        Ok((Self::map(&memory)?, memory))
    }

    pub(crate) fn map(memory: &OwnedFd) -> io::Result<&'static Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free range, so no mapping is replaced.
        let start =
            unsafe { mmap(ptr::null_mut(), BOARD_LEN, access, MapFlags::SHARED, memory, 0)? };
        // SAFETY: the mapping is page-aligned, holds the `BOARD_LEN` bytes that `create` gave the file, and
        // is never unmapped. Any bytes are a valid `Board`, and both processes change them only through its
        // atomics.
        Ok(unsafe { &*start.cast::<Self>() })
    }

    /// Resets the words of the floors. No process may be bouncing.
    pub(crate) fn reset(&self) {
        self.lines.iter().for_each(|line| line.0.store(0, Ordering::Relaxed));
        self.there.0.store(0, Ordering::Relaxed);
        self.back.0.store(0, Ordering::Relaxed);
    }

    /// Spins until both sides have called it, so that both are running when it returns.
    pub(crate) fn meet(&self, is_main: bool) -> Result<(), Error> {
        let [ours, theirs] = [is_main, !is_main].map(|main| &self.arrived[usize::from(main)].0);
        let meeting = ours.fetch_add(1, Ordering::Release) + 1;
        spin_until(|| theirs.load(Ordering::Acquire) >= meeting)
    }

    /// Posts a stamp, and wakes a partner that sleeps.
    #[inline]
    pub(crate) fn post(&self, stamp: u64, asleep: bool) {
        self.taken.0.store(stamp, Ordering::Release);
        if asleep {
            // Relaxed: only the poster writes the word.
            wake(&self.there.0, self.there.0.load(Ordering::Relaxed).wrapping_add(1));
        }
    }

    /// Returns the next stamp after `last`. Spins or sleeps until then.
    #[inline]
    pub(crate) fn next_post(&self, last: u64, asleep: bool) -> Result<u64, Error> {
        loop {
            // Read before the stamp: a stamp that is posted afterwards changes the word.
            let seen = self.there.0.load(Ordering::Acquire);
            let stamp = self.taken.0.load(Ordering::Acquire);
            if stamp != last {
                return Ok(stamp);
            }
            if asleep {
                sleep_while(&self.there.0, seen)?;
            } else {
                spin_until(|| self.taken.0.load(Ordering::Acquire) != last)?;
            }
        }
    }

    fn line(&self, number: u32) -> &AtomicU64 {
        &self.lines[number as usize % LINES].0
    }

    pub(crate) fn lead(
        &self,
        number: u32,
        limit: Limit,
        samples: &mut Vec<u64>,
    ) -> Result<(), Error> {
        let line = self.line(number);
        ask_until(limit, samples, |turn| {
            // Release and Acquire, here and in `follow`, as any message would need.
            line.store(2 * turn - 1, Ordering::Release);
            spin_until(|| line.load(Ordering::Acquire) == 2 * turn)?;
            Ok(turn)
        })?;
        line.store(OVER, Ordering::Release);
        Ok(())
    }

    pub(crate) fn follow(&self, number: u32) -> Result<(), Error> {
        let line = self.line(number);
        let mut turn = 0;
        loop {
            spin_until(|| line.load(Ordering::Acquire) != turn)?;
            if line.load(Ordering::Relaxed) == OVER {
                return Ok(());
            }
            turn += 2;
            line.store(turn, Ordering::Release);
        }
    }

    // Not by `ask_until`: a few instructions more decide how often both sides find the word before they sleep.
    pub(crate) fn lead_futex(&self, limit: Limit, samples: &mut Vec<u64>) -> Result<(), Error> {
        let mut turn = 0;
        let began = now_ns();
        let mut ended = began;
        while limit.allows(u64::from(turn), ended - began) {
            let sent = now_ns();
            wake(&self.there.0, turn + 1);
            sleep_while(&self.back.0, turn)?;
            ended = now_ns();
            samples.push(ended - sent);
            turn += 1;
        }
        wake(&self.there.0, FUTEX_OVER);
        Ok(())
    }

    pub(crate) fn follow_futex(&self) -> Result<(), Error> {
        let mut turn = 0;
        loop {
            sleep_while(&self.there.0, turn)?;
            if self.there.0.load(Ordering::Relaxed) == FUTEX_OVER {
                return Ok(());
            }
            turn += 1;
            wake(&self.back.0, turn);
        }
    }

    #[inline]
    pub(crate) fn wait_until_posted(&self, stamp: u64) -> Result<(), Error> {
        spin_until(|| self.taken.0.load(Ordering::Acquire) == stamp)
    }
}

/// Spins without a pause hint to the processor, which would be slower.
#[inline]
pub(crate) fn spin_until(mut found: impl FnMut() -> bool) -> Result<(), Error> {
    let mut looks: u32 = 0;
    let mut began = None;
    while !found() {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_PER_CLOCK) {
            let now = now_ns();
            if now - *began.get_or_insert(now) > u64::from(TURN_MAX_S) * 1_000_000_000 {
                return Err(stalled());
            }
        }
    }
    Ok(())
}

#[cold]
fn stalled() -> Error {
    format!("the other process did not answer within {TURN_MAX_S} s").into()
}

fn wake(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    // It fails only for an address that is not mapped or not aligned.
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

fn sleep_while(word: &AtomicU32, value: u32) -> Result<(), Error> {
    let timeout = Timespec { tv_sec: i64::from(TURN_MAX_S), tv_nsec: 0 };
    while word.load(Ordering::Acquire) == value {
        if futex::wait(word, futex::Flags::empty(), value, Some(&timeout)) == Err(Errno::TIMEDOUT) {
            return Err(stalled());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const TURNS: Limit = Limit { count: 100, time_ns: u64::MAX };

    #[test]
    fn two_that_bounce_count_every_turn() {
        let (board, _memory) = Board::create().unwrap();
        for number in [0, 1, 256] {
            let [mut lines, mut futexes] = [Vec::new(), Vec::new()];
            board.reset();
            thread::scope(|scope| {
                let follower = scope.spawn(|| board.follow(number));
                board.lead(number, TURNS, &mut lines).unwrap();
                follower.join().unwrap().unwrap();
            });
            thread::scope(|scope| {
                let follower = scope.spawn(|| board.follow_futex());
                board.lead_futex(TURNS, &mut futexes).unwrap();
                follower.join().unwrap().unwrap();
            });
            assert_eq!((lines.len(), futexes.len()), (100, 100));
        }
    }
}
