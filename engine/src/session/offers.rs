//! The comparison of the two contracts when a renderer connects.
//!
//! The renderer offers its channels. Main looks each up by kind and name, compares the fingerprints of the
//! types, and grants its own number for it. The renderer numbers its table by main's grants.

use fixedbitset::FixedBitSet;

use crate::{
    contract::{Declaration, channel_hash, channel_table::ChannelTable},
    wire::handshake::{BadPacket, Grant, JoinRefusal, Offer, Welcome},
};

/// The offers of a contract, in its order.
pub(crate) fn offers(declarations: &[Declaration]) -> Vec<Offer> {
    let offer = |declaration: &Declaration| Offer {
        kind: declaration.kind,
        name: declaration.name.to_owned(),
        fingerprint: declaration.fingerprint(),
    };
    declarations.iter().map(offer).collect()
}

/// Main's grants for `offers`, or its refusal of the first whose type differs.
pub(crate) fn grants(
    offers: &[Offer],
    table: &ChannelTable,
    allowed: &FixedBitSet,
) -> Result<Vec<Grant>, JoinRefusal> {
    let grant = |offer: &Offer| {
        let hash = channel_hash(offer.kind, &offer.name);
        let known =
            table.number_of_hash(hash).and_then(|number| Some((number, table.get(number)?)));
        let Some((number, declaration)) = known.filter(|(_, known)| known.name == offer.name)
        else {
            return Ok(None);
        };
        if declaration.fingerprint() != offer.fingerprint {
            return Err(JoinRefusal::TypeMismatch {
                kind: offer.kind,
                channel: offer.name.clone(),
                main: declaration.schema.clone(),
            });
        }
        Ok(Some((number, allowed.contains(usize::from(number)))))
    };
    offers.iter().map(grant).collect()
}

/// The renderer's channel table by main's numbers, and the channels that it is allowed.
pub(crate) fn granted(
    welcome: &Welcome,
    declarations: Vec<Declaration>,
) -> Result<(ChannelTable, FixedBitSet), BadPacket> {
    if welcome.grants.len() != declarations.len() {
        return Err(BadPacket("main granted other channels than were offered".to_owned()));
    }
    let mut by_number = vec![None; usize::from(welcome.channels)];
    let mut allowed = FixedBitSet::with_capacity(usize::from(welcome.channels));
    for (grant, declaration) in welcome.grants.iter().zip(declarations) {
        let Some((number, is_allowed)) = *grant else { continue };
        *by_number
            .get_mut(usize::from(number))
            .ok_or_else(|| BadPacket(format!("main has no channel {number}")))? = Some(declaration);
        if is_allowed {
            allowed.insert(usize::from(number));
        }
    }
    Ok((ChannelTable::new(by_number), allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Event, Method, declarations};

    const EVENT: Event<u32> = Event::new("event");
    const CHANGED: Event<u64> = Event::new("event");
    const METHOD: Method<(), str> = Method::new("method");

    fn table(declared: Vec<Declaration>) -> ChannelTable {
        ChannelTable::new(declared.into_iter().map(Some).collect())
    }

    #[test]
    fn channels_get_mains_numbers_in_any_order_of_the_offers() {
        let main = table(declarations(&[&METHOD, &EVENT]).unwrap());
        let mut allowed = FixedBitSet::with_capacity(2);
        allowed.insert(1);
        let offered = offers(&declarations(&[&EVENT, &METHOD]).unwrap());
        let grants = grants(&offered, &main, &allowed).unwrap();
        assert_eq!(grants, [Some((1, true)), Some((0, false))]);
    }

    #[test]
    fn a_type_that_differs_is_refused_by_name_with_mains_type() {
        let main = table(declarations(&[&EVENT]).unwrap());
        let offered = offers(&declarations(&[&CHANGED]).unwrap());
        let refused = grants(&offered, &main, &FixedBitSet::new());
        let Err(JoinRefusal::TypeMismatch { channel, main, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((channel.as_str(), main.as_str()), ("event", "u32"));
    }

    #[test]
    fn a_channel_that_main_lacks_is_granted_nothing() {
        let main = table(declarations(&[&EVENT]).unwrap());
        let offered = offers(&declarations(&[&METHOD]).unwrap());
        assert_eq!(grants(&offered, &main, &FixedBitSet::new()).unwrap(), [None]);
    }
}
