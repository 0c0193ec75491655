//! The writing end of a ring.

#[cfg(not(loom))]
use std::time::Instant;

use crate::kill_points::{KillPoint, reach};
use crate::model::guarded;
use crate::primitives::AtomicU64;
use crate::shm::bytes;
use crate::shm::shared::Shared;
use crate::wire::frame::{Header, Label, Violation, payload_max};
use crate::wire::outbox::OutboxControl;
use crate::wire::{CELL, HEADER_LEN, padded};

use crate::ring::cells::Cells;
#[cfg(not(loom))]
use crate::ring::{
    copy_strategy::{LONG, Way, Ways},
    unread_frames::UnreadFrames,
};

/// Writes frames into our outbox. One a ring: not `Clone`.
pub(crate) struct Producer {
    cells: Cells,
    /// The control page of whoever reads us: `consumed` is there.
    peer: Shared<OutboxControl>,
    /// Where the next frame goes. Private; the peer finds frames by their commit words.
    position: u64,
    /// `consumed` when it was last looked at, and found credible.
    consumed_seen: u64,
    /// The longest payload that ever fits.
    payload_max: usize,
    #[cfg(not(loom))]
    ways: Ways,
}

/// Room for one frame. It never happened unless it is committed.
///
/// It holds no borrow, so it can be kept beside the guard of a lock. It is good until the next
/// commit, of this reservation or another one from the same producer.
#[derive(Debug)]
#[must_use = "a reservation that is not committed never happened"]
pub(crate) struct Reservation {
    position: u64,
    pad: u32,
    payload_len: u32,
}

impl Reservation {
    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.payload_len as usize
    }

    #[inline]
    fn start(&self) -> u64 {
        self.position.wrapping_add(u64::from(self.pad))
    }
}

/// Why there is no room for a frame. Nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReserveError {
    /// Not now: the peer has yet to read.
    #[error("the outbox is full")]
    Full,
    /// Not ever, in this ring.
    #[error("a payload of {len} bytes does not fit into a frame, which carries up to {max}")]
    TooLarge { len: usize, max: usize },
    /// The peer lied about what it has read.
    #[error(transparent)]
    Peer(#[from] Violation),
}

impl Producer {
    /// `start` is where the consumer of this ring starts too.
    ///
    /// # Panics
    ///
    /// If the data is no power of two of cells, or `start` no multiple of a cell.
    pub(crate) fn new(data: Shared<[AtomicU64]>, peer: Shared<OutboxControl>, start: u64) -> Self {
        assert!(start.is_multiple_of(CELL as u64));
        let cells = Cells::new(data);
        let payload_max = payload_max(cells.capacity());
        #[cfg(not(loom))]
        let ways = Ways::new(cells.capacity());
        Self {
            cells,
            peer,
            position: start,
            consumed_seen: start,
            payload_max,
            #[cfg(not(loom))]
            ways,
        }
    }

    /// Takes no payload that is longer than `max`, although the ring would.
    #[cfg(not(loom))]
    pub(crate) fn limited_to(mut self, max: usize) -> Self {
        self.payload_max = self.payload_max.min(max);
        self
    }

    /// A view of what the peer has yet to take.
    #[cfg(not(loom))]
    pub(crate) fn unread_frames(&self) -> UnreadFrames {
        UnreadFrames::new(self.cells.clone())
    }

    /// The longest payload that ever fits.
    #[inline]
    pub(crate) fn payload_max(&self) -> usize {
        self.payload_max
    }

    /// How much the ring holds.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.cells.capacity()
    }

    /// Where the next frame (or the pad in front of it) will start.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// What the peer has yet to read, as of our last look at it: an upper bound.
    #[inline]
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.position.wrapping_sub(self.consumed_seen) as usize
    }

    /// Finds room for a frame. Looks at the peer's cursor only if the last look does not do.
    #[inline]
    pub(crate) fn reserve(&mut self, payload_len: usize) -> Result<Reservation, ReserveError> {
        if payload_len > self.payload_max() {
            return Err(ReserveError::TooLarge { len: payload_len, max: self.payload_max() });
        }
        let frame = padded(HEADER_LEN + payload_len);
        let pad = self.cells.pad_before(self.position, frame);
        let wanted = pad + frame + CELL;
        if wanted > self.room() {
            self.refresh()?;
            if guarded!("Producer::reserve: space", wanted > self.room(), else false) {
                return Err(ReserveError::Full);
            }
        }
        let (pad, payload_len) = (pad as u32, payload_len as u32);
        Ok(Reservation { position: self.position, pad, payload_len })
    }

    #[cfg(any(test, loom))]
    /// Whether a payload of this length could be reserved now. For who is about to wait for room.
    pub(crate) fn has_room_for(&mut self, payload_len: usize) -> Result<bool, Violation> {
        match self.reserve(payload_len) {
            Ok(_never_happens) => Ok(true),
            Err(ReserveError::Full | ReserveError::TooLarge { .. }) => Ok(false),
            Err(ReserveError::Peer(violation)) => Err(violation),
        }
    }

    /// Copies the payload in. May be repeated until the commit.
    ///
    /// # Panics
    ///
    /// If `payload` is not as long as what was reserved, or the reservation is not good any more.
    #[inline]
    pub(crate) fn write(&mut self, reservation: &Reservation, payload: &[u8]) {
        assert!(payload.len() == reservation.payload_len());
        #[cfg(not(loom))]
        if payload.len() >= LONG {
            return self.write_long(reservation, payload);
        }
        bytes::copy_in(self.payload_words(reservation), payload);
    }

    /// By the way that has been the better one.
    #[cfg(not(loom))]
    #[cold]
    fn write_long(&mut self, reservation: &Reservation, payload: &[u8]) {
        let (way, timed) = self.ways.next(payload.len());
        let began = timed.then(Instant::now);
        let words = self.payload_words(reservation);
        match way {
            Way::Caches => bytes::copy_in(words, payload),
            // Nobody looks at these words before the commit.
            Way::Memory => bytes::stream_in(words, payload),
        }
        if let Some(began) = began {
            self.ways.took(way, payload.len(), began.elapsed());
        }
    }

    /// The payload in place, to be written without a copy. It holds unspecified bytes at first.
    ///
    /// # Panics
    ///
    /// If the reservation is not good any more.
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "only this module knows that these words are the producer's own")]
    #[inline]
    pub(crate) fn payload_mut(&mut self, reservation: &Reservation) -> &mut [u8] {
        let len = reservation.payload_len();
        // SAFETY: these words lie in free room (found by `reserve`, and still free because nothing
        // was committed since, which `payload_words` asserts). Their only writer is this producer,
        // borrowed for as long as the slice lives; a consumer looks no further than the commit
        // word at `position`, which is none of them, and another process can only read them.
        unsafe { bytes::bytes_mut(self.payload_words(reservation), len) }
    }

    /// What was written into the payload so far.
    ///
    /// # Panics
    ///
    /// If the reservation is not good any more.
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "only this module knows that these words are the producer's own")]
    #[inline]
    pub(crate) fn payload(&self, reservation: &Reservation) -> &[u8] {
        // SAFETY: as in `payload_mut`; this producer, borrowed meanwhile, is their only writer.
        unsafe { bytes::bytes(self.payload_words(reservation), reservation.payload_len()) }
    }

    /// Hands the frame over: now it has happened.
    ///
    /// # Panics
    ///
    /// If the reservation is not good any more.
    #[inline]
    pub(crate) fn commit(&mut self, reservation: Reservation, label: Label) {
        self.assert_good(&reservation);
        let header = label.with_payload(reservation.payload_len);
        let start = reservation.start();
        let end = start.wrapping_add(header.padded_len() as u64);
        guarded!("Producer::commit: guard first", self.cells.head(end).guard(), else {
            self.cells.head(start).commit(header);
            self.cells.head(end).guard();
        });
        reach(KillPoint::FrameGuarded);
        self.cells.head(start).commit(header);
        reach(KillPoint::FrameCommitted);
        if reservation.pad != 0 {
            self.cells.head(reservation.position).commit(Header::pad(reservation.pad as usize));
            reach(KillPoint::PadCommitted);
        }
        self.position = end;
        // Where the next frame's guard will be, if that frame is as long: not looked at by the reader yet.
        self.cells.head(end.wrapping_add(header.padded_len() as u64)).prefetch();
    }

    #[inline]
    fn payload_words(&self, reservation: &Reservation) -> &[AtomicU64] {
        self.assert_good(reservation);
        self.cells.payload(reservation.start(), reservation.payload_len())
    }

    #[inline]
    fn assert_good(&self, reservation: &Reservation) {
        let good = reservation.position == self.position;
        assert!(good, "another frame was committed meanwhile");
    }

    /// The room that is certain, by our last look at the peer.
    #[inline]
    fn room(&self) -> usize {
        self.capacity() - self.in_flight_bytes()
    }

    /// Looks at the peer's cursor, and believes it only between what it said last and where we are.
    #[cold]
    fn refresh(&mut self) -> Result<(), Violation> {
        let (position, seen) = (self.position, self.consumed_seen);
        let consumed = self.peer.consumed.observe();
        if consumed.wrapping_sub(seen) > position.wrapping_sub(seen) {
            return Err(Violation::CursorOutOfRange { consumed, seen, position });
        }
        self.consumed_seen = consumed;
        Ok(())
    }
}
