//! Who is there: how a session begins ([`endpoint`], [`handshake`], [`joining`]) and how it ends
//! ([`liveness`]); what is handed over meanwhile ([`parcel`]); who watches ([`inspection`]);
//! and which names there are ([`census`]).
//!
//! How two processes are tied together is decided in [`tether`] and [`meeting`]: by sockets, or (`portable`) by names.
//! What is above them does not know which.

pub(crate) mod census;
pub(crate) mod endpoint;
pub(crate) mod handshake;
pub(crate) mod inspection;
pub(crate) mod joining;
pub(crate) mod liveness;
pub(crate) mod meeting;
pub(crate) mod parcel;
#[cfg(feature = "portable")]
pub(crate) mod portable;
pub(crate) mod tether;
