//! The HTTP server: the page's files, and a socket for each page.
//!
//! It runs in threads of its own. What it shares with the renderer's loop is in [`Session`] and
//! the meters, and neither side waits for the other.

use std::{io, net, sync::Arc, thread, time::Duration};

use axum::{
    Router,
    extract::{Request, State, WebSocketUpgrade},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{
    counts::Counts,
    door::{Door, PROTOCOL, Refusal},
    meters::Reading,
    page::{self, Sessions},
    protocol::MESSAGE_LEN_MAX,
};

/// How many pages there may be at once.
const PAGES_MAX: usize = 16;
/// How many threads serve them.
const THREADS_MAX: usize = 2;

/// The page's files, which are part of this program.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("/electron.js", "text/javascript; charset=utf-8", include_str!("assets/electron.js")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")),
];

/// With every answer: a page of this server loads and connects to nothing else, and is in no other page's frame.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What every request is served with.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) door: Door,
    pub(super) sessions: Sessions,
    pub(super) readings: watch::Receiver<Reading>,
    pub(super) counts: Arc<Counts>,
}

#[derive(Clone)]
struct Shared {
    served: Served,
    /// One permit a page.
    places: Arc<Semaphore>,
}

/// Serves pages until its end.
pub(super) struct Server {
    runtime: Runtime,
    places: Arc<Semaphore>,
}

impl Server {
    /// Starts the server's threads.
    pub(super) fn start(listener: net::TcpListener, served: Served) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let cores = thread::available_parallelism().map_or(1, Into::into);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(THREADS_MAX))
            .thread_name("pages")
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let places = Arc::new(Semaphore::new(PAGES_MAX));
        let router = router(Shared { served, places: places.clone() });
        // It goes on till the runtime ends.
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { runtime, places })
    }

    /// Ends when all pages have said goodbye, of which they have been told by the end of the sessions; or when their
    /// time is over.
    pub(super) fn end(self, patience: Duration) {
        let Self { runtime, places } = self;
        // What does not go in time is cut off.
        let _ = runtime
            .block_on(async { timeout(patience, places.acquire_many(PAGES_MAX as u32)).await });
        runtime.shutdown_background();
    }
}

fn router(shared: Shared) -> Router {
    let mut router = Router::new().route("/socket", get(socket));
    for (path, kind, text) in FILES {
        let answer = ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text);
        router = router.route(path, get(move || async move { answer }));
    }
    router.layer(middleware::from_fn_with_state(shared.clone(), guard)).with_state(shared)
}

/// Around every request, whatever it is for.
async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Served { door, counts, .. } = &shared.served;
    let (policy, mut response) = match door.check_host(request.headers()) {
        Ok(host) => (content_policy(host), next.run(request).await),
        Err(refusal) => (content_policy("none.invalid"), refuse(counts, refusal)),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.extend(policy.map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    response
}

/// Some browsers do not take a WebSocket of the page's own server for 'self', so it is named; `host` has been checked.
fn content_policy(host: &str) -> Option<HeaderValue> {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).ok()
}

/// A page's socket.
async fn socket(
    State(shared): State<Shared>,
    upgrade: WebSocketUpgrade,
    request: Request,
) -> Response {
    let Served { door, sessions, readings, counts } = shared.served;
    if let Err(refusal) = door.check_page(request.headers()) {
        return refuse(&counts, refusal);
    }
    let Ok(place) = shared.places.try_acquire_owned() else {
        counts.refused_full();
        return (StatusCode::SERVICE_UNAVAILABLE, "there are as many pages as may be\n")
            .into_response();
    };
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_LEN_MAX)
        .max_frame_size(MESSAGE_LEN_MAX)
        .on_upgrade(async move |socket| {
            counts.page();
            page::serve(socket, sessions, readings, &counts).await;
            drop(place);
        })
}

fn refuse(counts: &Counts, refusal: Refusal) -> Response {
    counts.refused(refusal);
    (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response()
}
