//! Who is there: how a session begins ([`endpoint`], [`handshake`], [`joining`]) and how it ends
//! ([`liveness`]); and what is handed over meanwhile ([`parcel`]).

pub(crate) mod endpoint;
pub(crate) mod handshake;
pub(crate) mod joining;
pub(crate) mod liveness;
pub(crate) mod parcel;
