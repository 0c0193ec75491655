//! Who is there: how a session begins ([`endpoint`], [`handshake`],
//! [`joining`]) and how it ends ([`liveness`]).

pub(crate) mod endpoint;
pub(crate) mod handshake;
pub(crate) mod joining;
pub(crate) mod liveness;
