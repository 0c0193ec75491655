//! Pushes statistics to every window, on a thread of its own.
//!
//! It never waits for a renderer: a push for which there is no space is dropped, and counted. An interval that it
//! cannot keep is skipped, and counted. While there is no window
//! there is no timer, and the sampler rests.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use contract::{STATISTICS, Statistics, now_ns};
use ringbridge::{SendError, WebContents, zerocopy::FromZeros};

use crate::{main_process::Counts, sampler::Sampler, schedule};

pub(crate) struct Pusher {
    pub(crate) audience: Audience,
    thread: JoinHandle<()>,
}

/// The pusher's list of windows, for changes. `None` ends the thread.
pub(crate) type Audience = Sender<Option<Change>>;

pub(crate) enum Change {
    Add(WebContents),
    Remove(WebContents),
}

impl Pusher {
    /// Starts a pusher without windows. Without a sampler all figures are 0.
    pub(crate) fn start(
        interval: Duration,
        sampler: Option<Sampler>,
        counts: Arc<Counts>,
    ) -> Result<Self, Box<dyn Error>> {
        let (changes, received) = mpsc::channel();
        let mut windows = Windows { windows: Vec::new(), sampler, counts: counts.clone() };
        let push = move || {
            let skipped = schedule::run(interval, &received, |change| windows.work(change));
            counts.skipped.store(skipped, Ordering::Relaxed);
        };
        let thread = thread::Builder::new().name("pusher".to_owned()).spawn(push)?;
        Ok(Self { audience: changes, thread })
    }

    /// Ends the thread. Nothing is pushed after this returns.
    pub(crate) fn end(self) {
        // Each fails only if the thread has ended by itself.
        let _ = self.audience.send(None);
        let _ = self.thread.join();
    }
}

/// The windows, each with the number of its last push, whether it was sent or dropped.
struct Windows {
    windows: Vec<(WebContents, u64)>,
    sampler: Option<Sampler>,
    counts: Arc<Counts>,
}

impl Windows {
    /// Applies a change, or pushes. Returns whether there is a window.
    fn work(&mut self, change: Option<Change>) -> bool {
        let was_empty = self.windows.is_empty();
        match change {
            Some(Change::Add(window)) => self.windows.push((window, 0)),
            Some(Change::Remove(gone)) => self.windows.retain(|(window, _)| *window != gone),
            None => self.push(),
        }
        let is_empty = self.windows.is_empty();
        if let Some(sampler) = self.sampler.as_ref().filter(|_| was_empty != is_empty) {
            sampler.set_active(!is_empty);
        }
        !is_empty
    }

    fn push(&mut self) {
        let mut statistics =
            self.sampler.as_ref().map_or_else(Statistics::new_zeroed, Sampler::latest);
        for (window, sequence) in &mut self.windows {
            *sequence += 1;
            statistics.sequence = *sequence;
            statistics.sent_ns = now_ns();
            match window.try_send(STATISTICS, &statistics) {
                Ok(()) => self.counts.pushed.fetch_add(1, Ordering::Relaxed),
                // The change that removes it follows.
                Err(SendError::Gone { .. }) => 0,
                Err(_) => self.counts.dropped.fetch_add(1, Ordering::Relaxed),
            };
        }
    }
}
