//! The thread that launches renderers, and the renderers on their way into the loop.
//!
//! The kernel kills a renderer that dies with main when the *thread* that launched it ends. A thread of the
//! application may end at any time, so one thread, which lives as long as its endpoint, launches them all.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, ThreadId},
};

use super::{
    connection::{Connection, Session},
    restart::Recipe,
};
use crate::{event_loop::error::LaunchError, peer::Port, primitives::Mutex};

type Job = Box<dyn FnOnce() + Send>;
pub(super) type FailedLaunch = Box<(Recipe, LaunchError)>;

/// A launch that is over, on its way into the loop.
pub(super) enum Arrival {
    Launched {
        connection: Box<Connection>,
        session: Box<Session>,
        /// The window that it replaces.
        old: Option<Arc<Port>>,
    },
    /// A renderer could not be launched again.
    Failed { failed: FailedLaunch, old: Arc<Port> },
}

/// The launching thread, which starts with the first launch, and the launches that are over.
#[derive(Default)]
pub(super) struct Launcher {
    thread: Mutex<Option<(mpsc::Sender<Job>, ThreadId)>>,
    arrivals: Mutex<Vec<Arrival>>,
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
        result.recv().map_err(gone)
    }

    /// Has a job run on the launching thread.
    pub(super) fn post(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut thread = self.thread.lock();
        let (jobs, _) = match &mut *thread {
            Some(running) => running,
            none => {
                let (jobs, queue) = mpsc::channel::<Job>();
                let started = thread::Builder::new()
                    .name("ringbridge-launch".to_owned())
                    .spawn(move || queue.into_iter().for_each(|job| job()))?;
                none.insert((jobs, started.thread().id()))
            }
        };
        jobs.send(Box::new(job)).map_err(gone)
    }

    /// Waits for every job that was posted.
    pub(super) fn settle(&self) {
        let thread = self.thread.lock().as_ref().map(|(_, thread)| *thread);
        // Its own thread, which may hold the last handle of the endpoint, has no other job.
        if thread.is_some_and(|thread| thread != thread::current().id()) {
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
}

fn gone<E>(_: E) -> io::Error {
    io::Error::other("the launching thread is gone")
}
