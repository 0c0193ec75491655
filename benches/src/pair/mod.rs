//! A main process and a renderer process on two processors, the subject between them, and the floor of the
//! machine beside it.
//!
//! ```text
//!   main process                              renderer process (the same program, launched)
//!   Pair::order ─────────────── order ───────▶ serve
//!        │  half                                   │  half, timing each message
//!        └◀───────────────────── report ───────────┘      over `control`, beside the subject
//! ```
//!
//! The *floor* is the time in which two processes bounce one cache line with plain atomics or, for subjects
//! that sleep, one futex each way. The same two processes measure it between two slices of the subject. So at
//! most two processes are busy, and both figures see the same placement of the virtual processors. Every
//! sample contains one reading of the clock, the floor's too.
//!
//! `job` is what a process learns at its launch, `stage` its view of the pair, `side` its half of a subject. The
//! subjects are in `peers`.

pub(crate) mod job;
pub(crate) mod side;
pub(crate) mod stage;

pub(crate) mod prelude {
    pub(crate) use super::{
        Limit,
        job::{SMALL, Task, Work},
        side::{
            Half, LONG, Link, OVER, STREAM_BATCH, Side, StreamPart, ask_until, read, read_all,
            read_stream, send_stream, set_stamp, stamp, sum, unable,
        },
        stage::Stage,
    };
    pub(crate) use crate::Error;
}

use std::{
    process::{self, ExitCode},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{
    job::{Chosen, Job, Setting, Task, Work},
    side::{Half, Pacer, Side, StreamPart, pushes, touched, wait_until},
    stage::{Control, Stage},
};
use crate::{
    Error, compare, peers,
    stats::{Distribution, longest, median},
    system::{now_ns, on_one},
};

const GRACE: Duration = Duration::from_secs(60);
/// How long main waits for the reason of a renderer that it cannot work with.
const REASON_GRACE: Duration = Duration::from_millis(500);
/// The most samples for which memory is mapped in advance.
const SAMPLES_TOUCHED_MAX: u64 = 4 << 20;
/// No round trip takes less.
const ROUND_TRIP_MIN_NS: u64 = 100;
const LONGEST: usize = 6;
/// The time in which a renderer gets from the order into its loop, before the first push.
const SETTLING_NS: u64 = 100_000;

/// The end of a slice: whichever limit is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub(crate) count: u64,
    pub(crate) time_ns: u64,
}

impl Limit {
    /// Limits the number of messages only.
    pub const fn count(count: u64) -> Self {
        Self { count, time_ns: u64::MAX }
    }

    pub(crate) const fn time(time_ns: u64) -> Self {
        Self { count: u64::MAX, time_ns }
    }

    #[inline]
    pub(crate) fn allows(self, count: u64, time_ns: u64) -> bool {
        count < self.count && time_ns < self.time_ns
    }

    pub(crate) fn patience(self) -> Duration {
        Duration::from_nanos(self.time_ns).saturating_add(GRACE)
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Order {
    Work(Limit),
    Untimed(u64),
    /// Leads the bouncing of this cache line.
    Bounce(u32, Limit),
    BounceFutex(Limit),
}

/// The figures of one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Slice {
    /// The number of messages that were received, or of round trips.
    pub(crate) count: u64,
    pub(crate) stream: StreamPart,
    /// The renderer's time for the order; of a stream from the first message sent to the last received.
    pub elapsed: Duration,
    /// The sum of the samples.
    pub sum: Duration,
    /// The samples: round trips, pushes on their way, or the means of batches of a stream.
    pub(crate) all: Distribution,
    pub(crate) p50_ns: Option<u64>,
    /// The longest samples: when each began since the order did, and its length.
    pub(crate) longest: Vec<(u64, u64)>,
    pub(crate) main_elapsed: Duration,
    /// The CPU time of main and of the renderer.
    pub(crate) cpu_ns: [u64; 2],
    pub(crate) cost: Option<Distribution>,
    /// Wake-ups of the renderer by main, if the subject counts them.
    pub(crate) wakes: Option<u64>,
}

/// A main process, which is this process, and its renderer.
pub struct Pair {
    stage: Stage,
    side: Box<dyn Side>,
    pub(crate) renderer: u32,
    line: u32,
}

impl Pair {
    /// Launches this program once more as the renderer of a session. Its `main` must begin with [`take_part`].
    /// Returns when the session is established.
    pub fn launch(mut job: Job) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        if let Chosen::Alone(..) = job.subject {
            job.prefix += &format!("-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        }
        job.pin(job.pins.main)?;
        let mut stage = Stage::of_main(job)?;
        stage.control.set_patience(GRACE)?;
        let side = peers::connect(&mut stage)?;
        let renderer = stage.control.hear()?;
        Ok(Self { stage, side, renderer, line: 0 })
    }

    /// Returns the name under which an inspector finds the main process.
    pub(crate) fn endpoint(&self) -> &str {
        &self.stage.job.prefix
    }

    /// Does the work of the job's task.
    pub fn work(&mut self, limit: Limit) -> Result<Slice, Error> {
        self.order(Order::Work(limit), limit)
    }

    /// Invokes `count` times without reading the clock in between.
    pub fn invoke_untimed(&mut self, count: u64) -> Result<Slice, Error> {
        self.order(Order::Untimed(count), Limit::count(count))
    }

    /// Bounces a cache line, another one in each slice: how far a line travels depends on its address.
    pub(crate) fn bounce(&mut self, limit: Limit) -> Result<Slice, Error> {
        self.line = self.line.wrapping_add(1);
        self.order(Order::Bounce(self.line, limit), limit)
    }

    pub(crate) fn bounce_futex(&mut self, limit: Limit) -> Result<Slice, Error> {
        self.order(Order::BounceFutex(limit), limit)
    }

    /// Ends the renderer.
    pub fn close(self) -> Result<(), Error> {
        self.stage.control.say(&None::<Order>)?;
        drop(self.side);
        self.stage.finish()
    }

    fn order(&mut self, order: Order, limit: Limit) -> Result<Slice, Error> {
        let Self { stage, side, .. } = self;
        stage.control.set_patience(limit.patience())?;
        if matches!(order, Order::Bounce(..) | Order::BounceFutex(_)) {
            stage.board.reset();
        }
        stage.control.say(&Some(order))?;
        let done = half(stage, side.as_mut(), order, &mut Vec::new());
        if done.is_err() {
            stage.control.set_patience(REASON_GRACE)?;
        }
        // The renderer's own reason explains more than its consequence here.
        match (stage.control.hear::<Result<Slice, String>>(), done) {
            (Ok(Err(reason)), _) => Err(format!("the renderer failed: {reason}").into()),
            (_, Err(error)) | (Err(error), _) => Err(error),
            (Ok(Ok(theirs)), Ok(ours)) => ours.with(theirs),
        }
    }
}

impl Slice {
    fn with(self, theirs: Self) -> Result<Self, Error> {
        let (here, there) = (self.stream, theirs.stream);
        let mut slice = Self {
            main_elapsed: self.elapsed,
            cpu_ns: [self.cpu_ns[0], theirs.cpu_ns[1]],
            cost: self.cost,
            wakes: self.wakes,
            ..theirs
        };
        if let (Some(began), Some(ended)) =
            (here.began_ns.or(there.began_ns), here.ended_ns.or(there.ended_ns))
        {
            if here.count != there.count && here.count.min(there.count) != 0 {
                let [one, other] = [here.count, there.count];
                return Err(format!("a stream of {one} on one side, {other} on the other").into());
            }
            slice.count = here.count.max(there.count);
            slice.elapsed = Duration::from_nanos(ended.saturating_sub(began));
        }
        Ok(slice)
    }
}

/// Does the part of a process that a benchmark launched, and returns its exit status. Returns `None` in the
/// process that was started by hand.
pub fn take_part() -> Option<ExitCode> {
    let done = match Job::of_this_process() {
        Ok(None) => return None,
        Ok(Some((job, times_ns))) => Control::of_stdin().and_then(|control| match times_ns {
            Some(times_ns) => compare::slice_main(&control, job, times_ns),
            None => serve(Stage::of_renderer(job, control)?),
        }),
        Err(error) => Err(error),
    };
    Some(crate::cli::exit("renderer", done.map(|()| true)))
}

/// Serves main's orders until the last. This is the whole life of a renderer.
fn serve(mut stage: Stage) -> Result<(), Error> {
    let Job { pins, task, .. } = stage.job;
    stage.job.pin(pins.renderer)?;
    let mut side = peers::connect(&mut stage)?;
    if task.setting == Setting::OneCore {
        stage.job.pin(pins.main)?;
    }
    stage.control.say(&process::id())?;
    let mut samples = Vec::new();
    // Main is gone or has failed if nothing is heard, and then no longer interested in a reason.
    while let Ok(Some(order)) = stage.control.hear::<Option<Order>>() {
        let report = half(&stage, side.as_mut(), order, &mut samples);
        let failed = report.is_err();
        stage.control.say(&report.map_err(|error| error.to_string()))?;
        if failed {
            break;
        }
    }
    Ok(())
}

/// Does this process's half of an order. Only a renderer has samples.
fn half(
    stage: &Stage,
    side: &mut dyn Side,
    order: Order,
    samples: &mut Vec<u64>,
) -> Result<Slice, Error> {
    let Stage { board, is_main, ref job, .. } = *stage;
    let (task, pins) = (job.task, job.pins);
    samples.clear();
    let room = if is_main { 0 } else { room(order, task) as usize };
    if samples.capacity() < room {
        *samples = touched(room);
    }
    stage.control.meet()?;
    // So that no sample contains a wake-up from the control socket. On one core only one of them can run, and an
    // idle pair is not timed.
    if task.setting != Setting::OneCore && task.work != Work::Idle {
        board.meet(is_main)?;
    }
    if let (true, Order::Work(_), Work::Push) = (is_main, order, task.work) {
        wait_until(now_ns() + SETTLING_NS, false);
    }
    let (mut pacer, mut stream) = (None, StreamPart::default());
    let (wakes, cpu, began) = (side.wakes(), (stage.cpu_ns)(), now_ns());
    match (order, is_main) {
        (Order::Bounce(line, _), true) => on_one(pins.main, || board.follow(line))??,
        (Order::Bounce(line, limit), false) => {
            on_one(pins.renderer, || board.lead(line, limit, samples))??;
        }
        (Order::BounceFutex(_), true) => on_one(pins.main, || board.follow_futex())??,
        (Order::BounceFutex(limit), false) => {
            on_one(pins.renderer, || board.lead_futex(limit, samples))??;
        }
        (Order::Untimed(count), true) => stream = side.work(Half::Answer(Limit::count(count)))?,
        (Order::Untimed(count), false) => stream = side.work(Half::AskUntimed(count))?,
        (Order::Work(limit), _) => {
            stream = side.work(match (task.work, is_main) {
                (Work::RoundTrip, true) => Half::Answer(limit),
                (Work::RoundTrip, false) => Half::Ask(limit, samples),
                (Work::Stream, true) => Half::StreamInMain(limit),
                (Work::Stream, false) => Half::StreamInRenderer(limit, samples),
                (Work::Push, true) => Half::Push(pacer.insert(Pacer::new(task, limit))),
                (Work::Push, false) => Half::TakePushes(samples),
                (Work::Idle, true) => Half::Idle(limit.time_ns),
                (Work::Idle, false) => Half::Rest,
            })?;
        }
    }
    let (elapsed_ns, cpu_ns) = (now_ns() - began, (stage.cpu_ns)() - cpu);
    Ok(Slice {
        count: stream.count.max(samples.len() as u64),
        stream,
        elapsed: Duration::from_nanos(elapsed_ns),
        sum: Duration::from_nanos(samples.iter().sum()),
        longest: outliers(samples, task.rate_hz),
        all: Distribution::of(samples),
        p50_ns: median(samples),
        cpu_ns: if is_main { [cpu_ns, 0] } else { [0, cpu_ns] },
        cost: pacer.map(|pacer| Distribution::of(&pacer.costs)),
        wakes: side.wakes().zip(wakes).map(|(after, before)| after - before),
        ..Slice::default()
    })
}

/// Returns the number of samples for which memory is mapped before an order begins.
fn room(order: Order, task: Task) -> u64 {
    let (limit, shortest_ns) = match (order, task.work) {
        (Order::Bounce(_, limit), _) => (limit, ROUND_TRIP_MIN_NS / 2),
        (Order::BounceFutex(limit), _) | (Order::Work(limit), Work::RoundTrip) => {
            (limit, ROUND_TRIP_MIN_NS)
        }
        (Order::Work(limit), Work::Push) if task.rate_hz > 0 => {
            return pushes(task.rate_hz, limit.time_ns);
        }
        (Order::Work(limit), Work::Push) => (limit, ROUND_TRIP_MIN_NS),
        _ => return 0,
    };
    limit.count.min(limit.time_ns / shortest_ns).min(SAMPLES_TOUCHED_MAX)
}

/// Returns the longest samples with their times. Round trips follow one another, pushes come at their rate.
fn outliers(samples: &[u64], rate_hz: u64) -> Vec<(u64, u64)> {
    let mut at = 0;
    let timed = samples.iter().map(|&sample| {
        let began = at;
        at += 1_000_000_000_u64.checked_div(rate_hz).unwrap_or(sample);
        (sample, began)
    });
    longest(timed, LONGEST).into_iter().map(|(sample, began)| (began, sample)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_the_longest_with_the_time_at_which_they_began() {
        assert_eq!(outliers(&[10, 500, 20, 90], 0)[..2], [(10, 500), (530, 90)]);
        assert_eq!(outliers(&[10, 500], 1000)[0], (1_000_000, 500));
    }

    #[test]
    fn a_stream_that_lost_a_message_is_an_error_and_one_side_may_take_no_part() {
        let slice = |stream| Slice { stream, ..Slice::default() };
        let here = |count| slice(StreamPart { count, began_ns: None, ended_ns: Some(30) });
        let there = |count| slice(StreamPart::sent(10, count));
        let both = |one, other| here(one).with(there(other));
        let slice = both(7, 7).unwrap();
        assert_eq!((slice.count, slice.elapsed.as_nanos()), (7, 20));
        assert_eq!(both(7, 0).unwrap().count, 7);
        assert!(both(7, 8).is_err());
    }
}
