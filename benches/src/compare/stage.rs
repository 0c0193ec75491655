//! Where a slice takes place: its job, the board of the floor, and the other process.

use std::{
    env,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

#[cfg(feature = "peers")]
use crate::compare::{slice, usage::thread_cpu_ns};
use crate::{
    Error,
    board::Board,
    compare::{control::Control, usage::process_cpu_ns, work::Job},
};

/// The environment variable by which the processes of a slice learn what they are.
pub(super) const VARIABLE: &str = "RINGBRIDGE_COMPARE";

/// What a process of a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    Main,
    Renderer,
}

/// What a process of a slice is told by the one that launches it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) role: Role,
    /// Who launches it.
    pub(super) parent: u32,
    pub(super) job: Job,
}

impl Assignment {
    /// A command that runs this program once more in this role.
    pub(super) fn command(role: Role, job: &Job) -> Result<Command, Error> {
        let assignment = Self { role, parent: process::id(), job: job.clone() };
        let mut command = Command::new(env::current_exe()?);
        command
            .env(VARIABLE, serde_json::to_string(&assignment)?)
            // Where peers and the engine put their sockets and files.
            .env("XDG_RUNTIME_DIR", &job.scratch)
            .env("TMPDIR", &job.scratch)
            .stdout(Stdio::null());
        Ok(command)
    }

    /// The one that this process was launched with, if it was.
    pub(super) fn of_this_process() -> Result<Option<Self>, Error> {
        match env::var(VARIABLE) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(_) => Ok(None),
        }
    }

    /// Ends this process when its parent does.
    pub(super) fn follow_parent(&self) -> Result<(), Error> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get() as u32) == Some(self.parent) {
            Ok(())
        } else {
            Err("the process that launched this one has ended".into())
        }
    }
}

/// The other process, seen from main.
enum Partner {
    /// Its end of the control socket waits for it.
    Expected(OwnedFd),
    /// Somebody else launches it, and knows when it ends.
    Lent,
    Process(Child),
    #[cfg(feature = "peers")]
    Thread(std::thread::JoinHandle<Result<(), Error>>),
    Gone,
}

/// One process's view of a slice.
pub(crate) struct Stage {
    pub(crate) job: Job,
    pub(crate) control: Control,
    pub(crate) board: &'static Board,
    partner: Partner,
    cpu_ns: fn() -> u64,
}

impl Stage {
    /// In main, before there is a renderer.
    pub(super) fn of_main(job: Job) -> Result<Self, Error> {
        let (board, memory) = Board::create()?;
        let (control, theirs) = Control::pair()?;
        control.set_patience(Duration::from_nanos(job.time_ns))?;
        control.give(&[memory.as_fd()])?;
        let partner = Partner::Expected(theirs);
        Ok(Self { job, control, board, partner, cpu_ns: process_cpu_ns })
    }

    /// In the renderer.
    pub(super) fn of_renderer(job: Job, control: Control) -> Result<Self, Error> {
        control.set_patience(Duration::from_nanos(job.time_ns))?;
        let [memory] = control.take()?;
        let board = Board::inherited(memory.as_raw_fd())?;
        Ok(Self { job, control, board, partner: Partner::Gone, cpu_ns: process_cpu_ns })
    }

    /// The CPU time of this side so far.
    pub(super) fn cpu_ns(&self) -> u64 {
        (self.cpu_ns)()
    }

    /// A command for whoever launches the renderer itself.
    pub(crate) fn command(&mut self) -> Result<Command, Error> {
        let stdin = self.expected(Partner::Lent)?;
        let mut command = Assignment::command(Role::Renderer, &self.job)?;
        command.stdin(stdin);
        Ok(command)
    }

    /// Launches the renderer.
    pub(crate) fn launch(&mut self) -> Result<(), Error> {
        let child = self.command()?.spawn()?;
        self.partner = Partner::Process(child);
        Ok(())
    }

    /// Starts the renderer as a thread of this process, for a peer that is made for threads.
    #[cfg(feature = "peers")]
    pub(crate) fn start_thread(&mut self) -> Result<(), Error> {
        let control = Control::of(self.expected(Partner::Lent)?.into());
        let job = self.job.clone();
        self.cpu_ns = thread_cpu_ns;
        let renderer = move || {
            let stage = Self { cpu_ns: thread_cpu_ns, ..Self::of_renderer(job, control)? };
            slice::renderer_half(&stage)
        };
        self.partner = Partner::Thread(std::thread::Builder::new().spawn(renderer)?);
        Ok(())
    }

    /// Waits for the renderer's end. It has no work left; the run's patience bounds the wait.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.partner, Partner::Gone) {
            Partner::Process(mut child) => match child.wait()? {
                status if status.success() => Ok(()),
                status => Err(format!("the renderer ended with {status}").into()),
            },
            #[cfg(feature = "peers")]
            Partner::Thread(thread) => thread.join().map_err(|_| "the renderer panicked")?,
            Partner::Expected(_) | Partner::Lent | Partner::Gone => Ok(()),
        }
    }

    fn expected(&mut self, then: Partner) -> Result<OwnedFd, Error> {
        match std::mem::replace(&mut self.partner, then) {
            Partner::Expected(end) => Ok(end),
            _ => Err("a slice has one renderer only".into()),
        }
    }
}
