//! Our requests: the table in which they wait for their replies, behind its one lock.
//!
//! ```text
//!   Requests   table  (locked)   begin, settle, take, abandon, expire, close
//!              hints  (Relaxed)  unread      settled and not taken: a driver looks for its reply
//!                                in_hand     settled without the lock: the next lock frees its slot
//!                                deferred    replies or cancels wait for room in the outbox
//!                                timed       requests with a deadline have begun
//! ```
//!
//! - [`table`]: the slots and their generations.
//! - [`locked`]: the lock, and the hints that are read without it.
//! - [`outcome`]: the outcome of a request, and its caller.

mod locked;
#[cfg(not(loom))]
pub(crate) mod outcome;
mod table;

#[cfg(not(loom))]
pub(crate) use locked::Requests;
