//! The names of segments.
//!
//! ```text
//!   /ringbridge-0123456789.2f
//!               |          └─ the segment's number among those of one main process; 0: its directory
//!               └─ a hash of the user and the endpoint
//! ```
//!
//! A name proves nothing: whoever opens a segment checks its owner and size. Two endpoints with the same hash cannot
//! have main processes at once.

use std::fmt;

use crate::wire::fnv::{FNV_OFFSET, fnv1a};

const START: &str = "/ringbridge-";
const HASH_DIGITS: usize = 10;
const NUMBER_DIGITS_MAX: usize = 8;

/// The limit of macOS for a name, in bytes.
const NAME_MAX: usize = 31;

const _: () = assert!(START.len() + HASH_DIGITS + 1 + NUMBER_DIGITS_MAX <= NAME_MAX);

/// The name of one of Ringbridge's segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentName {
    hash: u64,
    number: u32,
}

impl SegmentName {
    /// The name of an endpoint's directory, by which its other segments are found.
    pub(crate) fn directory(user_id: u32, endpoint: &str) -> Self {
        let hash = fnv1a(fnv1a(FNV_OFFSET, &user_id.to_le_bytes()), endpoint.as_bytes());
        // The upper bits depend on all lower ones.
        Self { hash: hash >> (64 - 4 * HASH_DIGITS), number: 0 }
    }

    /// Another segment of the same endpoint.
    pub(crate) fn sibling(self, number: u32) -> Self {
        Self { number, ..self }
    }

    pub(crate) fn number(self) -> u32 {
        self.number
    }

    /// Reads a name, in exactly the form in which `Display` writes it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (hash, number) = text.strip_prefix(START)?.split_once('.')?;
        let number = u32::from_str_radix(number, 16).ok()?;
        let name = Self { hash: u64::from_str_radix(hash, 16).ok()?, number };
        (name.hash >> (4 * HASH_DIGITS) == 0 && name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{:0HASH_DIGITS$x}.{:x}", self.hash, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_fits_and_is_read_back() {
        let directory = SegmentName::directory(1000, "endpoint");
        for number in [0, 1, 0x2f, u32::MAX] {
            let name = directory.sibling(number);
            assert!(name.to_string().len() <= NAME_MAX);
            assert_eq!((name.number(), name.sibling(0)), (number, directory));
            assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        }
    }

    #[test]
    fn users_and_endpoints_have_names_of_their_own() {
        let directory = SegmentName::directory(1000, "endpoint");
        assert_eq!(directory, SegmentName::directory(1000, "endpoint"));
        assert_ne!(directory, SegmentName::directory(1001, "endpoint"));
        assert_ne!(directory, SegmentName::directory(1000, "endpoint2"));
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
            "/ringbridge-+123456789.1",
            "/ringbridge-0123456789.01",
            "/ringbridge-0123456789.+1",
            "/ringbridge-0123456789.123456789",
            "/ringbridge-0123456789.1/../x",
            "/ringbridge-0123456789.1\0",
        ] {
            assert_eq!(SegmentName::parse(text), None, "{text:?}");
        }
    }
}
