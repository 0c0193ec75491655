//! Memory fences for a whole process: `membarrier(2)`.

use std::io;

use rustix::thread::{MembarrierCommand, membarrier};

/// Registers this process for [`process_fence`]. May be called again.
///
/// # Errors
///
/// If the kernel lacks it, or a filter of system calls refuses it.
pub(crate) fn register_process_fence() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::RegisterPrivateExpedited)?)
}

/// Runs a full fence on every processor that runs a thread of this process, and waits for all of them.
///
/// # Errors
///
/// If the process has not registered.
pub(crate) fn process_fence() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::PrivateExpedited)?)
}
