//! A renderer's way to main, and back to it: what every view begins with.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use contract::CONTRACT;
use ringbridge::{Backend, Config, ConnectError, IpcRenderer, Sandbox, SandboxError};

use crate::{
    ending::Ending,
    options::{Options, SandboxOptions},
};

/// How long main may take for an answer.
const INVOKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long Ctrl-C may go unnoticed while this process waits for main to come back.
const RECONNECT_STEP: Duration = Duration::from_millis(100);

/// Connects to the main that launched this process, or that has the endpoint's name. `None` if there is nothing
/// to be done any more: somebody wants the end, or the main that launched this process has ended meanwhile.
pub(crate) fn connect(
    options: &Options,
    ending: &Ending,
) -> Result<Option<IpcRenderer>, ConnectError> {
    let config = Config {
        backend: options.backend.into(),
        wait: options.wait.into(),
        invoke_timeout: INVOKE_TIMEOUT,
        ..Config::default()
    };
    let connected = if IpcRenderer::was_launched() {
        IpcRenderer::connect_with(CONTRACT, config)
    } else {
        IpcRenderer::attach_with(&options.endpoint, CONTRACT, config)
    };
    match connected {
        Ok(ipc) => Ok(Some(ipc)),
        // Ctrl-C reaches main too, which hangs up.
        Err(_) if ending.is_requested() => Ok(None),
        // That main knows why.
        Err(ConnectError::HungUp) if IpcRenderer::was_launched() => Ok(None),
        Err(error) => Err(error),
    }
}

/// As the options want it. What needs the file system or new sockets comes before.
pub(crate) fn enter_sandbox(
    ipc: &IpcRenderer,
    options: &Options,
) -> Result<Option<Sandbox>, SandboxError> {
    match options.sandbox {
        // Who is to find another main needs a socket.
        _ if options.reconnect.is_some() => Ok(None),
        SandboxOptions { no_sandbox: true, .. } => Ok(None),
        SandboxOptions { require_sandbox: true, .. } => ipc.sandbox()?.complete().map(Some),
        // There is none among processes that trust each other.
        _ if ipc.backend() != Backend::Sealed => Ok(None),
        SandboxOptions { .. } => ipc.sandbox().map(Some),
    }
}

/// When the wait for a main process ends: with this patience, or at that moment.
pub(crate) fn earlier_of(patience: Duration, until: Option<Instant>) -> Option<Instant> {
    let patience_ends = Instant::now().checked_add(patience);
    [patience_ends, until].into_iter().flatten().min()
}

/// Whether who was not found may be there with another look, and there is time for one.
pub(crate) fn may_come_yet(error: &ConnectError, deadline: Option<Instant>) -> bool {
    let is_absent = matches!(
        error,
        ConnectError::NoSuchEndpoint { .. }
            | ConnectError::Stale { .. }
            | ConnectError::HungUp
            | ConnectError::TimedOut(_)
    );
    is_absent && deadline.is_none_or(|deadline| deadline > Instant::now())
}

/// Waits for main to come back: in steps, so that a wish for the end is noticed. `None`: in vain.
pub(crate) fn wait_for_main(
    ipc: &IpcRenderer,
    patience: Duration,
    until: Option<Instant>,
    ending: &Ending,
) -> Result<Option<IpcRenderer>, Box<dyn Error>> {
    let deadline = earlier_of(patience, until);
    while !ending.is_requested() {
        let left = deadline.map_or(RECONNECT_STEP, |deadline| {
            deadline.saturating_duration_since(Instant::now()).min(RECONNECT_STEP)
        });
        match ipc.reconnect(left) {
            Ok(ipc) => return Ok(Some(ipc)),
            Err(error) if may_come_yet(&error, deadline) => {}
            Err(ConnectError::NoSuchEndpoint { .. } | ConnectError::Stale { .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
