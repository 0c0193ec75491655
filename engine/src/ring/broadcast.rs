//! A topic: one writer, many readers, and no side that waits for another.
//!
//! ```text
//!                       newest                claim
//!                         v                     v
//!   |  record 6  |  record 7  |  (being written)  |  record 4  |  record 5  |  pad  |
//!   0                                             ^ the rest of the last lap         capacity
//! ```
//!
//! Main writes each message once for all readers, and no reader can slow it down. A reader keeps its position
//! private. If the writer lapped it, it learns the exact number of messages that it missed.
//!
//! **Why no reader gets a torn copy.** The writer *stakes* its claim to the end of the new record, then writes, then
//! publishes the record's start in `newest`. A reader copies a record and *then* reads the claim. If the claim is at
//! most a capacity beyond the record's start, the writer has overwritten no word of the copy. Otherwise the reader
//! discards the copy; until then it has relied on nothing in it, not even on the length. (As in Agrona's broadcast
//! buffer.)
//!
//! **Why the count is exact.** Each record has its sequence, and a reader remembers the last one. A new reader starts
//! behind the newest record and learns its sequence. Record 0, which opens each topic, makes sure that there is one.
//!
//! Readers trust the writer, which is main. They never leave the ring all the same.

use crate::{
    model::guarded,
    primitives::AtomicU64,
    ring::cells::Cells,
    shm::{
        aligned::AlignedBuf,
        bytes,
        shared::{Shared, TopicMemory},
    },
    wire::{
        CELL, HEADER_LEN,
        frame::{Header, Kind, Label, Place},
        padded,
        topic::{TopicControl, payload_max, record_max},
    },
};

/// The most copies that a reader discards in one call. A second attempt is rare: the newest record outlives the
/// writing of the next one.
const ATTEMPTS_MAX: usize = 4;

/// The writing end, in main. Not `Clone`: a topic has one.
pub(crate) struct TopicWriter {
    cells: Cells,
    control: Shared<TopicControl>,
    /// The position of the next record, or of the pad in front of it.
    position: u64,
    /// The newest record's.
    sequence: u64,
}

/// A message that does not fit into the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes does not fit into a topic that carries up to {max}")]
pub(crate) struct TooLarge {
    pub(crate) len: usize,
    pub(crate) max: usize,
}

impl TopicWriter {
    /// Opens the topic, before a reader has the memory.
    ///
    /// # Panics
    ///
    /// If the data is no power of two of cells, or `start` no multiple of a cell.
    pub(crate) fn new(memory: TopicMemory, start: u64) -> Self {
        assert!(start.is_multiple_of(CELL as u64));
        let cells = Cells::new(memory.data);
        let mut writer = Self { cells, control: memory.control, position: start, sequence: 0 };
        writer.append(0, &[]);
        writer
    }

    pub(crate) fn payload_max(&self) -> usize {
        payload_max(self.cells.capacity())
    }

    /// Writes a message, and returns its sequence. Sequences start at 1.
    // Always inline, with its callees: an application's messages and main's records for inspectors have a copy each.
    #[inline(always)]
    pub(crate) fn publish(&mut self, payload: &[u8]) -> Result<u64, TooLarge> {
        let (len, max) = (payload.len(), self.payload_max());
        if len > max {
            return Err(TooLarge { len, max });
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.append(self.sequence, payload);
        Ok(self.sequence)
    }

    #[inline(always)]
    fn append(&mut self, sequence: u64, payload: &[u8]) {
        let record = padded(HEADER_LEN + payload.len());
        let pad = self.cells.pad_before(self.position, record);
        let start = self.position.wrapping_add(pad as u64);
        let end = start.wrapping_add(record as u64);

        self.control.claim.stake(end);
        if pad != 0 {
            self.cells.head(self.position).write(Header::pad(pad), 0);
        }
        self.cells.head(start).write(RECORD.with_payload(payload.len() as u32), sequence);
        bytes::copy_in(self.cells.payload(start, payload.len()), payload);
        self.control.newest.publish(start);

        self.position = end;
    }
}

/// The label of every record.
const RECORD: Label = Label::new(Kind::Send, 0);

/// A reading end. It writes no shared memory.
pub(crate) struct TopicReader {
    cells: Cells,
    control: Shared<TopicControl>,
    /// The last record that it got, or joined at.
    last: TopicRecord,
}

/// A message that was copied whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedRecord {
    pub(crate) sequence: u64,
    /// The number of messages between this reader's last one and this one.
    pub(crate) lost: u64,
}

/// A record that was whole when it was copied.
#[derive(Clone, Copy)]
struct TopicRecord {
    start: u64,
    end: u64,
    sequence: u64,
}

impl TopicReader {
    /// Joins the topic. The reader gets messages from now on.
    pub(crate) fn new(memory: TopicMemory) -> Self {
        let TopicMemory { control, data } = memory;
        let start = control.newest.observe();
        // An opened topic starts with record 0, one cell long.
        let opening = TopicRecord { start, end: start.wrapping_add(CELL as u64), sequence: 0 };
        let mut reader = Self { cells: Cells::new(data), control, last: opening };
        for _ in 0..ATTEMPTS_MAX {
            let record = reader.read(reader.control.newest.observe(), |_, _| ());
            if let Some(record) = record {
                let end = guarded!("TopicReader::new: place and count of one record", record.end, else {
                    reader.control.newest.observe().wrapping_add(CELL as u64)
                });
                reader.last = TopicRecord { end, ..record };
                break;
            }
        }
        reader
    }

    /// Returns whether there is a message that this reader has not got. One load.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.control.newest.observe() != self.last.start
    }

    /// Copies the next message to `buffer`; or the newest, if the writer has overwritten the next.
    ///
    /// `None` if there is no message. Rarely also if the writer outran several attempts in a row: then
    /// [`has_news`](Self::has_news) is still true, and the count stays exact. `buffer` then holds garbage.
    pub(crate) fn next(&mut self, buffer: &mut AlignedBuf) -> Option<ReceivedRecord> {
        self.receive(|reader, _newest| reader.last.end, buffer)
    }

    /// Copies the newest message, unless this reader has got it. Those in between count as lost.
    pub(crate) fn latest(&mut self, buffer: &mut AlignedBuf) -> Option<ReceivedRecord> {
        self.receive(|_reader, newest| newest, buffer)
    }

    #[inline]
    fn receive(
        &mut self,
        first: impl FnOnce(&Self, u64) -> u64,
        buffer: &mut AlignedBuf,
    ) -> Option<ReceivedRecord> {
        // One load: a second one could find news where this one found the last message again.
        let newest = self.control.newest.observe();
        if guarded!("TopicReader::receive: one look", newest == self.last.start, else !self.has_news())
        {
            return None;
        }
        let mut from = first(self, newest);
        for _ in 0..ATTEMPTS_MAX {
            let record = self.read(from, |words, len| bytes::copy_out(words, buffer.resize(len)));
            if let Some(record) = record {
                let lost = record.sequence.wrapping_sub(self.last.sequence).wrapping_sub(1);
                self.last = record;
                return Some(ReceivedRecord { sequence: record.sequence, lost });
            }
            from = self.control.newest.observe();
        }
        None
    }

    /// Copies the record at `from`, or behind a pad there. `None` if the writer may have overwritten it.
    fn read(&self, from: u64, copy: impl FnOnce(&[AtomicU64], usize)) -> Option<TopicRecord> {
        let mut start = from;
        let (mut header, mut sequence) = self.look(start)?;
        if header.kind == Kind::Pad {
            start = start.wrapping_add(header.padded_len() as u64);
            (header, sequence) = self.look(start)?;
        }
        let len = header.payload_len as usize;
        copy(self.cells.payload(start, len), len);

        let claimed = guarded!("TopicReader::read: claim", self.control.claim.staked(), else from);
        let overwritten = claimed.wrapping_sub(from);
        let whole = overwritten <= self.cells.capacity() as u64 && header.kind == RECORD.kind;
        let end = start.wrapping_add(header.padded_len() as u64);
        whole.then_some(TopicRecord { start, end, sequence })
    }

    /// Reads a header that stays in the ring, and its sequence. They may be torn.
    fn look(&self, position: u64) -> Option<(Header, u64)> {
        let frame_max = record_max(self.cells.capacity());
        let place = Place { to_end: self.cells.to_end(position), frame_max };
        let (wire, sequence) = self.cells.head(position).read();
        // A record has no request id: its second word is the sequence.
        Some((wire.check(0, place).ok()?, sequence))
    }
}

#[cfg(test)]
mod tests;
