//! The thread that launches renderers, and the renderers on their way into the loop.
//!
//! The kernel kills a renderer that dies with main when the *thread* that launched it ends, so that
//! must not be a thread of the application's. This one lives as long as its endpoint.

use std::{
    io,
    process::Child,
    sync::{Arc, mpsc},
    thread::{self, ThreadId},
    time::Instant,
};

use super::{connection::Session, restart::Recipe};
use crate::{
    event_loop::error::LaunchError,
    peer::Port,
    primitives::Mutex,
    session::{control_channel::ControlChannel, transport::LaunchedProcess},
};

type Job = Box<dyn FnOnce() + Send>;

/// A launch that is over, on its way into the loop.
pub(super) enum Arrival {
    Launched(Box<Newcomer>),
    /// A renderer could not be launched again.
    Failed {
        failed: Box<(Recipe, LaunchError)>,
        old: Arc<Port>,
    },
}

/// A renderer that was just launched.
pub(super) struct Newcomer {
    pub(super) session: Session,
    pub(super) control: Arc<ControlChannel>,
    pub(super) child: Child,
    pub(super) process: LaunchedProcess,
    pub(super) recipe: Recipe,
    pub(super) launched: Instant,
    /// The window that it replaces.
    pub(super) predecessor: Option<Arc<Port>>,
}

/// Starts its thread with the first launch.
#[derive(Default)]
pub(super) struct Launcher {
    running: Mutex<Option<RunningThread>>,
    arrivals: Mutex<Vec<Arrival>>,
}

#[derive(Clone)]
struct RunningThread {
    jobs: mpsc::Sender<Job>,
    thread: ThreadId,
}

impl Launcher {
    /// Runs a job on the launching thread, and waits for it.
    pub(super) fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        let (done, result) = mpsc::sync_channel(1);
        self.post(move || {
            // The asking thread waits for it.
            let _ = done.send(job());
        })?;
        result.recv().map_err(|_| gone())
    }

    /// Has a job run on the launching thread.
    pub(super) fn post(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.running()?.jobs.send(Box::new(job)).map_err(|_| gone())
    }

    /// Waits for every job that was posted.
    pub(super) fn settle(&self) {
        let running = self.running.lock().clone();
        // Its own thread, which may hold the last handle of the endpoint, has no other job.
        if running.is_some_and(|running| running.thread != thread::current().id()) {
            // If it is gone, no job is under way.
            let _ = self.run(|| ());
        }
    }

    pub(super) fn arrive(&self, arrival: Arrival) {
        self.arrivals.lock().push(arrival);
    }

    pub(super) fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock())
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
