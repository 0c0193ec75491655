//! The packets that begin a session, over a `SOCK_SEQPACKET` socket:
//!
//! ```text
//!   renderer                                                   main
//!      │  Hello: magic, version, every channel's name and fingerprint │
//!      │ ───────────────────────────────────────────────────────────▶ │ admits it, compares
//!      │  Welcome: numbers, grants, sizes                             │
//!      │  + main's outbox, the renderer's outbox, eventfd, topics     │
//!      │ ◀─────────────────────────────────────────────────────────── │ or Refused: why
//!      │  Ready                                                       │
//!      │ ───────────────────────────────────────────────────────────▶ │ did-connect
//! ```
//!
//! Afterwards the renderer sends nothing over the socket, and main sends only [parcels](super::parcel).
//! Each side learns from a hang-up that the other is gone.
//!
//! A packet is one MessagePack value of bounded length. Main parses bytes that a renderer wrote, so
//! these types are flat: nothing nests, and no length in them is trusted for an allocation.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::wire::parcel::Parcel;

/// Two builds with different numbers refuse each other.
pub(crate) const PROTOCOL_VERSION: u32 = 3;
/// The longest packet of a handshake, in bytes.
pub(crate) const PACKET_MAX: usize = 128 * 1024;
/// The most topics that one renderer may be allowed: each is a descriptor in one packet.
pub(crate) const TOPICS_MAX: usize = 64;
pub(crate) const CHANNELS_MAX: usize = 512;
/// The longest name of a channel, in bytes.
pub(crate) const CHANNEL_NAME_MAX: usize = 128;

const MAGIC: u32 = u32::from_le_bytes(*b"rbrg");

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    magic: u32,
    version: u32,
    pub(crate) offers: Vec<Offer>,
}

/// One channel of a renderer's contract.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) kind: ChannelKind,
    pub(crate) name: String,
    /// Equal in two builds whose types on the channel are the same.
    pub(crate) fingerprint: u64,
}

/// The kind of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChannelKind {
    /// [`Event`](crate::Event): renderer to main.
    Event,
    /// [`Method`](crate::Method): a request and its reply.
    Method,
    /// [`Push`](crate::Push): main to one renderer.
    Push,
    /// [`Topic`](crate::Topic): main to all subscribers.
    Topic,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Welcome(Welcome),
    Refused(JoinRefusal),
    /// May come before the welcome, if main sends a large message to a renderer that has not connected yet.
    Parcel(Parcel),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) window: u32,
    /// The capacities of the two rings, in bytes.
    pub(crate) main_capacity: u32,
    pub(crate) renderer_capacity: u32,
    pub(crate) channels: u16,
    /// For each offer, in its order.
    pub(crate) grants: Vec<Grant>,
    /// The number and the capacity of each topic whose memory is in the packet, in that order.
    pub(crate) topics: Vec<(u16, u32)>,
    pub(crate) renderer_pending_max: u16,
    pub(crate) main_pending_max: u16,
    /// The longest payload, in bytes.
    pub(crate) attachment_max: u64,
    /// The most memory that the renderer may have lent at once: in bytes, and in attachments.
    pub(crate) lent_bytes_max: u64,
    pub(crate) lent_max: u16,
    /// The longest message that the policy allows, in bytes.
    pub(crate) message_max: u64,
}

/// The channel's number and whether the policy allows it; `None` if main's contract lacks it.
pub(crate) type Grant = Option<(u16, bool)>;

/// `main` is main's version, or its schema of the channel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JoinRefusal {
    Version { main: u32 },
    TypeMismatch { kind: ChannelKind, channel: String, main: String },
    NotAdmitted { why: String },
}

impl JoinRefusal {
    /// The reason, as main reports it.
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
pub(crate) struct BadPacket(pub(crate) String);

impl Hello {
    pub(crate) fn new(offers: Vec<Offer>) -> Self {
        Self { magic: MAGIC, version: PROTOCOL_VERSION, offers }
    }

    /// Parses a renderer's bytes. `Ok(Err)` is a hello that main must refuse.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Result<Self, JoinRefusal>, BadPacket> {
        let hello: Self = parse(bytes)?;
        if hello.magic != MAGIC {
            return Err(BadPacket("no ringbridge renderer: wrong magic number".to_owned()));
        }
        if hello.version != PROTOCOL_VERSION {
            return Ok(Err(JoinRefusal::Version { main: PROTOCOL_VERSION }));
        }
        let count = hello.offers.len();
        if count > CHANNELS_MAX {
            return Err(BadPacket(format!("{count} channels: at most {CHANNELS_MAX}")));
        }
        if hello.offers.iter().any(|offer| offer.name.len() > CHANNEL_NAME_MAX) {
            let why = format!("a channel's name is longer than {CHANNEL_NAME_MAX} bytes");
            return Err(BadPacket(why));
        }
        Ok(Ok(hello))
    }
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadPacket> {
        parse(bytes)
    }
}

impl Ready {
    pub(crate) fn new() -> Self {
        Self { magic: MAGIC }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<(), BadPacket> {
        if parse::<Self>(bytes)?.magic == MAGIC {
            return Ok(());
        }
        Err(BadPacket("not ready: wrong magic number".to_owned()))
    }
}

pub(crate) fn encode(packet: &impl Serialize) -> Vec<u8> {
    // These types hold nothing that MessagePack lacks.
    rmp_serde::to_vec(packet).expect("handshake packets can be encoded")
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadPacket> {
    if bytes.len() > PACKET_MAX {
        return Err(BadPacket(format!("{} bytes: at most {PACKET_MAX}", bytes.len())));
    }
    let mut rest = bytes;
    let packet = T::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| BadPacket(format!("malformed packet: {error}")))?;
    if rest.is_empty() {
        return Ok(packet);
    }
    Err(BadPacket(format!("{} bytes behind the end of the packet", rest.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_version_is_refused_and_another_protocol_is_no_hello() {
        let mut other = Hello::new(Vec::new());
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
        bytes.extend([PROTOCOL_VERSION as u8, 0xdd, 0xff, 0xff, 0xff, 0xff]);
        assert!(Hello::parse(&bytes).is_err());
    }

    #[test]
    fn a_packet_ends_where_it_says() {
        let packet = [encode(&Hello::new(Vec::new())), vec![0]].concat();
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
