//! A session with main, and its memory.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    time::Duration,
};

use rustix::{
    fs::{SealFlags, fcntl_add_seals},
    io::Errno,
    mm::ProtFlags,
};

use super::{
    door::Socket,
    memory::{BOTH, Mapped},
    until,
    wire::{self, CELL, CONSUMED, CONTROL, HEADER, ODD_LAP},
};

/// One session, seen from a renderer.
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
    /// How far it says that it is behind with reading.
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
        let mut descriptors = Vec::new();
        until("the welcome", || {
            socket.wait(Duration::from_millis(5));
            descriptors = socket.descriptors().unwrap_or_default();
            !descriptors.is_empty()
        });
        let mut descriptors = descriptors.into_iter();
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

    /// How much our ring holds.
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

    /// A commit word as this lap has it.
    pub fn lapped(&self, word: u64) -> u64 {
        word ^ self.lap_of(self.position)
    }

    /// The bit that commit words of that lap have inverted.
    fn lap_of(&self, position: u64) -> u64 {
        if (position / self.capacity()).is_multiple_of(2) { 0 } else { ODD_LAP }
    }

    /// Writes a frame of any two words at the next place, without a look at anything, and rings. The next
    /// place stays the same.
    pub fn put(&self, word: u64, second: u64, payload: &[u8]) {
        let at = self.at();
        self.outbox.write(at + HEADER, payload);
        self.outbox.u64(at + 8).store(second, Relaxed);
        self.outbox.u64(at).store(self.lapped(word), Release);
        self.ring();
    }

    /// Writes a frame likewise, and stays until main has hung up.
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

    /// Commits a frame as it should be, once there is room. `false`: main has hung up instead.
    pub fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        channel: u16,
        request: u64,
        payload: &[u8],
    ) -> bool {
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
        // The word behind the frame must be none of its lap, whatever an earlier one left there.
        let next = self.position + size;
        let guard = CONTROL + next % self.capacity();
        self.outbox.u64(guard).store(self.lap_of(next), Release);
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

    /// Waits for so much room. `false`: main has hung up.
    pub fn has_room(&self, size: u64) -> bool {
        let mut hung_up = false;
        let mut looks = 0_u32;
        until("main reads", || {
            let consumed = self.inbox.u64(CONSUMED).load(Acquire);
            if self.position + size <= consumed + self.capacity() {
                return true;
            }
            looks += 1;
            hung_up = looks.is_multiple_of(256) && self.socket.is_hung_up();
            hung_up
        });
        !hung_up
    }

    /// Rings for main, whether it sleeps or not. What comes of it is of no interest.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    // --- receiving ---------------------------------------------------------------------------------

    /// Main's next frame, if there is one.
    pub fn receive(&mut self) -> Option<Frame> {
        let capacity = self.inbox.size() - CONTROL;
        loop {
            let at = CONTROL + self.read % capacity;
            let lap = if (self.read / capacity).is_multiple_of(2) { 0 } else { ODD_LAP };
            let word = self.inbox.u64(at).load(Acquire) ^ lap;
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

    /// Main's next frame of this kind; others are passed over.
    pub fn receive_of(&mut self, kind: u8) -> Frame {
        let mut found = None;
        until("a frame of main", || {
            found = self.receive().filter(|frame| frame.kind == kind);
            found.is_some()
        });
        found.expect("it was found")
    }

    pub fn read_position(&self) -> u64 {
        self.read
    }

    // --- large payloads ----------------------------------------------------------------------------

    /// Asks for memory, as an honest renderer does, and gets it.
    pub fn borrow(&mut self, size: u64) -> OwnedFd {
        self.number(wire::ASK, size);
        let mut memory = None;
        until("memory", || {
            self.socket.wait(Duration::from_millis(5));
            memory = self.socket.descriptors().and_then(|mut descriptors| descriptors.pop());
            memory.is_some()
        });
        memory.expect("it came")
    }

    pub fn attached(&mut self, channel: &str, id: u64, len: u64) -> bool {
        let payload = wire::attached(id, len, 0, wire::SEND);
        self.frame(wire::ATTACHED, 0, wire::channel(channel), 0, &payload)
    }
}

/// Seals what was borrowed, as an honest renderer does.
pub fn seal(memory: impl AsFd) -> Result<(), Errno> {
    fcntl_add_seals(memory, SealFlags::WRITE | SealFlags::SEAL)
}
