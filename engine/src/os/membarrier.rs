//! Memory fences for a whole process: `membarrier(2)`.

use std::io;

use rustix::thread::{MembarrierCommand, membarrier};

/// Asks for the right to [`process_fence`]. Once per process is enough; more do no harm.
///
/// # Errors
///
/// If the kernel, or a filter of system calls, does not have it.
pub(crate) fn register_process_fence() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::RegisterPrivateExpedited)?)
}

/// Runs a full fence on every processor that runs a thread of this process, and returns when all have.
///
/// # Errors
///
/// If the process has not registered for it.
pub(crate) fn process_fence() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::PrivateExpedited)?)
}
