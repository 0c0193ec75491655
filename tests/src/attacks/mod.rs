//! The catalogue of attacks: what each does, its verdict, and what stops it.
//!
//! One list serves the tests (`tests/tests/attacks.rs`), the soak (`tests/tests/alone/attacks_soak.rs`), the attacker's
//! process and the table in `SECURITY.md`. A row has a name, the verdict, the attacker's steps, and the steps in words.

mod attachments;
mod control;
mod door;
mod floods;
mod frames;
mod inspectors;
mod kernel;
mod others;
mod requests;
mod traps;

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{
        AtomicBool, AtomicU32,
        Ordering::{Relaxed, Release},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ringbridge::{IpcMain, IpcRenderer, OnViolation, Policy, Quota, SendError, WebContents};
use rustix::{
    fs::{
        FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals,
        fcntl_setfl, ftruncate, memfd_create, open,
    },
    io::{Errno, pwrite},
    mm::ProtFlags,
    thread::futex::{self, Flags},
};

use crate::{
    attacker::{
        Attacker,
        door::{DESCRIPTORS_MAX, Socket},
        for_a_while,
        memory::{BOTH, Mapped},
        session::{Session, seal},
        system, until,
        wire::*,
    },
    contract::{CONTRACT, TICK},
    processes::{Folder, left_out},
    scene::{Arguments, ProcessScene, process},
};

use Verdict::{Counted, Denied, Gone, Harmless, Refused, Told, Tolerated, TurnedAway, Violation};

type Text = &'static str;

pub struct Attack {
    pub name: Text,
    pub does: Text,
    pub verdict: Verdict,
    pub stopped_by: StoppedBy,
    /// Makes the attacker's policy of the ordinary one.
    pub policy: fn(Policy) -> Policy,
    /// Starts another thread of main, which works meanwhile.
    pub meanwhile: Option<fn(WebContents) -> JoinHandle<()>>,
    pub steps: Steps,
}

/// The attacker's steps.
pub enum Steps {
    /// It knows the endpoint's name.
    AtTheDoor(fn(&mut Attacker)),
    /// Main launches it.
    Launched(fn(&mut Attacker)),
    /// Main launches it, and the handshake is honest.
    InSession(fn(&mut Session)),
}

/// The required outcome of an attack. With each of them main and the bystander go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The session ends with one of these violations, which is counted once.
    Violation(&'static [Text]),
    /// The session goes on, and the window's counter of this name counts the attack.
    Counted(Text),
    /// The session goes on, and there is nothing to count.
    Harmless,
    /// The session goes on, since so many violations are allowed, and they are counted.
    Tolerated(u64),
    /// The session ends with this reason, which is no violation.
    Gone(Text),
    /// The attacker is not admitted, and main counts that.
    Refused,
    /// The attacker is not admitted, which is not counted.
    TurnedAway,
    /// The kernel refuses the attacker's calls.
    Denied,
    /// The victim gets this error.
    Told(Text),
}

/// The defence that stops an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedBy {
    /// Main's own checks and bounds.
    Main,
    /// Seals and read-only mappings.
    Kernel,
    /// The library's checks of an endpoint's place and owner.
    Library,
    /// Another user, or the sandbox. The test runs it as another user.
    AnotherUser,
}

impl Attack {
    const fn policy(self, policy: fn(Policy) -> Policy) -> Self {
        Self { policy, ..self }
    }

    const fn meanwhile(self, work: fn(WebContents) -> JoinHandle<()>) -> Self {
        Self { meanwhile: Some(work), ..self }
    }

    const fn by(self, stopped_by: StoppedBy) -> Self {
        Self { stopped_by, ..self }
    }

    const fn by_the_kernel(self) -> Self {
        self.by(StoppedBy::Kernel)
    }

    const fn by_another_user(self) -> Self {
        self.by(StoppedBy::AnotherUser)
    }

    pub fn run(&self, attacker: &mut Attacker) {
        match self.steps {
            Steps::AtTheDoor(steps) | Steps::Launched(steps) => steps(attacker),
            Steps::InSession(steps) => steps(&mut attacker.session()),
        }
    }

    /// The verdict for people.
    fn verdict_text(&self) -> String {
        match self.verdict {
            Violation(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("session ended: {}", names.join(", "))
            }
            Counted(counter) => format!("session goes on; `{counter}` counts it"),
            Harmless => "nothing happens to anyone else".to_owned(),
            Tolerated(count) => {
                format!("session goes on, as its policy says; `violations` is {count}")
            }
            Gone(reason) => format!("session ended: `{reason}`"),
            Refused => "not let in; main's `refused` counts it".to_owned(),
            TurnedAway => "turned away".to_owned(),
            Denied => "the kernel says no to the attacker".to_owned(),
            Told(error) => format!("`{error}` for who comes there"),
        }
    }
}

impl StoppedBy {
    fn text(self) -> Text {
        match self {
            Self::Main => "main",
            Self::Kernel => "the kernel",
            Self::Library => "the library",
            Self::AnotherUser => "another user, or the sandbox",
        }
    }
}

/// The number that main's validator refuses.
pub const REFUSED: u64 = 0x0bad_0bad;

const fn session(name: Text, verdict: Verdict, steps: fn(&mut Session), does: Text) -> Attack {
    attack(name, verdict, Steps::InSession(steps), does)
}

const fn launched(name: Text, verdict: Verdict, steps: fn(&mut Attacker), does: Text) -> Attack {
    attack(name, verdict, Steps::Launched(steps), does)
}

const fn door(name: Text, verdict: Verdict, steps: fn(&mut Attacker), does: Text) -> Attack {
    attack(name, verdict, Steps::AtTheDoor(steps), does)
}

const fn attack(name: Text, verdict: Verdict, steps: Steps, does: Text) -> Attack {
    let stopped_by = StoppedBy::Main;
    Attack { name, does, verdict, stopped_by, policy: |policy| policy, meanwhile: None, steps }
}

/// The parts of the catalogue, each with a heading.
pub const CATALOGUE: &[(&str, &[Attack])] = &[
    ("Frames", frames::ATTACKS),
    ("The control page", control::ATTACKS),
    ("Requests", requests::ATTACKS),
    ("Floods", floods::ATTACKS),
    ("Large payloads", attachments::ATTACKS),
    ("The handshake and the socket", door::ATTACKS),
    ("Inspectors", inspectors::ATTACKS),
    ("Shared memory and its words", kernel::ATTACKS),
    ("The endpoint's place", traps::ATTACKS),
    ("Other processes", others::ATTACKS),
];

pub fn all() -> impl Iterator<Item = &'static Attack> {
    CATALOGUE.iter().flat_map(|(_, attacks)| attacks.iter())
}

pub fn find(name: &str) -> &'static Attack {
    all().find(|attack| attack.name == name).unwrap_or_else(|| panic!("no attack '{name}'"))
}

/// The catalogue as the tables of `SECURITY.md`.
pub fn markdown() -> String {
    let row = |attack: &Attack| {
        let (verdict, stopped_by) = (attack.verdict_text(), attack.stopped_by.text());
        format!("| `{}` | {} | {verdict} | {stopped_by} |\n", attack.name, attack.does)
    };
    let table = |(heading, attacks): &(&str, &[Attack])| {
        let rows: String = attacks.iter().map(row).collect();
        format!(
            "### {heading}\n\n| attack | what it does | verdict | stopped by |\n\
             | --- | --- | --- | --- |\n{rows}\n"
        )
    };
    CATALOGUE.iter().map(table).collect()
}
