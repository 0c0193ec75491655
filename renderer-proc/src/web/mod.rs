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
//! The loop never waits for a page. A page that has drawn a push takes the newest one. Sends and invokes of pages go from
//! the server's threads straight into this renderer's outbox; a send that finds no space fails. Replies wake the page's
//! task. When main goes, this process tells the pages and fails their invokes. When main comes back, there is another
//! session and another bridge.
//!
//! This view has no sandbox: it needs sockets, to serve and to find main again. Safe code with limits parses the
//! messages of a hostile page; the page's own script is in the browser's sandbox.
//!
//! | module | contents |
//! | --- | --- |
//! | `server`, `door`, `counts` | the HTTP server, its access control, its counters |
//! | `page`, `pace`, `protocol` | one page, its limits, its messages |
//! | `pages`, `conversions` | the session's side: bridges, readings, values as JSON |

mod conversions;
mod counts;
mod door;
mod pace;
mod page;
mod pages;
mod protocol;
mod server;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Semaphore;

pub(crate) use self::counts::Counts;
pub use self::door::own_host;
use self::{
    door::{Door, Token},
    pages::Pages,
    server::{PAGES_MAX, Served, Server},
};
use crate::{
    context::Context,
    options::Options,
    report::{Ended, Event, Line},
    session::Session,
};

/// The time limit for pages to close their sockets at the end.
const FAREWELL: Duration = Duration::from_millis(200);

/// Serves pages until the time is over, the end is requested, or main is gone for good.
pub(crate) fn run(context: Context) -> Result<(), Box<dyn Error>> {
    if context.options.common.require_sandbox {
        let why =
            "the web view has no sandbox, since it needs sockets: leave --require-sandbox out";
        return Err(why.into());
    }
    let listener = listen(&context.options)?;
    let address = listener.local_addr()?;
    let token = Token::new()?;
    let url = format!("http://{address}/#{}", token.as_str());

    let pages = Pages::new(context.console.clone());
    let (links, readings) = pages.subscribe();
    let counts = Arc::new(Counts::default());
    let door = Door { token, port: address.port(), loopback: address.ip().is_loopback() };
    let places = Arc::new(Semaphore::new(PAGES_MAX));
    let served = Served { door, links, readings, counts: counts.clone(), places };
    let server = Server::start(listener, served)?;
    context.console.print(&Line::new(None, Event::Page { url: &url }));

    let served = serve(context, pages);
    server.end(FAREWELL);
    if let Some((session, ended)) = served? {
        session.context.console.print(&Line::new(None, Event::Pages(&counts)));
        session.print_summary(ended);
    }
    Ok(())
}

fn listen(options: &Options) -> Result<TcpListener, Box<dyn Error>> {
    let address = options.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
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

type EndedSession = (Arc<Session<Pages>>, Ended);

/// Runs the session, and tells the pages its end. Returns `None` if there was none.
fn serve(context: Context, pages: Pages) -> Result<Option<EndedSession>, Box<dyn Error>> {
    let patience = context.patience.unwrap_or_default();
    let Some(ipc) = context.connect(patience)? else { return Ok(None) };
    let session = Session::new(context, ipc, None, pages);
    let ended = session.run();
    session.viewer.close();
    Ok(Some((session, ended?)))
}
