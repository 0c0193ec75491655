//! One process's view of a pair: the job, the board of the floor, and the socket on which the two processes talk
//! beside the subject. Both block in it. It is the renderer's standard input, so every way to launch a process
//! can pass it.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write, stdin},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Command,
    thread,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

use super::job::Job;
use crate::{
    Error,
    board::Board,
    system::{process_cpu_ns, thread_cpu_ns},
};

/// The longest message, in bytes: histograms are a few thousand numbers.
const MESSAGE_MAX: usize = 16 << 20;
const DESCRIPTORS_MAX: usize = 4;

pub(crate) struct Stage {
    pub(crate) job: Job,
    pub(crate) control: Control,
    pub(crate) board: &'static Board,
    pub(crate) is_main: bool,
    pub(super) cpu_ns: fn() -> u64,
    /// In main, the renderer's end of the control socket until it is launched.
    theirs: Option<OwnedFd>,
    /// In main, waits for the end of a renderer that the subject does not reap itself.
    finish: Option<Finish>,
}

type Finish = Box<dyn FnOnce() -> Result<(), Error>>;

impl Stage {
    pub(super) fn of_main(job: Job) -> Result<Self, Error> {
        let (board, memory) = Board::create()?;
        let (control, theirs) = Control::pair()?;
        control.give(&[memory])?;
        let (cpu_ns, theirs) = (process_cpu_ns as fn() -> u64, Some(theirs));
        Ok(Self { job, control, board, is_main: true, cpu_ns, theirs, finish: None })
    }

    pub(super) fn of_renderer(job: Job, control: Control) -> Result<Self, Error> {
        let [memory] = control.take()?;
        let (board, cpu_ns) = (Board::map(&memory)?, process_cpu_ns);
        Ok(Self { job, control, board, is_main: false, cpu_ns, theirs: None, finish: None })
    }

    pub(crate) fn payload(&self) -> usize {
        self.job.task.payload
    }

    fn take_theirs(&mut self) -> Result<OwnedFd, Error> {
        self.theirs.take().ok_or_else(|| "a pair has one renderer only".into())
    }

    /// Returns a command for a subject that launches the renderer itself.
    pub(crate) fn command(&mut self) -> Result<Command, Error> {
        let stdin = self.take_theirs()?;
        self.job.command(None, stdin)
    }

    /// Launches the renderer. Does nothing in the renderer.
    pub(crate) fn launch(&mut self) -> Result<(), Error> {
        if self.is_main {
            let mut child = self.command()?.spawn()?;
            self.finish = Some(Box::new(move || match child.wait()? {
                status if status.success() => Ok(()),
                status => Err(format!("the renderer ended with {status}").into()),
            }));
        }
        Ok(())
    }

    /// Starts the renderer as a thread of this process, for a peer that is made for threads.
    #[cfg_attr(not(feature = "peers"), expect(dead_code, reason = "only rtrb has threads"))]
    pub(crate) fn start_thread(&mut self) -> Result<(), Error> {
        let (control, job) = (Control(self.take_theirs()?.into()), self.job.clone());
        self.cpu_ns = thread_cpu_ns;
        let renderer = move || {
            super::serve(Self { cpu_ns: thread_cpu_ns, ..Self::of_renderer(job, control)? })
        };
        let thread = thread::Builder::new().spawn(renderer)?;
        self.finish = Some(Box::new(|| thread.join().map_err(|_| "the renderer panicked")?));
        Ok(())
    }

    /// Makes the descriptors of main and of the renderer, launches the renderer, and hands it its own. Returns
    /// those of this process.
    pub(crate) fn share<const N: usize>(
        &mut self,
        make: impl FnOnce() -> Result<[[OwnedFd; N]; 2], Error>,
    ) -> Result<[OwnedFd; N], Error> {
        if !self.is_main {
            return self.control.take();
        }
        let [ours, theirs] = make()?;
        self.launch()?;
        self.control.give(&theirs)?;
        Ok(ours)
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        self.finish.map_or(Ok(()), |finish| finish())
    }
}

pub(crate) struct Control(UnixStream);

impl Control {
    pub(crate) fn pair() -> Result<(Self, OwnedFd), Error> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs.into()))
    }

    pub(super) fn of_stdin() -> Result<Self, Error> {
        Ok(Self(stdin().as_fd().try_clone_to_owned()?.into()))
    }

    pub(crate) fn set_patience(&self, patience: Duration) -> Result<(), Error> {
        Ok(self.0.set_read_timeout(Some(patience))?)
    }

    /// Returns when both processes have called it.
    pub(crate) fn meet(&self) -> Result<(), Error> {
        self.say(&())?;
        self.hear()
    }

    pub(crate) fn say<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_vec(value)?;
        let mut message = u32::try_from(text.len())?.to_ne_bytes().to_vec();
        message.extend(text);
        (&self.0).write_all(&message).map_err(silent)
    }

    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut len = [0; 4];
        (&self.0).read_exact(&mut len).map_err(silent)?;
        let len = u32::from_ne_bytes(len) as usize;
        if len > MESSAGE_MAX {
            return Err(format!("the other process announced {len} bytes").into());
        }
        let mut text = vec![0; len];
        (&self.0).read_exact(&mut text).map_err(silent)?;
        Ok(serde_json::from_slice(&text)?)
    }

    pub(crate) fn give(&self, descriptors: &[impl AsFd]) -> Result<(), Error> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(format!("no more than {DESCRIPTORS_MAX} descriptors at once").into());
        }
        sendmsg(&self.0, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    pub(crate) fn take<const N: usize>(&self) -> Result<[OwnedFd; N], Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let room = &mut [IoSliceMut::new(&mut byte)];
        recvmsg(&self.0, room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .map_err(|errno| silent(errno.into()))?;
        let mut taken = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                taken.extend(descriptors);
            }
        }
        let count = taken.len();
        taken.try_into().map_err(|_| format!("{N} descriptors expected, {count} came").into())
    }
}

fn silent(error: io::Error) -> Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    match error.kind() {
        UnexpectedEof | BrokenPipe | ConnectionReset => "the other process ended early".into(),
        WouldBlock | TimedOut => "the other process does not answer".into(),
        _ => error.into(),
    }
}
