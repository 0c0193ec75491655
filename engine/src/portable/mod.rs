//! The portable backend: processes that trust each other and share only names.
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
//! | module | contents |
//! | --- | --- |
//! | `directory` | the [`Transport`](crate::session::transport::Transport): main's side and a renderer's |
//! | [`rendezvous`] | the pages in which the processes meet |
//! | `mailbox` | one end of a session's packets |
//! | `poller` | the sleep of main's loop |
//! | `event`, [`event_threads`] | events, and the threads that enter them |
//! | `watcher`, `processes` | the processes that live |
//! | `named`, `segments`, `name` | segments one by one, as listed memory, and their names |

#[cfg(not(loom))]
mod directory;
#[cfg(not(loom))]
mod event;
mod event_threads;
#[cfg(not(loom))]
mod mailbox;
#[cfg(not(loom))]
mod name;
#[cfg(not(loom))]
mod named;
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
pub(crate) use directory::Names;
#[cfg(not(loom))]
pub use event_threads::{LeftBehind, left_behind};

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
