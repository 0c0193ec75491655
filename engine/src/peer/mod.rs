//! One live conversation with one peer, the same for both sides.
//!
//! ```text
//!        any thread                                        the driver's thread
//!   send, loan   invoke   answer                         frames from the peer's outbox
//!        │          │        │                                       │
//!        ▼          ▼        ▼                                       ▼
//!   Large ─────▶ Sender ◀── Requests ◀──── settle ──────────── Dispatcher ──▶ listeners,
//!   (attached)   outbox     (our requests)                           │        handlers
//!                  │                                   cancel        ▼
//!                  ▼                                  Incoming (the peer's requests)
//!            ring, peer's bell
//! ```
//!
//! A [`Port`] is a [`link`] (the peer, its rights, the end) and four parts:
//! - [`sender`]: one frame into the outbox, and what happens when there is no room.
//! - [`requests`]: our requests, until their callers have the outcome.
//! - [`incoming`]: the peer's requests, until they are answered.
//! - [`large`]: payloads that are too long for a frame.
//!
//! Above them: [`invocation`] waits for a reply, [`responder`] gives one, [`loan`] writes in place,
//! [`dispatch`] acts on a frame of the peer, [`router`] and [`typed_handlers`] hold the application's
//! code for it.
//!
//! Locks nest in this order: outbox, then requests or attachments, then incoming. No thread holds one
//! while it waits for the peer. Application code runs under none, except the outbox's during a
//! [`loan`] and while a batch is encoded.

#[cfg(not(loom))]
pub(crate) mod dispatch;
#[cfg(not(loom))]
pub(crate) mod error;
pub(crate) mod incoming;
#[cfg(not(loom))]
pub(crate) mod invocation;
#[cfg(not(loom))]
pub(crate) mod large;
#[cfg(not(loom))]
pub(crate) mod link;
#[cfg(not(loom))]
pub(crate) mod loan;
#[cfg(not(loom))]
mod port;
pub(crate) mod requests;
#[cfg(not(loom))]
pub(crate) mod responder;
pub(crate) mod router;
#[cfg(not(loom))]
mod sender;
#[cfg(not(loom))]
pub(crate) mod typed_handlers;

#[cfg(not(loom))]
pub(crate) use link::{Link, Patience, SessionLimits, Side};
#[cfg(not(loom))]
pub(crate) use port::Port;
