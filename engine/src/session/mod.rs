//! Who is there: how a session begins ([`endpoint`], [`handshake`]) and how it ends ([`liveness`]).

pub(crate) mod endpoint;
pub(crate) mod handshake;
pub(crate) mod liveness;
