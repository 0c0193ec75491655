//! The error of any operation, for `?` in an application's `main`.
//!
//! Each family of operations has an error of its own, beside the calls that return it.

use std::fmt;

#[cfg(all(feature = "sandbox", target_os = "linux"))]
use crate::sandbox::outcome::SandboxError;
use crate::{
    context_bridge::error::{BridgeError, ExposeError},
    event_loop::error::{LaunchError, RunError},
    inspection::attach::InspectError,
    peer::error::{InvokeError, RegisterError, SendError},
    session::error::{BindError, ConnectError},
};

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The main process could not be reached, or refused.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A main process could not be inspected.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A renderer could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A listener or handler could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A channel could not be exposed to a page.
    #[error(transparent)]
    Expose(#[from] ExposeError),
    /// A page's call failed.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A message could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// An invoke failed. The handler's own error is text here.
    #[error("{0}")]
    Invoke(String),
    /// The loop could not go on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The sandbox could not be entered, or is not complete.
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl<E: fmt::Debug + fmt::Display> From<InvokeError<E>> for Error {
    fn from(error: InvokeError<E>) -> Self {
        Self::Invoke(error.to_string())
    }
}
