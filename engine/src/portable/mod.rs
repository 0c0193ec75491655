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
//! | [`directory`] | the way in: main's side ([`Hub`]) and a renderer's |
//! | [`mailbox`] | one end of a session's packets |
//! | [`watcher`] | who lives |
//! | [`event_threads`] | the threads that enter events, and how all others ring and sleep |

#[cfg(not(loom))]
mod directory;
#[cfg_attr(loom, path = "modelled_event.rs")]
pub(crate) mod event;
pub(crate) mod event_threads;
#[cfg(not(loom))]
mod mailbox;
#[cfg(not(loom))]
pub(crate) mod name;
#[cfg(not(loom))]
pub(crate) mod named;
#[cfg(all(test, not(loom)))]
pub(crate) mod other_process;
#[cfg(not(loom))]
pub(crate) mod processes;
pub(crate) mod rendezvous;
#[cfg(not(loom))]
pub(crate) mod segments;
#[cfg(not(loom))]
mod watcher;

#[cfg(not(loom))]
pub(crate) use directory::{Hub, Leftovers, attach, has_directory, launched, orphans, sweep};
#[cfg(not(loom))]
pub(crate) use mailbox::Mailbox;
#[cfg(not(loom))]
pub(crate) use watcher::WatchedProcess;
