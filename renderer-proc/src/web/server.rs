//! The HTTP server: the page's files, and a socket for each page.
//!
//! It has threads of its own. It shares [`Links`] and [`Readings`] with the loop, and neither side waits for the other.

use std::{
    io, net,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

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
    sync::Semaphore,
    time::timeout,
};

use super::{
    counts::Counts,
    door::{Door, PROTOCOL, Refusal},
    page,
    pages::{Links, Readings},
    protocol::MESSAGE_LEN_MAX,
};

pub(super) const PAGES_MAX: usize = 16;
const THREADS_MAX: usize = 2;

const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/page.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("/electron.js", "text/javascript; charset=utf-8", include_str!("assets/electron.js")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")),
];

/// The headers of every response. A page of this server uses no other server, and is in no other page's frame.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The state that requests are served from.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) door: Door,
    pub(super) links: Links,
    pub(super) readings: Readings,
    pub(super) counts: Arc<Counts>,
    /// One permit for each page.
    pub(super) places: Arc<Semaphore>,
}

pub(super) struct Server {
    runtime: Runtime,
    places: Arc<Semaphore>,
}

impl Server {
    pub(super) fn start(listener: net::TcpListener, served: Served) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let cores = thread::available_parallelism().map_or(1, Into::into);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.min(THREADS_MAX))
            .thread_name("pages")
            .enable_io()
            .enable_time()
            .build()?;
        let places = served.places.clone();
        // It runs until the runtime ends.
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener)?, router(served)).await
        });
        Ok(Self { runtime, places })
    }

    /// Ends when all pages have left, or when the time is over. The end of [`Links`] makes pages leave.
    pub(super) fn end(self, patience: Duration) {
        let Self { runtime, places } = self;
        // Pages that are late are cut off.
        let all_left = places.acquire_many(PAGES_MAX as u32);
        let _ = runtime.block_on(async { timeout(patience, all_left).await });
        runtime.shutdown_background();
    }
}

fn router(served: Served) -> Router {
    let mut router = Router::new().route("/socket", get(socket));
    for (path, kind, text) in FILES {
        let answer = ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text);
        router = router.route(path, get(move || async move { answer }));
    }
    router.layer(middleware::from_fn_with_state(served.clone(), guard)).with_state(served)
}

/// Checks every request, and completes every response.
async fn guard(State(served): State<Served>, request: Request, next: Next) -> Response {
    let Served { door, counts, .. } = &served;
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

/// Returns the content security policy. It names the WebSocket's server, which some browsers do not count as 'self'.
/// `host` has been checked.
fn content_policy(host: &str) -> Option<HeaderValue> {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).ok()
}

async fn socket(
    State(served): State<Served>,
    upgrade: WebSocketUpgrade,
    request: Request,
) -> Response {
    let Served { door, links, readings, counts, places } = served;
    if let Err(refusal) = door.check_page(request.headers()) {
        return refuse(&counts, refusal);
    }
    let Ok(place) = places.try_acquire_owned() else {
        counts.refused_full.fetch_add(1, Relaxed);
        let why = format!("{PAGES_MAX} pages are open, which is the limit\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_LEN_MAX)
        .max_frame_size(MESSAGE_LEN_MAX)
        .on_upgrade(async move |socket| {
            counts.pages.fetch_add(1, Relaxed);
            page::serve(socket, links, readings, &counts).await;
            drop(place);
        })
}

fn refuse(counts: &Counts, refusal: Refusal) -> Response {
    counts.refused(refusal);
    (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response()
}
