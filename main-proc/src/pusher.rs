//! Pushes statistics to every window, on a thread of its own.
//!
//! It never waits for a renderer: what one has no room for is dropped, and counted. Where there is no
//! window there is no timer either, and the sampler rests.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use contract::{STATISTICS, Statistics, now_ns};
use ringbridge::{SendError, WebContents, zerocopy::FromZeros};

use crate::{sampler::Sampler, schedule::Schedule};

/// How many pushes there were, to all windows.
#[derive(Debug, Default)]
pub(crate) struct PushCounts {
    /// What was sent.
    pub(crate) pushed: AtomicU64,
    /// What found no room.
    pub(crate) dropped: AtomicU64,
}

/// The pusher's thread.
pub(crate) struct Pusher {
    control: Sender<Control>,
    thread: JoinHandle<()>,
}

/// Tells the pusher who is there. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audience(Sender<Control>);

enum Control {
    Add(WebContents),
    Remove(WebContents),
    End,
}

impl Pusher {
    /// Starts a pusher for nobody yet. Without a sampler all figures are 0.
    pub(crate) fn start(
        interval: Duration,
        sampler: Option<Sampler>,
        counts: Arc<PushCounts>,
    ) -> Result<Self, Box<dyn Error>> {
        let (control, controlled) = mpsc::channel();
        let windows = Windows { windows: Vec::new(), sampler, counts };
        let thread = thread::Builder::new()
            .name("pusher".to_owned())
            .spawn(move || push(windows, interval, &controlled))?;
        Ok(Self { control, thread })
    }

    pub(crate) fn audience(&self) -> Audience {
        Audience(self.control.clone())
    }

    /// Ends the thread. Nothing is pushed after this returns.
    pub(crate) fn end(self) {
        // Each fails only if the thread has ended by itself.
        let _ = self.control.send(Control::End);
        let _ = self.thread.join();
    }
}

impl Audience {
    /// From now on the window gets statistics.
    pub(crate) fn add(&self, window: &WebContents) {
        let _ = self.0.send(Control::Add(window.clone()));
    }

    /// The window is gone.
    pub(crate) fn remove(&self, window: &WebContents) {
        let _ = self.0.send(Control::Remove(window.clone()));
    }
}

fn push(mut windows: Windows, interval: Duration, control: &Receiver<Control>) {
    let mut schedule: Option<Schedule> = None;
    loop {
        let told = match &schedule {
            None => control.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(schedule) => control.recv_timeout(schedule.time_left(Instant::now())),
        };
        match told {
            Ok(Control::Add(window)) => windows.add(window),
            Ok(Control::Remove(window)) => windows.remove(&window),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Control::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
        if windows.windows.is_empty() {
            schedule = None;
            continue;
        }
        let schedule = schedule.get_or_insert_with(|| Schedule::new(interval, Instant::now()));
        if schedule.take_due(Instant::now()) {
            windows.push();
        }
    }
}

/// Whom to push to, and what.
struct Windows {
    windows: Vec<Window>,
    sampler: Option<Sampler>,
    counts: Arc<PushCounts>,
}

struct Window {
    contents: WebContents,
    /// The number of its last push, whether it was sent or dropped.
    sequence: u64,
}

impl Windows {
    fn add(&mut self, contents: WebContents) {
        if self.windows.is_empty()
            && let Some(sampler) = &self.sampler
        {
            sampler.look();
        }
        self.windows.push(Window { contents, sequence: 0 });
    }

    fn remove(&mut self, contents: &WebContents) {
        self.windows.retain(|window| window.contents != *contents);
        if self.windows.is_empty()
            && let Some(sampler) = &self.sampler
        {
            sampler.rest();
        }
    }

    fn push(&mut self) {
        let mut statistics =
            self.sampler.as_ref().map_or_else(Statistics::new_zeroed, Sampler::latest);
        for window in &mut self.windows {
            window.sequence += 1;
            statistics.sequence = window.sequence;
            statistics.sent_ns = now_ns();
            match window.contents.try_send(STATISTICS, &statistics) {
                Ok(()) => self.counts.pushed.fetch_add(1, Ordering::Relaxed),
                // Its removal is on its way.
                Err(SendError::Gone { .. }) => 0,
                Err(_) => self.counts.dropped.fetch_add(1, Ordering::Relaxed),
            };
        }
    }
}
