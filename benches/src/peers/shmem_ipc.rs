//! shmem-ipc: its bare ring, whose two sides spin, and its shared ring, which wakes by eventfd.

use std::{fs::File, io, os::fd::OwnedFd, ptr};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap},
};
use shmem_ipc::{ringbuf, sharedring};

use super::queue_len;
use crate::pair::prelude::*;

pub(super) fn bare(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    let len = ring_len(payload);
    let [to, from] = stage.share(|| {
        let memory = || -> io::Result<OwnedFd> {
            let memory = memfd_create("compare-ring", MemfdFlags::CLOEXEC)?;
            ftruncate(&memory, len as u64)?;
            Ok(memory)
        };
        let (there, back) = (memory()?, memory()?);
        Ok([[there.try_clone()?, back.try_clone()?], [back, there]])
    })?;
    let [to, from] = [map(&to, len)?, map(&from, len)?];
    // SAFETY: both are mapped for reading and writing with this length for the rest of the process. The
    // other process has the other end of each only. It is this program, which changes the memory
    // through the ring only.
    let (to, from) =
        unsafe { (ringbuf::Sender::attach(to, len), ringbuf::Receiver::attach(from, len)) };
    let (to, from) = (to.map_err(io::Error::other)?, from.map_err(io::Error::other)?);
    Ok(Ring { to, from, payload }.side(payload))
}

/// Returns the length of a ring for a whole number of messages, so that each is in one piece.
fn ring_len(payload: usize) -> usize {
    ringbuf::channel_bufsize::<u8>(queue_len(payload) * payload)
}

fn map(memory: &OwnedFd, len: usize) -> io::Result<*mut u8> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses a free range, so no mapping is replaced. The file has the length.
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

pub(super) fn blocking(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    let capacity = queue_len(payload) * payload;
    let (to, from);
    if stage.is_main {
        to = sharedring::Sender::<u8>::new(capacity)?;
        from = sharedring::Receiver::<u8>::new(capacity)?;
        stage.launch()?;
        let (empty, full) = (to.empty_signal(), to.full_signal());
        stage.control.give(&[to.memfd().as_file(), empty, full])?;
        let (empty, full) = (from.empty_signal(), from.full_signal());
        stage.control.give(&[from.memfd().as_file(), empty, full])?;
    } else {
        let [memory, empty, full] = stage.control.take()?.map(File::from);
        from = sharedring::Receiver::open(capacity, memory, empty, full)?;
        let [memory, empty, full] = stage.control.take()?.map(File::from);
        to = sharedring::Sender::open(capacity, memory, empty, full)?;
    }
    Ok(Shared { to, from, message: vec![0; payload] }.side(payload))
}

struct Shared {
    to: sharedring::Sender<u8>,
    from: sharedring::Receiver<u8>,
    /// A buffer, since a message may be in two pieces in the ring.
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
