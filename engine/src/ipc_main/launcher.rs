//! The thread that launches renderers.
//!
//! The kernel kills a renderer that dies with main when the *thread* that launched it ends, so that
//! must not be some thread of the application's. This one lives as long as its endpoint.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use crate::sys::process;

/// The descriptor at which a launched renderer finds its socket.
pub(super) const CHILD_SOCKET: i32 = 3;

type Job = Box<dyn FnOnce() + Send>;

/// Starts its thread with the first launch.
#[derive(Default)]
pub(super) struct Launcher {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Launcher {
    /// Starts a process that holds `socket` at [`CHILD_SOCKET`].
    pub(super) fn spawn(
        &self,
        command: Command,
        socket: OwnedFd,
        die_with_main: bool,
    ) -> io::Result<Child> {
        let (done, result) = mpsc::sync_channel(1);
        let job: Job = Box::new(move || {
            let child = process::spawn_with_socket(command, socket, CHILD_SOCKET, die_with_main);
            // Whoever asked waits for it.
            let _ = done.send(child);
        });
        let gone = || io::Error::other("the launching thread is gone");
        self.sender()?.send(job).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }

    fn sender(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*jobs {
            return Ok(sender.clone());
        }
        let (sender, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("ringbridge-launch".to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))?;
        Ok(jobs.insert(sender).clone())
    }
}
