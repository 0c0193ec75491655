//! One process's view of a pair: the job, the board of the floor, and the other process.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::{Child, Command},
};

use super::{
    control::Control,
    job::{Assignment, Job, Role},
};
use crate::{Error, board::Board, system::process_cpu_ns};

/// The renderer, seen from main.
enum Partner {
    /// Not launched yet. This is its end of the control socket.
    Expected(OwnedFd),
    /// Launched and reaped by the subject.
    Lent,
    Process(Child),
    #[cfg(feature = "peers")]
    Thread(std::thread::JoinHandle<Result<(), Error>>),
    Gone,
}

/// One process's view of a pair.
pub(crate) struct Stage {
    pub(crate) job: Job,
    pub(crate) control: Control,
    pub(crate) board: &'static Board,
    partner: Partner,
    cpu_ns: fn() -> u64,
}

impl Stage {
    pub(super) fn of_main(job: Job) -> Result<Self, Error> {
        let (board, memory) = Board::create()?;
        let (control, theirs) = Control::pair()?;
        control.give(&[memory.as_fd()])?;
        let partner = Partner::Expected(theirs);
        Ok(Self { job, control, board, partner, cpu_ns: process_cpu_ns })
    }

    pub(super) fn of_renderer(job: Job, control: Control) -> Result<Self, Error> {
        let [memory] = control.take()?;
        let board = Board::inherited(memory.as_raw_fd())?;
        Ok(Self { job, control, board, partner: Partner::Gone, cpu_ns: process_cpu_ns })
    }

    pub(crate) fn payload(&self) -> usize {
        self.job.task.payload
    }

    pub(super) fn cpu_ns(&self) -> u64 {
        (self.cpu_ns)()
    }

    /// Returns a command for a subject that launches the renderer itself.
    pub(crate) fn command(&mut self) -> Result<Command, Error> {
        let stdin = self.expected()?;
        let mut command = Assignment::command(Role::Renderer, &self.job)?;
        command.stdin(stdin);
        Ok(command)
    }

    pub(crate) fn launch(&mut self) -> Result<(), Error> {
        self.partner = Partner::Process(self.command()?.spawn()?);
        Ok(())
    }

    /// Starts the renderer as a thread of this process, for a peer that is made for threads.
    #[cfg(feature = "peers")]
    pub(crate) fn start_thread(&mut self) -> Result<(), Error> {
        use crate::system::thread_cpu_ns;
        let control = Control::of(self.expected()?);
        let job = self.job.clone();
        self.cpu_ns = thread_cpu_ns;
        let renderer = move || {
            let stage = Self { cpu_ns: thread_cpu_ns, ..Self::of_renderer(job, control)? };
            super::serve(&stage)
        };
        self.partner = Partner::Thread(std::thread::Builder::new().spawn(renderer)?);
        Ok(())
    }

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

    fn expected(&mut self) -> Result<OwnedFd, Error> {
        match std::mem::replace(&mut self.partner, Partner::Lent) {
            Partner::Expected(end) => Ok(end),
            _ => Err("a pair has one renderer only".into()),
        }
    }
}
