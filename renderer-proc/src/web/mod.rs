//! The view in a browser (`--view web`): a page with the `window.electron` that a preload script would expose.
//!
//! ```text
//!                 this process                                      a browser
//!   ┌──────────────────────────────────────────────┐       ┌─────────────────────────┐
//!   │ the loop's thread        the server's threads│       │ electron.js             │
//!   │   pushes ──▶ newest ◀──────── a page's task ◀┼── ws ─┼─▶ window.electron       │
//!   │          ──▶ readings ◀──────    (× 16)      │       │ dashboard.js: the page  │
//!   └──────────────────────────────────────────────┘       └─────────────────────────┘
//! ```
//!
//! The loop never waits for a page, and main sees no difference. A page that has drawn a push takes the newest one from
//! where the loop leaves it. Sends and invokes of pages go from the server's threads straight into this renderer's
//! outbox; a send that finds no space fails. Replies wake the page's task.
//!
//! When main goes, this process tells the pages, fails their pending invokes, and waits for main to come back. Then
//! there is another session and another bridge, and pages receive their channels again.
//!
//! This view has no sandbox: it needs sockets, to serve and to find main again. Safe code with limits parses the
//! messages of a hostile page; the page's own script is in the browser's sandbox.

mod conversions;
mod counts;
mod door;
mod pace;
mod page;
mod pages;
mod protocol;
mod server;

use std::{error::Error, net::TcpListener, sync::Arc, time::Duration};

pub(crate) use self::counts::Counts;
use self::{
    door::{Door, Token},
    pages::Pages,
    server::{Served, Server},
};
use crate::{
    context::Context,
    options::WebOptions,
    report::{Event, Line},
    session::Session,
};

/// How long pages may take to close their sockets at the end.
const FAREWELL: Duration = Duration::from_millis(200);

/// Serves pages until the time is over, the end is requested, or main is gone for good.
pub(crate) fn run(context: Context) -> Result<(), Box<dyn Error>> {
    if context.options.common.sandbox.require_sandbox {
        return Err(
            "the web view has no sandbox, since it needs sockets: leave --require-sandbox out"
                .into(),
        );
    }
    let listener = listen(context.options.web)?;
    let address = listener.local_addr()?;
    let token = Token::new()?;
    let url = format!("http://{address}/#{token}");

    let pages = Pages::new(context.console.clone());
    let (links, readings) = pages.subscribe();
    let counts = Arc::new(Counts::default());
    let door = Door { token, port: address.port(), loopback: address.ip().is_loopback() };
    let served = Served { door, links, readings, counts: counts.clone() };
    let server = Server::start(listener, served)?;
    let console = context.console.clone();
    console.print(&Line::new(None, Event::Page { url: &url }));

    let connected = context.connect(context.patience.unwrap_or_default());
    let ended = match connected {
        Ok(Some(ipc)) => {
            let session = Session::new(context, ipc, None, pages);
            let ended = session.run();
            session.viewer.close();
            ended.map(|ended| Some((session, ended)))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error.into()),
    };
    server.end(FAREWELL);
    if let Some((session, ended)) = ended? {
        console.print(&Line::new(None, Event::Pages(&counts)));
        session.print_summary(ended);
    }
    Ok(())
}

fn listen(options: WebOptions) -> Result<TcpListener, Box<dyn Error>> {
    let address = options.address();
    if !address.ip().is_loopback() && !options.listen_anywhere {
        return Err(format!(
            "other machines can reach {address}, and the token and all messages would travel unencrypted: add \
             --listen-anywhere to allow that"
        )
        .into());
    }
    TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}").into())
}
