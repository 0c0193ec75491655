//! The outcome of entering the sandbox: what is enforced, what is missing, or an error.

use std::{fmt, io};

/// What [`IpcRenderer::sandbox`](crate::IpcRenderer::sandbox) has enforced in this process, and what
/// the kernel does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub(super) fn note(&mut self, part: SandboxPart, missing: Option<String>) {
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

/// Why a renderer is not in its sandbox. What was given up before stays given up: end the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A thread could not be made to give up its rights.
    #[error("not every thread of this process could be confined: {0}")]
    Threads(#[source] io::Error),
    /// The kernel has Landlock, and refused.
    #[error("Landlock cannot be enforced: {0}")]
    Landlock(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The memory could not be closed to others.
    #[error("this process cannot be made non-dumpable: {0}")]
    Dumps(#[source] io::Error),
    /// The filter of system calls could not be made or installed.
    #[error("the filter of system calls cannot be installed: {0}")]
    SystemCalls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// All that the kernel has is enforced, and that is not everything.
    #[error("the sandbox is not complete: {0}")]
    Incomplete(Sandbox),
    /// Who shares memory by name has to open more of it later, and can write all of main's.
    #[error("there is no sandbox with the portable backend, whose processes trust each other")]
    Trusted,
}
