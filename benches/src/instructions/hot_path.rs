//! The hot path on one thread, for counting its instructions.
//!
//! ```text
//!   one process:   IpcMain ◀──── the real memory, rings and bells ────▶ IpcRenderer × N
//!                  poll()                                               send, invoke, wait, poll()
//! ```
//!
//! Between two processes the number of instructions depends on the waiting. So both ends are in one process
//! here and take turns without waiting, and a count is the same in each run. The calls are those of any
//! application. The code below them is the same, since neither end knows the other one's process.
//!
//! `callgrind --toggle-collect` collects only the instructions inside `counted`.
//!
//! A turn of [`IpcMain::poll`] takes 64 frames here, which share its housekeeping (the clock, one epoll call).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ringbridge::{
    Config, Contract, Event, IpcMain, IpcRenderer, Method, Policy, Push, Topic, WebContents,
};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A message that shares a cache line with its header.
type Message = [u8; 48];

const SEND: Event<Message> = Event::new("send");
const ECHO: Method<Message, Message> = Method::new("echo");
const PUSH: Push<Message> = Push::new("push");
const TOPIC: Topic<Message> = Topic::new("topic");
const CONTRACT: Contract = &[&SEND, &ECHO, &PUSH, &TOPIC];

/// The messages of one turn, which a loop takes from one window at once.
const BATCH: usize = 64;
/// Turns before counting: buffers and tables grow to their size.
const WARM_UP: usize = 8;
/// Turns that are counted. The rings are lapped several times.
const TURNS: usize = 200;

pub(super) const CALLS: u64 = (BATCH * TURNS) as u64;

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Operation {
    Send,
    /// Main takes a message, up to and including its listener.
    Receive,
    /// A renderer's `invoke` and `wait`, with the reply there by then.
    Invoke,
    /// Main takes an invoke, runs its handler and replies.
    Answer,
    Push,
    ReceivePush,
    /// Main's `publish` with one subscriber, which is awake.
    PublishToOne,
    /// Main's `publish` with eight subscribers, which are awake.
    PublishToEight,
    ReceiveTopic,
}

impl Operation {
    fn renderers(self) -> usize {
        if self == Self::PublishToEight { 8 } else { 1 }
    }

    /// Returns whether the sending half of a turn is counted, or else the receiving half.
    fn is_sending(self) -> bool {
        !matches!(self, Self::Receive | Self::Answer | Self::ReceivePush | Self::ReceiveTopic)
    }
}

/// Runs `work`. `callgrind` knows this function by its name.
#[inline(never)]
fn counted<R>(work: impl FnOnce() -> R) -> R {
    work()
}

pub(super) fn perform(operation: Operation) -> Result<(), Error> {
    let stage = Stage::open(operation.renderers())?;
    for _ in 0..WARM_UP {
        stage.turn(operation, false)?;
    }
    let before = stage.arrived.load(Ordering::Relaxed);
    for _ in 0..TURNS {
        stage.turn(operation, true)?;
    }
    let arrived = stage.arrived.load(Ordering::Relaxed) - before;
    let expected = CALLS * stage.renderers.len() as u64;
    if arrived != expected {
        return Err(format!("of {expected} messages, {arrived} arrived").into());
    }
    stage.ipc.close()?;
    Ok(())
}

struct Stage {
    ipc: IpcMain,
    window: WebContents,
    renderers: Vec<IpcRenderer>,
    /// The messages that listeners and handlers received. One thread adds.
    arrived: Arc<AtomicU64>,
}

impl Stage {
    fn open(renderers: usize) -> Result<Self, Error> {
        let name = format!("instructions-{}", std::process::id());
        // valgrind reads this process.
        let config = Config { protect_memory: false, ..Config::default() };
        let ipc = IpcMain::bind_with(&name, CONTRACT, config)?;
        ipc.on_attach(|_candidate| Ok(Policy::deny_all().allow_all(CONTRACT)));
        let arrived = Arc::new(AtomicU64::new(0));
        let arrives = || {
            let arrived = arrived.clone();
            move || arrived.store(arrived.load(Ordering::Relaxed) + 1, Ordering::Relaxed)
        };
        let (sent, asked) = (arrives(), arrives());
        ipc.on(SEND, move |_event, _message| sent())?;
        ipc.handle(ECHO, move |_event, message| {
            asked();
            Ok(*message)
        })?;
        let renderers = attach(&ipc, &name, renderers)?;
        for renderer in &renderers {
            let (pushed, published) = (arrives(), arrives());
            renderer.on(PUSH, move |_event, _message| pushed())?;
            renderer.subscribe(TOPIC, move |_event, _message| published())?;
        }
        // Main takes the subscriptions, so that each turn begins with empty rings.
        while ipc.poll()? > 0 {}
        let window = ipc.windows().into_iter().next().ok_or("no window")?;
        Ok(Self { ipc, window, renderers, arrived })
    }

    fn turn(&self, operation: Operation, counts: bool) -> Result<(), Error> {
        let renderer = &self.renderers[0];
        let message = &[7; size_of::<Message>()];
        let sending = counts && operation.is_sending();
        let taking = counts && !operation.is_sending();
        match operation {
            Operation::Send | Operation::Receive => {
                repeat_if(sending, || renderer.send(SEND, message))?;
                once_if(taking, || self.ipc.poll())?;
            }
            Operation::Push | Operation::ReceivePush => {
                repeat_if(sending, || self.window.send(PUSH, message))?;
                once_if(taking, || renderer.poll())?;
            }
            Operation::PublishToOne | Operation::PublishToEight | Operation::ReceiveTopic => {
                repeat_if(sending, || self.ipc.publish(TOPIC, message))?;
                for renderer in &self.renderers {
                    once_if(taking, || renderer.poll())?;
                }
            }
            Operation::Invoke => {
                for _ in 0..BATCH {
                    let invocation = once_if(sending, || renderer.invoke(ECHO, message))?;
                    self.ipc.poll()?;
                    let reply = once_if(sending, || invocation.wait())?;
                    assert_eq!(reply, *message);
                }
            }
            Operation::Answer => {
                let invocations: Vec<_> =
                    (0..BATCH).map(|_| renderer.invoke(ECHO, message)).collect::<Result<_, _>>()?;
                once_if(taking, || self.ipc.poll())?;
                for invocation in invocations {
                    invocation.wait()?;
                }
            }
        }
        Ok(())
    }
}

fn attach(ipc: &IpcMain, name: &str, renderers: usize) -> Result<Vec<IpcRenderer>, Error> {
    thread::scope(|scope| {
        let attaching = scope.spawn(|| {
            (0..renderers)
                .map(|_| IpcRenderer::attach(name, CONTRACT))
                .collect::<Result<Vec<_>, _>>()
        });
        // It polls, because valgrind lacks the system call of a sleep with an exact end. An attach has a
        // deadline, so the loop ends.
        while !attaching.is_finished() {
            ipc.poll()?;
            thread::yield_now();
        }
        // A renderer is connected a moment before main knows it.
        while ipc.poll()? > 0 {}
        Ok(attaching.join().map_err(|_| "attaching panicked")??)
    })
}

#[inline(always)]
fn once_if<R>(counts: bool, work: impl FnOnce() -> R) -> R {
    if counts { counted(work) } else { work() }
}

#[inline(always)]
fn repeat_if<R, E>(counts: bool, work: impl Fn() -> Result<R, E>) -> Result<(), E> {
    once_if(counts, || {
        for _ in 0..BATCH {
            work()?;
        }
        Ok(())
    })
}
