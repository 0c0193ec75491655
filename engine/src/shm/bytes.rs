//! Copies between the words of shared memory and private bytes.
//!
//! The data of a ring or topic is a slice of atomic words. Payloads are copied word by word with Relaxed accesses,
//! or line by line in assembly, of which the compiler can neither repeat nor split an access. So the peer cannot
//! cause a data race, and **no byte is read twice**: the checked bytes are the used bytes. The commit word of a
//! frame or the claim of a topic orders the copies.

pub(crate) use bulk::{prefetch, prefetch_to_write};

use crate::primitives::{AtomicU64, Ordering::Relaxed};

const WORD: usize = size_of::<u64>();
/// A cache line.
const LINE: usize = 64;

/// The longest copy word by word, which the compiler unrolls.
const SMALL_MAX: usize = 512;

/// Copies `source` to the start of `words`. The rest of a last, partial word is zero or unchanged.
///
/// # Panics
///
/// If `source` does not fit.
#[inline]
pub(crate) fn copy_in(words: &[AtomicU64], source: &[u8]) {
    let words = &words[..source.len().div_ceil(WORD)];
    if source.len() > SMALL_MAX {
        copy_in_bulk(words, source)
    } else {
        copy_in_words(words, source)
    }
}

// Out of line, which keeps the code of small copies short.
#[inline(never)]
fn copy_in_bulk(words: &[AtomicU64], source: &[u8]) {
    let done = bulk::copy_in(words, source);
    copy_in_words(&words[done / WORD..], &source[done..]);
}

/// Copies as [`copy_in`], by the processor's string instruction.
pub(crate) fn string_in(words: &[AtomicU64], source: &[u8]) {
    let words = &words[..source.len().div_ceil(WORD)];
    let done = bulk::string_in(words, source);
    copy_in_words(&words[done / WORD..], &source[done..]);
}

/// Copies as [`copy_out`], by the processor's string instruction.
pub(crate) fn string_out(words: &[AtomicU64], target: &mut [u8]) {
    let words = &words[..target.len().div_ceil(WORD)];
    let done = bulk::string_out(words, target);
    copy_out_words(&words[done / WORD..], &mut target[done..]);
}

/// Copies as [`copy_in`], but past the caches: for long payloads that another processor will read.
///
/// Its stores may become visible before earlier ones, but not after later ones. So no reader may look at these
/// words before a later store.
pub(crate) fn stream_in(words: &[AtomicU64], source: &[u8]) {
    let words = &words[..source.len().div_ceil(WORD)];
    // To the start of a line: a partly written line goes to memory in pieces.
    let into_line = words.as_ptr().addr() % LINE;
    let first = ((LINE - into_line) % LINE).min(source.len());
    let (head, source) = source.split_at(first);
    let (head_words, words) = words.split_at(first.div_ceil(WORD));
    copy_in_words(head_words, head);
    let done = bulk::stream_in(words, source);
    copy_in_words(&words[done / WORD..], &source[done..]);
}

#[inline(always)]
fn copy_in_words(words: &[AtomicU64], source: &[u8]) {
    let (whole, rest) = source.as_chunks::<WORD>();
    for (word, bytes) in words.iter().zip(whole) {
        // Relaxed: payload words. A frame's commit word or a topic's claim orders them.
        word.store(u64::from_ne_bytes(*bytes), Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_ne_bytes(last), Relaxed);
    }
}

/// Copies the start of `words` to `target`. Reads each word once.
///
/// Small copies move two words at a time, where the processor can. A reader of `target` uses loads as wide, and a
/// load that spans two stores waits until both have left the processor.
///
/// # Panics
///
/// If there are not enough words.
#[inline]
pub(crate) fn copy_out(words: &[AtomicU64], target: &mut [u8]) {
    let words = &words[..target.len().div_ceil(WORD)];
    if target.len() > SMALL_MAX {
        copy_out_bulk(words, target)
    } else {
        copy_out_words(words, target)
    }
}

#[inline(never)]
fn copy_out_bulk(words: &[AtomicU64], target: &mut [u8]) {
    let done = bulk::copy_out(words, target);
    copy_out_words(&words[done / WORD..], &mut target[done..]);
}

#[inline(always)]
fn copy_out_words(words: &[AtomicU64], target: &mut [u8]) {
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

/// Returns the first `len` bytes of `words`, in place.
///
/// # Safety
///
/// While the slice lives no thread may write these words, here or in another process.
#[cfg(not(loom))]
#[inline]
pub(crate) unsafe fn bytes(words: &[AtomicU64], len: usize) -> &[u8] {
    let words = &words[..len.div_ceil(WORD)];
    // SAFETY: `words` spans at least `len` initialised bytes and is borrowed for as long as the
    // result; the caller promises that they do not change.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), len) }
}

/// Returns the first `len` bytes of `words`, in place and writable.
///
/// # Safety
///
/// While the slice lives no other code in this process may read or write these words, and no other process may
/// write them.
#[cfg(not(loom))]
#[inline]
#[allow(clippy::mut_from_ref, reason = "atomics are interior mutable; uniqueness is the caller's")]
pub(crate) unsafe fn bytes_mut(words: &[AtomicU64], len: usize) -> &mut [u8] {
    let words = &words[..len.div_ceil(WORD)];
    // SAFETY: `words` spans at least `len` initialised bytes, atomics may be written through a
    // shared reference, and the caller promises that this is the only way to them.
    unsafe { std::slice::from_raw_parts_mut(words.as_ptr().cast_mut().cast(), len) }
}

/// Copies of whole lines, in assembly. Each function returns the number of copied bytes.
#[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
mod bulk {
    use super::{AtomicU64, LINE, WORD};

    pub(super) fn copy_in(words: &[AtomicU64], source: &[u8]) -> usize {
        assert!(source.len() <= words.len() * WORD);
        let lines = source.len() / LINE;
        // SAFETY: both ranges have at least that many lines (asserted), `source` is borrowed, and the
        // words are atomics, which may be written through a shared reference. They cannot overlap: only
        // `bytes` gives out a `&[u8]` of live words, and its caller promises that they are not written.
        unsafe { move_lines(source.as_ptr(), words.as_ptr().cast_mut().cast(), lines) }
        lines * LINE
    }

    pub(super) fn copy_out(words: &[AtomicU64], target: &mut [u8]) -> usize {
        assert!(target.len() <= words.len() * WORD);
        let lines = target.len() / LINE;
        // SAFETY: both ranges have at least that many lines (asserted), and `target` is borrowed for
        // writing. The words may change meanwhile, and the target then holds a mixture. That is no race in
        // Rust's sense, because no Rust access is involved.
        unsafe { move_lines(words.as_ptr().cast(), target.as_mut_ptr(), lines) }
        lines * LINE
    }

    pub(super) fn string_in(words: &[AtomicU64], source: &[u8]) -> usize {
        assert!(source.len() <= words.len() * WORD);
        let len = source.len() / WORD * WORD;
        // SAFETY: as in `copy_in`.
        unsafe { move_string(source.as_ptr(), words.as_ptr().cast_mut().cast(), len) }
        len
    }

    pub(super) fn string_out(words: &[AtomicU64], target: &mut [u8]) -> usize {
        assert!(target.len() <= words.len() * WORD);
        let len = target.len() / WORD * WORD;
        // SAFETY: as in `copy_out`. The instruction reads each byte once, if it is not interrupted; then it goes on
        // where it was.
        unsafe { move_string(words.as_ptr().cast(), target.as_mut_ptr(), len) }
        len
    }

    /// The words must start at a line, if there is one to copy.
    pub(super) fn stream_in(words: &[AtomicU64], source: &[u8]) -> usize {
        assert!(source.len() <= words.len() * WORD);
        let lines = source.len() / LINE;
        assert!(lines == 0 || words.as_ptr().addr().is_multiple_of(LINE));
        // SAFETY: as in `copy_in`, and the target is aligned (asserted).
        unsafe { stream_lines(source.as_ptr(), words.as_ptr().cast_mut().cast(), lines) }
        lines * LINE
    }

    /// Copies two words by one load and one store.
    #[inline(always)]
    pub(super) fn copy_pair(pair: &[AtomicU64; 2], target: &mut [u8; 2 * WORD]) {
        // SAFETY: both are sixteen bytes, and `target` is borrowed for writing. The words may change
        // meanwhile, as in `copy_out`. No `nomem`, as in `move_lines`.
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

    /// Prefetches the cache line of `place`.
    #[inline(always)]
    pub(crate) fn prefetch<T>(place: &T) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }

    /// Asks for the cache line of `place` in order to write to it.
    #[inline(always)]
    pub(crate) fn prefetch_to_write<T>(place: &T) {
        let place = std::ptr::from_ref(place);
        // SAFETY: it changes no memory, whatever the address.
        unsafe {
            std::arch::asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
    }

    /// Copies lines, 16 bytes at a time, by the given store instruction.
    macro_rules! copy_lines {
        ($store:literal, $from:expr, $to:expr, $lines:expr $(, $after:literal)?) => {
            std::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                concat!($store, " [{to}], {a}"),
                concat!($store, " [{to} + 16], {b}"),
                concat!($store, " [{to} + 32], {c}"),
                concat!($store, " [{to} + 48], {d}"),
                "add {from}, 64",
                "add {to}, 64",
                "dec {lines}",
                "jnz 2b",
                $($after,)?
                from = inout(reg) $from => _,
                to = inout(reg) $to => _,
                lines = inout(reg) $lines => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            )
        };
    }

    /// # Safety
    ///
    /// `from` must be readable and `to` writable for `lines`, and they must not overlap.
    unsafe fn move_lines(from: *const u8, to: *mut u8, lines: usize) {
        if lines > 0 {
            // SAFETY: the caller vouches for both ranges, and the loop ends with them. No `nomem`: the
            // compiler keeps every access of memory on its side of this one, and the processor does not
            // reorder these stores with others.
            unsafe { copy_lines!("movups", from, to, lines) }
        }
    }

    /// # Safety
    ///
    /// `from` must be readable and `to` writable for `len` bytes, and they must not overlap.
    unsafe fn move_string(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the caller vouches for both ranges. The direction flag is clear, as everywhere in Rust. Its stores
        // are not ordered among themselves, but no later store becomes visible before them.
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

    /// Past the caches. The stores become visible no later than any that follow.
    ///
    /// # Safety
    ///
    /// As for [`move_lines`], and `to` must be a multiple of 16.
    unsafe fn stream_lines(from: *const u8, to: *mut u8, lines: usize) {
        if lines > 0 {
            // SAFETY: as in `move_lines`. These stores are not ordered by themselves; the fence behind them
            // keeps a later commit from becoming visible before them.
            unsafe { copy_lines!("movntps", from, to, lines, "sfence") }
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

    pub(crate) fn prefetch<T>(_: &T) {}

    pub(crate) fn prefetch_to_write<T>(_: &T) {}

    pub(super) fn copy_in(_: &[AtomicU64], _: &[u8]) -> usize {
        0
    }

    pub(super) fn copy_out(_: &[AtomicU64], _: &mut [u8]) -> usize {
        0
    }

    pub(super) fn stream_in(_: &[AtomicU64], _: &[u8]) -> usize {
        0
    }

    pub(super) fn string_in(_: &[AtomicU64], _: &[u8]) -> usize {
        0
    }

    pub(super) fn string_out(_: &[AtomicU64], _: &mut [u8]) -> usize {
        0
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
            type Way = (fn(&[AtomicU64], &[u8]), fn(&[AtomicU64], &mut [u8]));
            let ways: [Way; 2] = [(copy_in, copy_out), (string_in, string_out)];
            for (copy_in, copy_out) in ways {
                let words = words(126);
                let mut target = vec![0; len];
                copy_in(&words, &source[..len]);
                copy_out(&words, &mut target);
                assert_eq!(target, source[..len], "length {len}");
                let behind = &words[len.div_ceil(WORD)..];
                assert!(behind.iter().all(|word| word.load(Relaxed) == u64::MAX));
            }
        }
    }

    #[test]
    fn a_streamed_copy_comes_out_as_it_went_in_from_any_start() {
        let source: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        for start in 0..8 {
            for len in (0..80).chain([127, 128, 129, 512, 777, 1000]) {
                let words = words(140);
                let mut target = vec![0; len];
                stream_in(&words[start..], &source[..len]);
                copy_out(&words[start..], &mut target);
                assert_eq!(target, source[..len], "length {len} from word {start}");
                let untouched = words[..start].iter().chain(&words[start + len.div_ceil(WORD)..]);
                assert!(untouched.map(|word| word.load(Relaxed)).all(|word| word == u64::MAX));
            }
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
