//! The context of a renderer's sessions: its options, its output, and its way to main.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use contract::CONTRACT;
use ringbridge::{Backend, Config, ConnectError, IpcRenderer, RunError, Sandbox, SandboxError};

use crate::{
    console::Console,
    ending::Ending,
    options::{CommonOptions, Options, View},
    report::{Event, Line},
};

const INVOKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between two attempts to find main. Ctrl-C is noticed between them.
const ATTEMPT: Duration = Duration::from_millis(100);

/// The options, the output and the end of a renderer, for every view.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) ending: Arc<Ending>,
    pub(crate) console: Console,
    /// The time limit for another main process to come when main is gone.
    pub(crate) patience: Option<Duration>,
    until: Option<Instant>,
}

impl Context {
    pub(crate) fn new(options: Options, view: View) -> Result<Self, Box<dyn Error>> {
        let ending = Ending::new();
        ending.listen_to_signals()?;
        let console = Console::new(view == View::Json, ending.clone());
        // A page waits for main, unless its renderer was launched by main and ends with it.
        let forever = view == View::Web && !IpcRenderer::was_launched();
        let patience = options.reconnect.or(forever.then_some(Duration::MAX));
        let until = options.common.duration.and_then(|time| Instant::now().checked_add(time));
        Ok(Self { options, ending, console, patience, until })
    }

    /// Connects to the main process that launched this one, or that has the endpoint's name. Waits for one within
    /// `patience`. Returns `None` if the end was requested, or if the main that launched this process is gone.
    pub(crate) fn connect(&self, patience: Duration) -> Result<Option<IpcRenderer>, ConnectError> {
        let common = &self.options.common;
        let config = Config {
            backend: common.backend.into(),
            wait: common.wait.into(),
            invoke_timeout: INVOKE_TIMEOUT,
            ..Config::default()
        };
        let launched = IpcRenderer::was_launched();
        let mut is_told = false;
        let connected = self.find_main(patience, |left| {
            let connected = if launched {
                IpcRenderer::connect_with(CONTRACT, config.clone())
            } else {
                IpcRenderer::attach_with(&common.endpoint, CONTRACT, config.clone())
            };
            if connected.as_ref().is_err_and(is_absent) && !left.is_zero() {
                if !is_told {
                    let event = Event::NoMain { endpoint: &common.endpoint };
                    self.console.print(&Line::new(None, event));
                    is_told = true;
                }
                self.ending.is_signalled_within(left);
            }
            connected
        });
        match connected {
            // Ctrl-C reaches main too, and main hangs up.
            Err(_) if self.ending.is_requested() => Ok(None),
            // That main reports the reason itself.
            Err(ConnectError::HungUp) if launched => Ok(None),
            connected => connected,
        }
    }

    /// Waits for another main process. Returns `None` if none came in time.
    pub(crate) fn reconnect(
        &self,
        ipc: &IpcRenderer,
        patience: Duration,
    ) -> Result<Option<IpcRenderer>, ConnectError> {
        match self.find_main(patience, |left| ipc.reconnect(left)) {
            Err(ConnectError::NoSuchEndpoint { .. } | ConnectError::Stale { .. }) => Ok(None),
            found => found,
        }
    }

    /// Repeats `attempt` while main is absent, there is time left, and nobody has requested the end.
    fn find_main(
        &self,
        patience: Duration,
        mut attempt: impl FnMut(Duration) -> Result<IpcRenderer, ConnectError>,
    ) -> Result<Option<IpcRenderer>, ConnectError> {
        let patience_ends = Instant::now().checked_add(patience);
        let deadline = [patience_ends, self.until].into_iter().flatten().min();
        while !self.ending.is_requested() {
            let left = deadline.map_or(ATTEMPT, |deadline| {
                deadline.saturating_duration_since(Instant::now()).min(ATTEMPT)
            });
            match attempt(left) {
                Err(error) if is_absent(&error) && !left.is_zero() => {}
                found => return found.map(Some),
            }
        }
        Ok(None)
    }

    /// Runs the loop until main is gone, the time is over, or the end is requested.
    pub(crate) fn drive(&self, ipc: &IpcRenderer) -> Result<(), RunError> {
        match self.until {
            Some(until) => ipc.run_for(until.saturating_duration_since(Instant::now())),
            None => ipc.run(),
        }
    }

    /// Enters the sandbox as the options say. Everything that needs the file system or new sockets comes before.
    pub(crate) fn enter_sandbox(&self, ipc: &IpcRenderer) -> Result<Option<Sandbox>, SandboxError> {
        let CommonOptions { no_sandbox, require_sandbox, .. } = self.options.common;
        match ipc.backend() {
            // Finding another main needs a socket.
            _ if no_sandbox || self.patience.is_some() => Ok(None),
            _ if require_sandbox => ipc.sandbox()?.complete().map(Some),
            Backend::Sealed => ipc.sandbox().map(Some),
            // The processes of the portable backend trust each other.
            _ => Ok(None),
        }
    }
}

/// Returns whether another attempt may succeed because main may still come.
fn is_absent(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::NoSuchEndpoint { .. }
            | ConnectError::Stale { .. }
            | ConnectError::HungUp
            | ConnectError::TimedOut(_)
    )
}
