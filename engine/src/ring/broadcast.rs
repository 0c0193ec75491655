//! One writer, many readers, nobody waits: the newest state for whoever looks.
//!
//! ```text
//!                       newest                claim
//!                         v                     v
//!   |  record 6  |  record 7  |  (being written)  |  record 4  |  record 5  |  pad  |
//!   0                                             ^ what is left of the last lap     capacity
//! ```
//!
//! Main writes each message once, whatever the number of readers, and no reader can slow it down. A
//! reader keeps its place to itself, and is told exactly how many messages it missed if the writer
//! lapped it.
//!
//! # Why a torn copy never surfaces
//!
//! The writer *stakes* its claim up to where the new record will end; then writes; then publishes the
//! record's start in `newest`. A reader copies a record, and *then* looks at the claim: if the
//! writer had not claimed more than a capacity beyond the record's start, not a word of the copy was
//! overwritten. Otherwise the copy is thrown away, and nothing in it, not even its length, has been
//! relied upon beyond the bounds of the ring. (As in Agrona's broadcast buffer.)
//!
//! # Why the count is exact
//!
//! Each record carries its sequence. A reader remembers the last one it got, so the next one tells
//! how many were between. A new reader starts behind the newest record, whose sequence it learns;
//! the record 0 that opens each topic makes sure that there is one.
//!
//! Readers trust the writer, which is main. They still never leave the ring.

use crate::model::guarded;
use crate::primitives::AtomicU64;
use crate::ring::cells::Cells;
use crate::shm::aligned::AlignedBuf;
use crate::shm::bytes;
use crate::shm::shared::{Shared, TopicMemory};
use crate::wire::frame::{Header, Kind, Label, Place};
use crate::wire::topic::{TopicControl, payload_max, record_max};
use crate::wire::{CELL, HEADER_LEN, padded};

/// How many copies a reader throws away in one call before it returns empty-handed, to try again
/// later. The newest record outlives the next one being written, so even a second is rare.
const ATTEMPTS_MAX: usize = 4;

/// The writing end, in main. One a topic: not `Clone`.
pub(crate) struct TopicWriter {
    cells: Cells,
    control: Shared<TopicControl>,
    /// Where the next record (or the pad in front of it) goes.
    position: u64,
    /// The sequence of the newest record.
    sequence: u64,
}

/// A message that no record of the topic can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes does not fit into a topic that carries up to {max}")]
pub(crate) struct TooLarge {
    pub(crate) len: usize,
    pub(crate) max: usize,
}

impl TopicWriter {
    /// Opens the topic. No reader may look before this.
    ///
    /// # Panics
    ///
    /// If the data is no power of two of cells, or `start` no multiple of a cell.
    pub(crate) fn new(memory: TopicMemory, start: u64) -> Self {
        assert!(start.is_multiple_of(CELL as u64));
        let TopicMemory { control, data } = memory;
        let mut writer = Self { cells: Cells::new(data), control, position: start, sequence: 0 };
        writer.append(0, &[]);
        writer
    }

    /// The longest message.
    pub(crate) fn payload_max(&self) -> usize {
        payload_max(self.cells.capacity())
    }

    /// Writes a message for whoever reads, and says which one it is: they count from 1.
    // Always inline, with what it calls: short messages and main's long ones to inspectors have a copy of it each.
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

/// What every record says of itself.
const RECORD: Label = Label { kind: Kind::Send, flags: 0, channel: 0, id: None };

/// A reading end. Each has its own place and disturbs nobody.
pub(crate) struct TopicReader {
    cells: Cells,
    control: Shared<TopicControl>,
    /// Behind the last record that we got, or joined at.
    position: u64,
    /// Where that record started, and its sequence.
    last: u64,
    sequence: u64,
}

/// A message came out whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedRecord {
    pub(crate) sequence: u64,
    /// How many messages there were between the last one that this reader got and this one.
    pub(crate) lost: u64,
}

/// A record that was whole when it was copied.
struct TopicRecord {
    start: u64,
    end: u64,
    sequence: u64,
}

impl TopicReader {
    /// Joins: messages from now on.
    pub(crate) fn new(memory: TopicMemory) -> Self {
        let TopicMemory { control, data } = memory;
        let newest = control.newest.observe();
        // What an opened topic starts with: record 0, a cell long.
        let opening =
            TopicRecord { start: newest, end: newest.wrapping_add(CELL as u64), sequence: 0 };
        let mut reader =
            Self { cells: Cells::new(data), control, position: 0, last: 0, sequence: 0 };
        reader.settle(&opening);
        for _ in 0..ATTEMPTS_MAX {
            let record = reader.read(reader.control.newest.observe(), |_, _| ());
            if let Some(record) = record {
                let end = guarded!("TopicReader::new: place and count of one record", record.end, else {
                    reader.control.newest.observe().wrapping_add(CELL as u64)
                });
                reader.settle(&TopicRecord { end, ..record });
                break;
            }
        }
        reader
    }

    /// Whether there is a message that this reader has not got. One load.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.control.newest.observe() != self.last
    }

    /// The next message, copied to `buffer`; or, if the writer has overwritten it, the newest.
    ///
    /// `None` if there is no message, or, rarely, if the writer outran some attempts in a row: then
    /// nothing is missed in the count, and [`has_news`](Self::has_news) still says so. `buffer` then
    /// holds nothing of use.
    pub(crate) fn next(&mut self, buffer: &mut AlignedBuf) -> Option<ReceivedRecord> {
        self.receive(|reader, _newest| reader.position, buffer)
    }

    /// The newest message, unless this reader has got it. Those in between count as lost.
    pub(crate) fn latest(&mut self, buffer: &mut AlignedBuf) -> Option<ReceivedRecord> {
        self.receive(|_reader, newest| newest, buffer)
    }

    #[inline]
    fn receive(
        &mut self,
        first: impl FnOnce(&Self, u64) -> u64,
        buffer: &mut AlignedBuf,
    ) -> Option<ReceivedRecord> {
        // One look: a second one could find news where this one found the last message again.
        let newest = self.control.newest.observe();
        if guarded!("TopicReader::receive: one look", newest == self.last, else !self.has_news()) {
            return None;
        }
        let mut from = first(self, newest);
        for _ in 0..ATTEMPTS_MAX {
            let record = self.read(from, |words, len| {
                buffer.set_len(len);
                bytes::copy_out(words, buffer.as_mut_slice());
            });
            if let Some(record) = record {
                let lost = record.sequence.wrapping_sub(self.sequence).wrapping_sub(1);
                self.settle(&record);
                return Some(ReceivedRecord { sequence: record.sequence, lost });
            }
            from = self.control.newest.observe();
        }
        None
    }

    /// Copies the record at `from`, or behind a pad there. `None` if it was overwritten meanwhile.
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

    /// A header that at least stays in the ring, and its sequence. It may be torn.
    fn look(&self, position: u64) -> Option<(Header, u64)> {
        let capacity = self.cells.capacity();
        let place = Place { to_end: self.cells.to_end(position), frame_max: record_max(capacity) };
        let (wire, sequence) = self.cells.head(position).read();
        // A record has no request id: its second word is the sequence.
        Some((wire.check(0, place).ok()?, sequence))
    }

    fn settle(&mut self, record: &TopicRecord) {
        self.position = record.end;
        self.last = record.start;
        self.sequence = record.sequence;
    }
}

#[cfg(test)]
mod tests;
