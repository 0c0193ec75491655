//! Words into bytes and back: the only place where that happens.
//!
//! The data of a ring or topic is a slice of atomic words. Payloads are copied into it and out of
//! it word by word with Relaxed accesses, or in bulk by one instruction which the compiler can
//! neither repeat nor split. So there is no data race whatever the peer does, and **no byte is ever
//! read twice**: what was checked is what is used. Order comes from elsewhere, from the commit word
//! of a frame or the claim of a topic.
//!
//! In place, without a copy, bytes may be seen only through [`bytes`] and [`bytes_mut`], whose
//! callers promise that nobody writes meanwhile.

use crate::sync::{AtomicU64, Ordering::Relaxed};

const WORD: usize = size_of::<u64>();

/// Up to this many bytes go word by word. The bulk instruction takes some 30 cycles to start, which
/// pays from half a kilobyte on (measured with the data in the nearest cache).
const SMALL_MAX: usize = 512;

/// Copies `source` to the start of `words`. What a last, partial word holds behind it is zero or what
/// was there before.
///
/// # Panics
///
/// If `source` does not fit.
#[inline]
pub(crate) fn copy_in(words: &[AtomicU64], source: &[u8]) {
    let words = &words[..source.len().div_ceil(WORD)];
    if source.len() > SMALL_MAX && bulk::copy_in(words, source) {
        return;
    }
    let (whole, rest) = source.as_chunks::<WORD>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*bytes), Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_ne_bytes(last), Relaxed);
    }
}

/// Copies the start of `words` to `target`, reading each word exactly once.
///
/// Small ones go by two words, where that is to be had: a reader of `target` will use loads as wide, and one
/// that spans two stores waits until both have left the processor.
///
/// # Panics
///
/// If there are not enough words.
#[inline]
pub(crate) fn copy_out(words: &[AtomicU64], target: &mut [u8]) {
    let words = &words[..target.len().div_ceil(WORD)];
    if target.len() > SMALL_MAX && bulk::copy_out(words, target) {
        return;
    }
    let (pairs, target) = target.as_chunks_mut::<{ 2 * WORD }>();
    let (words_of_pairs, words) = words.split_at(2 * pairs.len());
    for (pair, bytes) in words_of_pairs.as_chunks().0.iter().zip(pairs) {
        bulk::copy_pair(pair, bytes);
    }
    let (whole, rest) = target.as_chunks_mut::<WORD>();
    for (word, bytes) in words.iter().zip(whole.iter_mut()) {
        *bytes = word.load(Relaxed).to_ne_bytes();
    }
    if !rest.is_empty() {
        let last = words[whole.len()].load(Relaxed).to_ne_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Has the processor fetch the line of something that will be looked at soon.
#[inline(always)]
pub(crate) fn prefetch<T>(place: &T) {
    bulk::prefetch(place);
}

/// The first `len` bytes of `words`, in place.
///
/// # Safety
///
/// While the slice lives nobody may write these words, neither here nor in another process.
///
/// # Panics
///
/// If there are not enough words.
#[cfg(not(loom))]
#[inline]
pub(crate) unsafe fn bytes(words: &[AtomicU64], len: usize) -> &[u8] {
    let words = &words[..len.div_ceil(WORD)];
    // SAFETY: `words` spans at least `len` initialised bytes and is borrowed for as long as the
    // result; the caller promises that they do not change.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), len) }
}

/// The first `len` bytes of `words`, in place and writable.
///
/// # Safety
///
/// While the slice lives nobody else in this process may read or write these words, and nobody in
/// another process may write them.
///
/// # Panics
///
/// If there are not enough words.
#[cfg(not(loom))]
#[inline]
#[allow(clippy::mut_from_ref, reason = "atomics are interior mutable; uniqueness is the caller's")]
pub(crate) unsafe fn bytes_mut(words: &[AtomicU64], len: usize) -> &mut [u8] {
    let words = &words[..len.div_ceil(WORD)];
    // SAFETY: `words` spans at least `len` initialised bytes, atomics may be written through a
    // shared reference, and the caller promises that this is the only way to them.
    unsafe { std::slice::from_raw_parts_mut(words.as_ptr().cast_mut().cast(), len) }
}

/// One instruction for a whole payload. Each function says whether it did the work.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
mod bulk {
    use super::{AtomicU64, WORD};

    pub(super) fn copy_in(words: &[AtomicU64], source: &[u8]) -> bool {
        assert!(source.len() <= words.len() * WORD);
        // SAFETY: both ranges are `source.len()` bytes long (asserted), `source` is borrowed, and
        // the words are atomics, which may be written through a shared reference. They cannot
        // overlap: no `&[u8]` to live words is given out but under `bytes`'s promise.
        unsafe { move_bytes(source.as_ptr(), words.as_ptr().cast_mut().cast(), source.len()) }
        true
    }

    pub(super) fn copy_out(words: &[AtomicU64], target: &mut [u8]) -> bool {
        assert!(target.len() <= words.len() * WORD);
        // SAFETY: both ranges are `target.len()` bytes long (asserted), and `target` is borrowed
        // for writing. The words may change while they are copied: the target then holds a mixture,
        // which is no race in Rust's sense because no Rust access is involved.
        unsafe { move_bytes(words.as_ptr().cast(), target.as_mut_ptr(), target.len()) }
        true
    }

    /// Two words by one load and one store.
    #[inline(always)]
    pub(super) fn copy_pair(pair: &[AtomicU64; 2], target: &mut [u8; 2 * WORD]) {
        // SAFETY: both are sixteen bytes, and `target` is borrowed for writing. The words may change
        // meanwhile, as in `copy_out`. No `nomem`, as in `move_bytes`.
        unsafe {
            std::arch::asm!(
                "movups {both}, [{from}]",
                "movups [{to}], {both}",
                both = out(xmm_reg) _,
                from = in(reg) pair.as_ptr(),
                to = in(reg) target.as_mut_ptr(),
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    pub(super) fn prefetch<T>(place: &T) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }

    /// # Safety
    ///
    /// `from` must be readable and `to` writable for `len` bytes, and they must not overlap.
    unsafe fn move_bytes(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the caller vouches for both ranges; the direction flag is clear on entry to any
        // `asm!` block. No `nomem`: the compiler keeps every access of memory on its side of this
        // one, and the processor does not reorder string operations with other stores.
        unsafe {
            std::arch::asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
mod bulk {
    use super::{AtomicU64, Relaxed, WORD};

    pub(super) fn copy_pair(pair: &[AtomicU64; 2], target: &mut [u8; 2 * WORD]) {
        for (word, bytes) in pair.iter().zip(target.as_chunks_mut::<WORD>().0) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
    }

    pub(super) fn prefetch<T>(_: &T) {}

    pub(super) fn copy_in(_: &[AtomicU64], _: &[u8]) -> bool {
        false
    }

    pub(super) fn copy_out(_: &[AtomicU64], _: &mut [u8]) -> bool {
        false
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words(count: usize) -> Box<[AtomicU64]> {
        (0..count).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    #[test]
    fn every_length_comes_out_as_it_went_in() {
        let source: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        for len in (0..80).chain(SMALL_MAX - 9..SMALL_MAX + 9).chain([777, 1000]) {
            let words = words(126);
            let mut target = vec![0; len];
            copy_in(&words, &source[..len]);
            copy_out(&words, &mut target);
            assert_eq!(target, source[..len], "length {len}");
            assert!(words[len.div_ceil(WORD)..].iter().all(|word| word.load(Relaxed) == u64::MAX));
        }
    }

    #[test]
    fn a_partial_last_word_of_a_small_copy_is_filled_with_zeroes() {
        let words = words(2);
        copy_in(&words, &[1, 2, 3]);
        assert_eq!(words[0].load(Relaxed).to_ne_bytes(), [1, 2, 3, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn bytes_in_place_are_the_bytes_copied() {
        let words = words(2);
        // SAFETY: these words are this test's own.
        unsafe { bytes_mut(&words, 11) }.copy_from_slice(b"hello world");
        let mut copy = [0; 11];
        copy_out(&words, &mut copy);
        assert_eq!(&copy, b"hello world");
        // SAFETY: as above.
        assert_eq!(unsafe { bytes(&words, 5) }, b"hello");
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_source_that_does_not_fit_is_refused_before_a_byte_is_written() {
        copy_in(&words(1), &[0; 9]);
    }
}
