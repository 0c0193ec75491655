//! The floors of large payloads: copies, without any library.

use std::{
    hint::black_box,
    os::fd::{AsFd, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap},
};

use super::queue_len;
use crate::{board::spin_until, pair::prelude::*, system::now_ns};

/// Where a message is copied to.
#[derive(Clone, Copy)]
pub(super) enum Copies {
    /// Another buffer of the same process.
    Own,
    /// Pages that are mapped for each message.
    Fresh,
    /// Buffers that another process reads.
    Across,
}

impl Peer for Copies {
    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.work != Work::Stream).then_some("a copy is no conversation")
    }

    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let payload = stage.payload();
        let message = vec![1; payload];
        if let Self::Across = self {
            let memory = memfd_create("compare-across", MemfdFlags::CLOEXEC)?;
            ftruncate(&memory, memory_len(payload) as u64)?;
            stage.launch()?;
            stage.control.give(&[memory.as_fd()])?;
            let buffers = Buffers::map(&memory, payload)?;
            return Ok(Box::new(Writing { buffers, message, written: 0 }));
        }
        stage.launch()?;
        Ok(match self {
            Self::Own => Box::new(OwnCopies { from: message, to: vec![2; payload] }),
            Self::Fresh | Self::Across => Box::new(FreshCopies { message }),
        })
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        let Self::Across = self else { return Ok(Box::new(Onlooker)) };
        let [memory] = stage.control.take()?;
        Ok(Box::new(Reading { buffers: Buffers::map(&memory, stage.payload())?, read: 0 }))
    }
}

/// A renderer that takes no part.
struct Onlooker;

impl Side for Onlooker {
    fn stream_in_renderer(&mut self, _: Limit, _: &mut Vec<u64>) -> Result<StreamPart, Error> {
        Ok(StreamPart::default())
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

struct OwnCopies {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Side for OwnCopies {
    fn stream_in_main(&mut self, limit: Limit) -> Result<StreamPart, Error> {
        copy_for(limit, 64, || {
            black_box(&mut self.to[..]).copy_from_slice(black_box(&self.from));
            Ok(())
        })
    }
}

struct FreshCopies {
    message: Vec<u8>,
}

impl Side for FreshCopies {
    fn stream_in_main(&mut self, limit: Limit) -> Result<StreamPart, Error> {
        let (len, access) = (self.message.len(), ProtFlags::READ | ProtFlags::WRITE);
        copy_for(limit, 1, || {
            // SAFETY: the kernel chooses a free range, so no mapping is replaced. Only this function writes
            // the range, within its length, and does not use it after it is unmapped.
            unsafe {
                let start = mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE)?;
                let target = slice::from_raw_parts_mut(start.cast::<u8>(), len);
                black_box(target).copy_from_slice(black_box(&self.message));
                munmap(start, len)?;
            }
            Ok(())
        })
    }
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

/// The memory that both processes map.
struct Buffers {
    counts: &'static Counts,
    first: *mut u8,
    payload: usize,
    count: u64,
}

fn stride(payload: usize) -> usize {
    payload.next_multiple_of(64)
}

fn memory_len(payload: usize) -> usize {
    COUNTS_LEN + queue_len(payload) * stride(payload)
}

impl Buffers {
    /// Maps the memory for the rest of the process.
    fn map(memory: &OwnedFd, payload: usize) -> Result<Self, Error> {
        let (len, access) = (memory_len(payload), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the kernel chooses a free range, so no mapping is replaced. The file has the length, and its
        // first page holds the counts: any bytes are valid counts, and both processes change them through
        // atomics only.
        unsafe {
            let start = mmap(ptr::null_mut(), len, access, MapFlags::SHARED, memory, 0)?;
            madvise(start, len, Advice::LinuxPopulateWrite)?;
            let counts = &*start.cast::<Counts>();
            let first = start.cast::<u8>().add(COUNTS_LEN);
            Ok(Self { counts, first, payload, count: queue_len(payload) as u64 })
        }
    }

    fn buffer(&self, number: u64) -> *mut u8 {
        // SAFETY: inside the mapping, which has room for `count` strides after the counts.
        unsafe { self.first.add((number % self.count) as usize * stride(self.payload)) }
    }
}

struct Writing {
    buffers: Buffers,
    message: Vec<u8>,
    written: u64,
}

impl Side for Writing {
    fn stream_in_main(&mut self, limit: Limit) -> Result<StreamPart, Error> {
        let Self { buffers, message, written } = self;
        send_stream(message.len(), limit, |stamp| {
            set_stamp(message, stamp);
            let read = &buffers.counts.read.0;
            spin_until(|| *written - read.load(Ordering::Acquire) < buffers.count)?;
            // SAFETY: the buffer has this length, and its reader has counted that it has left it.
            unsafe {
                ptr::copy_nonoverlapping(message.as_ptr(), buffers.buffer(*written), message.len());
            }
            *written += 1;
            buffers.counts.written.0.store(*written, Ordering::Release);
            Ok(())
        })
    }
}

struct Reading {
    buffers: Buffers,
    read: u64,
}

impl Side for Reading {
    fn stream_in_renderer(&mut self, _: Limit, _: &mut Vec<u64>) -> Result<StreamPart, Error> {
        let Self { buffers, read } = self;
        let (mut count, mut sums) = (0, 0_u64);
        loop {
            spin_until(|| buffers.counts.written.0.load(Ordering::Acquire) != *read)?;
            // SAFETY: the buffer has this length, and its writer leaves it alone until it is counted.
            let message = unsafe { slice::from_raw_parts(buffers.buffer(*read), buffers.payload) };
            let stamp = stamp(message);
            sums = sums.wrapping_add(sum(message));
            *read += 1;
            count += 1;
            buffers.counts.read.0.store(*read, Ordering::Release);
            if stamp == OVER {
                black_box(sums);
                return Ok(StreamPart::received(count));
            }
        }
    }
}
