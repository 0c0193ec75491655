//! Sessions: how two processes find each other, and how a session begins and ends.
//!
//! ```text
//!   endpoint ── name ──▶ transport ──▶ control channel ──▶ joining ──▶ offers ──▶ a session ──▶ liveness
//!   (bind)               (connect)     (packets)           (memory)    (contracts)              (its end)
//! ```
//!
//! - [`endpoint`], [`endpoint_registry`]: a name that main binds; all names of this user.
//! - [`transport`], [`control_channel`]: how two processes are tied together, as traits. `sockets` implements them with
//!   sockets and sealed memory, and `portable/` with named memory and events.
//! - [`joining`], [`offers`]: a renderer's part of the handshake; the comparison of the contracts.
//! - [`liveness`]: the reason of an end. [`error`]: the errors of all this.

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
