//! The thread that launches renderers.
//!
//! The kernel kills a renderer that dies with main when the *thread* that launched it ends, so that
//! must not be some thread of the application's. This one lives as long as its endpoint.

use std::{
    io,
    sync::mpsc,
    thread::{self, ThreadId},
};

use crate::primitives::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// Starts its thread with the first launch.
#[derive(Default)]
pub(super) struct Launcher {
    running: Mutex<Option<RunningThread>>,
}

#[derive(Clone)]
struct RunningThread {
    jobs: mpsc::Sender<Job>,
    thread: ThreadId,
}

impl Launcher {
    /// Does something on the launching thread, and waits for it.
    pub(super) fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        let (done, result) = mpsc::sync_channel(1);
        self.post(move || {
            // Whoever asked waits for it.
            let _ = done.send(job());
        })?;
        result.recv().map_err(|_| gone())
    }

    /// Has something done on the launching thread.
    pub(super) fn post(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.running()?.jobs.send(Box::new(job)).map_err(|_| gone())
    }

    /// Waits until everything is done that was posted.
    pub(super) fn settle(&self) {
        let running = self.running.lock().clone();
        // Its own thread, which may hold the last handle of the endpoint, has nothing else to do.
        if running.is_some_and(|running| running.thread != thread::current().id()) {
            // If it is gone, nothing is under way.
            let _ = self.run(|| ());
        }
    }

    fn running(&self) -> io::Result<RunningThread> {
        let mut running = self.running.lock();
        if let Some(running) = &*running {
            return Ok(running.clone());
        }
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = thread::Builder::new()
            .name("ringbridge-launch".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(running.insert(RunningThread { jobs, thread: thread.thread().id() }).clone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the launching thread is gone")
}
