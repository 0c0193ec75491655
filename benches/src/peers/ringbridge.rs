//! Ringbridge as its users call it: `invoke` and `handle`, `send` and `on`, `WebContents::send`.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ringbridge::{
    Contract, Event, IpcMain, IpcRenderer, Method, Policy, Push, RunError, WebContents,
};

use crate::{
    Error,
    clock::now_ns,
    compare::{
        side::{
            LONG, MainSide, OVER, Pacer, RendererSide, STREAM_BATCH, StreamPart, Subject, call,
            pushes, send_stream, send_stream_in_batches, stamp, sum, touched,
        },
        stage::Stage,
        work::{Task, Work},
    },
    job::{Backend, Job, Wait},
    messages::{Message, stamped, with_message_of},
};

/// From this length on a copy is dearer than a responder.
const DEFERRED_FROM: usize = 16 << 10;
/// How long a loop may run without being stopped.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Ringbridge over one backend, with one way to wait, and one way to stream.
pub(super) struct Ringbridge {
    name: &'static str,
    about: &'static str,
    backend: Backend,
    wait: Wait,
    stream: Way,
}

/// How a stream is sent. A further way is a variant here, an arm in `stream` of the sending side, and
/// a constant beside those below.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The renderer's `send`; main copies out and its listener reads the copy.
    Send,
    /// The renderer's `send_all`, many messages in one call; main as above.
    SendAll,
    /// Main's `WebContents::send`; the renderer's listener reads in place.
    InPlace,
}

pub(super) const SPIN: Ringbridge = Ringbridge {
    name: "ringbridge-spin",
    about: "invoke, send, WebContents::send; both loops spin",
    backend: Backend::Sealed,
    wait: Wait::Spin,
    stream: Way::Send,
};
pub(super) const ADAPTIVE: Ringbridge = Ringbridge {
    name: "ringbridge-adaptive",
    about: "the same; spins while that pays (the default)",
    backend: Backend::Sealed,
    wait: Wait::Adaptive,
    stream: Way::Send,
};
pub(super) const PARK: Ringbridge = Ringbridge {
    name: "ringbridge-park",
    about: "the same; sleeps at once",
    backend: Backend::Sealed,
    wait: Wait::Park,
    stream: Way::Send,
};
pub(super) const SEND_ALL: Ringbridge = Ringbridge {
    name: "ringbridge-send-all",
    about: "send_all as a stream, 64 messages a call; both spin",
    backend: Backend::Sealed,
    wait: Wait::Spin,
    stream: Way::SendAll,
};
pub(super) const IN_PLACE: Ringbridge = Ringbridge {
    name: "ringbridge-in-place",
    about: "WebContents::send as a stream, read in place; both spin",
    backend: Backend::Sealed,
    wait: Wait::Spin,
    stream: Way::InPlace,
};

pub(super) const PORTABLE_SPIN: Ringbridge = Ringbridge {
    name: "ringbridge-portable-spin",
    about: "as ringbridge-spin, over named segments and events",
    backend: Backend::Portable,
    ..SPIN
};
pub(super) const PORTABLE_ADAPTIVE: Ringbridge = Ringbridge {
    name: "ringbridge-portable-adaptive",
    about: "as ringbridge-adaptive, over named segments and events",
    backend: Backend::Portable,
    ..ADAPTIVE
};
pub(super) const PORTABLE_PARK: Ringbridge = Ringbridge {
    name: "ringbridge-portable-park",
    about: "as ringbridge-park, over named segments and events",
    backend: Backend::Portable,
    ..PARK
};

impl Ringbridge {
    fn job(&self, stage: &Stage) -> Job {
        let (payload, pins) = (stage.job.task.payload, stage.job.pins);
        Job { payload, wait: self.wait, backend: self.backend, pins, pinned: true }
    }
}

impl Subject for Ringbridge {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn backend(&self) -> Option<Backend> {
        Some(self.backend)
    }

    fn package(&self) -> Option<&'static str> {
        Some("ringbridge")
    }

    fn shares_a_core(&self) -> bool {
        true
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        match self.stream {
            Way::Send => None,
            _ if task.work != Work::Stream => Some("a stream only: the rest is ringbridge-spin's"),
            Way::SendAll if task.payload >= LONG => Some("batches are for small messages"),
            _ => None,
        }
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        with_message_of!(stage.job.task.payload, main_side(self, stage))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        with_message_of!(stage.job.task.payload, renderer_side(self, stage))
    }
}

/// The channels of messages of type `M`.
struct Channels<M: ?Sized>(std::marker::PhantomData<M>);

impl<M: Message + ?Sized> Channels<M> {
    const ECHO: Method<M, M> = Method::new("echo");
    const STREAM: Event<M> = Event::new("stream");
    const PUSH: Push<M> = Push::new("push");
    const CONTRACT: Contract = &[&Self::ECHO, &Self::STREAM, &Self::PUSH, &DONE];
}

/// From the renderer: it is ready, or has asked its last question.
const DONE: Event<()> = Event::new("done");

/// What a listener has read of a stream. One thread adds.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    sum: AtomicU64,
}

impl Tally {
    /// Reads a message, and says whether it was the last.
    #[inline]
    fn read(&self, message: &[u8]) -> bool {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let sum = self.sum.load(Ordering::Relaxed).wrapping_add(sum(message));
        self.sum.store(sum, Ordering::Relaxed);
        stamp(message) == OVER
    }

    /// The part of a receiver whose stream has just ended.
    fn part(&self) -> StreamPart {
        black_box(self.sum.swap(0, Ordering::Relaxed));
        StreamPart::received(self.count.swap(0, Ordering::Relaxed))
    }
}

struct Main<M: Message + ?Sized> {
    ipc: IpcMain,
    window: WebContents,
    way: Way,
    message: M::Owned,
    payload: usize,
    tally: Arc<Tally>,
    stopped: Arc<AtomicBool>,
}

fn main_side<M: Message + ?Sized>(
    subject: &Ringbridge,
    stage: &mut Stage,
) -> Result<Box<dyn MainSide>, Error> {
    let job = subject.job(stage);
    let ipc = IpcMain::bind_with(&stage.job.prefix, Channels::<M>::CONTRACT, job.config())?;
    let (tally, stopped) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));

    let (running, says) = (ipc.clone(), stopped.clone());
    let stop = move || {
        says.store(true, Ordering::Relaxed);
        running.stop();
    };
    if job.payload < DEFERRED_FROM {
        ipc.handle(Channels::<M>::ECHO, |_event, message| Ok(message.copy()))?;
    } else {
        // A responder is given a reference, so that the answer is copied once, into the ring.
        ipc.handle_deferred(Channels::<M>::ECHO, |_event, message, responder| {
            responder.reply(message);
        })?;
    }
    let (counts, over) = (tally.clone(), stop.clone());
    ipc.on(Channels::<M>::STREAM, move |_event, message| {
        if counts.read(message.as_ref()) {
            over();
        }
    })?;
    ipc.on(DONE, move |_event, ()| stop())?;
    let running = ipc.clone();
    ipc.on_render_process_gone(move |_window, _details| running.stop());

    let policy = Policy::deny_all().allow_all(Channels::<M>::CONTRACT);
    let window = ipc.launch(stage.command()?, policy)?;
    let (payload, way) = (job.payload, subject.stream);
    let message = M::of_len(payload);
    let main = Main::<M> { ipc, window, way, message, payload, tally, stopped };
    main.run_until_stopped()?;
    Ok(Box::new(main))
}

impl<M: Message + ?Sized> Main<M> {
    fn run_until_stopped(&self) -> Result<(), Error> {
        self.ipc.run_for(RUN_MAX)?;
        if self.stopped.swap(false, Ordering::Relaxed) {
            Ok(())
        } else {
            let gone = self.window.gone().map(|reason| format!("the renderer is gone: {reason}"));
            Err(gone.unwrap_or_else(|| "the renderer did not end its part".to_owned()).into())
        }
    }
}

impl<M: Message + ?Sized> MainSide for Main<M> {
    fn answer(&mut self) -> Result<(), Error> {
        self.run_until_stopped()
    }

    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error> {
        match self.way {
            Way::Send | Way::SendAll => {
                self.run_until_stopped()?;
                Ok(self.tally.part())
            }
            Way::InPlace => {
                let Self { window, message, payload, .. } = self;
                send_stream(*payload, time_ns, |stamp| {
                    Ok(window.send(Channels::<M>::PUSH, stamped::<M>(message, stamp))?)
                })
            }
        }
    }

    fn push(&mut self, pacer: &mut Pacer) -> Result<(), Error> {
        let Self { window, message, .. } = self;
        pacer.run(|stamp| Ok(window.send(Channels::<M>::PUSH, stamped::<M>(message, stamp))?))
    }

    fn idle(&mut self, time_ns: u64) -> Result<(), Error> {
        self.ipc.run_for(Duration::from_nanos(time_ns))?;
        Ok(self.window.send(Channels::<M>::PUSH, stamped::<M>(&mut self.message, OVER))?)
    }

    fn wakes(&self) -> Option<u64> {
        Some(self.window.counters().wakes)
    }
}

impl<M: Message + ?Sized> Drop for Main<M> {
    fn drop(&mut self) {
        // The renderer has reported by now, or the slice has failed already.
        let _ = self.ipc.close();
    }
}

struct Renderer<M: Message + ?Sized> {
    ipc: IpcRenderer,
    way: Way,
    message: M::Owned,
    /// What is sent in one call, where that is many.
    batch: Vec<M::Owned>,
    payload: usize,
    tally: Arc<Tally>,
    latencies: Arc<Mutex<Vec<u64>>>,
}

fn renderer_side<M: Message + ?Sized>(
    subject: &Ringbridge,
    stage: &Stage,
) -> Result<Box<dyn RendererSide>, Error> {
    let job = subject.job(stage);
    let ipc = IpcRenderer::connect_with(Channels::<M>::CONTRACT, job.config())?;
    let (tally, latencies) = (Arc::new(Tally::default()), Arc::new(Mutex::new(Vec::new())));

    let running = ipc.clone();
    if stage.job.task.work == Work::Push {
        let room = pushes(stage.job.task.rate_hz, stage.job.time_ns) as usize;
        let (mut under_way, complete) = (touched(room), latencies.clone());
        ipc.on(Channels::<M>::PUSH, move |_event, message| {
            let sent = message.stamp();
            if sent == OVER {
                let samples = std::mem::replace(&mut under_way, touched(room));
                *complete.lock().unwrap_or_else(PoisonError::into_inner) = samples;
                running.stop();
            } else {
                under_way.push(now_ns().saturating_sub(sent));
            }
        })?;
    } else {
        let counts = tally.clone();
        ipc.on(Channels::<M>::PUSH, move |_event, message| {
            if counts.read(message.as_ref()) {
                running.stop();
            }
        })?;
    }
    ipc.send(DONE, &())?;
    let (payload, way, message) = (job.payload, subject.stream, M::of_len(job.payload));
    let batch_len = if way == Way::SendAll { STREAM_BATCH } else { 0 };
    let batch = (0..batch_len).map(|_| M::of_len(payload)).collect();
    Ok(Box::new(Renderer::<M> { ipc, way, message, batch, payload, tally, latencies }))
}

impl<M: Message + ?Sized> Renderer<M> {
    fn run(&self) -> Result<(), RunError> {
        self.ipc.run()
    }
}

impl<M: Message + ?Sized> RendererSide for Renderer<M> {
    fn call(&mut self, time_ns: u64, samples: &mut Vec<u64>) -> Result<(), Error> {
        let Self { ipc, message, .. } = self;
        call(time_ns, samples, |asked| {
            let answer = ipc.invoke(Channels::<M>::ECHO, stamped::<M>(message, asked))?.wait()?;
            let answer: &M = std::borrow::Borrow::borrow(&answer);
            Ok(answer.stamp())
        })?;
        Ok(self.ipc.send(DONE, &())?)
    }

    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error> {
        match self.way {
            Way::Send => {
                let Self { ipc, message, payload, .. } = self;
                send_stream(*payload, time_ns, |stamp| {
                    Ok(ipc.send(Channels::<M>::STREAM, stamped::<M>(message, stamp))?)
                })
            }
            Way::SendAll => {
                let Self { ipc, batch, .. } = self;
                send_stream_in_batches(time_ns, |first, len| {
                    for (message, further) in batch[..len].iter_mut().zip(0..) {
                        stamped::<M>(message, first + further);
                    }
                    Ok(ipc.send_all(Channels::<M>::STREAM, &batch[..len])?)
                })
            }
            Way::InPlace => {
                self.run()?;
                Ok(self.tally.part())
            }
        }
    }

    fn receive_pushes(&mut self, samples: &mut Vec<u64>) -> Result<(), Error> {
        self.run()?;
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(samples, &mut latencies);
        Ok(())
    }

    fn idle(&mut self) -> Result<(), Error> {
        Ok(self.run()?)
    }
}
