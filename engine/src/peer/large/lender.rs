//! The memory that main has lent one renderer, which fills it and sends it back.
//!
//! ```text
//!            Ask                  a frame names it              the listener returns
//!   nothing ─────▶ lent ───────────────────────────▶ being read ─────────────────────▶ nothing
//!                    └───── GiveBack, the end ──────────────────────────────────────▶
//! ```
//!
//! Everything up to "nothing" counts against the renderer's quota, in bytes and in number. Main checks
//! a frame against its own record and its own descriptor, so the renderer cannot show it other memory.
//! Each piece of memory is used once.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Deref,
    sync::Arc,
};

use super::limits::{AttachmentLimits, OpenError};
use crate::{
    primitives::{AtomicU64, Ordering},
    shm::{
        attachment::{Blank, PAGE, Readable},
        backing::Backing,
        handle::MemoryHandle,
        region::RegionError,
    },
    wire::{frame::Violation, parcel::NotLent},
};

pub(super) struct Lender {
    backing: Backing,
    limits: AttachmentLimits,
    lent: HashMap<u64, Lent>,
    next_id: u64,
    usage: Arc<Usage>,
}

/// The memory that is with the renderer or being read. Only the driver adds, under the lender's lock;
/// any thread that has read an attachment subtracts.
#[derive(Debug, Default)]
struct Usage {
    bytes: AtomicU64,
    count: AtomicU64,
}

/// A share in the usage. Dropping it takes it off.
#[derive(Debug)]
struct Charge {
    usage: Arc<Usage>,
    bytes: u64,
}

/// Memory that the renderer may fill, as main has made it.
pub(super) struct Lent {
    blank: Blank,
    charge: Charge,
}

/// A payload of a renderer, in place. No process can change it.
#[derive(Debug)]
pub(crate) struct SealedAttachment {
    readable: Readable,
    _charge: Charge,
}

impl Lender {
    pub(crate) fn new(backing: Backing, limits: AttachmentLimits) -> Self {
        Self { backing, limits, lent: HashMap::new(), next_id: 1, usage: Arc::default() }
    }

    /// Lends memory of this size: its id, and the handle to pass on. `Ok(Err)`: not now.
    ///
    /// The renderer knows the limits: to ask for more than there can ever be is a violation.
    pub(crate) fn lend(
        &mut self,
        size: u64,
    ) -> Result<Result<(u64, MemoryHandle), NotLent>, Violation> {
        let max = self.limits.lent_message_max().next_multiple_of(PAGE as u64);
        if size == 0 || size > max || !size.is_multiple_of(PAGE as u64) {
            return Err(Violation::AttachmentTooLarge { len: size, max });
        }
        // Relaxed: a share that is dropped just now counts a moment longer.
        let bytes = self.usage.bytes.load(Ordering::Relaxed);
        let count = self.usage.count.load(Ordering::Relaxed);
        let fits = count < u64::from(self.limits.lent_max)
            && bytes.saturating_add(size) <= self.limits.lent_bytes_max;
        if !fits {
            return Ok(Err(NotLent::Quota { bytes, count }));
        }
        let blank = match Blank::create(&self.backing, size as usize) {
            Ok(blank) => blank,
            Err(error) => return Ok(Err(NotLent::NoMemory { why: error.to_string() })),
        };
        let (id, handle) = (self.next_id, blank.handle());
        self.next_id += 1;
        let charge = Charge::new(&self.usage, size);
        self.lent.insert(id, Lent { blank, charge });
        Ok(Ok((id, handle)))
    }

    /// Takes out what a frame names, so that no other frame can name it.
    pub(crate) fn claim(&mut self, id: u64, len: u64) -> Result<Lent, Violation> {
        let Entry::Occupied(lent) = self.lent.entry(id) else {
            return Err(Violation::UnknownAttachment { id });
        };
        let size = lent.get().blank.size() as u64;
        if len > size {
            Err(Violation::AttachmentLength { id, len, size })
        } else {
            Ok(lent.remove())
        }
    }

    pub(crate) fn take_back(&mut self, id: u64) -> Result<(), Violation> {
        self.lent.remove(&id).map(drop).ok_or(Violation::UnknownAttachment { id })
    }

    pub(crate) fn end(&mut self) {
        self.lent.clear();
    }
}

impl Lent {
    /// Maps it, if it is filled and sealed. `len` is no more than its size.
    pub(crate) fn open(self, id: u64, len: usize) -> Result<SealedAttachment, OpenError> {
        let Self { blank, charge } = self;
        match blank.into_readable(len) {
            Ok(readable) => Ok(SealedAttachment { readable, _charge: charge }),
            #[cfg(target_os = "linux")]
            Err(RegionError::Unsealed { .. }) => {
                Err(OpenError::Violation(Violation::UnsealedAttachment { id }))
            }
            Err(RegionError::Hollow { .. }) => {
                Err(OpenError::Violation(Violation::HollowAttachment { id }))
            }
            Err(error) => Err(OpenError::System(error.to_string())),
        }
    }
}

impl Deref for SealedAttachment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.readable
    }
}

impl Charge {
    fn new(usage: &Arc<Usage>, bytes: u64) -> Self {
        usage.bytes.fetch_add(bytes, Ordering::Relaxed);
        usage.count.fetch_add(1, Ordering::Relaxed);
        Self { usage: usage.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.usage.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.usage.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 2 * PAGE as u64;
    const LIMITS: AttachmentLimits =
        AttachmentLimits { message_max: 1 << 30, lent_bytes_max: 2 * SIZE, lent_max: 2 };

    fn lent(lender: &mut Lender, size: u64) -> (u64, Blank) {
        let (id, handle) = lender.lend(size).unwrap().unwrap();
        (id, Blank::open(handle, size as usize).unwrap())
    }

    fn open(lender: &mut Lender, id: u64, len: u64) -> Result<SealedAttachment, Violation> {
        lender.claim(id, len)?.open(id, len as usize).map_err(|error| match error {
            OpenError::Violation(violation) => violation,
            OpenError::System(why) => panic!("{why}"),
        })
    }

    #[test]
    fn what_was_filled_and_sealed_is_read_once() {
        let mut lender = Lender::new(Backing::sealed(), LIMITS);
        let (id, theirs) = lent(&mut lender, SIZE);
        let content = [b"content", &[0; SIZE as usize - 7][..]].concat();
        theirs.fill(&content).unwrap();
        theirs.seal().unwrap();
        assert_eq!(**open(&mut lender, id, 7).as_ref().unwrap(), *b"content");
        assert_eq!(open(&mut lender, id, 7).map(drop), Err(Violation::UnknownAttachment { id }));
        assert_eq!(lender.take_back(id), Err(Violation::UnknownAttachment { id }));
    }

    #[test]
    fn what_is_not_sealed_or_too_long_or_full_of_holes_is_not_read() {
        let mut lender = Lender::new(Backing::sealed(), LIMITS);
        let (id, theirs) = lent(&mut lender, SIZE);
        let too_long = Violation::AttachmentLength { id, len: SIZE + 1, size: SIZE };
        assert_eq!(open(&mut lender, id, SIZE + 1).map(drop), Err(too_long));
        theirs.fill(b"content").unwrap();
        assert_eq!(open(&mut lender, id, 7).map(drop), Err(Violation::UnsealedAttachment { id }));
        let (id, theirs) = lent(&mut lender, SIZE);
        theirs.fill(b"content").unwrap();
        theirs.seal().unwrap();
        assert_eq!(open(&mut lender, id, 7).map(drop), Err(Violation::HollowAttachment { id }));
    }

    #[test]
    fn the_quota_counts_what_is_lent_and_what_is_being_read() {
        let mut lender = Lender::new(Backing::sealed(), LIMITS);
        let (first, theirs) = lent(&mut lender, SIZE);
        let (second, _) = lent(&mut lender, PAGE as u64);
        let quota = |lender: &mut Lender, size| lender.lend(size).unwrap().map(drop);
        let over = Err(NotLent::Quota { bytes: SIZE + PAGE as u64, count: 2 });
        assert_eq!(quota(&mut lender, PAGE as u64), over, "two attachments");
        lender.take_back(second).unwrap();
        theirs.fill(&[1; SIZE as usize]).unwrap();
        theirs.seal().unwrap();
        let reading = open(&mut lender, first, 1).unwrap();
        let over = Err(NotLent::Quota { bytes: SIZE, count: 1 });
        let most = LIMITS.lent_bytes_max;
        assert_eq!(quota(&mut lender, most), over, "so many bytes");
        drop(reading);
        assert_eq!(quota(&mut lender, most), Ok(()));
        lender.end();
        assert_eq!(quota(&mut lender, most), Ok(()));
    }

    #[test]
    fn a_request_for_what_there_can_never_be_is_a_violation() {
        let mut lender = Lender::new(Backing::sealed(), LIMITS);
        let max = LIMITS.lent_bytes_max;
        for len in [0, 1, max - 1, max + PAGE as u64, u64::MAX, u64::MAX - 4095] {
            let refused = lender.lend(len).map(drop);
            assert_eq!(refused, Err(Violation::AttachmentTooLarge { len, max }));
        }
        let none = AttachmentLimits { lent_max: 0, ..LIMITS };
        assert!(Lender::new(Backing::sealed(), none).lend(SIZE).is_err());
    }

    #[test]
    fn our_own_descriptor_is_the_one_that_is_looked_at() {
        let mut lender = Lender::new(Backing::sealed(), LIMITS);
        let (id, _theirs) = lent(&mut lender, SIZE);
        // The renderer seals some other memory of its own: that is of no interest.
        let other = Blank::create(&Backing::sealed(), SIZE as usize).unwrap();
        other.seal().unwrap();
        assert_eq!(open(&mut lender, id, 7).map(drop), Err(Violation::UnsealedAttachment { id }));
    }
}
