//! Large payloads: those longer than a frame of the ring can be.
//!
//! Such a payload lies in memory of its own, an *attachment*. A small frame in the ring names it, so a
//! large message keeps its place in the order, and its sender its back-pressure.
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
//! - [`main_attachments`]: main's end, made of [`pool`] (its buffers), [`lender`] (what it lent) and [`post`]
//!   (its parcels).
//! - [`borrower`]: a renderer's end of both ways.
//! - [`outgoing`]: one payload of ours, whichever end. [`transfer`]: how it gets its memory, with waiting.
//!
//! Invariants: main makes all memory and never waits for a renderer here. A renderer's quota bounds the
//! memory that it can make main keep. A handle is closed once its memory is mapped or handed over.
//! Everything is freed when the session ends.
//!
//! Only [`transfer`] sends frames and waits. The rest knows no ring and no channel.

pub(crate) mod body;
pub(crate) mod borrower;
mod lender;
pub(crate) mod limits;
pub(crate) mod main_attachments;
pub(crate) mod outgoing;
mod pool;
mod post;
pub(super) mod transfer;
