//! The system calls, one file for each facility of the kernel.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`futex`] | sleep on a word of memory, wake its sleepers |
//! | [`eventfd`] | a bell for an epoll |
//! | [`epoll`] | one sleeper, many descriptors |
//! | [`socket`] | packets and descriptors between two processes |
//! | [`process`] | processes: start, die with the parent, watch for the end |
//! | [`processor`] | where a thread runs |
//! | [`membarrier`] | fences for a whole process |
//! | `confine` | removal of rights from all threads |
//! | [`clock`] | the monotonic clock |
//! | `files` | a folder that only this user may enter, and locks in it |
//! | `report` | plain facts about processes and descriptors |
//! | `elsewhere` | the same on systems other than Linux |
//!
//! A function here is one system call; its documentation names what it hides or retries. No file here knows
//! frames, channels or sessions. Mapped memory is in [`crate::shm`].

#[cfg(target_os = "linux")]
pub(crate) mod clock;
#[cfg(all(target_os = "linux", feature = "sandbox"))]
pub(crate) mod confine;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
pub(crate) mod epoll;
#[cfg(target_os = "linux")]
pub(crate) mod eventfd;
pub(crate) mod files;
#[cfg(target_os = "linux")]
pub(crate) mod futex;
#[cfg(target_os = "linux")]
pub(crate) mod membarrier;
#[cfg(target_os = "linux")]
pub(crate) mod process;
#[cfg(target_os = "linux")]
pub(crate) mod processor;
pub(crate) mod report;
#[cfg(target_os = "linux")]
pub(crate) mod socket;

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{clock, futex, membarrier, process, processor};
#[cfg(target_os = "linux")]
pub(crate) use epoll::Epoll;
#[cfg(target_os = "linux")]
pub(crate) use eventfd::EventFd;
pub(crate) use membarrier::{process_fence, register_process_fence};
#[cfg(target_os = "linux")]
pub(crate) use socket::{Listener, Socket};
