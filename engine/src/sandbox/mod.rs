//! A renderer that gives up what it does not need.
//!
//! Once the handshake is over a renderer needs its memory, one socket to receive from, an eventfd and the
//! standard streams that it has, and the system calls for waiting and for memory. All else goes, for good
//! and for every thread:
//!
//! ```text
//!   every thread, one after the other      the whole process
//!   ---------------------------------      ------------------------------------
//!   capabilities  none                     not dumpable: nobody looks inside
//!   privileges    no new ones              seccomp: an allow-list of system calls
//!   Landlock      no file, no port,
//!                 nobody else's sockets
//!                 and processes
//! ```
//!
//! In this order: what each step takes away, none of the later ones needs. The filter comes last, since
//! it would refuse the others. Each wall stands behind another, on purpose: what the filter refuses by
//! number, Landlock refuses by object.
//!
//! What the kernel has is enforced; what it lacks is said ([`Sandbox::missing`]), and whoever cannot do
//! without asks for [`Sandbox::complete`].
//!
//! Descriptors that are open stay open: they belong to the code that has opened them.

mod landlock;
mod syscalls;

use std::fmt;

use self::{landlock::Ruleset, syscalls::Filters};
use crate::{
    error::SandboxError,
    os::{
        clock,
        confine::{confine_other_threads, confine_this_thread},
        process::make_non_dumpable,
    },
    primitives::Mutex,
};

/// What [`IpcRenderer::sandbox`](crate::IpcRenderer::sandbox) has enforced in this process, and what
/// the kernel does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    enforced: Vec<SandboxPart>,
    missing: Vec<MissingPart>,
}

/// One wall of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxPart {
    /// No capability is left, to root neither.
    Capabilities,
    /// No program that is executed would give new ones (`no_new_privs`).
    NewPrivileges,
    /// Nothing in the file system can be opened, made, changed or executed (Landlock).
    FileSystem,
    /// No TCP port can be bound or connected to (Landlock).
    Network,
    /// Abstract Unix sockets of other processes cannot be connected to, and other processes get
    /// no signals (Landlock).
    OtherProcesses,
    /// Processes of the same user cannot look inside, and there are no core dumps (not dumpable).
    Dumps,
    /// Whatever is not on the list of system calls fails with `EPERM` (seccomp): no sockets, no new
    /// shared memory, no processes, nothing executable.
    SystemCalls,
}

/// A wall that the kernel does not have, or not all of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPart {
    /// Which.
    pub part: SandboxPart,
    /// What it lacks.
    pub why: String,
}

impl Sandbox {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Insists on all of it.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Incomplete`] if something is missing. What was given up stays so.
    pub fn complete(self) -> Result<Self, SandboxError> {
        if self.is_complete() { Ok(self) } else { Err(SandboxError::Incomplete(self)) }
    }

    /// What is enforced, in full.
    pub fn enforced(&self) -> &[SandboxPart] {
        &self.enforced
    }

    /// What is not, or only in part.
    pub fn missing(&self) -> &[MissingPart] {
        &self.missing
    }

    /// Notes how one part went.
    fn note(&mut self, part: SandboxPart, missing: Option<String>) {
        match missing {
            None => self.enforced.push(part),
            Some(why) => self.missing.push(MissingPart { part, why }),
        }
    }
}

impl SandboxPart {
    /// A short name: `file-system`, `system-calls` …
    pub fn name(self) -> &'static str {
        match self {
            Self::Capabilities => "capabilities",
            Self::NewPrivileges => "new-privileges",
            Self::FileSystem => "file-system",
            Self::Network => "network",
            Self::OtherProcesses => "other-processes",
            Self::Dumps => "dumps",
            Self::SystemCalls => "system-calls",
        }
    }
}

impl fmt::Display for SandboxPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.enforced.iter().map(|part| part.name()).collect();
        write!(f, "shut: {}", names.join(", "))?;
        for MissingPart { part, why } in &self.missing {
            write!(f, "; not shut: {part} ({why})")?;
        }
        Ok(())
    }
}

/// Puts this process into the sandbox, unless it is there.
pub(crate) fn enter() -> Result<Sandbox, SandboxError> {
    static ENTERED: Mutex<Option<Sandbox>> = Mutex::new(None);

    let mut entered = ENTERED.lock();
    match &*entered {
        Some(sandbox) => Ok(sandbox.clone()),
        None => Ok(entered.insert(give_up_everything()?).clone()),
    }
}

fn give_up_everything() -> Result<Sandbox, SandboxError> {
    let mut sandbox = Sandbox { enforced: Vec::new(), missing: Vec::new() };
    // The first look at the clock finds out where the kernel has put it, by the auxiliary vector. Where
    // that has to be read from a file it would fail later, and each look be a system call.
    clock::now_ns();
    // What can fail without having changed anything.
    let filters = Filters::compile()?;
    let ruleset = Ruleset::create()?;

    confine_other_threads(ruleset.as_fd()).map_err(SandboxError::Threads)?;
    confine_this_thread().map_err(SandboxError::Threads)?;
    sandbox.note(SandboxPart::Capabilities, None);
    sandbox.note(SandboxPart::NewPrivileges, None);
    ruleset.confine_this_thread(&mut sandbox)?;
    make_non_dumpable().map_err(SandboxError::Dumps)?;
    sandbox.note(SandboxPart::Dumps, None);
    filters.install(&mut sandbox)?;
    Ok(sandbox)
}
