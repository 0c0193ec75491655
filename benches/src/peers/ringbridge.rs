//! Ringbridge as its users call it: `invoke` and `handle`, `send` and `on`, `WebContents::send`.

use std::{
    borrow::Borrow,
    hint::black_box,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use ringbridge::{Config, IpcMain, IpcRenderer, Policy, WaitStrategy, WebContents};

use super::{
    message::{Channels, DONE, Message, stamped, with_message_of},
    ring_len,
};
use crate::{
    board::Board,
    pair::{
        job::{Backend, Wait},
        prelude::*,
    },
    system::now_ns,
};

/// From this payload on a responder is cheaper than a copy.
const DEFERRED_FROM: usize = 16 << 10;
/// The longest payload that travels in a ring; longer ones go by attachment.
pub(super) const RING_PAYLOAD_MAX: usize = 1 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(60);
/// The time between a push that was taken and the next, where the receiver has to be asleep by then.
const PARKED_PACE: Duration = Duration::from_micros(100);

/// The round trips before those of a slice of `latency`.
const WARM_UP: u64 = 64;

/// Ringbridge over one backend, with one wait strategy, and one way to stream.
#[derive(Clone, Copy)]
pub(crate) struct Ringbridge {
    pub(crate) backend: Backend,
    pub(crate) wait: Wait,
    pub(crate) way: Way,
}

/// How a stream is sent. A further way is a variant here, an arm in `stream` of the sending side, and a row
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
}

impl Peer for Ringbridge {
    fn unable(&self, task: Task) -> Option<&'static str> {
        match self.way {
            Way::Send | Way::Alone => None,
            _ if task.work != Work::Stream => Some("a stream only: the rest is ringbridge-spin's"),
            Way::SendAll if task.payload >= LONG => Some("batches are for small messages"),
            _ => None,
        }
    }

    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        with_message_of!(stage.payload(), in_main(self, stage))
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        with_message_of!(stage.payload(), in_renderer(self, stage))
    }
}

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

    /// Reads a message, and returns whether it is the last.
    #[inline]
    fn read(&self, message: &[u8]) -> bool {
        self.count();
        let sum = self.sum.load(Ordering::Relaxed).wrapping_add(sum(message));
        self.sum.store(sum, Ordering::Relaxed);
        stamp(message) == OVER
    }

    /// Returns the part of a receiver whose stream has just ended.
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
    message: M::Owned,
    tally: Arc<Tally>,
    stopped: Arc<AtomicBool>,
}

fn in_main<M: Message + ?Sized>(
    subject: &Ringbridge,
    stage: &mut Stage,
) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    let config = subject.config(payload);
    let ipc = IpcMain::bind_with(&stage.job.prefix, Channels::<M>::CONTRACT, config)?;
    let (tally, stopped) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));

    let (running, says) = (ipc.clone(), stopped.clone());
    let stop = move || {
        says.store(true, Ordering::Relaxed);
        running.stop();
    };
    if payload < DEFERRED_FROM || subject.way == Way::Alone {
        ipc.handle(Channels::<M>::ECHO, |_event, message| Ok(message.copy()))?;
    } else {
        // A responder takes a reference, so the answer is copied once, into the ring.
        ipc.handle_deferred(Channels::<M>::ECHO, |_event, message, responder| {
            responder.reply(message);
        })?;
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
    let (subject, board, message) = (*subject, stage.board, M::of_len(payload));
    let main = Main::<M> { ipc, window, subject, board, message, tally, stopped };
    main.run_until_stopped(CONNECT_MAX)?;
    Ok(Box::new(main))
}

impl<M: Message + ?Sized> Main<M> {
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
    fn answer(&mut self, limit: Limit) -> Result<(), Error> {
        self.run_until_stopped(limit.patience())
    }

    fn stream_in_main(&mut self, limit: Limit) -> Result<StreamPart, Error> {
        if self.subject.way == Way::InPlace {
            let payload = self.message.as_mut().len();
            return send_stream(payload, limit, |stamp| self.push_one(stamp));
        }
        self.run_until_stopped(limit.patience())?;
        Ok(self.tally.part())
    }

    fn push(&mut self, pacer: &mut Pacer) -> Result<(), Error> {
        if self.subject.way == Way::Alone {
            return self.push_in_lockstep(pacer.limit);
        }
        pacer.run(|stamp| self.push_one(stamp))
    }

    fn idle(&mut self, time_ns: u64) -> Result<(), Error> {
        self.ipc.run_for(Duration::from_nanos(time_ns))?;
        self.push_one(OVER)
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
    batch: Vec<M::Owned>,
    tally: Arc<Tally>,
    latencies: Arc<Mutex<Vec<u64>>>,
}

fn in_renderer<M: Message + ?Sized>(
    subject: &Ringbridge,
    stage: &Stage,
) -> Result<Box<dyn Side>, Error> {
    let (task, payload, way) = (stage.job.task, stage.payload(), subject.way);
    let ipc = IpcRenderer::connect_with(Channels::<M>::CONTRACT, subject.config(payload))?;
    let (tally, latencies) = (Arc::new(Tally::default()), Arc::new(Mutex::new(Vec::new())));

    let running = ipc.clone();
    if task.work == Work::Push {
        // The first push takes the mapped memory from `take_pushes`, the last gives it back.
        let (mut under_way, lent) = (Vec::new(), latencies.clone());
        let board = (way == Way::Alone).then_some(stage.board);
        ipc.on(Channels::<M>::PUSH, move |_event, message| {
            let (sent, received) = (message.stamp(), now_ns());
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
                board.post(sent);
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
    Ok(Box::new(Renderer::<M> { ipc, way, message, batch, tally, latencies }))
}

impl<M: Message + ?Sized> Renderer<M> {
    #[inline]
    fn ask(&mut self, stamp: u64) -> Result<u64, Error> {
        let question = stamped::<M>(&mut self.message, stamp);
        let answer = self.ipc.invoke(Channels::<M>::ECHO, question)?.wait()?;
        let answer: &M = answer.borrow();
        Ok(answer.stamp())
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
    fn call(&mut self, limit: Limit, samples: &mut Vec<u64>) -> Result<(), Error> {
        if self.way == Way::Alone {
            // The order and its report have cooled the caches. Its slices are short.
            (0..WARM_UP).try_for_each(|stamp| self.ask(stamp).map(drop))?;
        }
        call(limit, samples, |asked| self.ask(asked))?;
        Ok(self.ipc.send(DONE, &())?)
    }

    fn call_untimed(&mut self, count: u64) -> Result<(), Error> {
        for asked in 1..=count {
            let answered = self.ask(asked)?;
            if answered != asked {
                return Err(format!("invoke {asked} got the reply to {answered}").into());
            }
        }
        Ok(self.ipc.send(DONE, &())?)
    }

    fn stream_in_renderer(
        &mut self,
        limit: Limit,
        samples: &mut Vec<u64>,
    ) -> Result<StreamPart, Error> {
        match self.way {
            Way::Send => {
                let payload = self.message.as_mut().len();
                send_stream(payload, limit, |stamp| self.send_one(stamp))
            }
            Way::SendAll => self.send_batches(limit),
            Way::Alone => self.send_timed(limit, samples),
            Way::InPlace => {
                self.ipc.run()?;
                Ok(self.tally.part())
            }
        }
    }

    fn take_pushes(&mut self, samples: &mut Vec<u64>) -> Result<(), Error> {
        std::mem::swap(samples, &mut lock(&self.latencies));
        self.ipc.run()?;
        std::mem::swap(samples, &mut lock(&self.latencies));
        Ok(())
    }

    fn rest(&mut self) -> Result<(), Error> {
        Ok(self.ipc.run()?)
    }
}

/// The value is consistent at every moment, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
