//! The operating system: everything that asks Linux for something, and nothing else.
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
//!
//! Nothing here knows frames, channels or sessions, and nothing here decides what an error means for
//! a session: each function is a system call with the surprises taken out, and its documentation says
//! which surprises. Mapped memory is next door, in [`crate::memory`].

pub(crate) mod clock;
#[cfg(feature = "sandbox")]
pub(crate) mod confine;
pub(crate) mod epoll;
#[cfg(feature = "portable")]
pub(crate) mod event;
pub(crate) mod eventfd;
pub(crate) mod futex;
pub(crate) mod membarrier;
#[cfg(all(test, feature = "portable"))]
pub(crate) mod other_process;
pub(crate) mod process;
#[cfg(feature = "portable")]
mod processes;
pub(crate) mod socket;

pub(crate) use epoll::Epoll;
pub(crate) use eventfd::EventFd;
pub(crate) use membarrier::{process_fence, register_process_fence};
#[cfg(feature = "portable")]
pub(crate) use processes::Processes;
pub(crate) use socket::{Listener, Socket};
