//! One page's session: what it listens to, what it has asked, and its limits. It ends with its socket, and all of
//! that with it.
//!
//! ```text
//!   page ── send, invoke, on, off, frame ──▶ ┌──────┐ ──▶ bridge ──▶ main
//!   page ◀── session, reply, error ───────── │ task │ ◀── replies, as they come
//!   page ◀── frame: the newest, and counts ─ └──────┘ ◀── pushes, when the page wants a frame
//! ```
//!
//! A page gets a frame when it has drawn the one before, 60 a second at the most. Until then pushes are
//! only counted. So a page that is slow, hidden or stopped holds nothing up, and nothing up for it.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket},
};
use ringbridge::Latest;
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    Session,
    counts::Counts,
    meters::Reading,
    pace::{Frames, Rate},
    protocol::{PushTold, Said, Told},
};

/// How many of a page's invokes may be unanswered.
const PENDING_MAX: usize = 8;
/// How many pushes it may listen to.
const HEARD_MAX: usize = 64;
/// How long it may take nothing of what it is told.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How long the farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a page's session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The page has left.
    Left,
    /// A message was longer than it may be.
    TooLong,
    /// It says more than [`Rate`] lets it.
    TooFast,
    /// What it said is not of the protocol.
    Malformed,
    /// It takes nothing any more.
    Stalled,
    /// This renderer ends.
    Ended,
}

impl CloseReason {
    /// The WebSocket's status code, and the words for it.
    fn told(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Left | Self::Stalled => None,
            Self::TooLong => Some((1009, "a message was too long")),
            Self::TooFast => Some((4002, "too many messages")),
            Self::Malformed => Some((4003, "a message was not understood")),
            Self::Ended => Some((1001, "the renderer has ended")),
        }
    }
}

/// Whether there is a session with main.
pub(super) type Sessions = watch::Receiver<Option<Arc<Session>>>;

/// Serves a page until its session ends.
pub(super) async fn serve(
    mut socket: WebSocket,
    sessions: Sessions,
    readings: watch::Receiver<Reading>,
    counts: &Counts,
) {
    let now = Instant::now();
    let mut page = Page {
        sessions,
        readings,
        heard: Vec::new(),
        replies: JoinSet::new(),
        rate: Rate::new(now),
        frames: Frames::new(now),
    };
    let reason = page.run(&mut socket, counts).await;
    counts.closed(reason);
    if let Some((code, reason)) = reason.told() {
        let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        // It may have gone already.
        let _ = timeout(CLOSE_TIMEOUT, socket.send(farewell)).await;
    }
}

struct Page {
    sessions: Sessions,
    readings: watch::Receiver<Reading>,
    heard: Vec<Heard>,
    /// Its invokes. Dropped, they are given up.
    replies: JoinSet<(u32, Result<Value, String>)>,
    rate: Rate,
    frames: Frames,
}

/// A push that the page wants.
struct Heard {
    channel: String,
    /// `None` while there is no session, or it is not allowed in this one.
    latest: Option<Latest<Value>>,
}

/// What a page's task waits for.
enum Next {
    Said(Option<Result<Message, Error>>),
    SessionChanged,
    /// This renderer ends.
    NoMoreSessions,
    Reply(u32, Result<Value, String>),
    Frame,
}

impl Page {
    async fn run(&mut self, socket: &mut WebSocket, counts: &Counts) -> CloseReason {
        let mut going_on = self.change_session(socket).await;
        loop {
            if let Err(reason) = going_on {
                return reason;
            }
            going_on = match self.next(socket).await {
                Next::Said(Some(Ok(Message::Text(text)))) => {
                    self.hear(socket, text.as_bytes(), counts).await
                }
                Next::Said(Some(Ok(Message::Binary(_)))) => Err(CloseReason::Malformed),
                // Answered by the library. They count as what a page says.
                Next::Said(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => self.count_message(),
                Next::Said(Some(Ok(Message::Close(_))) | None) => Err(CloseReason::Left),
                Next::Said(Some(Err(error))) => Err(why_unreadable(error)),
                Next::SessionChanged => self.change_session(socket).await,
                Next::NoMoreSessions => Err(CloseReason::Ended),
                Next::Reply(id, result) => tell(socket, &reply(id, result)).await,
                Next::Frame => self.draw(socket, counts).await,
            };
        }
    }

    /// Waits for whatever comes first. What is not chosen is not lost.
    async fn next(&mut self, socket: &mut WebSocket) -> Next {
        let Self { sessions, readings, heard, replies, frames, .. } = self;
        tokio::select! {
            said = socket.recv() => Next::Said(said),
            changed = sessions.changed() => match changed {
                Ok(()) => Next::SessionChanged,
                Err(_) => Next::NoMoreSessions,
            },
            Some(joined) = replies.join_next() => match joined {
                Ok((id, result)) => Next::Reply(id, result),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
            () = frame_due(frames.due(), heard, readings) => Next::Frame,
        }
    }

    /// One message of the page.
    async fn hear(
        &mut self,
        socket: &mut WebSocket,
        text: &[u8],
        counts: &Counts,
    ) -> Result<(), CloseReason> {
        self.count_message()?;
        counts.message();
        let session = self.sessions.borrow().clone();
        match serde_json::from_slice(text).map_err(|_| CloseReason::Malformed)? {
            Said::Frame => self.frames.want(),
            Said::Send { channel, value } => {
                let sent = match session {
                    Some(session) => {
                        session.bridge.send(&channel, value).map_err(|error| error.to_string())
                    }
                    None => Err(format!("cannot send on '{channel}': {NO_MAIN}")),
                };
                if let Err(message) = sent {
                    return tell(socket, &Told::Error { channel, message }).await;
                }
            }
            Said::Invoke { id, channel, value } => {
                if let Err(message) = self.invoke(session, id, &channel, value) {
                    return tell(socket, &reply(id, Err(message))).await;
                }
            }
            Said::On { channel } => {
                if self.heard.iter().any(|heard| heard.channel == channel) {
                    return Ok(());
                }
                if self.heard.len() == HEARD_MAX {
                    let message = format!("a page may listen to {HEARD_MAX} channels");
                    return tell(socket, &Told::Error { channel, message }).await;
                }
                let mut heard = Heard { channel: channel.clone(), latest: None };
                let listened = heard.listen(session.as_deref());
                self.heard.push(heard);
                if let Err(message) = listened {
                    return tell(socket, &Told::Error { channel, message }).await;
                }
            }
            Said::Off { channel } => self.heard.retain(|heard| heard.channel != channel),
        }
        Ok(())
    }

    fn count_message(&mut self) -> Result<(), CloseReason> {
        if self.rate.allows(Instant::now()) { Ok(()) } else { Err(CloseReason::TooFast) }
    }

    /// The error's text is the reply.
    fn invoke(
        &mut self,
        session: Option<Arc<Session>>,
        id: u32,
        channel: &str,
        value: Value,
    ) -> Result<(), String> {
        let failed = |why: &str| format!("Error invoking remote method '{channel}': Error: {why}");
        let session = session.ok_or_else(|| failed(NO_MAIN))?;
        if self.replies.len() == PENDING_MAX {
            return Err(failed("too many invokes of this page are pending"));
        }
        let reply = session.bridge.invoke(channel, value).map_err(|error| error.to_string())?;
        self.replies.spawn(async move {
            let result = reply.await;
            (id, result.map_err(|error| error.to_string()))
        });
        Ok(())
    }

    /// There is a session, another one, or none: the page is told, and hears what it heard before.
    async fn change_session(&mut self, socket: &mut WebSocket) -> Result<(), CloseReason> {
        let session = self.sessions.borrow_and_update().clone();
        let about = session.as_deref().map(|session| &session.about);
        tell(socket, &Told::Session { session: about }).await?;
        for heard in &mut self.heard {
            if let Err(message) = heard.listen(session.as_deref()) {
                tell(socket, &Told::Error { channel: heard.channel.clone(), message }).await?;
            }
        }
        Ok(())
    }

    /// One frame: the newest of each push, and the meters if they have moved.
    async fn draw(&mut self, socket: &mut WebSocket, counts: &Counts) -> Result<(), CloseReason> {
        self.frames.sent(Instant::now());
        let mut passed = 0;
        let mut pushes = Vec::with_capacity(self.heard.len());
        for Heard { channel, latest } in &mut self.heard {
            if let Some(newest) = latest.as_mut().and_then(Latest::take) {
                passed += newest.count;
                let (value, count) = (newest.value, newest.count);
                pushes.push(PushTold { channel: channel.clone(), value, count });
            }
        }
        counts.frame(passed);
        let moved = self.readings.has_changed().unwrap_or(false);
        let meters = moved.then(|| *self.readings.borrow_and_update());
        tell(socket, &Told::Frame { pushes, meters }).await
    }
}

/// In the words of an error.
const NO_MAIN: &str = "the main process is gone";

impl Heard {
    /// The error is what the page is told.
    fn listen(&mut self, session: Option<&Session>) -> Result<(), String> {
        self.latest = None;
        let Some(session) = session else { return Ok(()) };
        self.latest = Some(session.bridge.on(&self.channel).map_err(|error| error.to_string())?);
        Ok(())
    }
}

/// Waits until a frame is wanted and due, and there is something in it.
async fn frame_due(
    due: Option<Instant>,
    heard: &mut [Heard],
    readings: &mut watch::Receiver<Reading>,
) {
    let Some(due) = due else { return pending().await };
    sleep_until(due.into()).await;
    let pushed = poll_fn(|context| {
        let mut latest = heard.iter_mut().filter_map(|heard| heard.latest.as_mut());
        // Up to the first that is ready; else each has been asked, and each will wake this task.
        let ready = latest.any(|latest| latest.poll_changed(context).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        () = pushed => {}
        // It is still to be told.
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

fn reply(id: u32, result: Result<Value, String>) -> Told<'static> {
    match result {
        Ok(value) => Told::Reply { id, value: Some(value), error: None },
        Err(error) => Told::Reply { id, value: None, error: Some(error) },
    }
}

async fn tell(socket: &mut WebSocket, told: &impl Serialize) -> Result<(), CloseReason> {
    let text = serde_json::to_string(told).expect("what a page is told is JSON");
    match timeout(STALLED_AFTER, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(CloseReason::Left),
        Err(_) => Err(CloseReason::Stalled),
    }
}
