//! Large payloads: those longer than a frame of the ring can be.
//!
//! Such a payload lies in memory of its own, an *attachment*. A small frame in the ring names it, so
//! the order of messages and the back-pressure stay.
//!
//! ```text
//!   main to a renderer                          a renderer to main
//!   ------------------                          ------------------
//!   takes a buffer that was read, or            Ask ──── ring ────▶ makes one, within the quota
//!     makes one: Pooled ─ control ─▶ maps it        ◀── control ── Lent (or Refused)
//!   writes the payload                          writes the payload, seals it
//!   Attached ─── ring ──▶ reads it in place     Attached ─ ring ──▶ checks size and seal, maps it,
//!   `consumed` passes the frame:                                      reads it in place, unmaps it
//!     the buffer is free again                  `consumed` passes the frame: room in the quota
//! ```
//!
//! - [`limits`]: the limits and the errors. [`body`]: a payload of the peer.
//! - [`main_attachments`]: main's end, with [`pool`] (its buffers), [`lender`] (the memory that it lent)
//!   and [`post`] (its parcels). [`borrower`]: a renderer's end.
//! - [`outgoing`]: one payload of ours. [`transfer`]: how it gets its memory. Only this file sends
//!   frames and waits; the rest knows no ring.
//!
//! Main makes all memory. A renderer's quota bounds the memory that it can make main keep. A handle is
//! closed once its memory is mapped or handed over. Everything is freed when the session ends.

pub(crate) mod body;
pub(crate) mod borrower;
mod lender;
pub(crate) mod limits;
pub(crate) mod main_attachments;
pub(crate) mod outgoing;
mod pool;
mod post;
pub(super) mod transfer;
