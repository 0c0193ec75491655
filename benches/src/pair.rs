//! Main's half: launches the renderer, gives it orders, and collects what it measured.

use std::{
    cell::Cell,
    env,
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use ringbridge::{IpcMain, Policy, WebContents};

use crate::{
    Error,
    arrivals::{Arrivals, Report},
    board::Board,
    clock::now_ns,
    job::{Assignment, Job, Wait},
    messages::{Channels, Message, ORDER, Order, Task, stamped, with_message_of},
    pins::{keep_to, on_one},
};

/// How much longer than its time limit an order may take, on a machine that is busy.
const ORDER_GRACE: Duration = Duration::from_secs(60);
/// How long to look for the reason of a partner's silence.
const REASON_GRACE: Duration = Duration::from_millis(500);
/// The time between a push that was taken and the next, where the receiver is to be asleep by then.
const PARKED_PACE: Duration = Duration::from_micros(100);

/// When to end a slice: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// After so many messages.
    pub count: u64,
    /// After so many nanoseconds.
    pub time_ns: u64,
}

impl Limit {
    /// So many messages, however long they take.
    pub fn count(count: u64) -> Self {
        Self { count, time_ns: u64::MAX }
    }

    #[inline]
    pub(crate) fn allows(self, count: u64, time_ns: u64) -> bool {
        count < self.count && time_ns < self.time_ns
    }
}

/// What came of one order.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    /// How many messages there were.
    pub count: u64,
    /// How long they took in all; for a stream, until main had counted the last.
    pub elapsed: Duration,
    /// Nanoseconds: of each call, of each push on its way, or the mean of each batch of a stream.
    pub samples: Vec<u64>,
}

/// A main process, which is this one, and its renderer.
pub struct Pair {
    ipc: IpcMain,
    endpoint: String,
    window: WebContents,
    board: &'static Board,
    arrivals: Arc<Arrivals>,
    job: Job,
    /// Which line of the board was bounced last.
    line: Cell<u32>,
    push_paced: fn(&Pair, Limit) -> Result<(), Error>,
}

impl Pair {
    /// Launches this program once more, as a renderer; its `main` must call
    /// [`renderer_main`](crate::renderer_main) if [`is_renderer`](crate::is_renderer). Returns when
    /// the session is there.
    ///
    /// # Errors
    ///
    /// If it cannot be launched or ends at once.
    pub fn launch(job: Job) -> Result<Self, Error> {
        with_message_of!(job.payload, launch(job))
    }

    /// The name under which an inspector finds it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Bounces a cache line.
    ///
    /// # Errors
    ///
    /// As all measurements: if the renderer fails, ends, or stops answering.
    pub fn bounce(&self, limit: Limit) -> Result<Slice, Error> {
        self.board.reset();
        self.line.set(self.line.get().wrapping_add(1));
        self.order(Task::Bounce, limit)?;
        on_one(self.job.pins.main, || self.board.follow(self.line.get()))?
            .map_err(|stalled| self.explain(stalled))?;
        Ok(self.collect(limit)?.seen_from_renderer())
    }

    /// Bounces two futexes.
    ///
    /// # Errors
    ///
    /// As [`bounce`](Self::bounce).
    pub fn bounce_futex(&self, limit: Limit) -> Result<Slice, Error> {
        self.board.reset();
        self.order(Task::FutexBounce, limit)?;
        on_one(self.job.pins.main, || self.board.follow_futex())?
            .map_err(|stalled| self.explain(stalled))?;
        Ok(self.collect(limit)?.seen_from_renderer())
    }

    /// Lets the renderer invoke, each call timed.
    ///
    /// # Errors
    ///
    /// As [`bounce`](Self::bounce).
    pub fn invoke(&self, limit: Limit) -> Result<Slice, Error> {
        self.order(Task::Invoke, limit)?;
        Ok(self.collect(limit)?.seen_from_renderer())
    }

    /// Lets the renderer invoke `count` times without a look at the clock between.
    ///
    /// # Errors
    ///
    /// As [`bounce`](Self::bounce).
    pub fn invoke_untimed(&self, count: u64) -> Result<Slice, Error> {
        let limit = Limit::count(count);
        self.order(Task::InvokeUntimed, limit)?;
        Ok(self.collect(limit)?.seen_from_renderer())
    }

    /// Pushes to the renderer, the next when the last was taken; the renderer times each on its way.
    ///
    /// # Errors
    ///
    /// As [`bounce`](Self::bounce).
    pub fn push(&self, limit: Limit) -> Result<Slice, Error> {
        let began = now_ns();
        (self.push_paced)(self, limit)?;
        let elapsed = Duration::from_nanos(now_ns() - began);
        self.order(Task::ReportPushes, limit)?;
        Ok(Slice { elapsed, ..self.collect(limit)?.seen_from_renderer() })
    }

    /// Lets the renderer send a stream, and counts what arrives.
    ///
    /// # Errors
    ///
    /// As [`bounce`](Self::bounce), and if a message did not arrive.
    pub fn send(&self, limit: Limit) -> Result<Slice, Error> {
        let before = self.arrivals.streamed();
        self.order(Task::Send, limit)?;
        let slice = self.collect(limit)?.seen_from_main();
        let streamed = self.arrivals.streamed() - before;
        if streamed == slice.count {
            Ok(slice)
        } else {
            Err(format!("of {} messages, {streamed} arrived", slice.count).into())
        }
    }

    /// Ends the renderer.
    ///
    /// # Errors
    ///
    /// If the engine's loop cannot run.
    pub fn close(self) -> Result<(), Error> {
        Ok(self.ipc.close()?)
    }

    fn order(&self, task: Task, limit: Limit) -> Result<(), Error> {
        let order = Order {
            task,
            line: self.line.get(),
            count_max: limit.count,
            time_max_ns: limit.time_ns,
        };
        self.window.send(ORDER, &order).map_err(|error| self.explain(error))
    }

    /// Runs the loop until the renderer has reported.
    fn collect(&self, limit: Limit) -> Result<Report, Error> {
        let time_max = Duration::from_nanos(limit.time_ns).saturating_add(ORDER_GRACE);
        self.ipc.run_for(time_max)?;
        let report = self.arrivals.take_report();
        report.ok_or_else(|| self.explain("the renderer did not report in time"))
    }

    /// The renderer's own reason, if it can be had, rather than its consequence here.
    fn explain(&self, consequence: impl Into<Error>) -> Error {
        if self.arrivals.why_ended().is_none() {
            // Whether the loop can run is not the question here.
            let _ = self.ipc.run_for(REASON_GRACE);
        }
        self.arrivals.why_ended().map_or_else(|| consequence.into(), Into::into)
    }
}

fn launch<M: Message + ?Sized>(job: Job) -> Result<Pair, Error> {
    if job.pinned {
        keep_to(&[job.pins.main])?;
    }
    let endpoint = endpoint_name();
    let ipc = IpcMain::bind_with(&endpoint, Channels::<M>::CONTRACT, job.config())?;
    ipc.handle(Channels::<M>::ECHO, |_event, message| Ok(message.copy()))?;
    let arrivals = Arrivals::listen::<M>(&ipc)?;

    let (board, memory) = Board::create()?;
    let mut command = Command::new(env::current_exe()?);
    Assignment { job, board: memory.as_raw_fd() }.give_to(&mut command)?;
    let window = ipc.launch(command, Policy::deny_all().allow_all(Channels::<M>::CONTRACT))?;

    let (line, push_paced) = (Cell::new(0), push_paced::<M> as _);
    let pair = Pair { ipc, endpoint, window, board, arrivals, job, line, push_paced };
    pair.collect(Limit { count: 0, time_ns: 0 })?;
    Ok(pair)
}

/// Each push finds the ring empty: the last one was taken.
fn push_paced<M: Message + ?Sized>(pair: &Pair, limit: Limit) -> Result<(), Error> {
    let mut message = M::of_len(pair.job.payload);
    let began = now_ns();
    let mut count = 0;
    loop {
        let sent = now_ns();
        if !limit.allows(count, sent - began) {
            return Ok(());
        }
        let pushed = pair.window.send(Channels::<M>::PUSH, stamped::<M>(&mut message, sent));
        pushed.map_err(|error| pair.explain(error))?;
        pair.board.wait_until_taken(sent).map_err(|stalled| pair.explain(stalled))?;
        count += 1;
        if pair.job.wait == Wait::Park {
            thread::sleep(PARKED_PACE);
        }
    }
}

/// A name of its own for each pair of this process.
fn endpoint_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
