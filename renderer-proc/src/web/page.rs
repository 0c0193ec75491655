//! One page: the channels that it receives, its pending invokes, and its limits. All of it ends with its socket.
//!
//! ```text
//!   page ── send, invoke, on, off, frame ──▶ ┌──────┐ ──▶ bridge ──▶ main
//!   page ◀── session, reply, error ───────── │ task │ ◀── replies, as they come
//!   page ◀── frame: the newest, and counts ─ └──────┘ ◀── pushes, when the page wants a frame
//! ```
//!
//! A page gets a frame when it has drawn the last one, at most 60 a second. Until then pushes are only counted. So a
//! slow, hidden or stopped page delays nothing, and nothing queues up for it.

use std::{
    collections::BTreeMap,
    fmt::Display,
    future::{pending, poll_fn},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket},
};
use ringbridge::{Conflated, Latest};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    counts::Counts,
    pace::{Frames, Rate},
    pages::{Link, Links, Readings},
    protocol::{Incoming, Outgoing, PagePush},
};

const PENDING_MAX: usize = 8;
/// The maximum number of pushes that a page receives.
const HEARD_MAX: usize = 64;
/// The time limit for a page to read a message.
const STALLED_AFTER: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The end of an error's text while there is no session.
const NO_MAIN: &str = "the main process is gone";

/// The reason for the end of a page's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    Left,
    TooLong,
    /// The page sends more than [`Rate`] allows.
    TooFast,
    Malformed,
    /// The page reads nothing any more.
    Stalled,
    Ended,
}

impl CloseReason {
    /// Returns the WebSocket's status code and its text.
    fn close_frame(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Left | Self::Stalled => None,
            Self::TooLong => Some((1009, "a message was too long")),
            Self::TooFast => Some((4002, "too many messages")),
            Self::Malformed => Some((4003, "a message was not understood")),
            Self::Ended => Some((1001, "the renderer has ended")),
        }
    }
}

pub(super) async fn serve(
    mut socket: WebSocket,
    links: Links,
    readings: Readings,
    counts: &Counts,
) {
    let now = Instant::now();
    let mut page = Page {
        links,
        readings,
        counts,
        heard: BTreeMap::new(),
        replies: JoinSet::new(),
        rate: Rate::new(now),
        frames: Frames::new(now),
    };
    let reason = page.run(&mut socket).await;
    counts.closed(reason);
    if let Some((code, reason)) = reason.close_frame() {
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // The page may have left already.
        let _ = timeout(CLOSE_TIMEOUT, socket.send(close)).await;
    }
}

struct Page<'a> {
    links: Links,
    readings: Readings,
    counts: &'a Counts,
    /// The pushes that the page receives. `None` while there is no session, or while this session does not allow the
    /// channel.
    heard: BTreeMap<String, Option<Latest<Value>>>,
    /// The pending invokes. The drop cancels them.
    replies: JoinSet<(u32, Result<Value, String>)>,
    rate: Rate,
    frames: Frames,
}

impl Page<'_> {
    async fn run(&mut self, socket: &mut WebSocket) -> CloseReason {
        let mut handled = self.change_link(socket).await;
        loop {
            if let Err(reason) = handled {
                return reason;
            }
            let Self { links, readings, heard, replies, frames, .. } = self;
            // An occasion that is not chosen is not lost.
            handled = tokio::select! {
                message = socket.recv() => self.receive(socket, message).await,
                changed = links.changed() => match changed {
                    Ok(()) => self.change_link(socket).await,
                    Err(_) => Err(CloseReason::Ended),
                },
                Some(joined) = replies.join_next() => match joined {
                    Ok((id, result)) => send(socket, &reply(id, result)).await,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                () = frame_due(frames.due(), heard, readings) => self.send_frame(socket).await,
            };
        }
    }

    async fn receive(
        &mut self,
        socket: &mut WebSocket,
        message: Option<Result<Message, Error>>,
    ) -> Result<(), CloseReason> {
        match message {
            Some(Ok(Message::Text(text))) => self.handle(socket, text.as_bytes()).await,
            Some(Ok(Message::Binary(_))) => Err(CloseReason::Malformed),
            // The library answers them. They count as messages of the page.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.limit_rate(),
            Some(Ok(Message::Close(_))) | None => Err(CloseReason::Left),
            Some(Err(error)) => Err(why_unreadable(error)),
        }
    }

    async fn handle(&mut self, socket: &mut WebSocket, text: &[u8]) -> Result<(), CloseReason> {
        self.limit_rate()?;
        self.counts.messages.fetch_add(1, Relaxed);
        let link = self.links.borrow().clone();
        let error = |channel, message| Outgoing::Error { channel, message };
        let failure = match serde_json::from_slice(text).map_err(|_| CloseReason::Malformed)? {
            Incoming::Frame => {
                self.frames.want();
                Ok(())
            }
            Incoming::Off { channel } => {
                self.heard.remove(&channel);
                Ok(())
            }
            Incoming::On { channel } => {
                self.hear(link.as_deref(), &channel).map_err(|why| error(channel, why))
            }
            Incoming::Send { channel, value } => match link {
                Some(link) => link.bridge.send(&channel, value).map_err(to_text),
                None => Err(format!("cannot send on '{channel}': {NO_MAIN}")),
            }
            .map_err(|why| error(channel, why)),
            Incoming::Invoke { id, channel, value } => {
                self.invoke(link, id, &channel, value).map_err(|why| reply(id, Err(why)))
            }
        };
        match failure {
            Err(failure) => send(socket, &failure).await,
            Ok(()) => Ok(()),
        }
    }

    fn limit_rate(&mut self) -> Result<(), CloseReason> {
        if self.rate.allows(Instant::now()) { Ok(()) } else { Err(CloseReason::TooFast) }
    }

    fn hear(&mut self, link: Option<&Link>, channel: &str) -> Result<(), String> {
        if self.heard.contains_key(channel) {
            return Ok(());
        }
        if self.heard.len() == HEARD_MAX {
            return Err(format!("a page may listen to {HEARD_MAX} channels"));
        }
        let latest = self.heard.entry(channel.to_owned()).or_default();
        listen(link, channel, latest)
    }

    /// Starts an invoke. The error is the text of its reply.
    fn invoke(
        &mut self,
        link: Option<Arc<Link>>,
        id: u32,
        channel: &str,
        value: Value,
    ) -> Result<(), String> {
        let failed = |why: &str| format!("Error invoking remote method '{channel}': Error: {why}");
        let link = link.ok_or_else(|| failed(NO_MAIN))?;
        if self.replies.len() == PENDING_MAX {
            return Err(failed("too many invokes of this page are pending"));
        }
        let reply = link.bridge.invoke(channel, value).map_err(to_text)?;
        self.replies.spawn(async move { (id, reply.await.map_err(to_text)) });
        Ok(())
    }

    /// Tells the page about the new session or its absence, and subscribes to its channels again.
    async fn change_link(&mut self, socket: &mut WebSocket) -> Result<(), CloseReason> {
        let link = self.links.borrow_and_update().clone();
        let session = link.as_deref().map(|link| &link.about);
        send(socket, &Outgoing::Session { session }).await?;
        for (channel, latest) in &mut self.heard {
            if let Err(message) = listen(link.as_deref(), channel, latest) {
                send(socket, &Outgoing::Error { channel: channel.clone(), message }).await?;
            }
        }
        Ok(())
    }

    /// Sends one frame: the newest push of each channel, and the reading if it is new.
    async fn send_frame(&mut self, socket: &mut WebSocket) -> Result<(), CloseReason> {
        self.frames.sent(Instant::now());
        let mut pushes = Vec::with_capacity(self.heard.len());
        for (channel, latest) in &mut self.heard {
            if let Some(Conflated { value, count, .. }) = latest.as_mut().and_then(Latest::take) {
                self.counts.pushes.fetch_add(count, Relaxed);
                pushes.push(PagePush { channel: channel.clone(), value, count });
            }
        }
        self.counts.frames.fetch_add(1, Relaxed);
        let is_new = self.readings.has_changed().unwrap_or(false);
        let meters = is_new.then(|| *self.readings.borrow_and_update());
        send(socket, &Outgoing::Frame { pushes, meters }).await
    }
}

/// Subscribes to a channel in this session. The error is for the page.
fn listen(
    link: Option<&Link>,
    channel: &str,
    latest: &mut Option<Latest<Value>>,
) -> Result<(), String> {
    *latest = None;
    if let Some(link) = link {
        *latest = Some(link.bridge.on(channel).map_err(to_text)?);
    }
    Ok(())
}

/// Waits until a frame is wanted and due, and has contents.
async fn frame_due(
    due: Option<Instant>,
    heard: &mut BTreeMap<String, Option<Latest<Value>>>,
    readings: &mut Readings,
) {
    let Some(due) = due else { return pending().await };
    sleep_until(due.into()).await;
    let pushed = poll_fn(|context| {
        let mut latest = heard.values_mut().flatten();
        // Stops at the first that is ready. Otherwise each has been polled, and will wake this task.
        let ready = latest.any(|latest| latest.poll_changed(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        () = pushed => {}
        // The frame is yet to be sent.
        Ok(()) = readings.changed() => readings.mark_changed(),
    }
}

fn why_unreadable(error: Error) -> CloseReason {
    match error.into_inner().downcast_ref() {
        Some(tungstenite::Error::Capacity(_)) => CloseReason::TooLong,
        Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => {
            CloseReason::Malformed
        }
        _ => CloseReason::Left,
    }
}

fn reply(id: u32, result: Result<Value, String>) -> Outgoing<'static> {
    match result {
        Ok(value) => Outgoing::Reply { id, value: Some(value), error: None },
        Err(error) => Outgoing::Reply { id, value: None, error: Some(error) },
    }
}

fn to_text(error: impl Display) -> String {
    error.to_string()
}

async fn send(socket: &mut WebSocket, message: &impl Serialize) -> Result<(), CloseReason> {
    let text = serde_json::to_string(message).expect("every message is JSON");
    match timeout(STALLED_AFTER, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CloseReason::Left),
        Err(_) => Err(CloseReason::Stalled),
    }
}
