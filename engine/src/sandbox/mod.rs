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
pub(crate) mod outcome;
mod syscalls;

use self::{
    landlock::Ruleset,
    outcome::{Sandbox, SandboxError, SandboxPart},
    syscalls::Filters,
};
use crate::{
    os::{
        clock,
        confine::{confine_other_threads, confine_this_thread},
        process::make_non_dumpable,
    },
    primitives::Mutex,
};

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
    let mut sandbox = Sandbox::default();
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
