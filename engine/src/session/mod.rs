//! Who is there: how a session begins ([`endpoint`], [`handshake`], [`joining`]) and how it ends
//! ([`liveness`]); what is handed over meanwhile ([`parcel`]); who watches ([`inspection`]);
//! and which names there are ([`census`]).
//!
//! How two processes are tied together is decided in [`control`] and [`meeting`]: by sockets, or (`portable`) by names.
//! What is above them does not know which.

pub(crate) mod control_channel;
pub(crate) mod endpoint;
pub(crate) mod endpoint_registry;
pub(crate) mod error;
pub(crate) mod inspection;
pub(crate) mod joining;
pub(crate) mod liveness;
pub(crate) mod meeting;
pub(crate) mod offers;
