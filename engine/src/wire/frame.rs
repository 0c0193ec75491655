//! One message in an outbox: sixteen bytes of header, then its payload.
//!
//! ```text
//!             0               4   5   6       8                              16
//!             +---------------+---+---+-------+-------------------------------+
//!             |      len      |knd|flg|channel|  request id, 0 for none       |
//!             +---------------+---+---+-------+-------------------------------+
//!             |  payload ...                                                  |
//!             +               +-----------------------------------------------+
//!             |               |  unspecified, up to the next multiple of 64   |
//!             +---------------+-----------------------------------------------+
//!
//!   as a word  63          48 47   40 39   32 31                             0
//!             +--------------+-------+-------+--------------------------------+
//!             |   channel    | flags | kind  |  len, header included          |
//!             +--------------+-------+-------+--------------------------------+
//! ```
//!
//! The first word is the **commit word**. Until the whole frame is there, it is zero or a word of another lap. The
//! highest bit of `kind`, bit 39, is the parity of the lap (`ring/cells.rs`), and no kind has it. `kind` is never zero,
//! so no frame's commit word is.
//!
//! [`WireHeader::check`] alone turns a peer's bytes into a [`Header`]. It takes its words by value, so it never
//! reads memory that may change.

use std::time::Duration;

use crate::wire::id::RequestId;
pub(crate) use crate::wire::kind::Kind;
use crate::wire::{CELL, HEADER_LEN, padded};

/// The header of a frame without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    /// A [`TimeoutCode`] in an invoke, a code of failure in a `Fail`, else zero.
    pub(crate) flags: u8,
    pub(crate) channel: u16,
    /// The request that this frame begins, answers or ends.
    pub(crate) id: Option<RequestId>,
}

impl Label {
    /// A label without flags and without a request.
    #[inline]
    pub(crate) const fn new(kind: Kind, channel: u16) -> Self {
        Self { kind, flags: 0, channel, id: None }
    }

    #[inline]
    pub(crate) fn with_payload(self, payload_len: u32) -> Header {
        let Self { kind, flags, channel, id } = self;
        Header { kind, flags, channel, id, payload_len }
    }
}

/// The header of a frame of this process, or a checked one: a [`Label`] and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) channel: u16,
    pub(crate) id: Option<RequestId>,
    pub(crate) payload_len: u32,
}

impl Header {
    #[inline]
    pub(crate) fn pad(len: usize) -> Self {
        Label::new(Kind::Pad, 0).with_payload((len - HEADER_LEN) as u32)
    }

    #[inline]
    pub(crate) fn to_commit_word(self) -> u64 {
        let len = self.payload_len + HEADER_LEN as u32;
        WireHeader::of_parts(len, self.kind as u8, self.flags, self.channel).0
    }

    #[inline]
    pub(crate) fn to_id_word(self) -> u64 {
        self.id.map_or(0, RequestId::to_wire)
    }

    #[inline]
    pub(crate) fn padded_len(self) -> usize {
        padded(HEADER_LEN + self.payload_len as usize)
    }
}

/// A commit word as the peer wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WireHeader(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// From the start of the frame to the end of the ring.
    pub(crate) to_end: usize,
    /// The longest frame of this ring, header included.
    pub(crate) frame_max: usize,
}

impl WireHeader {
    #[inline]
    pub(crate) fn of_parts(len: u32, kind: u8, flags: u8, channel: u16) -> Self {
        let (kind, flags, channel) = (u64::from(kind), u64::from(flags), u64::from(channel));
        Self(u64::from(len) | kind << 32 | flags << 40 | channel << 48)
    }

    /// Checks hostile words. The whole frame of the returned header lies inside the ring.
    ///
    /// `id_word` is the second word of the frame. The caller checks whether this peer may send this now.
    #[inline(always)]
    pub(crate) fn check(self, id_word: u64, place: Place) -> Result<Header, Violation> {
        let (len, flags, channel) = (self.0 as u32, (self.0 >> 40) as u8, (self.0 >> 48) as u16);
        let number = (self.0 >> 32) as u8;
        let kind = Kind::from_wire(number).ok_or(Violation::UnknownKind { kind: number })?;
        let rules = kind.rules();
        if kind == Kind::Pad {
            return self.check_pad(id_word, place);
        }
        let readable = place.to_end.min(place.frame_max);
        if (len as usize) < HEADER_LEN || len as usize > readable {
            return Err(Violation::BadLength { len, readable: readable as u64 });
        }
        let id = RequestId::from_wire(id_word);
        if id.is_some() != rules.names_request || (id.is_none() && id_word != 0) {
            return Err(Violation::BadRequestId { kind: number, id: id_word });
        }
        if flags != 0 && !rules.has_flags {
            return Err(Violation::BadFlags { kind: number, flags });
        }
        let payload_len = len - HEADER_LEN as u32;
        if payload_len != 0 && !rules.has_payload {
            return Err(Violation::UnexpectedPayload { kind: number, len: payload_len });
        }
        Ok(Header { kind, flags, channel, id, payload_len })
    }

    /// A pad fills the rest of the lap. It is shorter than the longest frame, because one did not fit.
    #[cold]
    fn check_pad(self, id_word: u64, place: Place) -> Result<Header, Violation> {
        let pad = Header::pad(place.to_end);
        let honest = place.to_end < place.frame_max;
        if !honest || self.0 != pad.to_commit_word() || id_word != 0 {
            return Err(Violation::BadPad { len: self.0 as u32, to_end: place.to_end as u64 });
        }
        Ok(pad)
    }
}

/// The longest frame, header included: half the ring less a cell. So a pad, the frame and the guard behind it
/// fit into an empty ring at any position.
#[inline]
pub(crate) const fn frame_max(capacity: usize) -> usize {
    capacity / 2 - CELL
}

#[inline]
pub(crate) const fn payload_max(capacity: usize) -> usize {
    frame_max(capacity) - HEADER_LEN
}

/// The timeout of an invoke, in one byte.
///
/// Code 0 is no timeout. Code `n + 1` is `(8 + n % 8) << (n / 8)` microseconds: steps of an eighth of a power of
/// two, from 8 µs to about eight hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeoutCode(pub(crate) u8);

impl TimeoutCode {
    pub(crate) const NONE: Self = Self(0);
    const LONGEST: Self = Self(u8::MAX);

    /// Returns the shortest code that is no shorter than `duration`, or the longest code.
    #[inline]
    pub(crate) fn from_duration(duration: Duration) -> Self {
        // 64 bits hold half a million years of microseconds, and need no division of 128 bits.
        let whole = duration.as_secs().saturating_mul(1_000_000);
        let part = u64::from(duration.subsec_nanos().div_ceil(1000));
        let micros = whole.saturating_add(part).max(8);
        let exponent = micros.ilog2() - 3;
        // Rounding up may carry into the next power of two: 16 eighths are 8 of the next.
        let eighths = micros.div_ceil(1 << exponent);
        let code = 1 + u64::from(exponent) * 8 + (eighths - 8);
        u8::try_from(code).map_or(Self::LONGEST, Self)
    }

    pub(crate) fn duration(self) -> Option<Duration> {
        let step = self.0.checked_sub(1)?;
        let micros = u64::from(8 + step % 8) << (step / 8);
        Some(Duration::from_micros(micros))
    }
}

/// A peer's breach of the protocol. The frame has no other effect. It ends the session, unless the policy
/// [tolerates](crate::OnViolation::Tolerate) some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what the peer sent, as is each message")]
pub enum Violation {
    /// A frame of no known kind.
    #[error("a frame has the unknown kind {kind}")]
    UnknownKind { kind: u8 },
    /// A frame shorter than its header, longer than a frame may be, or past the end of the ring.
    #[error("a frame claims {len} bytes where {readable} can be read")]
    BadLength { len: u32, readable: u64 },
    /// A pad that does not fill its lap exactly, or that no frame needed.
    #[error("a pad claims {len} bytes with {to_end} left in the lap")]
    BadPad { len: u32, to_end: u64 },
    /// A pad directly behind a pad.
    #[error("two pads in a row")]
    SecondPad,
    /// A request id where none belongs, none where one does, or one that no request can have.
    #[error("a frame of kind {kind} carries the request id {id:#x}")]
    BadRequestId { kind: u8, id: u64 },
    /// Flags on a frame that has none.
    #[error("a frame of kind {kind} carries the flags {flags:#04x}")]
    BadFlags { kind: u8, flags: u8 },
    /// A payload on a frame that has none.
    #[error("a frame of kind {kind} carries {len} bytes of payload")]
    UnexpectedPayload { kind: u8, len: u32 },
    /// A read position that moved backwards, or past the written bytes.
    #[error("the peer claims to have read up to {consumed}, not between {seen} and {position}")]
    CursorOutOfRange { consumed: u64, seen: u64, position: u64 },
    /// A channel that the contract does not have.
    #[error("there is no channel {channel}")]
    UnknownChannel { channel: u16 },
    /// A channel that the policy does not allow this peer.
    #[error("channel {channel} is not allowed")]
    ForbiddenChannel { channel: u16 },
    /// A frame that only the other side may send, or that its channel does not carry.
    #[error("a frame of kind {kind} does not go this way on channel {channel}")]
    WrongDirection { kind: u8, channel: u16 },
    /// A request id that is in flight already.
    #[error("request {id:#x} is pending already")]
    DuplicateRequest { id: u64 },
    /// More requests in flight than the quota allows.
    #[error("more than {max} requests are pending")]
    TooManyPending { max: u64 },
    /// A frame about an attachment that is too short, too long, or describes no message.
    #[error("a frame about an attachment makes no sense ({len} bytes)")]
    BadAttachment { len: u64 },
    /// An attachment that this peer was not given, or has used before.
    #[error("there is no attachment {id}")]
    UnknownAttachment { id: u64 },
    /// An attachment that its sender could still change.
    #[error("attachment {id} is not sealed")]
    UnsealedAttachment { id: u64 },
    /// An attachment of which not every page was written.
    #[error("attachment {id} has holes")]
    HollowAttachment { id: u64 },
    /// A payload longer than its attachment.
    #[error("attachment {id} has {size} bytes and not {len}")]
    AttachmentLength { id: u64, len: u64, size: u64 },
    /// A request for an attachment above the announced limit.
    #[error("an attachment of {len} bytes was asked for, where at most {max} are possible")]
    AttachmentTooLarge { len: u64, max: u64 },
    /// Requests for attachments from a peer that does not read the answers.
    #[error("more than {max} answers to requests for attachments were not taken")]
    UnreadAttachments { max: u64 },
    /// A message longer than the policy allows.
    #[error("a message has {len} bytes, where the policy allows {max}")]
    MessageTooLong { len: u64, max: u64 },
    /// A message that a validator refused, where the policy counts that.
    #[error("a message on channel {channel} was refused by its validator")]
    Rejected { channel: u16 },
    /// A packet from a renderer over the socket after the handshake.
    #[error("a packet or a descriptor came over the socket after the handshake")]
    UnexpectedPacket,
}

impl Violation {
    /// The name alone, for counters and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } => "unknown-kind",
            Self::BadLength { .. } => "bad-length",
            Self::BadPad { .. } => "bad-pad",
            Self::SecondPad => "second-pad",
            Self::BadRequestId { .. } => "bad-request-id",
            Self::BadFlags { .. } => "bad-flags",
            Self::UnexpectedPayload { .. } => "unexpected-payload",
            Self::CursorOutOfRange { .. } => "cursor-out-of-range",
            Self::UnknownChannel { .. } => "unknown-channel",
            Self::ForbiddenChannel { .. } => "forbidden-channel",
            Self::WrongDirection { .. } => "wrong-direction",
            Self::DuplicateRequest { .. } => "duplicate-request",
            Self::TooManyPending { .. } => "too-many-pending",
            Self::BadAttachment { .. } => "bad-attachment",
            Self::UnknownAttachment { .. } => "unknown-attachment",
            Self::UnsealedAttachment { .. } => "unsealed-attachment",
            Self::HollowAttachment { .. } => "hollow-attachment",
            Self::AttachmentLength { .. } => "attachment-length",
            Self::AttachmentTooLarge { .. } => "attachment-too-large",
            Self::UnreadAttachments { .. } => "unread-attachments",
            Self::MessageTooLong { .. } => "message-too-long",
            Self::Rejected { .. } => "rejected",
            Self::UnexpectedPacket => "unexpected-packet",
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const PLACE: Place = Place { to_end: 1024, frame_max: 512 };

    fn forged(len: u32, kind: u8, flags: u8, channel: u16) -> WireHeader {
        WireHeader::of_parts(len, kind, flags, channel)
    }

    #[test]
    fn a_header_comes_out_as_it_went_in() {
        let header = Header {
            kind: Kind::Invoke,
            flags: 200,
            channel: u16::MAX,
            id: Some(RequestId::new(5, 6)),
            payload_len: 300,
        };
        let wire = WireHeader(header.to_commit_word());
        assert_eq!(wire.check(header.to_id_word(), PLACE), Ok(header));
    }

    #[test]
    fn every_lie_in_a_header_has_a_name() {
        use Violation::*;
        let some_id = RequestId::new(1, 0).to_wire();
        let slot_without_generation = 3;
        let cases = [
            (forged(16, 13, 0, 0), 0, UnknownKind { kind: 13 }),
            (forged(16, 10, 0, 0), some_id, BadRequestId { kind: 10, id: some_id }),
            (forged(16, 11, 1, 0), 0, BadFlags { kind: 11, flags: 1 }),
            (forged(16, 0, 0, 1), 0, UnknownKind { kind: 0 }),
            (forged(15, 1, 0, 0), 0, BadLength { len: 15, readable: 512 }),
            (forged(513, 1, 0, 0), 0, BadLength { len: 513, readable: 512 }),
            (forged(u32::MAX, 1, 0, 0), 0, BadLength { len: u32::MAX, readable: 512 }),
            (forged(1024, 9, 0, 0), 0, BadPad { len: 1024, to_end: 1024 }),
            (forged(16, 1, 0, 0), some_id, BadRequestId { kind: 1, id: some_id }),
            (forged(16, 2, 0, 0), 0, BadRequestId { kind: 2, id: 0 }),
            (forged(16, 7, 0, 0), some_id, BadRequestId { kind: 7, id: some_id }),
            (
                forged(16, 3, 0, 0),
                slot_without_generation,
                BadRequestId { kind: 3, id: slot_without_generation },
            ),
            (
                forged(16, 1, 0, 0),
                slot_without_generation,
                BadRequestId { kind: 1, id: slot_without_generation },
            ),
            (forged(16, 1, 1, 0), 0, BadFlags { kind: 1, flags: 1 }),
            (forged(16, 3, 1, 0), some_id, BadFlags { kind: 3, flags: 1 }),
            (forged(17, 6, 0, 0), some_id, UnexpectedPayload { kind: 6, len: 1 }),
            (forged(17, 8, 0, 0), 0, UnexpectedPayload { kind: 8, len: 1 }),
        ];
        for (wire, id, violation) in cases {
            assert_eq!(wire.check(id, PLACE), Err(violation), "{wire:?}");
        }
    }

    #[test]
    fn a_pad_fills_its_lap_exactly_and_says_nothing_else() {
        let place = Place { to_end: 128, frame_max: 512 };
        let bad = |len| Err(Violation::BadPad { len, to_end: 128 });
        assert_eq!(forged(128, 9, 0, 0).check(0, place), Ok(Header::pad(128)));
        assert_eq!(forged(64, 9, 0, 0).check(0, place), bad(64));
        assert_eq!(forged(128, 9, 1, 0).check(0, place), bad(128));
        assert_eq!(forged(128, 9, 0, 1).check(0, place), bad(128));
        assert_eq!(forged(128, 9, 0, 0).check(1, place), bad(128));
    }

    #[test]
    fn a_frame_may_end_where_the_ring_ends_and_no_further() {
        let place = Place { to_end: 128, frame_max: 512 };
        assert!(forged(128, 1, 0, 0).check(0, place).is_ok());
        assert_eq!(
            forged(129, 1, 0, 0).check(0, place),
            Err(Violation::BadLength { len: 129, readable: 128 })
        );
    }

    #[test]
    fn a_timeout_is_never_shortened_and_hardly_lengthened() {
        for micros in (1..5000).chain([1 << 20, (1 << 20) + 1, 3_600_000_000]) {
            let asked = Duration::from_micros(micros);
            let given = TimeoutCode::from_duration(asked).duration().unwrap();
            assert!(given >= asked, "{asked:?} became {given:?}");
            assert!(given <= asked + asked / 8 + Duration::from_micros(8));
        }
    }

    #[test]
    fn timeouts_are_exact_at_every_code_and_end_at_eight_hours() {
        assert_eq!(TimeoutCode::NONE.duration(), None);
        assert_eq!(TimeoutCode(1).duration(), Some(Duration::from_micros(8)));
        for code in 1..=u8::MAX {
            let duration = TimeoutCode(code).duration().unwrap();
            assert_eq!(TimeoutCode::from_duration(duration), TimeoutCode(code));
        }
        assert_eq!(TimeoutCode::from_duration(Duration::MAX), TimeoutCode::LONGEST);
        assert!(TimeoutCode::LONGEST.duration().unwrap() > Duration::from_secs(8 * 3600));
    }
}
