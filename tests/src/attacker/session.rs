//! A session with main, and its memory.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
};

use rustix::{
    fs::{SealFlags, fcntl_add_seals},
    io::Errno,
    mm::ProtFlags,
};

use super::{
    door::Socket,
    memory::{BOTH, Mapped},
    until_some,
    wire::{self, CELL, CONSUMED, CONTROL, HEADER, ODD_LAP},
};

pub struct Session {
    pub socket: Socket,
    pub inbox: Mapped,
    pub inbox_memory: OwnedFd,
    pub outbox: Mapped,
    pub outbox_memory: OwnedFd,
    pub event: OwnedFd,
    pub topics: Vec<OwnedFd>,
    /// Where the next frame goes.
    pub position: u64,
    /// The difference between its true read position and the one that it publishes.
    pub lag: u64,
    read: u64,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub channel: u16,
    /// Its second word.
    pub request: u64,
    pub payload: Vec<u8>,
}

impl Session {
    /// Shakes hands and maps everything.
    pub fn begin(socket: Socket) -> Self {
        let session = Self::begin_without_ready(socket);
        session.socket.say(&wire::ready(wire::MAGIC));
        session
    }

    /// Shakes hands, but for the last word.
    pub fn begin_without_ready(socket: Socket) -> Self {
        socket.say(&wire::hello(wire::MAGIC, wire::VERSION, &[]));
        let mut descriptors = socket.next_descriptors().into_iter();
        let mut next = || descriptors.next().expect("it is in the welcome");
        let (inbox_memory, outbox_memory, event) = (next(), next(), next());
        Self {
            inbox: Mapped::new(&inbox_memory, ProtFlags::READ).expect("it may be read"),
            inbox_memory,
            outbox: Mapped::new(&outbox_memory, BOTH).expect("it is ours"),
            outbox_memory,
            event,
            topics: descriptors.collect(),
            socket,
            position: 0,
            lag: 0,
            read: 0,
        }
    }

    pub fn capacity(&self) -> u64 {
        self.outbox.size() - CONTROL
    }

    // --- sending -----------------------------------------------------------------------------------

    /// From the next frame's place to the end of the lap.
    pub fn to_end(&self) -> u64 {
        self.capacity() - self.position % self.capacity()
    }

    /// Where the next frame lies in the mapping.
    pub fn at(&self) -> u64 {
        CONTROL + self.position % self.capacity()
    }

    /// Inverts the bit of a commit word that this lap inverts.
    pub fn lapped(&self, word: u64) -> u64 {
        word ^ lap_bit(self.position, self.capacity())
    }

    /// Writes a frame of any two words at the next place without a check, and rings. The next place stays the same.
    pub fn put(&self, word: u64, second: u64, payload: &[u8]) {
        let at = self.at();
        self.outbox.write(at + HEADER, payload);
        self.outbox.u64(at + 8).store(second, Relaxed);
        self.outbox.u64(at).store(self.lapped(word), Release);
        self.ring();
    }

    /// Writes a frame like `put`, and waits until main has hung up.
    pub fn caught(&self, word: u64, second: u64, payload: &[u8]) {
        self.put(word, second, payload);
        self.socket.until_hung_up();
    }

    pub fn send_often(&mut self, times: usize, channel: &str, payload: &[u8]) {
        let channel = wire::channel(channel);
        for _ in 0..times {
            assert!(self.frame(wire::SEND, 0, channel, 0, payload));
        }
    }

    /// Commits a correct frame once there is room. `false`: main has hung up instead.
    #[rustfmt::skip]
    pub fn frame(&mut self, kind: u8, flags: u8, channel: u16, request: u64, payload: &[u8]) -> bool {
        let len = HEADER + payload.len() as u64;
        let size = wire::padded(len);
        if size > self.to_end() {
            let pad = self.to_end();
            if !self.has_room(pad) {
                return false;
            }
            self.put(wire::word(pad as u32, wire::PAD, 0, 0), 0, &[]);
            self.position += pad;
        }
        if !self.has_room(size + CELL) {
            return false;
        }
        // The word behind the frame must not be a commit word of its lap, as an earlier frame may have left it.
        let next = self.position + size;
        let guard = CONTROL + next % self.capacity();
        self.outbox.u64(guard).store(lap_bit(next, self.capacity()), Release);
        self.put(wire::word(len as u32, kind, flags, channel), request, payload);
        self.position += size;
        true
    }

    pub fn send(&mut self, channel: &str, payload: &[u8]) -> bool {
        self.frame(wire::SEND, 0, wire::channel(channel), 0, payload)
    }

    pub fn invoke(&mut self, channel: &str, request: u64, payload: &[u8]) -> bool {
        self.frame(wire::INVOKE, 0, wire::channel(channel), request, payload)
    }

    /// Sends one of the frames that consist of a number.
    pub fn number(&mut self, kind: u8, number: u64) -> bool {
        self.frame(kind, 0, 0, 0, &number.to_le_bytes())
    }

    /// Waits for room. `false`: main has hung up.
    pub fn has_room(&self, size: u64) -> bool {
        let mut looks = 0_u32;
        until_some("main reads", || {
            let consumed = self.inbox.u64(CONSUMED).load(Acquire);
            looks += 1;
            if self.position + size <= consumed + self.capacity() {
                Some(true)
            } else {
                (looks.is_multiple_of(256) && self.socket.is_hung_up()).then_some(false)
            }
        })
    }

    /// Rings for main, even if it does not sleep or has gone.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    // --- receiving ---------------------------------------------------------------------------------

    pub fn receive(&mut self) -> Option<Frame> {
        let capacity = self.inbox.size() - CONTROL;
        loop {
            let at = CONTROL + self.read % capacity;
            let word = self.inbox.u64(at).load(Acquire) ^ lap_bit(self.read, capacity);
            if word == 0 || word & ODD_LAP != 0 {
                return None;
            }
            let len = u64::from(word as u32);
            let kind = (word >> 32) as u8;
            let frame = Frame {
                kind,
                flags: (word >> 40) as u8,
                channel: (word >> 48) as u16,
                request: self.inbox.u64(at + 8).load(Relaxed),
                payload: self.inbox.read(at + HEADER, len - HEADER),
            };
            self.read += wire::padded(len);
            self.outbox.u64(CONSUMED).store(self.read - self.lag, Release);
            if kind != wire::PAD {
                return Some(frame);
            }
        }
    }

    /// Waits for main's next frame of this kind. Others are dropped.
    pub fn receive_of(&mut self, kind: u8) -> Frame {
        until_some("a frame of main", || self.receive().filter(|frame| frame.kind == kind))
    }

    pub fn read_position(&self) -> u64 {
        self.read
    }

    // --- large payloads ----------------------------------------------------------------------------

    /// Asks for memory, as an honest renderer does, and gets it.
    pub fn borrow(&mut self, size: u64) -> OwnedFd {
        self.number(wire::ASK, size);
        self.socket.next_descriptors().remove(0)
    }

    pub fn attached(&mut self, channel: &str, id: u64, len: u64) -> bool {
        let payload = wire::attached(id, len, 0, wire::SEND);
        self.frame(wire::ATTACHED, 0, wire::channel(channel), 0, &payload)
    }
}

/// The bit that commit words of this position's lap have inverted.
fn lap_bit(position: u64, capacity: u64) -> u64 {
    if (position / capacity).is_multiple_of(2) { 0 } else { ODD_LAP }
}

/// Seals borrowed memory, as an honest renderer does.
pub fn seal(memory: impl AsFd) -> Result<(), Errno> {
    fcntl_add_seals(memory, SealFlags::WRITE | SealFlags::SEAL)
}
