//! The outcome of entering the sandbox.

use std::{fmt, io};

/// The outcome of [`IpcRenderer::sandbox`](crate::IpcRenderer::sandbox): the enforced parts, and those that the
/// kernel does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    enforced: Vec<SandboxPart>,
    missing: Vec<MissingPart>,
}

/// One part of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SandboxPart {
    /// The process has no capability, even as root.
    Capabilities,
    /// An executed program gets no new ones (`no_new_privs`).
    NewPrivileges,
    /// No file can be opened, made, changed or executed (Landlock).
    FileSystem,
    /// No TCP port can be bound or connected to (Landlock).
    Network,
    /// The process cannot connect to abstract Unix sockets of other processes, nor send them signals (Landlock).
    OtherProcesses,
    /// Processes of the same user cannot read its memory, and there are no core dumps (not dumpable).
    Dumps,
    /// A system call that is not on the list fails with `EPERM` (seccomp): no sockets, no new shared memory, no
    /// processes, no executable memory.
    SystemCalls,
}

/// A part that the kernel does not have, or has only partly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPart {
    /// The part.
    pub part: SandboxPart,
    /// The missing feature.
    pub why: String,
}

impl Sandbox {
    /// Returns whether no part is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Returns an error if a part is missing.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Incomplete`]. The enforced parts stay enforced.
    pub fn complete(self) -> Result<Self, SandboxError> {
        if self.is_complete() { Ok(self) } else { Err(SandboxError::Incomplete(self)) }
    }

    /// The enforced parts.
    pub fn enforced(&self) -> &[SandboxPart] {
        &self.enforced
    }

    /// The missing parts.
    pub fn missing(&self) -> &[MissingPart] {
        &self.missing
    }

    pub(super) fn note(&mut self, part: SandboxPart, missing: Option<String>) {
        match missing {
            None => self.enforced.push(part),
            Some(why) => self.missing.push(MissingPart { part, why }),
        }
    }
}

impl SandboxPart {
    /// A short name, such as `file-system`.
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

/// An error of entering the sandbox. Rights that were removed stay removed, so the process should end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A thread could not be confined.
    #[error("not every thread of this process could be confined: {0}")]
    Threads(#[source] io::Error),
    /// The kernel has Landlock, and refused the ruleset.
    #[error("Landlock cannot be enforced: {0}")]
    Landlock(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The memory could not be protected from other processes.
    #[error("this process cannot be made non-dumpable: {0}")]
    Dumps(#[source] io::Error),
    /// The filter of system calls could not be made or installed.
    #[error("the filter of system calls cannot be installed: {0}")]
    SystemCalls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel lacks a part. All others are enforced.
    #[error("the sandbox is not complete: {0}")]
    Incomplete(Sandbox),
    /// The portable backend has no sandbox: its processes open memory by name, and can write all of it.
    #[error("there is no sandbox with the portable backend, whose processes trust each other")]
    Trusted,
}
