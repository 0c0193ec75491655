//! The packets with which an inspector begins, over the socket that renderers connect to:
//!
//! ```text
//!   inspector                                                  main
//!      │  hello: a magic number of its own, version                  │
//!      │ ──────────────────────────────────────────────────────────▶ │ checks the user by SO_PEERCRED
//!      │  the board's size + its memory, which main alone writes     │
//!      │ ◀────────────────────────────────────────────────────────── │ or a refusal
//! ```
//!
//! No other packet is sent on that socket, and its hang-up ends the inspection. An inspector can only read: it
//! has no ring, no window and no rights.

use std::{
    io,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    metrics::{MainMetrics, SessionMetrics, counters::Counters},
    session::{control_channel::ControlChannel, endpoint, error::ConnectError},
    shm::{
        region::{Access, Region},
        shared::TopicMemory,
    },
    wire::{
        fnv::{FNV_OFFSET, fnv1a},
        handshake::{BadPacket, encode, parse},
    },
};

/// Two builds with different numbers refuse each other.
const VERSION: u32 = 1;
const MAGIC: u32 = u32::from_le_bytes(*b"rbin");
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 4096;

/// An inspector's first packet. Its magic number differs from a renderer's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InspectorHello {
    magic: u32,
    version: u32,
}

/// Main's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InspectorAnswer {
    /// With the descriptor of a topic of this capacity, in bytes.
    Board {
        capacity: u32,
    },
    Version {
        main: u32,
    },
    Refused {
        why: String,
    },
}

impl InspectorHello {
    pub(crate) fn new() -> Self {
        Self { magic: MAGIC, version: VERSION }
    }

    /// Parses an inspector's hello; `None` if these bytes are another packet. `Err` is a refusal.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Result<(), InspectorAnswer>> {
        let hello: Self = parse(bytes).ok().filter(|hello: &Self| hello.magic == MAGIC)?;
        Some(match hello.version {
            VERSION => Ok(()),
            _ => Err(InspectorAnswer::Version { main: VERSION }),
        })
    }
}

/// The hash of the names of all numbers in a record of the board, in their order.
pub(crate) fn fingerprint() -> u64 {
    [MainMetrics::DESCRIPTIONS, SessionMetrics::DESCRIPTIONS, Counters::DESCRIPTIONS]
        .into_iter()
        .flatten()
        .fold(FNV_OFFSET, |hash, metric| fnv1a(fnv1a(hash, metric.name.as_bytes()), b";"))
}

/// An error of inspecting a main process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Main could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Main refused the inspector.
    #[error("main refused this inspector: {why}")]
    Refused {
        /// Main's reason.
        why: String,
    },
    /// Main has other metrics than this build.
    #[error(
        "main was built from another version of ringbridge: inspect it with a tool of the same version"
    )]
    OtherBuild,
    /// The board is invalid.
    #[error("what main shows cannot be read: {why}")]
    BadBoard {
        /// The reason.
        why: String,
    },
    /// Main has ended.
    #[error("the main process is gone")]
    Gone,
}

impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> Self {
        Self::Connect(ConnectError::Io(error))
    }
}

/// Connects to the main process behind `name` as an inspector, and maps its board.
pub(crate) fn attach(
    name: &str,
    timeout: Duration,
) -> Result<(ControlChannel, TopicMemory), InspectError> {
    let control = endpoint::connect_anyhow(name, timeout)?;
    control.send(&encode(&InspectorHello::new()), &[]).map_err(hung_up)?;
    let deadline = Instant::now() + timeout;
    while !control.poll_readable(Some(deadline.saturating_duration_since(Instant::now())))?.readable
    {
        if deadline <= Instant::now() {
            return Err(ConnectError::TimedOut(timeout).into());
        }
    }
    let mut packet = vec![0; ANSWER_MAX];
    let received = control.try_receive(&mut packet, 1).map_err(hung_up)?;
    if received.len == 0 {
        return Err(InspectError::Gone);
    }
    let answer =
        parse(&packet[..received.len]).map_err(|BadPacket(why)| InspectError::BadBoard { why })?;
    let capacity = match answer {
        InspectorAnswer::Board { capacity } => capacity as usize,
        InspectorAnswer::Version { .. } => return Err(InspectError::OtherBuild),
        InspectorAnswer::Refused { why } => return Err(InspectError::Refused { why }),
    };
    let bad = |why: String| InspectError::BadBoard { why };
    let handle = received.handles.into_iter().next();
    let handle = handle.ok_or_else(|| bad("its memory is missing".to_owned()))?;
    // A region that another process could write or resize is not mapped.
    let region = Region::open(handle, Region::ring_len(capacity), Access::Read)
        .map_err(|error| bad(error.to_string()))?;
    let board = region.topic().map_err(|error| bad(error.to_string()))?;
    board.control.identity.check(capacity).map_err(|error| bad(error.to_string()))?;
    Ok((control, board))
}

/// A broken connection is main's hang-up.
fn hung_up(error: io::Error) -> InspectError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => InspectError::Gone,
        _ => ConnectError::Io(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::thread;

    use crate::{
        config::Backend,
        ring::broadcast::TopicWriter,
        session::endpoint::{Endpoint, tests::unique},
        shm::backing::Backing,
        wire::handshake::Hello,
    };

    const CAPACITY: usize = 1 << 16;

    /// Memory as main makes it for a board.
    fn memory(access: Access) -> Region {
        Region::create(&Backing::sealed(), "test-board", Region::ring_len(CAPACITY), access)
            .unwrap()
    }

    fn opened(region: &Region) {
        let memory = region.topic().unwrap();
        memory.control.identity.initialise(CAPACITY);
        TopicWriter::new(memory, 0);
    }

    /// The result of an inspector whose main process sends this answer.
    fn attached(answer: &InspectorAnswer, memory: Option<&Region>) -> Result<(), InspectError> {
        let name = unique("board");
        let endpoint = Endpoint::bind(&name, Backend::Sealed).unwrap();
        let attaching = thread::spawn(move || attach(&name, Duration::from_secs(20)).map(drop));
        let control = loop {
            if let Some(control) = endpoint.accept().unwrap() {
                break control;
            }
            thread::yield_now();
        };
        let mut packet = [0; 64];
        control.poll_readable(None).unwrap();
        let len = control.try_receive(&mut packet, 0).unwrap().len;
        assert!(matches!(InspectorHello::parse(&packet[..len]), Some(Ok(()))));
        let handles: Vec<_> = memory.iter().map(|region| region.handle()).collect();
        control.send(&encode(answer), &handles).unwrap();
        attaching.join().unwrap()
    }

    #[test]
    fn only_a_board_that_nobody_else_can_write_and_that_is_one_is_mapped() {
        let board = |capacity| InspectorAnswer::Board { capacity };
        let announced = board(CAPACITY as u32);
        let honest = memory(Access::Write);
        opened(&honest);
        attached(&announced, Some(&honest)).unwrap();
        let refused = |answer: &InspectorAnswer, memory: Option<&Region>| {
            let error = attached(answer, memory).unwrap_err();
            let InspectError::BadBoard { why } = error else { panic!("{error}") };
            why
        };
        assert_eq!(refused(&announced, None), "its memory is missing");
        assert!(refused(&announced, Some(&memory(Access::Read))).contains("not sealed"));
        assert!(refused(&announced, Some(&memory(Access::Write))).contains("not the expected"));
        for other in [CAPACITY as u32 / 2, CAPACITY as u32 * 2, 0, u32::MAX] {
            assert!(refused(&board(other), Some(&honest)).contains("announced"), "{other}");
        }
    }

    #[test]
    fn what_main_says_against_an_inspector_is_told() {
        let why = "no".to_owned();
        let refused = attached(&InspectorAnswer::Refused { why }, None).unwrap_err();
        assert_eq!(refused.to_string(), "main refused this inspector: no");
        let other = attached(&InspectorAnswer::Version { main: 9 }, None).unwrap_err();
        assert!(matches!(other, InspectError::OtherBuild));
    }

    #[test]
    fn an_inspectors_hello_and_a_renderers_are_never_taken_for_each_other() {
        let hello = encode(&InspectorHello::new());
        assert!(matches!(InspectorHello::parse(&hello), Some(Ok(()))));
        assert!(Hello::parse(&hello).is_err());
        assert!(InspectorHello::parse(&encode(&Hello::new(Vec::new()))).is_none());
    }

    #[test]
    fn another_version_is_answered_and_another_magic_number_is_no_hello() {
        let other =
            |magic, version| InspectorHello::parse(&encode(&InspectorHello { magic, version }));
        let answer = other(MAGIC, VERSION + 1);
        assert!(matches!(answer, Some(Err(InspectorAnswer::Version { main: VERSION }))));
        assert!(other(MAGIC + 1, VERSION).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = InspectorHello::parse(&bytes);
        }
    }
}
