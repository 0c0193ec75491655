//! How processes meet that trust each other and share nothing but names: the portable backend's part of a session.
//!
//! ```text
//!   renderer                          directory (named after the endpoint)                main
//!      │ takes a claim, knocks         ┌───────────────────────────────┐  sees the knock   │
//!      │ ────────────────────────────▶ │ claims, main's life           │ ────────────────▶ │
//!      │ ◀──────────────────────────── │ "your session is segment 7"   │ ◀──────────────── │
//!      │                               └───────────────────────────────┘   makes segment 7 │
//!      │            hello, welcome, ready, and all else, through two rings for packets     │
//!      │ ◀───────────────────────────────────────────────────────────────────────────────▶ │
//! ```
//!
//! A renderer that main launches learns its segment from its environment and claims nothing.
//!
//! | module | what it is |
//! | --- | --- |
//! | `names` | the [`Transport`](crate::session::transport::Transport) of this backend |
//! | `directory` | the way in: main's side and a renderer's |
//! | `rendezvous` | the pages in which they meet |
//! | `mailbox` | one end of a session's packets |
//! | `poller` | what main's loop sleeps on |
//! | `event`, [`event_threads`] | events, and the threads that enter them |
//! | `watcher`, `processes` | which processes live |
//! | `memory`, `named`, `segments`, `name` | segments as memory, one by one, listed, and their names |

#[cfg(not(loom))]
mod directory;
#[cfg_attr(loom, path = "modelled_event.rs")]
mod event;
mod event_threads;
#[cfg(not(loom))]
mod mailbox;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod name;
#[cfg(not(loom))]
mod named;
#[cfg(not(loom))]
mod names;
#[cfg(all(test, not(loom)))]
mod other_process;
#[cfg(not(loom))]
mod poller;
#[cfg(not(loom))]
mod processes;
mod rendezvous;
#[cfg(not(loom))]
mod segments;
#[cfg(not(loom))]
mod watcher;

#[cfg(not(loom))]
pub(crate) use names::Names;

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Backend, BindError, Config, ContractError, IpcMain, endpoints};

    #[test]
    fn isolation_that_the_portable_backend_lacks_is_refused_before_anything_is_made() {
        let name = format!("test-no-isolation-{}", std::process::id());
        let config =
            Config { backend: Backend::Portable, require_isolation: true, ..Config::default() };
        let refused = IpcMain::bind_with(&name, &[], config).map(drop);
        assert!(
            matches!(refused, Err(BindError::Contract(ContractError::NoIsolation))),
            "{refused:?}"
        );
        assert!(endpoints().unwrap().iter().all(|endpoint| endpoint.name != name));
    }
}
