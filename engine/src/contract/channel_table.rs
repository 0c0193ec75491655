//! The map from channels to their numbers on the wire, and back.
//!
//! The number is the channel's place in main's contract. A renderer's table has the same numbers, with gaps for
//! channels that only main has. A channel that only the renderer has is not in it.

use crate::contract::{ChannelKey, ChannelKind, Declaration};

pub(crate) struct ChannelTable {
    by_number: Vec<Option<Declaration>>,
    /// Hash and number, by open addressing with linear probing. At most half full.
    by_hash: Box<[Option<(u64, u16)>]>,
}

impl ChannelTable {
    pub(crate) fn new(by_number: Vec<Option<Declaration>>) -> Self {
        let places = (by_number.len() * 2).next_power_of_two().max(2);
        let mut by_hash = vec![None; places].into_boxed_slice();
        for (number, declaration) in (0..).zip(&by_number) {
            let Some(declaration) = declaration else { continue };
            let mut place = declaration.hash as usize & (places - 1);
            while by_hash[place].is_some() {
                place = (place + 1) & (places - 1);
            }
            by_hash[place] = Some((declaration.hash, number));
        }
        Self { by_number, by_hash }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Returns the channel's number; `None` if the two contracts do not share it.
    #[inline]
    pub(crate) fn number(&self, key: &ChannelKey) -> Option<u16> {
        self.number_of_hash(key.hash())
    }

    #[inline]
    pub(crate) fn number_of_hash(&self, hash: u64) -> Option<u16> {
        let mask = self.by_hash.len() - 1;
        let mut place = hash as usize & mask;
        // The table is at most half full, so the loop meets a gap.
        while let Some((known, number)) = self.by_hash[place] {
            if known == hash {
                return Some(number);
            }
            place = (place + 1) & mask;
        }
        None
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Declaration> {
        self.by_number.get(usize::from(number))?.as_ref()
    }

    #[inline]
    pub(crate) fn kind(&self, number: u16) -> Option<ChannelKind> {
        self.get(number).map(|declaration| declaration.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Channel, Event, declarations};

    const FIRST: Event<u32> = Event::new("first");
    const SECOND: Event<u32> = Event::new("second");
    const UNKNOWN: Event<u32> = Event::new("unknown");

    #[test]
    fn a_channel_has_the_number_of_its_place_and_an_unknown_one_has_none() {
        let declared = declarations(&[&FIRST, &SECOND]).unwrap();
        let table =
            ChannelTable::new(vec![None, Some(declared[1].clone()), Some(declared[0].clone())]);
        assert_eq!(table.number(&FIRST.key()), Some(2));
        assert_eq!(table.number(&SECOND.key()), Some(1));
        assert_eq!(table.number(&UNKNOWN.key()), None);
        assert_eq!(table.get(1).unwrap().name, "second");
        assert!(table.get(0).is_none() && table.get(9).is_none());
    }
}
