//! The part of inspection that main and an inspector share.
//!
//! ```text
//!   inspector ── hello ──▶ main ── board's memory ──▶ inspector maps it, read-only   attach
//!   main writes a record of its numbers ten times a second; the inspector reads it   board
//! ```
//!
//! An inspector is another process of the same user. [`Inspector`](crate::Inspector) is its public face;
//! main's side is in `event_loop/main/inspectors.rs`.

pub(crate) mod attach;
pub(crate) mod board;
