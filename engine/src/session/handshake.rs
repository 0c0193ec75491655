//! How a session begins, over a `SOCK_SEQPACKET` socket:
//!
//! ```text
//!   renderer                                                   main
//!      │  Hello: magic, version, every channel's name and fingerprint │
//!      │ ───────────────────────────────────────────────────────────▶ │ admits it, compares
//!      │  Welcome: numbers, what is allowed, sizes                    │
//!      │  + main's outbox, the renderer's outbox, eventfd, topics     │
//!      │ ◀─────────────────────────────────────────────────────────── │ or Refused: why
//!      │  Ready                                                       │
//!      │ ───────────────────────────────────────────────────────────▶ │ did-connect
//! ```
//!
//! Afterwards the renderer says nothing there any more, and main only what is in [`parcel`]; its
//! hang-up is how each side learns that the other is gone.
//!
//! A packet is one MessagePack value of bounded length. Main parses what a renderer wrote, so its
//! types here are flat: nothing nests, and no length in it is trusted for an allocation.
//!
//! [`parcel`]: super::parcel

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::session::parcel::Parcel;
use crate::{
    contract::{
        CHANNEL_NAME_MAX, CHANNELS_MAX, ChannelKind, Declaration, channel_hash,
        channel_table::ChannelTable,
    },
    policy::ChannelSet,
};

/// Two builds with different numbers refuse each other.
pub(crate) const PROTOCOL_VERSION: u32 = 3;
/// No packet of a handshake is longer, in bytes.
pub(crate) const PACKET_MAX: usize = 128 * 1024;
/// The most topics that one renderer may be allowed: each is a descriptor in one packet.
pub(crate) const TOPICS_MAX: usize = 64;

const MAGIC: u32 = u32::from_le_bytes(*b"rbrg");

/// What a renderer says first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    magic: u32,
    version: u32,
    offers: Vec<Offer>,
}

/// One channel of a renderer's contract.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    kind: ChannelKind,
    name: String,
    fingerprint: u64,
}

/// What main answers, and all else that it says over the socket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Welcome(Welcome),
    Refused(JoinRefusal),
    /// May come before the welcome, if main sends a large message to who has not connected yet.
    Parcel(Parcel),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) window: u32,
    /// The capacities of the two rings, in bytes.
    pub(crate) main_capacity: u32,
    pub(crate) renderer_capacity: u32,
    /// How many channels main's contract has.
    pub(crate) channels: u16,
    /// For each offer, in its order: the channel's number and whether it is allowed.
    pub(crate) grants: Vec<Option<(u16, bool)>>,
    /// The number and the capacity of each topic whose memory is in the packet, in that order.
    pub(crate) topics: Vec<(u16, u32)>,
    /// How many invokes the renderer may have pending, and main.
    pub(crate) renderer_pending_max: u16,
    pub(crate) main_pending_max: u16,
    /// The longest payload; what the renderer may have lent at once, in bytes and in number.
    pub(crate) attachment_max: u64,
    pub(crate) lent_bytes_max: u64,
    pub(crate) lent_max: u16,
    /// The longest message that the policy allows, in bytes.
    pub(crate) message_max: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JoinRefusal {
    Version { main: u32 },
    TypeMismatch { kind: ChannelKind, channel: String, main: String },
    NotAdmitted { why: String },
}

impl JoinRefusal {
    /// Why, in words of main's.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Version { .. } => "it speaks another version of the protocol",
            Self::TypeMismatch { .. } => "it was built with another type on a channel",
            Self::NotAdmitted { why } => why,
        }
    }
}

/// The renderer has mapped everything.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    magic: u32,
}

/// Bytes that are no packet of this protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadPacket(pub(super) String);

pub(crate) fn encode(packet: &impl Serialize) -> Vec<u8> {
    // These types hold nothing that MessagePack lacks.
    rmp_serde::to_vec(packet).expect("handshake packets can be encoded")
}

impl Hello {
    pub(crate) fn new(declarations: &[Declaration]) -> Self {
        let offer = |declaration: &Declaration| Offer {
            kind: declaration.kind,
            name: declaration.name.to_owned(),
            fingerprint: declaration.fingerprint(),
        };
        Self {
            magic: MAGIC,
            version: PROTOCOL_VERSION,
            offers: declarations.iter().map(offer).collect(),
        }
    }

    /// What a renderer wrote, or why it is no hello. `Ok(Err)`: a hello, but main must refuse it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Result<Self, JoinRefusal>, BadPacket> {
        let hello: Self = parse(bytes)?;
        if hello.magic != MAGIC {
            return Err(BadPacket("no ringbridge renderer: wrong magic number".to_owned()));
        }
        if hello.version != PROTOCOL_VERSION {
            return Ok(Err(JoinRefusal::Version { main: PROTOCOL_VERSION }));
        }
        if hello.offers.len() > CHANNELS_MAX {
            return Err(BadPacket(format!(
                "{} channels: at most {CHANNELS_MAX}",
                hello.offers.len()
            )));
        }
        if hello.offers.iter().any(|offer| offer.name.len() > CHANNEL_NAME_MAX) {
            return Err(BadPacket(format!(
                "a channel's name is longer than {CHANNEL_NAME_MAX} bytes"
            )));
        }
        Ok(Ok(hello))
    }

    /// Each offered channel's number and whether it is allowed; or the first whose type differs.
    pub(crate) fn grants(
        &self,
        table: &ChannelTable,
        allowed: &ChannelSet,
    ) -> Result<Vec<Option<(u16, bool)>>, JoinRefusal> {
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
            Ok(Some((number, allowed.contains(number))))
        };
        self.offers.iter().map(grant).collect()
    }
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadPacket> {
        parse(bytes)
    }
}

impl Welcome {
    /// The renderer's channel table by main's numbers, and what it is allowed.
    pub(crate) fn table(
        &self,
        declarations: Vec<Declaration>,
    ) -> Result<(ChannelTable, ChannelSet), BadPacket> {
        if self.grants.len() != declarations.len() {
            return Err(BadPacket("main granted other channels than were offered".to_owned()));
        }
        let mut by_number = vec![None; usize::from(self.channels)];
        let mut allowed = ChannelSet::default();
        for (grant, declaration) in self.grants.iter().zip(declarations) {
            let Some((number, is_allowed)) = *grant else { continue };
            *by_number
                .get_mut(usize::from(number))
                .ok_or_else(|| BadPacket(format!("main has no channel {number}")))? =
                Some(declaration);
            if is_allowed {
                allowed.insert(number);
            }
        }
        Ok((ChannelTable::new(by_number), allowed))
    }
}

impl Ready {
    pub(crate) fn new() -> Self {
        Self { magic: MAGIC }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<(), BadPacket> {
        let ready: Self = parse(bytes)?;
        if ready.magic == MAGIC {
            Ok(())
        } else {
            Err(BadPacket("not ready: wrong magic number".to_owned()))
        }
    }
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadPacket> {
    if bytes.len() > PACKET_MAX {
        return Err(BadPacket(format!("{} bytes: at most {PACKET_MAX}", bytes.len())));
    }
    let mut rest = bytes;
    let packet = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| BadPacket(format!("malformed packet: {error}")))?;
    if rest.is_empty() {
        Ok(packet)
    } else {
        Err(BadPacket(format!("{} bytes behind the end of the packet", rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::{Event, Method, declarations};

    const EVENT: Event<u32> = Event::new("event");
    const CHANGED: Event<u64> = Event::new("event");
    const METHOD: Method<(), str> = Method::new("method");

    fn table(declared: Vec<Declaration>) -> ChannelTable {
        ChannelTable::new(declared.into_iter().map(Some).collect())
    }

    fn hello(declared: &[Declaration]) -> Hello {
        Hello::parse(&encode(&Hello::new(declared))).unwrap().unwrap()
    }

    #[test]
    fn channels_get_mains_numbers_whatever_the_order_of_the_offers() {
        let main = table(declarations(&[&METHOD, &EVENT]).unwrap());
        let mut allowed = ChannelSet::default();
        allowed.insert(1);
        let offered = declarations(&[&EVENT, &METHOD]).unwrap();
        let grants = hello(&offered).grants(&main, &allowed).unwrap();
        assert_eq!(grants, [Some((1, true)), Some((0, false))]);
    }

    #[test]
    fn a_type_that_differs_is_refused_by_name_with_mains_type() {
        let main = table(declarations(&[&EVENT]).unwrap());
        let refused =
            hello(&declarations(&[&CHANGED]).unwrap()).grants(&main, &ChannelSet::default());
        let Err(JoinRefusal::TypeMismatch { channel, main, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((channel.as_str(), main.as_str()), ("event", "u32"));
    }

    #[test]
    fn a_channel_that_main_lacks_is_granted_nothing() {
        let main = table(declarations(&[&EVENT]).unwrap());
        let grants =
            hello(&declarations(&[&METHOD]).unwrap()).grants(&main, &ChannelSet::default());
        assert_eq!(grants.unwrap(), [None]);
    }

    #[test]
    fn another_version_is_refused_and_another_protocol_is_no_hello() {
        let mut other = Hello::new(&[]);
        other.version += 1;
        assert!(matches!(
            Hello::parse(&encode(&other)),
            Ok(Err(JoinRefusal::Version { main: PROTOCOL_VERSION }))
        ));
        other.magic = 0;
        assert!(Hello::parse(&encode(&other)).is_err());
    }

    #[test]
    fn a_length_that_promises_millions_is_not_allocated_for() {
        // An array of 2^32 - 1 offers, and then nothing.
        let mut bytes = vec![0x93, 0xce];
        bytes.extend(MAGIC.to_be_bytes());
        bytes.extend([0x01, 0xdd, 0xff, 0xff, 0xff, 0xff]);
        assert!(Hello::parse(&bytes).is_err());
    }

    #[test]
    fn a_packet_ends_where_it_says() {
        let packet = [encode(&Hello::new(&[])), vec![0]].concat();
        assert!(Hello::parse(&packet).is_err());
        assert!(Hello::parse(&packet[..packet.len() - 1]).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Hello::parse(&bytes);
            let _ = Ready::parse(&bytes);
        }
    }
}
