//! The operating system: everything that asks it for something, and nothing else.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`futex`] | sleep on a word of memory, wake its sleepers |
//! | [`eventfd`] | a bell that an epoll can hear |
//! | `event` | a bell in memory that several processes map, without an epoll |
//! | [`epoll`] | one sleeper, many descriptors |
//! | [`socket`] | packets and descriptors between two processes |
//! | [`process`] | the lives of processes: spawn, die together, watch |
//! | `processes` | who else runs |
//! | [`membarrier`] | fences for a whole process |
//! | `confine` | rights, taken away from all threads |
//! | [`clock`] | the one clock |
//! | `files` | a folder of this user's alone, and locks in it |
//! | `report` | what is told of processes and descriptors |
//! | `elsewhere` | what stands in for Linux's own on other systems |
//!
//! Nothing here knows frames, channels or sessions, and nothing here decides what an error means for
//! a session: each function is a system call with the surprises taken out, and its documentation says
//! which surprises. Mapped memory is next door, in [`crate::shm`].

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
pub(crate) mod report;
#[cfg(target_os = "linux")]
pub(crate) mod socket;

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{clock, futex, membarrier, process};
#[cfg(target_os = "linux")]
pub(crate) use epoll::Epoll;
#[cfg(target_os = "linux")]
pub(crate) use eventfd::EventFd;
pub(crate) use membarrier::{process_fence, register_process_fence};
#[cfg(target_os = "linux")]
pub(crate) use socket::{Listener, Socket};
