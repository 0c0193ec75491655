//! One live conversation with one peer, the same for both sides.
//!
//! ```text
//!          any thread                                  the driver's thread
//!  send, invoke, reply, loan                     frames from the peer's outbox
//!             │                                              │
//!   requests ◀┤ begin                                settle ├▶ requests
//!             ▼                                              ├▶ owed (cancel)
//!        Mutex<Outbox> ──▶ ring ──▶ peer, bell               └▶ listeners, handlers
//! ```
//!
//! - [`Port`]: everything that both directions share.
//! - [`sender`]: one frame into the outbox. [`batch`]: many messages at once.
//! - [`dispatch`]: what a frame from the peer means, and whether it may say it.
//! - [`requests`]: what we ask. [`replies`]: what we answer, which never waits.
//! - [`invocation`]: waiting for a reply. [`responder`]: giving one. [`loan`]: writing in place.
//! - [`large`]: what is too long for a frame.
//!
//! Locks, in the order in which they may be nested: outbox, then requests, then owed. No thread
//! holds one while it waits for the peer, and none is held while application code runs, except the
//! outbox during a [`loan`].

#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
pub(crate) mod dispatch;
#[cfg(not(loom))]
pub(crate) mod error;
pub(crate) mod incoming_request;
#[cfg(not(loom))]
pub(crate) mod invocation;
#[cfg(not(loom))]
pub(crate) mod large;
#[cfg(not(loom))]
pub(crate) mod loan;
pub(crate) mod outgoing_requests;
#[cfg(not(loom))]
mod port;
#[cfg(not(loom))]
mod replies;
pub(crate) mod request_table;
#[cfg(not(loom))]
mod requests;
#[cfg(not(loom))]
pub(crate) mod responder;
pub(crate) mod router;
#[cfg(not(loom))]
mod sender;
pub(crate) mod timed_requests;
#[cfg(not(loom))]
pub(crate) mod typed_handlers;

#[cfg(not(loom))]
pub(crate) use port::{Patience, Port, PortParts, SessionLimits, Side};
