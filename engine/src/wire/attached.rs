//! The payloads of frames about attachments. Each such frame is one cell.
//!
//! ```text
//!   Attached   0        8        16       24 25 26     32
//!              +--------+--------+--------+--+--+------+
//!              |   id   |  len   |request |kn|fl|  0   |   the payload is the first len bytes of
//!              +--------+--------+--------+--+--+------+   attachment id; the frame's channel is the
//!                                                          message's, kind and flags are here
//!   Ask        | size   |     the renderer asks for memory of this size
//!   GiveBack   | id     |     the renderer does not need this memory any more
//! ```
//!
//! The frame goes through the ring, so a large message keeps its place in the order. [`Attached::parse`]
//! checks a peer's bytes as [`WireHeader::check`] checks a frame's. Its caller looks the attachment up among
//! those of that peer.

use crate::wire::HEADER_LEN;
use crate::wire::frame::{Header, Label, Place, Violation, WireHeader};

/// A message whose payload is in an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The message's header, with a payload length of zero.
    pub(crate) header: Header,
    pub(crate) attachment: u64,
    /// The length of the payload, at the start of the attachment.
    pub(crate) len: u64,
}

impl Attached {
    pub(crate) const LEN: usize = 32;
    /// The offset of the message's kind.
    pub(crate) const KIND_AT: usize = 24;

    pub(crate) fn encode(label: Label, attachment: u64, len: u64) -> [u8; Self::LEN] {
        let request = label.with_payload(0).to_id_word();
        let last = u64::from(label.kind as u8) | u64::from(label.flags) << 8;
        let mut bytes = [0; Self::LEN];
        for (place, word) in
            bytes.as_chunks_mut().0.iter_mut().zip([attachment, len, request, last])
        {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// Checks the payload of a frame on `channel`.
    pub(crate) fn parse(channel: u16, bytes: &[u8]) -> Result<Self, Violation> {
        let nonsense = Violation::BadAttachment { len: bytes.len() as u64 };
        let Ok(bytes) = <&[u8; Self::LEN]>::try_from(bytes) else { return Err(nonsense) };
        let (words, _) = bytes.as_chunks();
        let word = |index: usize| u64::from_le_bytes(words[index]);
        let [attachment, len, request, last] = [word(0), word(1), word(2), word(3)];
        let (kind, flags, rest) = (last as u8, (last >> 8) as u8, last >> 16);
        let wire = WireHeader::of_parts(HEADER_LEN as u32, kind, flags, channel);
        let header = wire.check(request, Place { to_end: HEADER_LEN, frame_max: HEADER_LEN })?;
        if !header.kind.rules().attachable || rest != 0 || len == 0 {
            return Err(nonsense);
        }
        Ok(Self { header, attachment, len })
    }
}

/// Parses the payload of an `Ask` or a `GiveBack`.
pub(crate) fn parse_word(bytes: &[u8]) -> Result<u64, Violation> {
    match bytes.try_into() {
        Ok(word) => Ok(u64::from_le_bytes(word)),
        Err(_) => Err(Violation::BadAttachment { len: bytes.len() as u64 }),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::wire::{id::RequestId, kind::Kind};

    #[test]
    fn a_large_message_comes_out_as_it_went_in() {
        let id = Some(RequestId::new(7, 3));
        for (kind, flags, id) in [
            (Kind::Send, 0, None),
            (Kind::Invoke, 9, id),
            (Kind::Reply, 0, id),
            (Kind::Reject, 0, id),
        ] {
            let label = Label { kind, flags, channel: 5, id };
            let bytes = Attached::encode(label, 42, 1 << 40);
            let header = label.with_payload(0);
            assert_eq!(
                Attached::parse(5, &bytes),
                Ok(Attached { header, attachment: 42, len: 1 << 40 })
            );
        }
    }

    #[test]
    fn every_lie_about_an_attachment_has_a_name() {
        let label = Label { kind: Kind::Send, flags: 0, channel: 5, id: None };
        let honest = Attached::encode(label, 42, 100);
        let parse = |change: &dyn Fn(&mut [u8; 32])| {
            let mut bytes = honest;
            change(&mut bytes);
            Attached::parse(5, &bytes).map(drop)
        };
        let nonsense = Err(Violation::BadAttachment { len: 32 });
        assert_eq!(parse(&|_| ()), Ok(()));
        assert_eq!(parse(&|bytes| bytes[31] = 1), nonsense, "reserved bytes are zero");
        assert_eq!(parse(&|bytes| bytes[8] = 0), nonsense, "no payload needs no attachment");
        for kind in [Kind::Subscribe, Kind::Unsubscribe, Kind::Attached, Kind::Ask, Kind::GiveBack]
        {
            assert_eq!(parse(&|bytes| bytes[24] = kind as u8), nonsense, "{kind:?}");
        }
        assert_eq!(parse(&|bytes| bytes[24] = 99), Err(Violation::UnknownKind { kind: 99 }));
        assert_eq!(parse(&|bytes| bytes[25] = 1), Err(Violation::BadFlags { kind: 1, flags: 1 }));
        assert_eq!(parse(&|bytes| bytes[16] = 1), Err(Violation::BadRequestId { kind: 1, id: 1 }));
        assert!(parse(&|bytes| bytes[24] = Kind::Pad as u8).is_err());
        for len in [0, 31] {
            let short = Attached::parse(5, &honest[..len]);
            assert_eq!(short, Err(Violation::BadAttachment { len: len as u64 }));
        }
        assert_eq!(parse_word(&[1; 7]), Err(Violation::BadAttachment { len: 7 }));
    }
}
