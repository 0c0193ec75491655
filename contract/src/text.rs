//! Short text in a payload of fixed layout.

use std::fmt;

use ringbridge::{
    FixedLayout,
    zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout},
};

/// Text of at most `N` bytes, and `N` is at most 255. Longer text is cut between two characters.
#[derive(Clone, Copy, PartialEq, FromZeros, IntoBytes, KnownLayout, Immutable)]
#[zerocopy(crate = "ringbridge::zerocopy")]
#[repr(C)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// Copies as much of `text` as fits.
    pub fn new(text: &str) -> Self {
        const { assert!(N <= u8::MAX as usize, "the length is kept in one byte") };
        let len = text.floor_char_boundary(N);
        let mut bytes = [0; N];
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self { len: len as u8, bytes }
    }

    /// Returns the text up to the first byte that is not UTF-8: another process wrote it.
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

impl<const N: usize> serde::Serialize for Text<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::Payload;

    use super::*;

    #[test]
    fn text_that_fits_is_whole_and_longer_text_is_cut_between_two_characters() {
        let copy = |text| Text::<3>::new(text).as_str().to_owned();
        assert_eq!(["", "abc", "abcd", "aaä"].map(copy), ["", "abc", "abc", "aa"]);
    }

    #[test]
    fn a_length_beyond_the_end_and_bytes_that_are_not_text_are_cut_off() {
        let from = |bytes: &[u8; 4]| Text::<3>::decode_owned(bytes).unwrap().as_str().to_owned();
        assert_eq!([b"\xffabc", b"\x03a\xff\xff", b"\x02\xffab"].map(from), ["abc", "a", ""]);
    }
}
