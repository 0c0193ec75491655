//! Sessions: how one begins ([`endpoint`], [`offers`], [`joining`]) and ends ([`liveness`]), who watches
//! ([`inspection`]), and which names there are ([`endpoint_registry`]).
//!
//! [`transport`] and [`control_channel`] declare how two processes are tied together. `sockets` implements that with
//! sockets and sealed memory, and `portable/` with names. What is above does not know which.

pub(crate) mod control_channel;
pub(crate) mod endpoint;
pub(crate) mod endpoint_registry;
pub(crate) mod error;
pub(crate) mod joining;
pub(crate) mod liveness;
pub(crate) mod offers;
#[cfg(target_os = "linux")]
pub(crate) mod sockets;
pub(crate) mod transport;
