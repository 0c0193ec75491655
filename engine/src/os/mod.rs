//! The system calls, one file for each facility of the kernel.
//!
//! | file | holds |
//! | --- | --- |
//! | [`futex`] | sleep on a word of memory, wake its sleepers |
//! | [`epoll`] | one sleeper, many descriptors; eventfds |
//! | [`socket`] | packets and descriptors between two processes |
//! | [`process`] | processes: start, die with the parent, watch for the end; fences for a whole process |
//! | [`processor`] | where a thread runs |
//! | [`clock`] | the monotonic clock |
//! | `confine` | removal of rights from all threads |
//! | `files` | a folder that only this user may enter, and locks in it |
//! | `report` | plain facts about processes and descriptors |
//! | `elsewhere` | the same on systems other than Linux |
//! | `modelled` | the same in a loom model: this module is that file there |
//!
//! No file here knows frames, channels or sessions. Mapped memory is in [`crate::shm`].

pub(crate) mod clock;
#[cfg(all(target_os = "linux", feature = "sandbox"))]
pub(crate) mod confine;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
pub(crate) mod epoll;
pub(crate) mod files;
#[cfg(target_os = "linux")]
pub(crate) mod futex;
#[cfg(target_os = "linux")]
pub(crate) mod process;
#[cfg(target_os = "linux")]
pub(crate) mod processor;
pub(crate) mod report;
#[cfg(target_os = "linux")]
pub(crate) mod socket;

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{futex, process, processor};
#[cfg(target_os = "linux")]
pub(crate) use {
    epoll::{Epoll, EventFd},
    socket::{Listener, Socket},
};
