//! What a subject does in each of its two processes, and the loops that all of them share.
//!
//! ```text
//!                main                         renderer
//!   round trip   answer       ◀── question ── call, timing each
//!                             ─── answer ───▶
//!   stream       stream       ◀── messages ── stream
//!   push         push         ─── at a rate ▶ receive_pushes, timing each
//!   idle         idle                         idle
//! ```
//!
//! The halves of one kind of work run at the same time and end together: a message with the stamp
//! [`OVER`] is the last. Every message carries a stamp in its first eight bytes.

use std::num::NonZeroU64;

use rustix::{
    io::Errno,
    thread::{clock_nanosleep_absolute, set_current_timer_slack},
    time::{ClockId, Timespec},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    clock::now_ns,
    compare::{
        stage::Stage,
        work::{Setting, Task},
    },
    job::Backend,
};

/// The stamp of the last message.
pub(crate) const OVER: u64 = u64::MAX;
/// Small messages of a stream between two looks at the clock, which costs as much as one of them.
pub(crate) const STREAM_BATCH: u64 = 64;
/// From this length on a message is so long that the clock does not matter.
pub(crate) const LONG: usize = 4096;
/// Pushes that are further apart than this are waited for asleep, as an application would, unless the task says
/// otherwise; others by spinning, since a wake-up takes longer than the time between them.
const SLEEP_ABOVE_NS: u64 = 50_000;

/// A way to talk between two processes.
pub(crate) trait Subject: Sync {
    /// Its name on the command line and in the report.
    fn name(&self) -> &'static str;

    /// What it is, and how its receiver waits.
    fn about(&self) -> &'static str;

    /// Over which of Ringbridge's backends, if it is Ringbridge.
    fn backend(&self) -> Option<Backend> {
        None
    }

    /// The crate whose version counts, if it is not this one's.
    fn package(&self) -> Option<&'static str> {
        None
    }

    /// Whether its receiver lets others have the processor while it waits. If not, the two would wait for
    /// the ends of each other's time slices on one core.
    fn shares_a_core(&self) -> bool {
        false
    }

    /// Why it cannot do the task, if so.
    fn unable(&self, _task: Task) -> Option<&'static str> {
        None
    }

    /// Connects, in the main process, which also has the renderer started.
    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error>;

    /// Connects, in the renderer.
    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error>;
}

/// The main process's half of a subject.
pub(crate) trait MainSide {
    /// Answers until the last question.
    fn answer(&mut self) -> Result<(), Error>;

    /// Its half of a stream: as the receiver until the last message, as the sender for `time_ns`.
    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error>;

    /// Sends what the pacer asks for.
    fn push(&mut self, pacer: &mut Pacer) -> Result<(), Error>;

    /// Sends nothing for so long, and then the last message.
    fn idle(&mut self, time_ns: u64) -> Result<(), Error>;

    /// How many wake-ups of the renderer it has caused, if it counts them.
    fn wakes(&self) -> Option<u64> {
        None
    }
}

/// The renderer's half of a subject.
pub(crate) trait RendererSide {
    /// Asks for `time_ns`, or until the samples have no more room, and times each round trip.
    fn call(&mut self, time_ns: u64, samples: &mut Vec<u64>) -> Result<(), Error>;

    /// Its half of a stream: as the sender for `time_ns`, as the receiver until the last message.
    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error>;

    /// Receives until the last push; the samples are how long each was on its way.
    fn receive_pushes(&mut self, samples: &mut Vec<u64>) -> Result<(), Error>;

    /// Receives until the last message, which is the first.
    fn idle(&mut self) -> Result<(), Error>;
}

/// What one side knows of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamPart {
    /// How many messages it sent or received; 0 for one that only looked on.
    pub(crate) count: u64,
    /// When the sender began.
    pub(crate) began_ns: Option<u64>,
    /// When the receiver had read the last byte.
    pub(crate) ended_ns: Option<u64>,
}

impl StreamPart {
    /// The sender's part.
    pub(crate) fn sent(began_ns: u64, count: u64) -> Self {
        Self { count, began_ns: Some(began_ns), ended_ns: None }
    }

    /// The receiver's part, which ends now.
    pub(crate) fn received(count: u64) -> Self {
        Self { count, began_ns: None, ended_ns: Some(now_ns()) }
    }
}

/// The stamp of a message.
#[inline]
pub(crate) fn stamp(message: &[u8]) -> u64 {
    message.first_chunk().copied().map_or(0, u64::from_ne_bytes)
}

/// Writes the stamp of a message.
#[inline]
pub(crate) fn set_stamp(message: &mut [u8], stamp: u64) {
    if let Some(place) = message.first_chunk_mut() {
        *place = stamp.to_ne_bytes();
    }
}

/// Reads every byte.
#[inline]
pub(crate) fn sum(message: &[u8]) -> u64 {
    let mut words = message.chunks_exact(8);
    let whole: u64 = words
        .by_ref()
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
        .fold(0, u64::wrapping_add);
    words.remainder().iter().fold(whole, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}

/// The caller's loop of a round trip: `call` asks with a stamp and says whose answer it got.
#[inline]
pub(crate) fn call(
    time_ns: u64,
    samples: &mut Vec<u64>,
    mut call: impl FnMut(u64) -> Result<u64, Error>,
) -> Result<(), Error> {
    let began = now_ns();
    let mut ended = began;
    let mut asked = 0;
    while ended - began < time_ns && samples.len() < samples.capacity() {
        asked += 1;
        let sent = now_ns();
        let answered = call(asked)?;
        ended = now_ns();
        samples.push(ended - sent);
        if answered != asked {
            return Err(format!("question {asked} got the answer to {answered}").into());
        }
    }
    Ok(())
}

/// The sender's loop of a stream: `send` sends one message with a stamp.
#[inline]
pub(crate) fn send_stream(
    payload: usize,
    time_ns: u64,
    mut send: impl FnMut(u64) -> Result<(), Error>,
) -> Result<StreamPart, Error> {
    let batch = if payload < LONG { STREAM_BATCH } else { 1 };
    let began = now_ns();
    let mut count = 0;
    while now_ns() - began < time_ns {
        for _ in 0..batch {
            count += 1;
            send(count)?;
        }
    }
    send(OVER)?;
    Ok(StreamPart::sent(began, count + 1))
}

/// As [`send_stream`], for a `send` that takes many messages at once: the first one's stamp, and how many.
#[inline]
pub(crate) fn send_stream_in_batches(
    time_ns: u64,
    mut send: impl FnMut(u64, usize) -> Result<(), Error>,
) -> Result<StreamPart, Error> {
    let began = now_ns();
    let mut count = 0;
    while now_ns() - began < time_ns {
        send(count + 1, STREAM_BATCH as usize)?;
        count += STREAM_BATCH;
    }
    send(OVER, 1)?;
    Ok(StreamPart::sent(began, count + 1))
}

/// How many pushes there are at this rate in so much time: at least one.
pub(crate) fn pushes(rate_hz: u64, time_ns: u64) -> u64 {
    (u128::from(rate_hz) * u128::from(time_ns) / 1_000_000_000).max(1) as u64
}

/// When to push, and what it cost.
pub(crate) struct Pacer {
    period_ns: u64,
    sleeps: bool,
    count: u64,
    /// How long each call took the sender.
    pub(crate) costs: Vec<u64>,
}

impl Pacer {
    /// Pushes as the task asks for, for so long; room for what they cost is there from the start.
    pub(crate) fn new(task: Task, time_ns: u64) -> Self {
        let count = pushes(task.rate_hz, time_ns);
        let period_ns = 1_000_000_000 / task.rate_hz;
        let sleeps = period_ns > SLEEP_ABOVE_NS && task.setting != Setting::SenderAwake;
        Self { period_ns, sleeps, count, costs: touched(count as usize) }
    }

    /// Calls `send` with a stamp whenever a push is due. A late one does not move the next. The last
    /// message follows when there has been time to take the others.
    #[inline]
    pub(crate) fn run(
        &mut self,
        mut send: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let period = self.period_ns;
        // So that the timer is late by its wake-up only.
        set_current_timer_slack(NonZeroU64::new(1))?;
        let began = now_ns() + period;
        for number in 0..self.count {
            wait_until(began + number * period, self.sleeps)?;
            let sent = now_ns();
            send(sent)?;
            self.costs.push(now_ns() - sent);
        }
        wait_until(now_ns() + period.max(1_000_000), true)?;
        send(OVER)
    }
}

fn wait_until(due_ns: u64, asleep: bool) -> Result<(), Errno> {
    if asleep {
        let due = Timespec {
            tv_sec: (due_ns / 1_000_000_000) as i64,
            tv_nsec: (due_ns % 1_000_000_000) as i64,
        };
        while clock_nanosleep_absolute(ClockId::Monotonic, &due) == Err(Errno::INTR) {}
    } else {
        while now_ns() < due_ns {}
    }
    Ok(())
}

/// An empty vector with room for so many samples, whose pages are there: the first use of a page costs
/// as much as several round trips.
pub(crate) fn touched(room: usize) -> Vec<u64> {
    let mut samples = vec![1; room];
    samples.clear();
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::work::Work;

    #[test]
    fn every_byte_counts() {
        let message: Vec<u8> = (0..48).chain([1, 2, 3]).collect();
        let words = (0..48).step_by(8).map(|at| stamp(&message[at..]));
        assert_eq!(sum(&message), words.fold(6, u64::wrapping_add));
    }

    #[test]
    fn a_pacer_pushes_so_often_and_then_says_that_it_is_over() {
        for task in Task::all(&[Work::Push], &[]) {
            let mut stamps = Vec::new();
            let mut pacer = Pacer::new(task, 10_000_000);
            let began = now_ns();
            pacer
                .run(|stamp| {
                    stamps.push(stamp);
                    Ok(())
                })
                .unwrap();
            assert!(now_ns() - began >= 9_000_000);
            assert_eq!(stamps.pop(), Some(OVER));
            assert_eq!(stamps.len() as u64, task.rate_hz / 100);
            assert_eq!(pacer.costs.len(), stamps.len());
            assert!(stamps.is_sorted());
        }
    }

    #[test]
    fn the_answer_to_another_question_is_an_error() {
        let mut samples = touched(10);
        let error = call(u64::MAX, &mut samples, |asked| Ok(asked.min(3))).unwrap_err();
        assert_eq!(error.to_string(), "question 4 got the answer to 3");
        samples.clear();
        call(u64::MAX, &mut samples, Ok).unwrap();
        assert_eq!(samples.len(), 10);
    }

    #[test]
    fn a_stream_counts_its_last_message() {
        let mut last = 0;
        let part = send_stream(48, 1_000_000, |stamp| {
            last = stamp;
            Ok(())
        })
        .unwrap();
        assert_eq!((part.count % STREAM_BATCH, last), (1, OVER));
    }
}
