//! Locks and other primitives between the threads of one process, each with its model.
//!
//! | file | holds |
//! | --- | --- |
//! | [`owner_lock`] | a lock that its owner thread takes without an atomic exchange |
//! | [`fences`] | a pair of fences of which one is free |
//! | [`flag`] | a flag that hands over all writes before its raising |
//! | [`snapshot`] | a value that is read for every message and changed rarely |
//! | [`loop_cell`] | values that only the thread that drives a loop can reach |
//! | [`reentrancy`] | the loop whose turn this thread is in, and the right to run a loop |

pub(crate) mod fences;
pub(crate) mod flag;
#[cfg(not(loom))]
pub(crate) mod loop_cell;
pub(crate) mod owner_lock;
pub(crate) mod reentrancy;
#[cfg(not(loom))]
pub(crate) mod snapshot;
