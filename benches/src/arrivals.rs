//! What the listeners in main leave for [`Pair`](crate::Pair): the report of the order under way.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringbridge::IpcMain;

use crate::{
    Error,
    clock::now_ns,
    messages::{Channels, FAILED, FINISHED, Finished, Message, SAMPLES},
    pair::Slice,
};

/// A complete report.
pub(crate) struct Report {
    finished: Finished,
    /// When main heard that the order was done: after the last message of a stream.
    heard_ns: u64,
    samples: Vec<u64>,
}

impl Report {
    /// The slice as the renderer saw it.
    pub(crate) fn seen_from_renderer(self) -> Slice {
        let end_ns = self.finished.ended_ns;
        self.until(end_ns)
    }

    /// The slice from the renderer's first message until main had the last.
    pub(crate) fn seen_from_main(self) -> Slice {
        let end_ns = self.heard_ns;
        self.until(end_ns)
    }

    fn until(self, end_ns: u64) -> Slice {
        Slice {
            count: self.finished.count,
            elapsed: Duration::from_nanos(end_ns.saturating_sub(self.finished.began_ns)),
            samples: self.samples,
        }
    }
}

#[derive(Default)]
pub(crate) struct Arrivals {
    streamed: AtomicU64,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    finished: Option<(Finished, u64)>,
    samples: Vec<u64>,
    complete: bool,
    /// Why there will be no more reports: the first reason is the cause of the others.
    ended: Option<String>,
}

impl Arrivals {
    /// Registers the listeners. Each that completes something stops the loop.
    pub(crate) fn listen<M: Message + ?Sized>(ipc: &IpcMain) -> Result<Arc<Self>, Error> {
        let arrivals = Arc::new(Self::default());

        let at = arrivals.clone();
        ipc.on(Channels::<M>::STREAM, move |_event, _message| {
            // Only the loop's thread adds: no atomic addition is needed.
            at.streamed.store(at.streamed.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        })?;

        let at = arrivals.clone();
        ipc.on(FINISHED, move |_event, finished| {
            let heard_ns = now_ns();
            at.under_way().finished = Some((*finished, heard_ns));
        })?;

        let (at, running) = (arrivals.clone(), ipc.clone());
        ipc.on(SAMPLES, move |_event, samples| {
            let mut under_way = at.under_way();
            under_way.samples.extend_from_slice(samples);
            if samples.is_empty() {
                under_way.complete = true;
                running.stop();
            }
        })?;

        let (at, running) = (arrivals.clone(), ipc.clone());
        ipc.on(FAILED, move |_event, reason| {
            at.end(format!("the renderer failed: {reason}"));
            running.stop();
        })?;

        let (at, running) = (arrivals.clone(), ipc.clone());
        ipc.on_render_process_gone(move |_window, details| {
            let code = details.exit_code.map_or(String::new(), |code| format!(", {code}"));
            at.end(format!("the renderer ended early ({}{code})", details.reason));
            running.stop();
        });
        Ok(arrivals)
    }

    /// How many messages of streams have come.
    pub(crate) fn streamed(&self) -> u64 {
        self.streamed.load(Ordering::Relaxed)
    }

    /// The report, if it is complete.
    pub(crate) fn take_report(&self) -> Option<Report> {
        let mut under_way = self.under_way();
        if !std::mem::take(&mut under_way.complete) {
            return None;
        }
        let samples = std::mem::take(&mut under_way.samples);
        let (finished, heard_ns) = under_way.finished.take()?;
        Some(Report { finished, heard_ns, samples })
    }

    pub(crate) fn why_ended(&self) -> Option<String> {
        self.under_way().ended.clone()
    }

    fn end(&self, reason: String) {
        self.under_way().ended.get_or_insert(reason);
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        // It is whole at every moment, so a panic elsewhere does not matter.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
