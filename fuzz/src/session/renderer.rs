//! A renderer that goes around the library: it has the real socket and the real memory, and writes what it
//! likes where it likes.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use ringbridge::fuzzing;
use rustix::{
    fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate},
    mm::{MapFlags, ProtFlags, mmap, munmap},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
    },
};

pub const INVOKE: u8 = 2;
pub const CANCEL: u8 = 6;
pub const PAD: u8 = 9;
pub const ATTACHED: u8 = 10;
pub const ASK: u8 = 11;
pub const GIVE_BACK: u8 = 12;

const CELL: usize = 64;
const HEADER_LEN: usize = 16;
const CONTROL_LEN: usize = 4096;
/// Set in the commit words of every other lap.
const ODD_LAP: u64 = 1 << 39;
/// How many attachments it keeps at hand, and how many descriptors may come in one packet.
const LENT_MAX: usize = 8;
const DESCRIPTORS_MAX: usize = 16;
/// How many frames it takes out of its inbox at once.
const READ_MAX: usize = 256;

pub struct Renderer {
    socket: OwnedFd,
    memory: Option<Memory>,
    /// Memory that main passed on for large payloads.
    lent: Vec<OwnedFd>,
}

/// What the welcome brought.
struct Memory {
    inbox: Mapping,
    outbox: Mapping,
    event: OwnedFd,
    /// Where the next frame goes, and where the next of main's is.
    position: u64,
    read: u64,
    /// The last request of main.
    asked: u64,
}

/// What is said about a frame in its header.
#[derive(Clone, Copy)]
pub struct Label {
    pub kind: u8,
    pub flags: u8,
    pub channel: u16,
    pub id: u64,
}

impl Renderer {
    /// A connection, of which nothing was said yet.
    pub fn connect(name: &str) -> Self {
        let socket = fuzzing::connect(name).expect("main listens");
        Self { socket, memory: None, lent: Vec::new() }
    }

    // --- the socket ------------------------------------------------------------------------------

    /// Sends a packet, with so many descriptors.
    pub fn say(&self, packet: &[u8], descriptors: usize) {
        let own: Vec<BorrowedFd<'_>> =
            std::iter::repeat_n(self.socket.as_fd(), descriptors % DESCRIPTORS_MAX).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !own.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&own));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // Main may have hung up.
        let _ = sendmsg(&self.socket, &[IoSlice::new(packet)], &mut control, flags);
    }

    /// Takes one packet of main's: the welcome's memory is mapped, other descriptors are kept.
    pub fn listen(&mut self) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        // What it says is known; only its descriptors are of use.
        let mut packet = [0; 1];
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut packet)], &mut control, flags);
        if received.is_err() {
            return;
        }
        let rights = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let mut descriptors: Vec<OwnedFd> = rights.flatten().collect();
        if self.memory.is_none() && descriptors.len() >= 3 {
            let event = descriptors.swap_remove(2);
            let inbox = Mapping::new(&descriptors[0], ProtFlags::READ);
            let outbox = Mapping::new(&descriptors[1], ProtFlags::READ | ProtFlags::WRITE);
            self.memory = Some(Memory { inbox, outbox, event, position: 0, read: 0, asked: 0 });
        } else if self.lent.len() < LENT_MAX {
            self.lent.extend(descriptors);
        }
    }

    pub fn hang_up_half(&self, writing: bool) {
        let half = if writing { Shutdown::Write } else { Shutdown::Read };
        let _ = shutdown(&self.socket, half);
    }

    /// Writes `count` to the eventfd. It is not blocking, so one that is full stays full.
    pub fn ring(&self, count: u64) {
        if let Some(memory) = &self.memory {
            let _ = rustix::io::write(&memory.event, &count.to_ne_bytes());
        }
    }

    // --- the outbox ------------------------------------------------------------------------------

    /// Writes a word of the ring's data.
    pub fn write_data(&self, index: usize, word: u64) {
        if let Some(memory) = &self.memory {
            let data = memory.outbox.data();
            data[index % data.len()].store(word, Relaxed);
        }
    }

    /// Writes a word of the control page's first lines.
    pub fn write_control(&self, offset: usize, word: u64) {
        if let Some(memory) = &self.memory {
            memory.outbox.control_word(offset).store(word, Release);
        }
    }

    /// Writes half a word there.
    pub fn write_control_half(&self, offset: usize, half: u32) {
        if let Some(memory) = &self.memory {
            memory.outbox.control_half(offset).store(half, Release);
        }
    }

    /// Commits a frame as the protocol asks, with anything in it. Overruns what main has not read.
    pub fn commit(&mut self, label: Label, payload: &[u8]) {
        let Some(memory) = &mut self.memory else { return };
        let capacity = memory.outbox.data().len() * 8;
        let payload = &payload[..payload.len().min(capacity / 2 - CELL - HEADER_LEN)];
        let frame = (HEADER_LEN + payload.len()).next_multiple_of(CELL);
        let to_end = capacity - memory.position as usize % capacity;
        let pad = if frame > to_end { to_end } else { 0 };
        let start = memory.position.wrapping_add(pad as u64);
        let end = start.wrapping_add(frame as u64);
        memory.write_word(end, 0, 0);
        for (index, bytes) in payload.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let at = memory.place(start) + HEADER_LEN / 8 + index;
            memory.outbox.data()[at].store(u64::from_le_bytes(word), Relaxed);
        }
        memory.commit_words(start, label, HEADER_LEN + payload.len());
        if pad != 0 {
            let label = Label { kind: PAD, flags: 0, channel: 0, id: 0 };
            memory.commit_words(memory.position, label, pad);
        }
        memory.position = end;
    }

    /// Commits two words where the next frame is expected, whatever they are.
    pub fn commit_raw(&mut self, word: u64, id: u64) {
        let Some(memory) = &mut self.memory else { return };
        memory.write_word(memory.position, 1, id);
        memory.write_word(memory.position, 0, word & !ODD_LAP);
        memory.position = memory.position.wrapping_add(CELL as u64);
    }

    // --- the inbox -------------------------------------------------------------------------------

    /// Reads what main has sent, and says so, as an honest renderer does.
    pub fn read(&mut self) {
        let Some(memory) = &mut self.memory else { return };
        let data = memory.inbox.data();
        let capacity = data.len() * 8;
        for _ in 0..READ_MAX {
            let at = memory.read as usize % capacity / 8;
            let word = data[at].load(Acquire) ^ odd_lap(memory.read, capacity);
            if word == 0 || word & ODD_LAP != 0 {
                break;
            }
            if (word >> 32) as u8 == INVOKE {
                memory.asked = data[at + 1].load(Relaxed);
            }
            let len = (word as u32 as usize).next_multiple_of(CELL);
            memory.read = memory.read.wrapping_add(len as u64);
        }
        memory.outbox.control_word(128).store(memory.read, Release);
    }

    /// The last request of main that was read.
    pub fn asked(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.asked)
    }

    // --- attachments -----------------------------------------------------------------------------

    fn with_lent(&self, which: u8, act: impl FnOnce(&OwnedFd)) {
        if !self.lent.is_empty() {
            act(&self.lent[usize::from(which) % self.lent.len()]);
        }
    }

    /// Writes a part of one; all of it, if `part` is 0.
    pub fn fill(&self, which: u8, part: u8) {
        self.with_lent(which, |lent| {
            let size = fstat(lent).map_or(0, |stat| stat.st_size);
            let len = if part == 0 { size } else { size.min(i64::from(part) * 512) };
            let bytes = vec![part; len as usize];
            // Main's own refuse it.
            let _ = rustix::io::pwrite(lent, &bytes, 0);
        });
    }

    pub fn seal(&self, which: u8) {
        self.with_lent(which, |lent| {
            let _ = fcntl_add_seals(lent, SealFlags::WRITE | SealFlags::SEAL);
        });
    }

    /// What the seals forbid, and a hole, which they do not before the last one.
    pub fn damage(&self, which: u8, len: u64) {
        self.with_lent(which, |lent| {
            // To set the size that it has is no change.
            let size = fstat(lent).map_or(0, |stat| stat.st_size as u64);
            let changed = ftruncate(lent, len + 1).is_ok() && len + 1 != size;
            assert!(!changed, "the size is sealed");
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = fallocate(lent, hole, 0, len + 1);
        });
    }

    pub fn forget(&mut self, which: u8) {
        if !self.lent.is_empty() {
            self.lent.swap_remove(usize::from(which) % self.lent.len());
        }
    }
}

/// The payload of a frame that names an attachment.
pub fn attached(attachment: u64, len: u64, label: Label) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0..8].copy_from_slice(&attachment.to_le_bytes());
    bytes[8..16].copy_from_slice(&len.to_le_bytes());
    bytes[16..24].copy_from_slice(&label.id.to_le_bytes());
    bytes[24] = label.kind;
    bytes[25] = label.flags;
    bytes
}

fn odd_lap(position: u64, capacity: usize) -> u64 {
    if position & capacity as u64 != 0 { ODD_LAP } else { 0 }
}

impl Memory {
    fn place(&self, position: u64) -> usize {
        let words = self.outbox.data().len();
        (position / 8) as usize % words
    }

    /// Writes a word of a frame's header, the first with the lap's bit.
    fn write_word(&self, position: u64, index: usize, word: u64) {
        let data = self.outbox.data();
        let lap = if index == 0 { odd_lap(position, data.len() * 8) } else { 0 };
        data[self.place(position) + index].store(word | lap, Release);
    }

    fn commit_words(&self, position: u64, label: Label, len: usize) {
        self.write_word(position, 1, label.id);
        let word = len as u64
            | u64::from(label.kind) << 32
            | u64::from(label.flags) << 40
            | u64::from(label.channel) << 48;
        self.write_word(position, 0, word & !ODD_LAP);
    }
}

/// A whole region: a control page, and words of data.
struct Mapping {
    start: NonNull<AtomicU64>,
    len: usize,
}

impl Mapping {
    fn new(descriptor: &OwnedFd, protection: ProtFlags) -> Self {
        let len = fstat(descriptor).expect("main's memory has a size").st_size as usize;
        assert!(len > CONTROL_LEN);
        // SAFETY: the address is the kernel's choice, so nothing that is mapped already is replaced.
        let start =
            unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, descriptor, 0) };
        let start = NonNull::new(start.expect("main's memory can be mapped").cast());
        Self { start: start.expect("no mapping lies at 0"), len }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for as long as `self` lives, page-aligned, of a sealed size; all who write it,
        // here and in main, which is this process too, do so through atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len / 8) }
    }

    fn data(&self) -> &[AtomicU64] {
        &self.words()[CONTROL_LEN / 8..]
    }

    fn control_word(&self, offset: usize) -> &AtomicU64 {
        &self.words()[offset % CONTROL_LEN / 8]
    }

    fn control_half(&self, offset: usize) -> &AtomicU32 {
        let halves = self.start.cast::<AtomicU32>();
        // SAFETY: in the first page of the mapping, a multiple of four; otherwise as in `words`.
        unsafe { halves.add(offset % CONTROL_LEN / 4).as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped, and no borrow of it outlives `self`.
        unsafe { munmap(self.start.as_ptr().cast(), self.len) }.expect("what is mapped can go");
    }
}
