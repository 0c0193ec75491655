//! The page: a renderer whose user interface is a web page, with `window.electron` as a preload script would
//! make it.
//!
//! ```text
//!                 this process                                      a browser
//!   ┌──────────────────────────────────────────────┐       ┌─────────────────────────┐
//!   │ the loop's thread        the server's threads│       │ electron.js             │
//!   │   pushes ──▶ newest ◀──────── a page's task ◀┼── ws ─┼─▶ window.electron       │
//!   │          ──▶ meters ◀────────    (× 16)      │       │ dashboard.js: the page  │
//!   └──────────────────────────────────────────────┘       └─────────────────────────┘
//! ```
//!
//! The loop never waits for a page, and main sees no difference: pages take the newest push from where the loop leaves
//! it, when they have drawn the one before. Their sends and invokes go straight into this renderer's outbox,
//! from the server's threads; a send that finds no room fails. Replies wake the page's task.
//!
//! When main goes, pages are told, what they had asked fails, and this process waits for main to
//! come back. Then there is another session, another bridge, and pages hear again what they heard.
//!
//! There is no sandbox around this view: it needs sockets, to serve and to find main again. What a hostile page
//! can say is parsed by safe code with limits; the page's own script is in the browser's sandbox.

mod conversions;
mod counts;
mod door;
mod lines;
mod meters;
mod pace;
mod page;
mod protocol;
mod server;

use std::{
    error::Error,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use ringbridge::{ContextBridge, IpcRenderer, RunError};
use serde_json::Value;
use tokio::sync::watch;

use self::{
    counts::Counts,
    door::{Door, Token},
    lines::PageLine,
    meters::Meters,
    protocol::About,
    server::{Served, Server},
};
use crate::{
    connection::{connect, earlier_of, may_come_yet, wait_for_main},
    console::Console,
    ending::Ending,
    options::{Options, WebOptions},
    report::{Ended, Line, SandboxLine, SandboxState, Summary},
};

/// How long pages may take to hear that this process ends.
const FAREWELL: Duration = Duration::from_millis(200);
/// Between two looks for a main that has not been there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A session with main, as pages see it.
struct Session {
    bridge: ContextBridge<Value>,
    about: About,
}

/// Serves pages until the time is over or somebody asks for the end; or until main is gone, if it is not to
/// be waited for.
///
/// # Errors
///
/// If it cannot listen, or main does not want this renderer.
pub(crate) fn run(
    options: &Options,
    ending: &Arc<Ending>,
    console: &Console,
) -> Result<(), Box<dyn Error>> {
    if options.sandbox.require_sandbox {
        return Err(
            "the web view has no sandbox, since it needs sockets: leave --require-sandbox out"
                .into(),
        );
    }
    let listener = listen(&options.web)?;
    let address = listener.local_addr()?;
    let token = Token::new()?;
    let url = format!("http://{address}/#{token}");

    let (sessions, watched) = watch::channel(None);
    let meters = Meters::new();
    let counts = Arc::new(Counts::default());
    let door = Door { token, port: address.port(), loopback: address.ip().is_loopback() };
    let served =
        Served { door, sessions: watched, readings: meters.readings(), counts: counts.clone() };
    let server = Server::start(listener, served)?;
    console.print(&PageLine::Page { url: &url });

    let until = options.duration.and_then(|duration| Instant::now().checked_add(duration));
    let ended = serve(options, until, ending, console, &meters, &sessions);
    // Pages are told by the end of the sessions.
    drop(sessions);
    server.end(FAREWELL);
    if let Some((id, ended)) = ended? {
        let totals = meters.totals();
        console.print(&PageLine::Pages(&counts));
        console.print(&Line::Summary(Summary::new(
            id,
            ended,
            SandboxState::Off,
            totals.sequence,
            totals.failed_invokes,
            totals.push,
            totals.round_trip,
        )));
    }
    Ok(())
}

fn listen(options: &WebOptions) -> Result<TcpListener, Box<dyn Error>> {
    let address = options.address();
    if !address.ip().is_loopback() && !options.listen_anywhere {
        return Err(format!(
            "{address} is reached by other machines, to which a page's messages and the token would go unencrypted: \
             add --listen-anywhere if you want that"
        )
        .into());
    }
    TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}").into())
}

/// One session with main after the other. Returns the last one's number, and why there is no other; `None` if there
/// was none.
fn serve(
    options: &Options,
    until: Option<Instant>,
    ending: &Arc<Ending>,
    console: &Console,
    meters: &Arc<Meters>,
    sessions: &watch::Sender<Option<Arc<Session>>>,
) -> Result<Option<(u32, Ended)>, Box<dyn Error>> {
    // Who was launched by a main ends with that.
    let by_default = (!IpcRenderer::was_launched()).then_some(Duration::MAX);
    let patience = options.reconnect.or(by_default);
    let Some(mut ipc) = find_main(options, patience.unwrap_or_default(), until, ending, console)?
    else {
        return Ok(None);
    };
    loop {
        let id = ipc.id();
        meters.measure(&ipc)?;
        let (bridge, channels) = conversions::expose(&ipc)?;
        let (pid, endpoint) = (std::process::id(), options.endpoint.clone());
        let allowed = channels.iter().filter(|channel| channel.allowed);
        let allowed = allowed.map(|channel| channel.name).collect();
        console.print(&Line::Connected { id, pid, allowed });
        console.print(&Line::Sandbox(SandboxLine::new(id, None)));
        let about = About { renderer: id, pid, endpoint, channels };
        sessions.send_replace(Some(Arc::new(Session { bridge, about })));
        let stopped = ipc.clone();
        ending.on_request(move || stopped.stop());

        let run = match until {
            Some(until) => ipc.run_for(until.saturating_duration_since(Instant::now())),
            None => ipc.run(),
        };
        sessions.send_replace(None);
        // The meters' listener holds the session. A page may hold its bridge for a moment longer.
        ipc.remove_all_listeners();
        match run {
            Ok(()) if ending.is_requested() => return Ok(Some((id, Ended::Asked))),
            Ok(()) => return Ok(Some((id, Ended::Duration))),
            Err(RunError::MainGone) if ending.is_requested() => {
                return Ok(Some((id, Ended::MainGone)));
            }
            Err(RunError::MainGone) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(patience) = patience else { return Ok(Some((id, Ended::MainGone))) };
        console.print(&Line::MainGone { id });
        match wait_for_main(&ipc, patience, until, ending)? {
            Some(another) => ipc = another,
            None => return Ok(Some((id, Ended::MainGone))),
        }
    }
}

/// The first main. It need not be there yet.
fn find_main(
    options: &Options,
    patience: Duration,
    until: Option<Instant>,
    ending: &Ending,
    console: &Console,
) -> Result<Option<IpcRenderer>, Box<dyn Error>> {
    let deadline = earlier_of(patience, until);
    let mut waits = false;
    loop {
        match connect(options, ending) {
            Err(error) if may_come_yet(&error, deadline) => {}
            connected => return Ok(connected?),
        }
        if !waits {
            console.print(&PageLine::NoMain { endpoint: &options.endpoint });
            waits = true;
        }
        if ending.is_signalled_within(LOOK_AGAIN) || ending.is_requested() {
            return Ok(None);
        }
    }
}
