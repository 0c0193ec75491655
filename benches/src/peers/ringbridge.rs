//! Ringbridge as its users call it: `invoke` and `handle`, `send` and `on`, `WebContents::send`.

use std::{
    borrow::Borrow,
    hint::black_box,
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use ringbridge::{
    Config, Contract, Event, IpcMain, IpcRenderer, Method, Payload, Policy, Push, WaitStrategy,
    WebContents,
};

use super::ring_len;
use crate::{
    board::Board,
    lock,
    pair::{
        job::{Backend, Wait},
        prelude::*,
        side::Pacer,
    },
    system::now_ns,
};

/// The longest payload that travels in a ring; longer ones go by attachment.
pub(super) const RING_PAYLOAD_MAX: usize = 1 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// The time between a push that was taken and the next, where the receiver has to be asleep by then.
const PARKED_PACE: Duration = Duration::from_micros(100);

const WARM_UP: u64 = 64;

/// Ringbridge over one backend, with one wait strategy, and one way to stream.
#[derive(Clone, Copy)]
pub(crate) struct Ringbridge {
    pub(crate) backend: Backend,
    pub(crate) wait: Wait,
    pub(crate) way: Way,
}

/// How a stream is sent. A further way is a variant here, an arm in `work` of the sending side, and a row
/// in the table of subjects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The renderer calls `send`. Main copies the message out, and its listener reads the copy.
    Send,
    /// The renderer calls `send_all`, with many messages in one call.
    SendAll,
    /// Main calls `WebContents::send`. The renderer's listener reads in place.
    InPlace,
    /// Without a peer beside it: the renderer times the batches of a stream, of which main reads nothing, and
    /// main pushes when the last push was taken.
    Alone,
}

impl Ringbridge {
    /// Returns the engine's settings. A frame takes less than half of a ring; room for four messages, in the
    /// ring or in attachments, lets a stream flow.
    fn config(&self, payload: usize) -> Config {
        Config {
            backend: match self.backend {
                Backend::Sealed => ringbridge::Backend::Sealed,
                Backend::Portable => ringbridge::Backend::Portable,
            },
            wait: match self.wait {
                Wait::Spin => WaitStrategy::Spin,
                Wait::Adaptive => WaitStrategy::Adaptive,
                Wait::Park => WaitStrategy::Park,
            },
            main_capacity: ring_len(payload),
            renderer_capacity: ring_len(payload),
            attachment_max: 4 * payload.max(RING_PAYLOAD_MAX),
            ..Config::default()
        }
    }

    pub(super) fn unable(&self, task: Task) -> Option<&'static str> {
        match self.way {
            Way::Send | Way::Alone => None,
            _ if task.work != Work::Stream => Some("a stream only: the rest is ringbridge-spin's"),
            Way::SendAll if task.payload >= LONG => Some("batches are for small messages"),
            _ => None,
        }
    }

    /// Connects with a type of messages by their length. Whole words that share a cache line with their header
    /// travel as a fixed layout, as in an application; other lengths as a run of bytes.
    pub(super) fn connect(self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        match stage.payload() {
            8 => self.connect_with::<[u8; 8]>(stage),
            16 => self.connect_with::<[u8; 16]>(stage),
            24 => self.connect_with::<[u8; 24]>(stage),
            32 => self.connect_with::<[u8; 32]>(stage),
            40 => self.connect_with::<[u8; 40]>(stage),
            48 => self.connect_with::<[u8; 48]>(stage),
            _ => self.connect_with::<[u8]>(stage),
        }
    }

    fn connect_with<M: Message + ?Sized>(self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        Ok(if stage.is_main {
            Box::new(Main::<M>::launch(self, stage)?)
        } else {
            Box::new(Renderer::<M>::connect(self, stage)?)
        })
    }
}

/// A message: bytes with a stamp in the first eight.
trait Message:
    Payload<Owned = <Self as ToOwned>::Owned> + ToOwned<Owned: AsMut<[u8]>> + AsRef<[u8]> + 'static
{
    fn of_len(len: usize) -> <Self as ToOwned>::Owned;
}

impl<const N: usize> Message for [u8; N] {
    fn of_len(_: usize) -> Self {
        [0; N]
    }
}

impl Message for [u8] {
    fn of_len(len: usize) -> Vec<u8> {
        vec![0; len]
    }
}

/// A message whose bytes can be changed.
type Owned<M> = <M as ToOwned>::Owned;

#[inline]
fn stamped<M: Message + ?Sized>(message: &mut Owned<M>, stamp: u64) -> &M {
    set_stamp(message.as_mut(), stamp);
    (*message).borrow()
}

struct Channels<M: ?Sized>(PhantomData<M>);

impl<M: Message + ?Sized> Channels<M> {
    const ECHO: Method<M, M> = Method::new("echo");
    const STREAM: Event<M> = Event::new("stream");
    const PUSH: Push<M> = Push::new("push");
    const CONTRACT: Contract = &[&Self::ECHO, &Self::STREAM, &Self::PUSH, &DONE];
}

/// From the renderer: it is ready, or has sent its last message.
const DONE: Event<()> = Event::new("done");

/// The part of a stream that a listener has read. Only one thread adds, so no atomic addition is needed.
#[derive(Default)]
struct Tally {
    count: AtomicU64,
    sum: AtomicU64,
}

impl Tally {
    #[inline]
    fn count(&self) {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline]
    fn read(&self, message: &[u8]) -> bool {
        self.count();
        let sum = self.sum.load(Ordering::Relaxed).wrapping_add(sum(message));
        self.sum.store(sum, Ordering::Relaxed);
        stamp(message) == OVER
    }

    fn part(&self) -> StreamPart {
        black_box(self.sum.swap(0, Ordering::Relaxed));
        StreamPart::received(self.count.swap(0, Ordering::Relaxed))
    }
}

struct Main<M: Message + ?Sized> {
    ipc: IpcMain,
    window: WebContents,
    subject: Ringbridge,
    board: &'static Board,
    message: Owned<M>,
    tally: Arc<Tally>,
    stopped: Arc<AtomicBool>,
}

impl<M: Message + ?Sized> Main<M> {
    fn launch(subject: Ringbridge, stage: &mut Stage) -> Result<Self, Error> {
        let payload = stage.payload();
        let config = subject.config(payload);
        let ipc = IpcMain::bind_with(&stage.job.prefix, Channels::<M>::CONTRACT, config)?;
        let (tally, stopped) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));

        let (running, says) = (ipc.clone(), stopped.clone());
        let stop = move || {
            says.store(true, Ordering::Relaxed);
            running.stop();
        };
        if payload == SMALL {
            ipc.handle(Channels::<M>::ECHO, |_event, message| Ok(message.to_owned()))?;
        } else {
            // The answer is copied once, into the ring.
            ipc.handle_with(Channels::<M>::ECHO, |_event, message, reply| reply.send(message))?;
        }
        let counts = tally.clone();
        if subject.way == Way::Alone {
            ipc.on(Channels::<M>::STREAM, move |_event, _message| counts.count())?;
        } else {
            let over = stop.clone();
            ipc.on(Channels::<M>::STREAM, move |_event, message| {
                if counts.read(message.as_ref()) {
                    over();
                }
            })?;
        }
        ipc.on(DONE, move |_event, ()| stop())?;
        let running = ipc.clone();
        ipc.on_render_process_gone(move |_window, _details| running.stop());

        let policy = Policy::deny_all().allow_all(Channels::<M>::CONTRACT);
        let window = ipc.launch(stage.command()?, policy)?;
        let (board, message) = (stage.board, M::of_len(payload));
        let main = Self { ipc, window, subject, board, message, tally, stopped };
        main.run_until_stopped(CONNECT_MAX)?;
        Ok(main)
    }

    fn run_until_stopped(&self, time_max: Duration) -> Result<(), Error> {
        self.ipc.run_for(time_max)?;
        if self.stopped.swap(false, Ordering::Relaxed) {
            Ok(())
        } else {
            let gone = self.window.gone().map(|reason| format!("the renderer is gone: {reason}"));
            Err(gone.unwrap_or_else(|| "the renderer did not end its part".to_owned()).into())
        }
    }

    /// Pushes when the last push was taken, so that each finds an empty ring.
    fn push_in_lockstep(&mut self, limit: Limit) -> Result<(), Error> {
        let began = now_ns();
        let mut count = 0;
        loop {
            let sent = now_ns();
            if !limit.allows(count, sent - began) {
                return self.push_one(OVER);
            }
            self.push_one(sent)?;
            self.board.wait_until_posted(sent)?;
            count += 1;
            if self.subject.wait == Wait::Park {
                thread::sleep(PARKED_PACE);
            }
        }
    }

    #[inline]
    fn push_one(&mut self, stamp: u64) -> Result<(), Error> {
        Ok(self.window.send(Channels::<M>::PUSH, stamped::<M>(&mut self.message, stamp))?)
    }
}

impl<M: Message + ?Sized> Side for Main<M> {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        match half {
            Half::Answer(limit) => self.run_until_stopped(limit.patience())?,
            Half::StreamInMain(limit) if self.subject.way == Way::InPlace => {
                let payload = self.message.as_mut().len();
                return send_stream(payload, limit, |stamp| self.push_one(stamp));
            }
            Half::StreamInMain(limit) => {
                self.run_until_stopped(limit.patience())?;
                return Ok(self.tally.part());
            }
            Half::Push(Pacer { limit, .. }) if self.subject.way == Way::Alone => {
                self.push_in_lockstep(*limit)?;
            }
            Half::Push(pacer) => pacer.run(|stamp| self.push_one(stamp))?,
            Half::Idle(time_ns) => {
                self.ipc.run_for(Duration::from_nanos(time_ns))?;
                self.push_one(OVER)?;
            }
            _ => return Err(unable()),
        }
        Ok(StreamPart::default())
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
    message: Owned<M>,
    batch: Vec<Owned<M>>,
    tally: Arc<Tally>,
    latencies: Arc<Mutex<Vec<u64>>>,
}

impl<M: Message + ?Sized> Renderer<M> {
    fn connect(subject: Ringbridge, stage: &Stage) -> Result<Self, Error> {
        let (task, payload, way) = (stage.job.task, stage.payload(), subject.way);
        let ipc = IpcRenderer::connect_with(Channels::<M>::CONTRACT, subject.config(payload))?;
        let (tally, latencies) = (Arc::new(Tally::default()), Arc::new(Mutex::new(Vec::new())));

        let running = ipc.clone();
        if task.work == Work::Push {
            // The first push takes the mapped memory from `take_pushes`, the last gives it back.
            let (mut under_way, lent) = (Vec::new(), latencies.clone());
            let board = (way == Way::Alone).then_some(stage.board);
            ipc.on(Channels::<M>::PUSH, move |_event, message| {
                let (sent, received) = (stamp(message.as_ref()), now_ns());
                if under_way.capacity() == 0 {
                    std::mem::swap(&mut under_way, &mut lock(&lent));
                }
                if sent == OVER {
                    std::mem::swap(&mut under_way, &mut lock(&lent));
                    running.stop();
                    return;
                }
                under_way.push(received.saturating_sub(sent));
                if let Some(board) = board {
                    board.post(sent, false);
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
        let batch_len = if way == Way::SendAll { STREAM_BATCH } else { 0 };
        let batch = (0..batch_len).map(|_| M::of_len(payload)).collect();
        let message = M::of_len(payload);
        Ok(Self { ipc, way, message, batch, tally, latencies })
    }

    #[inline]
    fn ask(&mut self, number: u64) -> Result<u64, Error> {
        let question = stamped::<M>(&mut self.message, number);
        let invocation = self.ipc.invoke(Channels::<M>::ECHO, question)?;
        if question.as_ref().len() == SMALL {
            let answer = invocation.wait()?;
            let answer: &M = answer.borrow();
            return Ok(read_all(answer.as_ref()));
        }
        // In place, as the peers' receivers read.
        Ok(invocation.wait_read(|answer| read_all(answer.as_ref()))?)
    }

    #[inline]
    fn send_one(&mut self, stamp: u64) -> Result<(), Error> {
        Ok(self.ipc.send(Channels::<M>::STREAM, stamped::<M>(&mut self.message, stamp))?)
    }

    fn send_batches(&mut self, limit: Limit) -> Result<StreamPart, Error> {
        let began = now_ns();
        let mut count = 0;
        while now_ns() - began < limit.time_ns {
            for message in &mut self.batch {
                count += 1;
                stamped::<M>(message, count);
            }
            self.ipc.send_all(Channels::<M>::STREAM, &self.batch)?;
        }
        self.send_one(OVER)?;
        Ok(StreamPart::sent(began, count + 1))
    }

    /// Sends as fast as main takes it. A sample is the mean of a batch: one reading of the clock costs as much
    /// as a send.
    fn send_timed(&mut self, limit: Limit, samples: &mut Vec<u64>) -> Result<StreamPart, Error> {
        let began = now_ns();
        let mut ended = began;
        let mut count = 0;
        while limit.allows(count, ended - began) {
            let batch = STREAM_BATCH.min(limit.count - count);
            let sent = now_ns();
            for number in 1..=batch {
                self.send_one(count + number)?;
            }
            ended = now_ns();
            samples.push((ended - sent) / batch);
            count += batch;
        }
        self.ipc.send(DONE, &())?;
        Ok(StreamPart::sent(began, count))
    }
}

impl<M: Message + ?Sized> Side for Renderer<M> {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        match half {
            Half::Ask(limit, samples) => {
                if self.way == Way::Alone {
                    // The order and its report have cooled the caches. Its slices are short.
                    (0..WARM_UP).try_for_each(|stamp| self.ask(stamp).map(drop))?;
                }
                ask_until(limit, samples, |asked| self.ask(asked))?;
                self.ipc.send(DONE, &())?;
            }
            Half::AskUntimed(count) => {
                for asked in 1..=count {
                    let answered = self.ask(asked)?;
                    if answered != asked {
                        return Err(format!("invoke {asked} got the reply to {answered}").into());
                    }
                }
                self.ipc.send(DONE, &())?;
                return Ok(StreamPart { count, ..StreamPart::default() });
            }
            Half::StreamInRenderer(limit, samples) => match self.way {
                Way::Send => {
                    let payload = self.message.as_mut().len();
                    return send_stream(payload, limit, |stamp| self.send_one(stamp));
                }
                Way::SendAll => return self.send_batches(limit),
                Way::Alone => return self.send_timed(limit, samples),
                Way::InPlace => {
                    self.ipc.run()?;
                    return Ok(self.tally.part());
                }
            },
            Half::TakePushes(samples) => {
                std::mem::swap(samples, &mut lock(&self.latencies));
                self.ipc.run()?;
                std::mem::swap(samples, &mut lock(&self.latencies));
            }
            Half::Rest => self.ipc.run()?,
            _ => return Err(unable()),
        }
        Ok(StreamPart::default())
    }
}
