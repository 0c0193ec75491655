//! The renderer's half: does what main orders, and reports the samples.

use std::{
    borrow::Borrow,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringbridge::{IpcRenderer, RunError};

use crate::{
    Error,
    board::Board,
    clock::now_ns,
    job::{Assignment, Job},
    messages::{
        Channels, FAILED, FINISHED, Finished, Message, ORDER, Order, SAMPLES, SAMPLES_PER_MESSAGE,
        Task, stamped, with_message_of,
    },
    pair::Limit,
    pins::{keep_to, on_one},
};

/// How many messages of a stream are timed together: one reading of the clock costs as much as a
/// send.
const STREAM_BATCH: u64 = 64;
/// Samples that a slice has room for before its vector grows.
const SAMPLES_EXPECTED: usize = 1 << 18;

/// Whether this process is a renderer that a benchmark launched.
pub fn is_renderer() -> bool {
    IpcRenderer::was_launched()
}

/// The whole life of such a renderer.
pub fn renderer_main() -> ExitCode {
    let done = Assignment::of_this_process().and_then(|assignment| {
        let job = assignment.job;
        if job.pinned {
            keep_to(&[job.pins.renderer])?;
        }
        let board = Board::inherited(assignment.board)?;
        with_message_of!(job.payload, serve(job, board))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("renderer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve<M: Message + ?Sized>(job: Job, board: &'static Board) -> Result<(), Error> {
    let ipc = IpcRenderer::connect_with(Channels::<M>::CONTRACT, job.config())?;

    let order = Arc::new(Mutex::new(None));
    let (ordered, running) = (order.clone(), ipc.clone());
    ipc.on(ORDER, move |_event, order| {
        *lock(&ordered) = Some(*order);
        running.stop();
    })?;

    let latencies = Arc::new(Mutex::new(Vec::with_capacity(SAMPLES_EXPECTED)));
    let pushed = latencies.clone();
    ipc.on(Channels::<M>::PUSH, move |_event, message| {
        let (sent, received) = (message.stamp(), now_ns());
        lock(&pushed).push(received.saturating_sub(sent));
        board.take(sent);
    })?;

    let mut worker = Worker::<M> {
        message: M::of_len(job.payload),
        sequence: 0,
        samples: Vec::with_capacity(SAMPLES_EXPECTED),
        ipc,
        board,
        job,
    };
    // Tells main that the session is there.
    worker.report(Finished { count: 0, began_ns: 0, ended_ns: 0 })?;
    loop {
        match worker.ipc.run() {
            Ok(()) => {}
            Err(RunError::MainGone) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let Some(order) = lock(&order).take() else { continue };
        if order.task == Task::ReportPushes {
            std::mem::swap(&mut worker.samples, &mut lock(&latencies));
        }
        if let Err(error) = worker.obey(order) {
            // Main prints it; if it is gone, nobody needs to know.
            let _ = worker.ipc.send(FAILED, &error.to_string());
            return Ok(());
        }
    }
}

struct Worker<M: Message + ?Sized> {
    ipc: IpcRenderer,
    board: &'static Board,
    job: Job,
    message: M::Owned,
    sequence: u64,
    samples: Vec<u64>,
}

impl<M: Message + ?Sized> Worker<M> {
    fn obey(&mut self, order: Order) -> Result<(), Error> {
        let limit = Limit { count: order.count_max, time_ns: order.time_max_ns };
        let began_ns = now_ns();
        let (board, processor, samples) = (self.board, self.job.pins.renderer, &mut self.samples);
        let count = match order.task {
            Task::Bounce => {
                on_one(processor, || board.lead(order.line, limit, samples))??;
                self.samples.len() as u64
            }
            Task::FutexBounce => {
                on_one(processor, || board.lead_futex(limit, samples))??;
                self.samples.len() as u64
            }
            Task::Invoke => self.invoke(limit, began_ns)?,
            Task::InvokeUntimed => {
                for _ in 0..limit.count {
                    self.call()?;
                }
                limit.count
            }
            Task::Send => self.stream(limit, began_ns)?,
            Task::ReportPushes => self.samples.len() as u64,
        };
        self.report(Finished { count, began_ns, ended_ns: now_ns() })
    }

    fn invoke(&mut self, limit: Limit, began_ns: u64) -> Result<u64, Error> {
        let mut ended = began_ns;
        let mut count = 0;
        while limit.allows(count, ended - began_ns) {
            let sent = now_ns();
            self.call()?;
            ended = now_ns();
            self.samples.push(ended - sent);
            count += 1;
        }
        Ok(count)
    }

    #[inline]
    fn call(&mut self) -> Result<(), Error> {
        self.sequence += 1;
        let question = stamped::<M>(&mut self.message, self.sequence);
        let answer = self.ipc.invoke(Channels::<M>::ECHO, question)?.wait()?;
        let answer: &M = answer.borrow();
        if answer.stamp() == self.sequence {
            Ok(())
        } else {
            Err(format!("invoke {} got the reply to {}", self.sequence, answer.stamp()).into())
        }
    }

    /// Sends as fast as main takes it. A sample is the mean of a batch.
    fn stream(&mut self, limit: Limit, began_ns: u64) -> Result<u64, Error> {
        let mut ended = began_ns;
        let mut count = 0;
        while limit.allows(count, ended - began_ns) {
            let batch = STREAM_BATCH.min(limit.count - count);
            let sent = now_ns();
            for _ in 0..batch {
                self.sequence += 1;
                let message = stamped::<M>(&mut self.message, self.sequence);
                self.ipc.send(Channels::<M>::STREAM, message)?;
            }
            ended = now_ns();
            self.samples.push((ended - sent) / batch);
            count += batch;
        }
        Ok(count)
    }

    fn report(&mut self, finished: Finished) -> Result<(), Error> {
        self.ipc.send(FINISHED, &finished)?;
        for samples in self.samples.chunks(SAMPLES_PER_MESSAGE) {
            self.ipc.send(SAMPLES, samples)?;
        }
        self.samples.clear();
        self.ipc.send(SAMPLES, &[])?;
        Ok(())
    }
}

/// What these locks guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
