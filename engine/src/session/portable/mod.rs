//! How processes meet that trust each other and share nothing but names: the portable backend's part of a session.
//!
//! ```text
//!   renderer                          directory (named after the endpoint)                main
//!      │ takes a claim, knocks, rings  ┌───────────────────────────────┐  sees the knock   │
//!      │ ────────────────────────────▶ │ claims, events, main's life   │ ────────────────▶ │
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

mod directory;
mod mailbox;
mod watcher;

pub(crate) use directory::{Hub, Leftovers, attach, has_directory, launched, orphans, sweep};
pub(crate) use mailbox::Mailbox;
pub(crate) use watcher::Watched;
