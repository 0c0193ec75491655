//! The floors of large payloads: copies, without any library.

use std::{
    hint::black_box,
    os::fd::{AsFd, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
};

use super::{floors::Onlooker, queue_len};
use crate::{
    Error,
    board::spin_until,
    clock::now_ns,
    compare::{
        side::{
            MainSide, OVER, Pacer, RendererSide, StreamPart, Subject, send_stream, set_stamp,
            stamp, sum,
        },
        stage::Stage,
        work::{Task, Work},
    },
};

const STREAM_ONLY: &str = "a copy is no conversation";

fn stream_only(task: Task) -> Option<&'static str> {
    (task.work != Work::Stream).then_some(STREAM_ONLY)
}

/// One process that copies each message into memory that it did not have before.
pub(super) struct Fresh;

impl Subject for Fresh {
    fn name(&self) -> &'static str {
        "memcpy-fresh"
    }

    fn about(&self) -> &'static str {
        "floor: one process copies into new pages, which it has zeroed for it and lets go again"
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        stream_only(task)
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        stage.launch()?;
        Ok(Box::new(FreshCopies { message: vec![1; stage.job.task.payload] }))
    }

    fn renderer_side(&self, _stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(Onlooker))
    }
}

struct FreshCopies {
    message: Vec<u8>,
}

impl FreshCopies {
    fn copy(&self) -> Result<(), Error> {
        let len = self.message.len();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE;
        // SAFETY: the kernel chooses a free range, so nothing of ours is replaced; it is written as far
        // as it goes, by nobody else, and not used after it is unmapped.
        unsafe {
            let start = rustix::mm::mmap_anonymous(ptr::null_mut(), len, access, flags)?;
            let target = slice::from_raw_parts_mut(start.cast::<u8>(), len);
            black_box(target).copy_from_slice(black_box(&self.message));
            munmap(start, len)?;
        }
        Ok(())
    }
}

impl MainSide for FreshCopies {
    fn answer(&mut self) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }

    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error> {
        let began = now_ns();
        let mut ended = began;
        let mut count = 0;
        while ended - began < time_ns {
            self.copy()?;
            count += 1;
            ended = now_ns();
        }
        Ok(StreamPart { count, began_ns: Some(began), ended_ns: Some(ended) })
    }

    fn push(&mut self, _pacer: &mut Pacer) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }

    fn idle(&mut self, _time_ns: u64) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }
}

/// One process that copies messages into buffers, and another that reads them there.
pub(super) struct Across;

impl Subject for Across {
    fn name(&self) -> &'static str {
        "memcpy-across"
    }

    fn about(&self) -> &'static str {
        "floor: main copies into as much room as Ringbridge's ring has, the renderer reads; a count each way"
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        stream_only(task)
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let payload = stage.job.task.payload;
        let memory = memfd_create("compare-across", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, memory_len(payload) as u64)?;
        stage.launch()?;
        stage.control.give(&[memory.as_fd()])?;
        let buffers = Buffers::map(&memory, payload)?;
        Ok(Box::new(Writing { buffers, message: vec![1; payload], written: 0 }))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let [memory] = stage.control.take()?;
        Ok(Box::new(Reading { buffers: Buffers::map(&memory, stage.job.task.payload)?, read: 0 }))
    }
}

/// Room for the two counts, a page.
const COUNTS_LEN: usize = 4096;

#[repr(C, align(128))]
struct Alone(AtomicU64);

/// How many messages were written, and how many read, since the beginning.
#[repr(C)]
struct Counts {
    written: Alone,
    read: Alone,
}

/// What both processes map.
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
    /// The mapping stays for the rest of the process.
    fn map(memory: &OwnedFd, payload: usize) -> Result<Self, Error> {
        let (len, access) = (memory_len(payload), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the kernel chooses a free range, so nothing of ours is replaced. The file has the
        // length, whose first page are the counts: all bytes are a value of them, and both processes
        // change them through atomics only.
        unsafe {
            let start = mmap(ptr::null_mut(), len, access, MapFlags::SHARED, memory, 0)?;
            madvise(start, len, Advice::LinuxPopulateWrite)?;
            let counts = &*start.cast::<Counts>();
            let first = start.cast::<u8>().add(COUNTS_LEN);
            Ok(Self { counts, first, payload, count: queue_len(payload) as u64 })
        }
    }

    fn buffer(&self, number: u64) -> *mut u8 {
        // SAFETY: inside the mapping, whose length is made for so many.
        unsafe { self.first.add((number % self.count) as usize * stride(self.payload)) }
    }
}

struct Writing {
    buffers: Buffers,
    message: Vec<u8>,
    written: u64,
}

impl MainSide for Writing {
    fn answer(&mut self) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }

    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error> {
        let Self { buffers, message, written } = self;
        send_stream(message.len(), time_ns, |stamp| {
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

    fn push(&mut self, _pacer: &mut Pacer) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }

    fn idle(&mut self, _time_ns: u64) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }
}

struct Reading {
    buffers: Buffers,
    read: u64,
}

impl RendererSide for Reading {
    fn call(&mut self, _time_ns: u64, _samples: &mut Vec<u64>) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
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

    fn receive_pushes(&mut self, _samples: &mut Vec<u64>) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }

    fn idle(&mut self) -> Result<(), Error> {
        Err(STREAM_ONLY.into())
    }
}
