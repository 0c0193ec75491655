//! The id of one request: a slot in its caller's table, and the slot's generation.
//!
//! ```text
//!   63                                              16 15             0
//!   +-------------------------------------------------+---------------+
//!   |                   generation                    |     slot      |
//!   +-------------------------------------------------+---------------+
//! ```
//!
//! A late or repeated reply carries an old generation, so it cannot settle the next request in the slot. 48
//! bits last nine years at a request a microsecond. No generation is zero, so zeroes on the wire mean "no
//! request". A generation is no secret: each renderer has a table of its own, so it cannot reply for another.

use std::num::NonZeroU64;

const SLOT_BITS: u32 = u16::BITS;
const GENERATION_MAX: u64 = u64::MAX >> SLOT_BITS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(NonZeroU64);

impl RequestId {
    pub(crate) const FIRST_GENERATION: u64 = 1;

    /// # Panics
    ///
    /// If `generation` is zero or longer than 48 bits.
    pub(crate) fn new(generation: u64, slot: u16) -> Self {
        assert!((1..=GENERATION_MAX).contains(&generation));
        let bits = generation << SLOT_BITS | u64::from(slot);
        Self(NonZeroU64::new(bits).expect("the generation is not zero"))
    }

    pub(crate) fn slot(self) -> u16 {
        self.0.get() as u16
    }

    pub(crate) fn generation(self) -> u64 {
        self.0.get() >> SLOT_BITS
    }

    /// Parses a word from the peer; `None` if it names no request.
    #[inline]
    pub(crate) fn from_wire(word: u64) -> Option<Self> {
        if word >> SLOT_BITS == 0 { None } else { NonZeroU64::new(word).map(Self) }
    }

    #[inline]
    pub(crate) fn to_wire(self) -> u64 {
        self.0.get()
    }

    /// Returns the generation after this one; it skips zero.
    pub(crate) fn next_generation(generation: u64) -> u64 {
        if generation >= GENERATION_MAX { Self::FIRST_GENERATION } else { generation + 1 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_generation_and_its_slot() {
        let id = RequestId::new(GENERATION_MAX, 7);
        assert_eq!((id.generation(), id.slot()), (GENERATION_MAX, 7));
        assert_eq!(RequestId::from_wire(id.to_wire()), Some(id));
    }

    #[test]
    fn a_word_without_a_generation_names_no_request() {
        assert_eq!(RequestId::from_wire(0), None);
        assert_eq!(RequestId::from_wire(u64::from(u16::MAX)), None);
    }

    #[test]
    fn generations_wrap_past_zero() {
        assert_eq!(RequestId::next_generation(1), 2);
        assert_eq!(RequestId::next_generation(GENERATION_MAX), 1);
    }
}
