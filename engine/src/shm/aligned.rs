//! A private buffer, aligned for any payload type.
//!
//! A payload from a peer is copied here once. It is checked and used here, where no other process can change it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A byte buffer that starts at a multiple of 16. It keeps its memory, so a steady stream does not allocate.
///
/// Bytes that [`resize`](Self::resize) adds are unspecified: zeroes, or bytes of an earlier message.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuf {
    blocks: Vec<Block>,
    len: usize,
}

#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(16))]
struct Block([u8; 16]);

impl AlignedBuf {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }

    /// Sets the length and returns the bytes. Allocates only above the longest length so far.
    #[inline]
    pub(crate) fn resize(&mut self, len: usize) -> &mut [u8] {
        if len > self.blocks.len() * size_of::<Block>() {
            self.grow(len);
        }
        self.len = len;
        &mut self.blocks.as_mut_bytes()[..len]
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.blocks.resize(len.div_ceil(size_of::<Block>()), Block([0; 16]));
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.resize(bytes.len()).copy_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.blocks.as_bytes()[..self.len]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn content_of_any_length_is_aligned() {
        let mut buffer = AlignedBuf::new();
        assert_eq!(buffer.as_slice(), b"");
        for len in [1, 15, 16, 17, 4097] {
            buffer.resize(len);
            assert_eq!(buffer.as_slice().len(), len);
            assert_eq!(buffer.as_slice().as_ptr().addr() % 16, 0);
        }
    }

    #[test]
    fn a_shorter_content_replaces_a_longer_one_without_a_new_allocation() {
        let mut buffer = AlignedBuf::new();
        buffer.fill(b"a rather long message, longer than a block");
        let place = buffer.as_slice().as_ptr();
        buffer.fill(b"short");
        assert_eq!(buffer.as_slice(), b"short");
        assert_eq!(buffer.as_slice().as_ptr(), place);
        buffer.clear();
        assert_eq!(buffer.as_slice(), b"");
    }
}
