//! Errors of binding, finding, reaching and inspecting an endpoint.

use std::{io, path::PathBuf, time::Duration};

use crate::contract::error::ContractError;

/// An error of `IpcMain::bind`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another live process has this endpoint.
    #[error(
        "the endpoint '{endpoint}' is in use by another main process: stop it or choose another name"
    )]
    NameInUse {
        /// The endpoint's name.
        endpoint: String,
    },
    /// A name that is no file name.
    #[error(
        "'{endpoint}' is no endpoint name: use 1 to {max} letters, digits, '-', '_' and '.', not starting with '.'"
    )]
    BadName {
        /// The name.
        endpoint: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// Other users own the folder of the sockets, or may enter it.
    #[error("the folder {path} is not this user's alone: {why}")]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The contract or the configuration cannot be used.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The operating system refused.
    #[error("cannot open the endpoint '{endpoint}': {source}")]
    Io {
        /// The endpoint's name.
        endpoint: String,
        /// The system's error.
        source: io::Error,
    },
}

/// An error of listing or sweeping this user's endpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointsError {
    /// Other users own the folder of the sockets, or may enter it.
    #[error("the folder {path} is not this user's alone: {why}")]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The operating system refused.
    #[error("cannot look at {path}: {source}")]
    Io {
        /// The folder, or the endpoint in it.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// An error of connecting a renderer to its main process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No process has bound this name.
    #[error("there is no endpoint '{endpoint}': is its main process running, as the same user?")]
    NoSuchEndpoint {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The main process of this name was bound with another [`Backend`](crate::Backend).
    #[error(
        "the main process of '{endpoint}' shares memory in another way: give both the same backend (Config::backend, --backend)"
    )]
    OtherBackend {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The name is left over from a main process that has ended.
    #[error("the endpoint '{endpoint}' is stale: its main process is gone; start it again")]
    Stale {
        /// The endpoint's name.
        endpoint: String,
    },
    /// A name that no endpoint can have.
    #[error("'{endpoint}' is no endpoint name")]
    BadName {
        /// The name.
        endpoint: String,
    },
    /// The process was not launched by a main process.
    #[error(
        "this process was not launched by a main process: launch it with IpcMain::launch, or attach to an endpoint by name"
    )]
    NotLaunched,
    /// The process behind the socket belongs to another user.
    #[error("the endpoint '{endpoint}' belongs to the user {uid}, not to this one: not trusted")]
    ForeignServer {
        /// The endpoint's name.
        endpoint: String,
        /// Its owner.
        uid: u32,
    },
    /// A channel's type is not the same in the two builds.
    #[error(
        "the channel '{channel}' differs between the two builds: here it is {ours}; in main it is {theirs}. Build both from the same contract"
    )]
    TypeMismatch {
        /// The channel.
        channel: String,
        /// Its type in this process.
        ours: String,
        /// Its type in the main process.
        theirs: String,
    },
    /// The two processes speak different versions of the protocol.
    #[error(
        "main speaks protocol version {theirs}, this process {ours}: build both with the same ringbridge"
    )]
    VersionMismatch {
        /// This process's.
        ours: u32,
        /// Main's.
        theirs: u32,
    },
    /// Main's admission hook or a limit refused the renderer.
    #[error("main refused this renderer: {why}")]
    Refused {
        /// Main's reason.
        why: String,
    },
    /// The session did not begin with an endpoint's name, so it cannot reconnect.
    #[error("this session was not begun by the name of an endpoint, so it cannot be found again")]
    NoWayBack,
    /// The main process that came back does not offer a channel on which this renderer listens.
    #[error(
        "main has come back without the channel '{channel}', on which this renderer has a listener or handler, or does not allow it any more"
    )]
    ChannelMissing {
        /// The channel.
        channel: &'static str,
    },
    /// A wait for another main inside a listener or handler would stop this session's loop.
    #[error("cannot reconnect inside a listener or handler")]
    InsideListener,
    /// Main did not answer.
    #[error("main did not finish the handshake within {0:?}")]
    TimedOut(Duration),
    /// Main hung up before the session began.
    #[error("main hung up during the handshake")]
    HungUp,
    /// Main's answer is invalid.
    #[error("main's answer makes no sense: {0}")]
    BadAnswer(String),
    /// The contract cannot be used.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The operating system refused.
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
}
