//! Short text in a payload of fixed layout.

use std::fmt;

use ringbridge::{
    FixedLayout,
    zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout},
};

/// Text of at most `N` bytes. What is longer is cut between two characters. `N` is at most 255.
#[derive(Clone, Copy, FromZeros, IntoBytes, KnownLayout, Immutable)]
#[zerocopy(crate = "ringbridge::zerocopy")]
#[repr(C)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// As much of `text` as fits.
    pub fn new(text: &str) -> Self {
        const { assert!(N <= u8::MAX as usize, "the length is kept in one byte") };
        let len = text.floor_char_boundary(N);
        let mut bytes = [0; N];
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self { len: len as u8, bytes }
    }

    /// The text: what another process wrote, up to the first byte that is none.
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len).min(N)];
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

impl<const N: usize> FixedLayout for Text<N> {
    fn layout() -> String {
        format!("Text {{ len: u8 @0, bytes: [u8; {N}] @1 }}")
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::Payload;

    use super::*;

    #[test]
    fn text_that_fits_comes_back_whole() {
        assert_eq!(Text::<8>::new("").as_str(), "");
        assert_eq!(Text::<8>::new("12345678").as_str(), "12345678");
    }

    #[test]
    fn text_that_is_too_long_is_cut_between_two_characters() {
        assert_eq!(Text::<3>::new("abcd").as_str(), "abc");
        assert_eq!(Text::<3>::new("aaä").as_str(), "aa");
    }

    #[test]
    fn a_length_beyond_the_end_and_bytes_that_are_no_text_are_not_followed() {
        let from = |bytes: &[u8; 4]| Text::<3>::decode_owned(bytes).unwrap();
        assert_eq!(from(b"\xffabc").as_str(), "abc");
        assert_eq!(from(b"\x03a\xff\xff").as_str(), "a");
        assert_eq!(from(b"\x02\xffab").as_str(), "");
    }
}
