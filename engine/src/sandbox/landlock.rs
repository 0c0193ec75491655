//! A Landlock ruleset without a rule: no file, no port, no other process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, RulesetAttr, RulesetCreated, Scope,
};

use super::outcome::{Sandbox, SandboxError, SandboxPart};

/// The requested version. The kernel enforces the part that it knows.
const ASKED: ABI = ABI::V10;

/// The parts of the sandbox, each with the version of Landlock and of Linux that has all of it.
const PARTS: [(SandboxPart, ABI, &str); 3] = [
    (SandboxPart::FileSystem, ABI::V5, "6.10"),
    (SandboxPart::Network, ABI::V4, "6.7"),
    (SandboxPart::OtherProcesses, ABI::V6, "6.12"),
];

pub(super) struct Ruleset {
    created: RulesetCreated,
    /// For the other threads. `None` if the kernel has no Landlock.
    descriptor: Option<OwnedFd>,
}

impl Ruleset {
    pub(super) fn create() -> Result<Self, SandboxError> {
        let created = landlock::Ruleset::default()
            .handle_access(AccessFs::from_all(ASKED))
            .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ASKED)))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(ASKED)))
            .and_then(landlock::Ruleset::create)
            .map_err(refused)?;
        let descriptor = created.try_clone().map_err(refused)?.into();
        Ok(Self { created, descriptor })
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn confine_this_thread(self, sandbox: &mut Sandbox) -> Result<(), SandboxError> {
        let status = self.created.restrict_self().map_err(refused)?.landlock;
        for (part, needed, since) in PARTS {
            sandbox.note(part, lack(status, needed, since));
        }
        Ok(())
    }
}

/// Returns the missing feature of a part.
fn lack(status: LandlockStatus, needed: ABI, since: &str) -> Option<String> {
    match status {
        LandlockStatus::Available { effective_abi, .. } => (effective_abi < needed).then(|| {
            format!(
                "version {needed} of Landlock is needed, of Linux {since}; here is {effective_abi}"
            )
        }),
        LandlockStatus::NotEnabled => Some("Landlock is not among the kernel's lsm=".to_owned()),
        LandlockStatus::NotImplemented => Some("the kernel has no Landlock".to_owned()),
    }
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> SandboxError {
    SandboxError::Landlock(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(status: LandlockStatus) -> Vec<SandboxPart> {
        let lacking =
            PARTS.iter().filter(|(_, needed, since)| lack(status, *needed, since).is_some());
        lacking.map(|(part, ..)| *part).collect()
    }

    #[test]
    fn an_old_kernel_lacks_what_it_did_not_have_yet() {
        use SandboxPart::{FileSystem, Network, OtherProcesses};
        let of = |effective_abi| LandlockStatus::Available { effective_abi, kernel_abi: None };
        assert_eq!(missing(of(ABI::V7)), []);
        assert_eq!(missing(of(ABI::V5)), [OtherProcesses]);
        assert_eq!(missing(of(ABI::V4)), [FileSystem, OtherProcesses]);
        assert_eq!(missing(of(ABI::V1)), [FileSystem, Network, OtherProcesses]);
        assert_eq!(missing(LandlockStatus::NotImplemented).len(), PARTS.len());
        assert_eq!(missing(LandlockStatus::NotEnabled).len(), PARTS.len());
    }
}
