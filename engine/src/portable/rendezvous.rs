//! The pages in which processes that share only names meet and show that they live.
//!
//! The portable backend's processes trust each other: **several write here**.
//!
//! ```text
//!   the directory, one per endpoint                the session page, one per renderer
//!   +-----------------------------------+          +-----------------------------------+
//!   | magic, version, reserved, length  |          | magic, version, reserved, length  |
//!   +-----------------------------------+          +-----------------------------------+
//!   | presence    main's                |          | main_left   main has ended this   |
//!   +-----------------------------------+          +-----------------------------------+
//!   | name of the endpoint              |          | presence    the renderer's        |
//!   +-----------------------------------+          +-----------------------------------+
//!   | claims      64: a renderer says   |          | rung        the renderer wants    |
//!   |   who it is, main answers with    |          |             to be looked at       |
//!   |   the number of a session page    |          +-----------------------------------+
//!   +-----------------------------------+          | mail        the numbers of the    |
//!   | segments    the numbers of those  |          |             two rings for packets |
//!   |             that main has made    |          +-----------------------------------+
//!   +-----------------------------------+          | events      main's, the renderer's|
//!                                                  +-----------------------------------+
//! ```
//!
//! Each part but an event's contents (`raw_sync`'s) has the same layout on each platform.

#![allow(unsafe_code, reason = "declares the pages to be atomics and nothing else")]

use crate::model::guarded;
use crate::primitives::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::shm::shared::Atomics;
use crate::sync::flag::Flag;
use crate::wire::identity::{Identity, IdentityError, Line};

const DIRECTORY_MAGIC: u64 = u64::from_ne_bytes(*b"ringdir\0");
const SESSION_MAGIC: u64 = u64::from_ne_bytes(*b"ringses\0");

/// The most renderers that attach at once.
pub(crate) const CLAIMS: usize = 64;
/// The most segments of one main process.
pub(crate) const SEGMENTS_MAX: usize = 16 * 1024;

/// The longest name of an endpoint, in bytes. A socket's whole path has 107.
pub(crate) const NAME_MAX: usize = 48;
const NAME_WORDS: usize = NAME_MAX / size_of::<u64>();

/// A process. Numbers are used again, so its start tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: u32,
    /// In seconds since 1970.
    pub(crate) started: u64,
    /// The namespace of the number. 0: it is not known.
    pub(crate) namespace: u64,
}

/// The presence of a process, which writes it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Presence {
    state: AtomicU32,
    pid: AtomicU32,
    started: AtomicU64,
    namespace: AtomicU64,
    heartbeat: AtomicU64,
}

const ABSENT: u32 = 0;
const HERE: u32 = 1;
const LEFT: u32 = 2;

impl Presence {
    pub(crate) fn enter(&self, who: ProcessIdentity) {
        self.pid.store(who.pid, Relaxed);
        self.started.store(who.started, Relaxed);
        self.namespace.store(who.namespace, Relaxed);
        // Release: pairs with the Acquire in `who`; makes the numbers visible.
        self.state.store(HERE, guarded!("Presence::enter: Release", Release));
    }

    pub(crate) fn leave(&self) {
        // Release: pairs with the Acquire in `has_left`; makes earlier writes visible.
        self.state.store(LEFT, guarded!("Presence::leave: Release", Release));
    }

    /// Returns the process that is here, or was.
    pub(crate) fn who(&self) -> Option<ProcessIdentity> {
        // Acquire: pairs with the Release in `enter`, or in the later `leave`.
        let is_known = self.state.load(guarded!("Presence::who: Acquire", Acquire)) != ABSENT;
        is_known.then(|| ProcessIdentity {
            pid: self.pid.load(Relaxed),
            started: self.started.load(Relaxed),
            namespace: self.namespace.load(Relaxed),
        })
    }

    pub(crate) fn has_left(&self) -> bool {
        // Acquire: pairs with the Release in `leave`.
        self.state.load(guarded!("Presence::has_left: Acquire", Acquire)) == LEFT
    }

    pub(crate) fn beat(&self) {
        // Relaxed: only the change counts.
        self.heartbeat.fetch_add(1, Relaxed);
    }

    pub(crate) fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Relaxed)
    }
}

/// A place in the directory for a renderer that attaches, and for main's answer.
///
/// ```text
///   free ──(renderer)──▶ taken ──▶ knocking ──(main)──▶ answered ──(renderer)──▶ free
///     ▲                    │          │                    │
///     └───── main, when the renderer is dead ──────────────┘
/// ```
///
/// The state and the renderer's process id are one word, so its holder is known at any moment.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct DirectoryClaim {
    word: AtomicU64,
    session: AtomicU32,
}

const TAKEN: u64 = 1;
const KNOCKING: u64 = 2;
const ANSWERED: u64 = 3;

impl DirectoryClaim {
    /// For the renderer: takes it, if it is free.
    pub(crate) fn take(&self, pid: u32) -> bool {
        // No model: a load would have to see a store of the future, which loom does not try.
        // Acquire: pairs with the Release in `give_back`; the last holder has read its answer.
        self.word.compare_exchange(0, claim_word(pid, TAKEN), Acquire, Relaxed).is_ok()
    }

    /// For the renderer: asks for a session.
    pub(crate) fn knock(&self, pid: u32) {
        // Release: pairs with the Acquire in `knocker`.
        let release = guarded!("DirectoryClaim::knock: Release", Release);
        self.word.store(claim_word(pid, KNOCKING), release);
    }

    /// For main: returns the renderer that asks for a session.
    pub(crate) fn knocker(&self) -> Option<u32> {
        // Acquire: pairs with the Release in `knock`.
        let word = self.word.load(guarded!("DirectoryClaim::knocker: Acquire", Acquire));
        (word & 3 == KNOCKING).then_some((word >> 2) as u32)
    }

    /// For main: returns the renderer that has it, in any state.
    pub(crate) fn holder(&self) -> Option<u32> {
        let word = self.word.load(Relaxed);
        (word != 0).then_some((word >> 2) as u32)
    }

    /// For main: answers with the number of the session's page.
    pub(crate) fn answer(&self, pid: u32, session: u32) {
        self.session.store(session, Relaxed);
        // Release: pairs with the Acquire in `answered`; makes the number visible.
        let release = guarded!("DirectoryClaim::answer: Release", Release);
        self.word.store(claim_word(pid, ANSWERED), release);
    }

    /// For the renderer: takes the answer, and frees the claim.
    pub(crate) fn answered(&self, pid: u32) -> Option<u32> {
        // Acquire: pairs with the Release in `answer`.
        let word = self.word.load(guarded!("DirectoryClaim::answered: Acquire", Acquire));
        if word != claim_word(pid, ANSWERED) {
            return None;
        }
        let session = self.session.load(Relaxed);
        self.give_back(pid);
        Some(session)
    }

    /// Frees it, if this process still has it.
    pub(crate) fn give_back(&self, pid: u32) {
        let word = self.word.load(Relaxed);
        if word >> 2 == u64::from(pid) {
            // No model: as in `take`.
            // Release: pairs with the Acquire in `take`. It fails if main has answered meanwhile, or taken it back.
            let _ = self.word.compare_exchange(word, 0, AcqRel, Relaxed);
        }
    }
}

const fn claim_word(pid: u32, state: u64) -> u64 {
    (pid as u64) << 2 | state
}

const EVENT_WORDS: usize = 32;

/// Space for an event of `raw_sync`.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct EventPlace {
    words: [AtomicU64; EVENT_WORDS],
}

/// See the [module](self).
#[repr(C)]
pub(crate) struct DirectoryPage {
    identity: Line<Identity<DIRECTORY_MAGIC>>,
    pub(crate) main: Line<Presence>,
    /// The endpoint's name, ended by zeroes.
    name: Line<[AtomicU64; NAME_WORDS]>,
    pub(crate) claims: [DirectoryClaim; CLAIMS],
    pub(crate) segments: [AtomicU32; SEGMENTS_MAX],
}

/// See the [module](self).
#[repr(C)]
pub(crate) struct SessionPage {
    identity: Line<Identity<SESSION_MAGIC>>,
    /// Main has ended this session.
    pub(crate) main_left: Line<Flag>,
    pub(crate) renderer: Line<Presence>,
    /// The renderer has rung. Main takes it.
    pub(crate) rung: Line<Flag>,
    mail: Line<[AtomicU32; 2]>,
    /// Main waits on it, the renderer sets it.
    pub(crate) mains_event: EventPlace,
    /// The renderer waits on it, main sets it.
    pub(crate) renderers_event: EventPlace,
}

// SAFETY: every field is an atomic, or a `repr` transparent or C struct of atomics.
unsafe impl Atomics for DirectoryPage {}
// SAFETY: as above.
unsafe impl Atomics for SessionPage {}
// SAFETY: as above.
unsafe impl Atomics for EventPlace {}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(DirectoryPage, identity) == 0);
    assert!(offset_of!(DirectoryPage, main) == 128);
    assert!(offset_of!(DirectoryPage, name) == 256);
    assert!(offset_of!(DirectoryPage, claims) == 384);
    assert!(offset_of!(DirectoryPage, segments) == 384 + 64 * CLAIMS);
    assert!(offset_of!(SessionPage, renderer) == 256);
    assert!(offset_of!(SessionPage, mail) == 512);
    assert!(offset_of!(SessionPage, mains_event) == 640);
    assert!(offset_of!(SessionPage, renderers_event) == 640 + 256);
};

/// The lengths of the segments of the two pages: whole pages of memory.
pub(crate) const DIRECTORY_LEN: usize = size_of::<DirectoryPage>().next_multiple_of(4096);
pub(crate) const SESSION_LEN: usize = size_of::<SessionPage>().next_multiple_of(4096);

impl DirectoryPage {
    /// For main, when everything else in it is ready.
    pub(crate) fn initialise(&self, endpoint: &str) {
        let mut bytes = [0; NAME_MAX];
        bytes[..endpoint.len()].copy_from_slice(endpoint.as_bytes());
        for (word, bytes) in self.name.iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
        self.identity.initialise(DIRECTORY_LEN);
    }

    pub(crate) fn check_identity(&self) -> Result<(), IdentityError> {
        self.identity.check(DIRECTORY_LEN)
    }

    pub(crate) fn is_knocked_at(&self) -> bool {
        self.claims.iter().any(|claim| claim.knocker().is_some())
    }

    /// The endpoint's name, if it is UTF-8.
    pub(crate) fn endpoint(&self) -> Option<String> {
        let mut bytes: Vec<u8> = Vec::with_capacity(NAME_MAX);
        self.name.iter().for_each(|word| bytes.extend(word.load(Relaxed).to_ne_bytes()));
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_MAX);
        bytes.truncate(end);
        String::from_utf8(bytes).ok()
    }
}

impl SessionPage {
    /// For main, before any other process has the number of the page. `mail` are the numbers of the rings for packets,
    /// main's first.
    pub(crate) fn initialise(&self, mail: [u32; 2]) {
        for (word, number) in self.mail.iter().zip(mail) {
            // Relaxed, like the identity: a process learns the page's number after this.
            word.store(number, Relaxed);
        }
        self.identity.initialise(SESSION_LEN);
    }

    pub(crate) fn check_identity(&self) -> Result<(), IdentityError> {
        self.identity.check(SESSION_LEN)
    }

    pub(crate) fn mail(&self) -> [u32; 2] {
        [0, 1].map(|which: usize| self.mail[which].load(Relaxed))
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{WRONG, check};
    use crate::primitives::{Arc, thread};

    /// One thread writes and then tells of it. Another thread that hears of it must see what was written.
    fn hand_over<W: Default + Send + Sync + 'static>(tell: fn(&W), hears: fn(&W) -> bool) {
        let shared = Arc::new((W::default(), AtomicU32::new(0)));
        let telling = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.store(1, Relaxed);
                tell(&shared.0);
            }
        });
        if hears(&shared.0) {
            assert_eq!(shared.1.load(Relaxed), 1, "heard of too early");
        }
        telling.join().unwrap();
    }

    const EARLY: &str = "heard of too early";

    #[test]
    fn loom_who_is_seen_to_be_here_has_said_who_it_is() {
        const WHO: ProcessIdentity = ProcessIdentity { pid: 3, started: 4, namespace: 5 };
        check(&[("Presence::enter: Release", WRONG), ("Presence::who: Acquire", WRONG)], || {
            hand_over(
                |presence: &Presence| presence.enter(WHO),
                |presence| {
                    let who = presence.who();
                    assert!(who.is_none_or(|who| who == WHO));
                    who.is_some()
                },
            );
        });
    }

    #[test]
    fn loom_what_was_written_before_leaving_is_seen_by_who_sees_that() {
        check(
            &[("Presence::leave: Release", EARLY), ("Presence::has_left: Acquire", EARLY)],
            || {
                hand_over(Presence::leave, Presence::has_left);
            },
        );
    }

    #[test]
    fn loom_who_knocks_and_who_answers_is_heard_with_all_that_it_has_said() {
        check(
            &[
                ("DirectoryClaim::knock: Release", EARLY),
                ("DirectoryClaim::knocker: Acquire", EARLY),
            ],
            || {
                hand_over(
                    |claim: &DirectoryClaim| claim.knock(7),
                    |claim| claim.knocker() == Some(7),
                );
            },
        );
        check(
            &[
                ("DirectoryClaim::answer: Release", WRONG),
                ("DirectoryClaim::answered: Acquire", WRONG),
            ],
            || {
                hand_over(
                    |claim: &DirectoryClaim| claim.answer(7, 9),
                    |claim| {
                        let answer = claim.answered(7);
                        assert!(answer.is_none_or(|session| session == 9));
                        answer.is_some()
                    },
                );
            },
        );
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_claim_goes_its_round_and_knows_its_holder_all_the_way() {
        let claim = DirectoryClaim::default();
        assert_eq!(claim.holder(), None);
        assert!(claim.take(7) && !claim.take(8));
        assert_eq!((claim.holder(), claim.knocker()), (Some(7), None));
        claim.knock(7);
        assert_eq!(claim.knocker(), Some(7));
        assert_eq!(claim.answered(7), None);
        claim.answer(7, 99);
        assert_eq!((claim.knocker(), claim.answered(8)), (None, None));
        assert_eq!(claim.answered(7), Some(99));
        assert_eq!(claim.holder(), None);
    }

    #[test]
    fn nobody_gives_back_the_claim_of_another() {
        let claim = DirectoryClaim::default();
        assert!(claim.take(7));
        claim.give_back(8);
        assert_eq!(claim.holder(), Some(7));
        claim.give_back(7);
        assert!(claim.take(8));
    }

    #[test]
    fn who_has_left_was_here() {
        let (presence, who) =
            (Presence::default(), ProcessIdentity { pid: 3, started: 4, namespace: 5 });
        assert_eq!((presence.who(), presence.has_left()), (None, false));
        presence.enter(who);
        assert_eq!((presence.who(), presence.has_left()), (Some(who), false));
        presence.leave();
        assert_eq!((presence.who(), presence.has_left()), (Some(who), true));
    }
}
