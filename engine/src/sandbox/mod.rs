//! The sandbox: a renderer gives up the rights that it does not need.
//!
//! After the handshake a renderer needs its memory, one socket to receive from, an eventfd, its standard streams, and
//! the system calls for waiting and for memory. It gives up all else, for good and for every thread:
//!
//! ```text
//!   every thread, one after the other      the whole process
//!   ---------------------------------      ------------------------------------
//!   capabilities  none                     not dumpable: no process reads its memory
//!   privileges    no new ones              seccomp: an allow-list of system calls
//!   Landlock      no file, no port,
//!                 no other process's
//!                 sockets and signals
//! ```
//!
//! The order matters: no step needs what an earlier one has taken away. What seccomp refuses by number, Landlock refuses
//! by object too. Missing kernel features are reported ([`Sandbox::missing`]) and the others are enforced, unless the
//! application asks for [`Sandbox::complete`]. Open descriptors stay open.
//!
//! - `landlock`, `syscalls`: the ruleset and the filters. [`outcome`]: the public result.

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

/// Puts this process into the sandbox, once.
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
    // The first call finds the kernel's clock, by the auxiliary vector or a file. Later it could not open the file, and
    // each call would be a system call.
    clock::now_ns();
    // These two can fail, and change nothing.
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
