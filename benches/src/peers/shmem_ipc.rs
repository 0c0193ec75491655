//! shmem-ipc: its bare ring, whose two sides spin, and its shared ring, which wakes by eventfd.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    ptr,
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap},
};
use shmem_ipc::{ringbuf, sharedring};

use super::queue_len;
use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
    },
};

/// The bare ring.
pub(super) struct Bare;
/// The shared ring.
pub(super) struct Blocking;

impl Subject for Bare {
    fn name(&self) -> &'static str {
        "shmem-ipc"
    }

    fn about(&self) -> &'static str {
        "ringbuf, without its signals; spins"
    }

    fn package(&self) -> Option<&'static str> {
        Some("shmem-ipc")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let len = ring_len(stage);
        let there = memfd_create("compare-there", MemfdFlags::CLOEXEC)?;
        let back = memfd_create("compare-back", MemfdFlags::CLOEXEC)?;
        ftruncate(&there, len as u64)?;
        ftruncate(&back, len as u64)?;
        stage.launch()?;
        stage.control.give(&[there.as_fd(), back.as_fd()])?;
        Ok(bare(stage, &there, &back)?)
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let [there, back] = stage.control.take()?;
        Ok(bare(stage, &back, &there)?)
    }
}

/// A whole number of messages: then each is in one piece.
fn ring_len(stage: &Stage) -> usize {
    let payload = stage.job.task.payload;
    ringbuf::channel_bufsize::<u8>(queue_len(payload) * payload)
}

fn bare(stage: &Stage, to: &OwnedFd, from: &OwnedFd) -> io::Result<Box<Linked<Ring>>> {
    let len = ring_len(stage);
    let [to, from] = [map(to, len)?, map(from, len)?];
    // SAFETY: both are mapped for reading and writing with this length for the rest of the process.
    // The other process has the other end of each and no more, and it is this program, which changes
    // only what is the ring's to change.
    let (to, from) =
        unsafe { (ringbuf::Sender::attach(to, len), ringbuf::Receiver::attach(from, len)) };
    let (to, from) = (to.map_err(io::Error::other)?, from.map_err(io::Error::other)?);
    Ok(Box::new(Linked::new(
        Ring { to, from, payload: stage.job.task.payload },
        stage.job.task.payload,
    )))
}

fn map(memory: &OwnedFd, len: usize) -> io::Result<*mut u8> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses a free range, so nothing of ours is replaced. The file has the length.
    let start = unsafe { mmap(ptr::null_mut(), len, access, MapFlags::SHARED, memory, 0)? };
    Ok(start.cast())
}

struct Ring {
    to: ringbuf::Sender<u8>,
    from: ringbuf::Receiver<u8>,
    payload: usize,
}

impl Link for Ring {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut sent = 0;
        while sent == 0 {
            self.to.send(|room, len| {
                if len >= message.len() {
                    // SAFETY: the ring lends `len` bytes there until the closure returns.
                    unsafe { ptr::copy_nonoverlapping(message.as_ptr(), room, message.len()) };
                    sent = message.len();
                }
                sent
            })?;
        }
        Ok(())
    }

    #[inline]
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        let mut read = Some(read);
        let mut result = None;
        let payload = self.payload;
        while result.is_none() {
            self.from.recv(|start, len| {
                if len < payload {
                    return 0;
                }
                // SAFETY: the ring lends `len` bytes there until the closure returns, and the sender,
                // which is this program, does not write them meanwhile.
                let message = unsafe { std::slice::from_raw_parts(start, payload) };
                result = read.take().map(|read| read(message));
                payload
            })?;
        }
        result.ok_or_else(|| "no message".into())
    }
}

impl Subject for Blocking {
    fn name(&self) -> &'static str {
        "shmem-ipc-block"
    }

    fn about(&self) -> &'static str {
        "sharedring; sleeps in an eventfd"
    }

    fn package(&self) -> Option<&'static str> {
        Some("shmem-ipc")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let payload = stage.job.task.payload;
        let capacity = queue_len(payload) * payload;
        let to = sharedring::Sender::<u8>::new(capacity)?;
        let from = sharedring::Receiver::<u8>::new(capacity)?;
        stage.launch()?;
        stage.control.give(&[
            to.memfd().as_file().as_fd(),
            to.empty_signal().as_fd(),
            to.full_signal().as_fd(),
        ])?;
        stage.control.give(&[
            from.memfd().as_file().as_fd(),
            from.empty_signal().as_fd(),
            from.full_signal().as_fd(),
        ])?;
        Ok(Box::new(Linked::new(Shared { to, from, message: vec![0; payload] }, payload)))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let payload = stage.job.task.payload;
        let capacity = queue_len(payload) * payload;
        let [memory, empty, full] = stage.control.take::<3>()?.map(File::from);
        let from = sharedring::Receiver::<u8>::open(capacity, memory, empty, full)?;
        let [memory, empty, full] = stage.control.take::<3>()?.map(File::from);
        let to = sharedring::Sender::<u8>::open(capacity, memory, empty, full)?;
        Ok(Box::new(Linked::new(Shared { to, from, message: vec![0; payload] }, payload)))
    }
}

struct Shared {
    to: sharedring::Sender<u8>,
    from: sharedring::Receiver<u8>,
    /// Its length is its own, so a message may be in two pieces: it is put together here.
    message: Vec<u8>,
}

impl Link for Shared {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut rest = message;
        while !rest.is_empty() {
            self.to.block_until_writable()?;
            self.to.send_raw(|room, len| {
                let len = len.min(rest.len());
                // SAFETY: the ring lends at least `len` bytes there until the closure returns.
                unsafe { ptr::copy_nonoverlapping(rest.as_ptr(), room, len) };
                rest = &rest[len..];
                len
            })?;
        }
        Ok(())
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        let mut have = 0;
        while have < self.message.len() {
            self.from.block_until_readable()?;
            let rest = &mut self.message[have..];
            self.from.receive_raw(|start, len| {
                let len = len.min(rest.len());
                // SAFETY: the ring lends at least `len` bytes there until the closure returns.
                unsafe { ptr::copy_nonoverlapping(start, rest.as_mut_ptr(), len) };
                have += len;
                len
            })?;
        }
        Ok(read(&self.message))
    }
}
