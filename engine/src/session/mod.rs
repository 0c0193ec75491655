//! Who is there: how a session begins ([`endpoint`], [`handshake`], [`joining`]) and how it ends
//! ([`liveness`]); what is handed over meanwhile ([`parcel`]); who watches ([`inspection`]);
//! and which names there are ([`census`]).

pub(crate) mod census;
pub(crate) mod endpoint;
pub(crate) mod handshake;
pub(crate) mod inspection;
pub(crate) mod joining;
pub(crate) mod liveness;
pub(crate) mod parcel;
