//! The records of a *board*: a topic of numbers that **main alone writes** and inspectors read.
//!
//! ```text
//!     0  +-------------------------------------------------------------------+
//!        | Head      the build and the process that wrote this,              |
//!        |           its metrics, its sleeps                                 |
//!   512  +-------------------------------------------------------------------+
//!        | BoardSlot 0    a window: process, state, policy, metrics, counters |
//!  1216  +-------------------------------------------------------------------+
//!        | BoardSlot 1 ...                                       Head::slots |
//!        +-------------------------------------------------------------------+
//! ```
//!
//! A record holds numbers and the names of channels, never a payload. It shows one moment, since a topic never
//! shows a torn record. Its numbers stand in the order in which this build declares them, and `fingerprint`
//! tells a reader that was built from another list.

use super::attach::{InspectError, bad_board};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The capacity of a board, in bytes.
pub(crate) const CAPACITY: usize = 1 << 20;
/// The most windows of a record. Others are only counted.
pub(crate) const SLOTS_MAX: usize = 256;
/// The longest name of an endpoint, in bytes.
pub(crate) const NAME_MAX: usize = 48;
/// The longest summary of a policy, in bytes.
pub(crate) const POLICY_MAX: usize = 288;
pub(crate) const MAIN_METRICS_MAX: usize = 16;
pub(crate) const WINDOW_METRICS_MAX: usize = 48;
pub(crate) const SLEEP_BUCKETS: usize = 24;

const MAGIC: [u8; 8] = *b"ringeye\0";
const VERSION: u32 = 1;

/// The head of a record. Unused numbers are zero.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Head {
    magic: [u8; 8],
    version: u32,
    /// The number of slots that follow.
    pub(crate) slots: u32,
    /// See [`attach::fingerprint`](super::attach::fingerprint).
    pub(crate) fingerprint: u64,
    /// The time since the endpoint was opened, in nanoseconds.
    pub(crate) open_ns: u64,
    pub(crate) pid: u32,
    /// The number of windows without a slot.
    pub(crate) unshown: u32,
    pub(crate) name_len: u64,
    pub(crate) name: [u8; NAME_MAX],
    pub(crate) metrics: [u64; MAIN_METRICS_MAX],
    pub(crate) sleeps: [u64; SLEEP_BUCKETS],
    reserved: [u64; 12],
}

/// One window.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct BoardSlot {
    pub(crate) id: u32,
    pub(crate) pid: u32,
    /// A [`WindowState`].
    pub(crate) state: u32,
    /// 1 if main has not taken all of its frames, else 0.
    pub(crate) unread: u32,
    /// The time since its session was opened, in nanoseconds.
    pub(crate) open_ns: u64,
    pub(crate) policy_len: u64,
    pub(crate) metrics: [u64; WINDOW_METRICS_MAX],
    pub(crate) policy: [u8; POLICY_MAX],
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Head, fingerprint) == 16);
    assert!(offset_of!(Head, name) == 48);
    assert!(offset_of!(Head, metrics) == 96);
    assert!(offset_of!(Head, sleeps) == 224);
    assert!(size_of::<Head>() == 512);
    assert!(offset_of!(BoardSlot, metrics) == 32);
    assert!(offset_of!(BoardSlot, policy) == 416);
    assert!(size_of::<BoardSlot>() == 704);
    // The fullest record fits.
    assert!(
        size_of::<Head>() + SLOTS_MAX * size_of::<BoardSlot>()
            <= crate::wire::topic::payload_max(CAPACITY)
    );
};

/// The state of a window in main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowState {
    /// Its renderer has not said hello yet.
    Launching,
    /// Its renderer is mapping its memory.
    Joining,
    /// Main takes its frames.
    Live,
    /// Main leaves its frames in the ring for a while: it is over its quota.
    Held,
    /// It rings too often without sending; main ignores its bell for a while.
    Storming,
    /// Its session has ended, and its process has not.
    Ending,
}

impl WindowState {
    const ALL: [Self; 6] =
        [Self::Launching, Self::Joining, Self::Live, Self::Held, Self::Storming, Self::Ending];

    /// A short name: `launching`, `live` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Joining => "joining",
            Self::Live => "live",
            Self::Held => "held",
            Self::Storming => "storming",
            Self::Ending => "ending",
        }
    }
}

impl Head {
    pub(crate) fn new() -> Self {
        Self { magic: MAGIC, version: VERSION, ..Self::new_zeroed() }
    }
}

/// Checks a record, and returns its head and slots.
pub(crate) fn parse(
    bytes: &[u8],
    fingerprint: u64,
) -> Result<(Head, Vec<BoardSlot>), InspectError> {
    let len = bytes.len();
    let Ok((head, rest)) = Head::read_from_prefix(bytes) else {
        return Err(bad_board(format!("{len} bytes are too few for a record")));
    };
    if head.magic != MAGIC {
        return Err(bad_board(format!("this is no board (it starts with {:?})", head.magic)));
    }
    // First: in another build the other fields may have other meanings.
    if head.version != VERSION || head.fingerprint != fingerprint {
        return Err(InspectError::OtherBuild);
    }
    let expected = (head.slots as usize).checked_mul(size_of::<BoardSlot>());
    let slots = rest.chunks_exact(size_of::<BoardSlot>()).map(BoardSlot::read_from_bytes);
    match slots.collect::<Result<Vec<_>, _>>() {
        Ok(slots) if slots.len() <= SLOTS_MAX && expected == Some(rest.len()) => Ok((head, slots)),
        _ => Err(bad_board(format!(
            "the record has {len} bytes, and says that {} windows follow its head",
            head.slots
        ))),
    }
}

/// The text in the first `len` bytes of a field.
pub(crate) fn text(field: &[u8], len: u64) -> Result<String, InspectError> {
    let bytes = usize::try_from(len).ok().and_then(|len| field.get(..len));
    let text = bytes.and_then(|bytes| str::from_utf8(bytes).ok()).map(str::to_owned);
    text.ok_or_else(|| {
        let max = field.len();
        bad_board(format!("a text says that it has {len} bytes of {max}, or is no text"))
    })
}

/// Copies a text into a field, cut with "…" if it does not fit, and returns its length.
pub(crate) fn put_text(field: &mut [u8], text: &str) -> u64 {
    let (text, end) = match text.len() <= field.len() {
        true => (text, ""),
        false => (&text[..text.floor_char_boundary(field.len() - CUT.len())], CUT),
    };
    let len = text.len() + end.len();
    field[..text.len()].copy_from_slice(text.as_bytes());
    field[text.len()..len].copy_from_slice(end.as_bytes());
    len as u64
}

/// Ends a text that did not fit.
const CUT: &str = "…";

impl BoardSlot {
    pub(crate) fn state(&self) -> Result<WindowState, InspectError> {
        let state = WindowState::ALL.get(self.state as usize).copied();
        state.ok_or_else(|| {
            let (window, state) = (self.id, self.state);
            bad_board(format!("window {window} is in state {state}, and there is no such"))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUILD: u64 = 7;

    fn record(slots: &[BoardSlot]) -> Vec<u8> {
        let head = Head { slots: slots.len() as u32, fingerprint: BUILD, ..Head::new() };
        [head.as_bytes(), slots.as_bytes()].concat()
    }

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let slots = [1, 2].map(|id| BoardSlot { id, ..BoardSlot::new_zeroed() });
        let (head, found) = parse(&record(&slots), BUILD).unwrap();
        assert_eq!(head.slots, 2);
        assert_eq!(found.iter().map(|slot| slot.id).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn whatever_is_no_record_of_this_build_has_a_name() {
        let honest = record(&[BoardSlot::new_zeroed()]);
        let failed = |bytes: &[u8]| parse(bytes, BUILD).unwrap_err().to_string();
        let too_few = "what main shows cannot be read: 511 bytes are too few for a record";
        assert_eq!(failed(&honest[..511]), too_few);
        for len in [512, honest.len() - 1] {
            assert!(failed(&honest[..len]).contains(&format!("{len} bytes, and says that 1")));
        }
        let changed = |at: usize, byte: u8| {
            let mut bytes = honest.clone();
            bytes[at] = byte;
            failed(&bytes)
        };
        assert!(changed(0, b'x').contains("no board"));
        assert_eq!(changed(8, 99), InspectError::OtherBuild.to_string());
        assert_eq!(changed(16, 99), InspectError::OtherBuild.to_string());
        assert!(changed(14, 1).contains("65537 windows"));
    }

    #[test]
    fn a_text_is_cut_between_characters_and_its_length_is_not_believed() {
        let mut field = [0; 5];
        let len = put_text(&mut field, "abcä");
        assert_eq!(text(&field, len).unwrap(), "abcä");
        let len = put_text(&mut field, "aäbcd");
        assert_eq!(text(&field, len).unwrap(), "a…");
        for len in [6, u64::MAX] {
            assert!(text(&field, len).unwrap_err().to_string().contains("bytes of 5"));
        }
        assert!(text(&[0xff], 1).is_err());
    }

    #[test]
    fn a_state_that_there_is_none_of_is_an_error() {
        for (number, state) in (0..).zip(WindowState::ALL) {
            let slot = BoardSlot { state: number, ..BoardSlot::new_zeroed() };
            assert_eq!(slot.state().unwrap(), state);
            assert_eq!(state as u32, number);
        }
        let slot = BoardSlot { id: 4, state: 6, ..BoardSlot::new_zeroed() };
        assert!(slot.state().unwrap_err().to_string().contains("window 4 is in state 6"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = parse(&bytes, BUILD);
        }
    }
}
