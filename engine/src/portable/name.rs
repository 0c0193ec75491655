//! The names of segments.
//!
//! ```text
//!   /ringbridge-0123456789.2f
//!               |          └─ the segment's number among those of one main process; 0: its directory
//!               └─ a hash of the user and the endpoint
//! ```
//!
//! A name says nothing that a reader would have to believe: whether the segment is this user's, and has the
//! size that was announced, is looked at when it is opened. Two endpoints whose hashes are the same cannot
//! have main processes at once.

use std::fmt;

use crate::wire::fnv::{FNV_OFFSET, fnv1a};

const START: &str = "/ringbridge-";
const HASH_DIGITS: usize = 10;
const NUMBER_DIGITS_MAX: usize = 8;

/// What macOS allows a name, in bytes.
const NAME_MAX: usize = 31;

const _: () = assert!(START.len() + HASH_DIGITS + 1 + NUMBER_DIGITS_MAX <= NAME_MAX);

/// What all names of one endpoint begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentPrefix(String);

/// The name of a segment that is one of Ringbridge's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SegmentName(String);

/// A text that is no segment's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no name of a segment of Ringbridge's")]
pub(crate) struct BadSegmentName;

impl SegmentPrefix {
    pub(crate) fn new(user_id: u32, endpoint: &str) -> Self {
        let hash = fnv1a(fnv1a(FNV_OFFSET, &user_id.to_le_bytes()), endpoint.as_bytes());
        // The upper bits, which have seen all of the lower ones.
        Self(format!("{START}{:0HASH_DIGITS$x}.", hash >> (64 - 4 * HASH_DIGITS)))
    }

    /// The segment that the others are found through.
    pub(crate) fn directory(&self) -> SegmentName {
        self.segment(0)
    }

    pub(crate) fn segment(&self, number: u32) -> SegmentName {
        SegmentName(format!("{}{number:x}", self.0))
    }
}

impl SegmentName {
    /// Accepts what [`SegmentPrefix::segment`] makes, and nothing else.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSegmentName> {
        let is_hex =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (hash, number) =
            text.strip_prefix(START).and_then(|rest| rest.split_once('.')).ok_or(BadSegmentName)?;
        let is_hash = hash.len() == HASH_DIGITS && is_hex(hash);
        let is_number = (1..=NUMBER_DIGITS_MAX).contains(&number.len())
            && is_hex(number)
            && (number == "0" || !number.starts_with('0'));
        if is_hash && is_number { Ok(Self(text.to_owned())) } else { Err(BadSegmentName) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of its endpoint's segments it is.
    pub(crate) fn number(&self) -> u32 {
        let (_, number) = self.parts();
        u32::from_str_radix(number, 16).expect("a name's number is one")
    }

    /// Another segment of the same endpoint.
    pub(crate) fn sibling(&self, number: u32) -> SegmentName {
        let (prefix, _) = self.parts();
        SegmentPrefix(prefix.to_owned()).segment(number)
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_at(START.len() + HASH_DIGITS + 1)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_fits_and_is_read_back() {
        let prefix = SegmentPrefix::new(1000, "endpoint");
        for number in [0, 1, 0x2f, u32::MAX] {
            let name = prefix.segment(number);
            assert!(name.as_str().len() <= NAME_MAX);
            assert_eq!(name.number(), number);
            assert_eq!(prefix.segment(7).sibling(number), name);
            assert_eq!(SegmentName::parse(name.as_str()), Ok(name));
        }
        assert_eq!(prefix.directory(), prefix.segment(0));
    }

    #[test]
    fn users_and_endpoints_have_prefixes_of_their_own() {
        let prefix = SegmentPrefix::new(1000, "endpoint");
        assert_eq!(prefix, SegmentPrefix::new(1000, "endpoint"));
        assert_ne!(prefix, SegmentPrefix::new(1001, "endpoint"));
        assert_ne!(prefix, SegmentPrefix::new(1000, "endpoint2"));
    }

    #[test]
    fn nothing_else_is_a_name() {
        for text in [
            "",
            "/ringbridge-",
            "ringbridge-0123456789.1",
            "/ringbridge-0123456789",
            "/ringbridge-0123456789.",
            "/ringbridge-012345678.1",
            "/ringbridge-0123456789a.1",
            "/ringbridge-012345678G.1",
            "/ringbridge-012345678A.1",
            "/ringbridge-0123456789.01",
            "/ringbridge-0123456789.123456789",
            "/ringbridge-0123456789.1/../x",
            "/ringbridge-0123456789.1\0",
        ] {
            assert_eq!(SegmentName::parse(text), Err(BadSegmentName), "{text:?}");
        }
    }
}
