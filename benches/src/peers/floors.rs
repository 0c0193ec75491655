//! The floors of the machine, without any library: words, bare rings and copies.

use std::{
    hint::black_box,
    os::fd::OwnedFd,
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap},
};

use super::queue_len;
use crate::{
    board::{BareCell, Board, CELLS, spin_until},
    pair::prelude::*,
    system::now_ns,
};

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// The line that is bounced. The floors beside a slice begin with line 1.
const LINE: u32 = 0;

/// Words that both processes write, without payload. Both spin, or both sleep in a futex.
pub(super) fn words(stage: &mut Stage, asleep: bool) -> Result<Box<dyn Side>, Error> {
    stage.launch()?;
    let (board, payload) = (stage.board, stage.payload());
    Ok(Box::new(Words { board, asleep, posts: Posts { board, asleep, last: 0 }.side(payload) }))
}

pub(super) fn not_for_words(task: Task) -> Option<&'static str> {
    match task.work {
        Work::Stream => Some("a word is no stream"),
        _ if task.payload > SMALL => Some("a word carries no payload"),
        _ => None,
    }
}

struct Words {
    board: &'static Board,
    asleep: bool,
    /// Does the work other than round trips.
    posts: Box<dyn Side>,
}

impl Side for Words {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        match half {
            Half::Answer(_) if self.asleep => self.board.follow_futex()?,
            Half::Answer(_) => self.board.follow(LINE)?,
            Half::Ask(limit, samples) if self.asleep => self.board.lead_futex(limit, samples)?,
            Half::Ask(limit, samples) => self.board.lead(LINE, limit, samples)?,
            other => return self.posts.work(other),
        }
        Ok(StreamPart::default())
    }
}

/// Posts the stamps of messages, and nothing else of them. The newest replaces the one before it.
struct Posts {
    board: &'static Board,
    asleep: bool,
    last: u64,
}

impl Link for Posts {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.board.post(stamp(message), self.asleep);
        Ok(())
    }

    #[inline]
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        let next = self.board.next_post(self.last, self.asleep)?;
        self.last = next;
        if next == OVER {
            // A partner sees a word only if it differs from the last. The sender posts no more in this order.
            self.last = 0;
            self.board.post(0, false);
        }
        Ok(read(&next.to_ne_bytes()))
    }
}

/// A ring each way that one side writes and the other reads: Ringbridge's design without any of its checks. With
/// one line instead, only the number of the turn travels, on the same line every time.
///
/// The bounce of one line, which both sides write, is faster than anything with one writer a page. The
/// difference is the part of a round trip that no such library can save.
pub(super) fn bare(stage: &mut Stage, one_line: bool) -> Result<Box<dyn Side>, Error> {
    stage.launch()?;
    Ok(Box::new(Turns { board: stage.board, one_line, turn: 0 }))
}

pub(super) fn not_for_bare(task: Task) -> Option<&'static str> {
    let able = task.work == Work::RoundTrip && task.payload == SMALL;
    (!able).then_some("a floor of round trips of 48 B")
}

struct Turns {
    board: &'static Board,
    one_line: bool,
    /// The last turn that was taken. It continues from one order to the next, as does the position in a ring.
    turn: u64,
}

impl Turns {
    /// Returns the cells of this turn, to main and back. The line that is used every time is that of turn 0.
    #[inline]
    fn cells(&self) -> [&'static BareCell; 2] {
        let at = if self.one_line { 0 } else { self.turn as usize % CELLS };
        [&self.board.rings[0][at], &self.board.rings[1][at]]
    }

    #[inline]
    fn ask(&mut self, stamp: u64) -> Result<u64, Error> {
        self.turn += 1;
        let [there, back] = self.cells();
        if self.one_line {
            there.say(self.turn);
            back.hear(self.turn)?;
            return Ok(stamp);
        }
        there.write(&[stamp, 1, 2, 3, 4, 5]);
        there.say(self.turn);
        back.hear(self.turn)?;
        let [stamp, ..] = back.read();
        Ok(stamp)
    }

    /// Answers the next turn. Returns `false` if it is the last.
    #[inline]
    fn answer_one(&mut self) -> Result<bool, Error> {
        self.turn += 1;
        let [there, back] = self.cells();
        if there.hear(self.turn)? == OVER {
            self.turn -= 1;
            there.say(0);
            return Ok(false);
        }
        if !self.one_line {
            back.write(&there.read());
        }
        back.say(self.turn);
        Ok(true)
    }
}

impl Side for Turns {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        match half {
            Half::Answer(_) => while self.answer_one()? {},
            Half::Ask(limit, samples) => {
                ask_until(limit, samples, |asked| self.ask(asked))?;
                self.turn += 1;
                self.cells()[0].say(OVER);
                self.turn -= 1;
            }
            _ => return Err(unable()),
        }
        Ok(StreamPart::default())
    }
}

#[derive(Clone, Copy)]
pub(super) enum Copies {
    Own,
    Fresh,
    Across,
}

pub(super) fn copies(stage: &mut Stage, copies: Copies) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    let message = vec![1; payload];
    if let Copies::Across = copies {
        let [memory] = stage.share(|| {
            let memory = memfd_create("compare-across", MemfdFlags::CLOEXEC)?;
            ftruncate(&memory, memory_len(payload) as u64)?;
            Ok([[memory.try_clone()?], [memory]])
        })?;
        return Ok(Box::new(Buffers::map(&memory, message)?));
    }
    stage.launch()?;
    let target = if let Copies::Own = copies { vec![2; payload] } else { Vec::new() };
    Ok(Box::new(Copying { message, target }))
}

pub(super) fn not_for_copies(task: Task) -> Option<&'static str> {
    (task.work != Work::Stream).then_some("a copy is no conversation")
}

/// Copies in main. The renderer takes no part.
struct Copying {
    message: Vec<u8>,
    /// The buffer to copy to, or else new pages each time.
    target: Vec<u8>,
}

impl Side for Copying {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        let Self { message, target } = self;
        match half {
            Half::StreamInMain(limit) if target.is_empty() => copy_for(limit, 1, || {
                let len = message.len();
                // SAFETY: the kernel chooses a free range, so no mapping is replaced. Only this function
                // writes the range, within its length, and does not use it after it is unmapped.
                unsafe {
                    let start = mmap_anonymous(ptr::null_mut(), len, ACCESS, MapFlags::PRIVATE)?;
                    let target = slice::from_raw_parts_mut(start.cast::<u8>(), len);
                    black_box(target).copy_from_slice(black_box(message));
                    munmap(start, len)?;
                }
                Ok(())
            }),
            Half::StreamInMain(limit) => copy_for(limit, 64, || {
                black_box(&mut target[..]).copy_from_slice(black_box(message));
                Ok(())
            }),
            Half::StreamInRenderer(..) => Ok(StreamPart::default()),
            _ => Err(unable()),
        }
    }
}

/// Copies `batch` messages between two readings of the clock, until the limit.
fn copy_for(
    limit: Limit,
    batch: u64,
    mut copy: impl FnMut() -> Result<(), Error>,
) -> Result<StreamPart, Error> {
    let began = now_ns();
    let mut ended = began;
    let mut count = 0;
    while ended - began < limit.time_ns {
        for _ in 0..batch {
            copy()?;
        }
        count += batch;
        ended = now_ns();
    }
    Ok(StreamPart { count, began_ns: Some(began), ended_ns: Some(ended) })
}

/// The space of the two counts: a page.
const COUNTS_LEN: usize = 4096;

#[repr(C, align(128))]
struct Alone(AtomicU64);

/// The numbers of messages that were written and read since the beginning.
#[repr(C)]
struct Counts {
    written: Alone,
    read: Alone,
}

/// The memory that both processes map. Main writes messages into it, the renderer reads them.
struct Buffers {
    counts: &'static Counts,
    first: *mut u8,
    count: u64,
    message: Vec<u8>,
    /// The messages that this process has written or read.
    done: u64,
}

fn stride(payload: usize) -> usize {
    payload.next_multiple_of(64)
}

fn memory_len(payload: usize) -> usize {
    COUNTS_LEN + queue_len(payload) * stride(payload)
}

impl Buffers {
    fn map(memory: &OwnedFd, message: Vec<u8>) -> Result<Self, Error> {
        let len = memory_len(message.len());
        // SAFETY: the kernel chooses a free range, so no mapping is replaced. The file has the length, and its
        // first page holds the counts: any bytes are valid counts, and both processes change them through
        // atomics only.
        unsafe {
            let start = mmap(ptr::null_mut(), len, ACCESS, MapFlags::SHARED, memory, 0)?;
            madvise(start, len, Advice::LinuxPopulateWrite)?;
            let counts = &*start.cast::<Counts>();
            let first = start.cast::<u8>().add(COUNTS_LEN);
            Ok(Self { counts, first, count: queue_len(message.len()) as u64, message, done: 0 })
        }
    }

    fn buffer(&self) -> *mut u8 {
        // SAFETY: inside the mapping, which has room for `count` strides after the counts.
        unsafe { self.first.add((self.done % self.count) as usize * stride(self.message.len())) }
    }

    fn write(&mut self, stamp: u64) -> Result<(), Error> {
        set_stamp(&mut self.message, stamp);
        let read = &self.counts.read.0;
        spin_until(|| self.done - read.load(Ordering::Acquire) < self.count)?;
        let len = self.message.len();
        // SAFETY: the buffer has this length, and its reader has counted that it has left it.
        unsafe { ptr::copy_nonoverlapping(self.message.as_ptr(), self.buffer(), len) };
        self.done += 1;
        self.counts.written.0.store(self.done, Ordering::Release);
        Ok(())
    }

    /// Reads a message, adds its bytes to the sum, and returns its stamp.
    fn read(&mut self, sums: &mut u64) -> Result<u64, Error> {
        spin_until(|| self.counts.written.0.load(Ordering::Acquire) != self.done)?;
        // SAFETY: the buffer has this length, and its writer leaves it alone until it is counted.
        let message = unsafe { slice::from_raw_parts(self.buffer(), self.message.len()) };
        let stamp = read(message, sums);
        self.done += 1;
        self.counts.read.0.store(self.done, Ordering::Release);
        Ok(stamp)
    }
}

impl Side for Buffers {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        match half {
            Half::StreamInMain(limit) => {
                send_stream(self.message.len(), limit, |stamp| self.write(stamp))
            }
            Half::StreamInRenderer(..) => read_stream(|sums| self.read(sums)),
            _ => Err(unable()),
        }
    }
}
