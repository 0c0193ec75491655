//! The two halves of a subject, and the loops that all subjects share. Both halves run at the same time and
//! end together: the message with the stamp [`OVER`] is the last. Every message carries a stamp in its first
//! eight bytes.

use std::{hint::black_box, num::NonZeroU64, thread, time::Duration};

use rustix::{
    io::Errno,
    thread::{clock_nanosleep_absolute, set_current_timer_slack},
    time::{ClockId, Timespec},
};
use serde::{Deserialize, Serialize};

use super::{
    Limit,
    job::{Setting, Task},
};
use crate::{Error, system::now_ns};

pub(crate) const OVER: u64 = u64::MAX;
/// Small messages of a stream between two readings of the clock, which costs as much as one message.
pub(crate) const STREAM_BATCH: u64 = 64;
/// From this payload on a reading of the clock is cheap beside a message.
pub(crate) const LONG: usize = 4096;
/// Pushes that are further apart are waited for asleep, as in an application, unless the task says otherwise.
/// The others are waited for by spinning, since a wake-up takes longer than the period.
const SLEEP_ABOVE_NS: u64 = 50_000;

/// One process's half of an order.
pub(crate) enum Half<'a> {
    /// Main answers until the last question.
    Answer(Limit),
    /// The renderer asks until the limit, and times each round trip.
    Ask(Limit, &'a mut Vec<u64>),
    /// The renderer asks this often without reading the clock.
    AskUntimed(u64),
    /// Main receives a stream to its last message, or sends one until the limit.
    StreamInMain(Limit),
    /// The renderer does the other part. Samples are optional.
    StreamInRenderer(Limit, &'a mut Vec<u64>),
    Push(&'a mut Pacer),
    /// The renderer receives until the last push. The samples are the times on the way.
    TakePushes(&'a mut Vec<u64>),
    /// Main sends nothing for this time in nanoseconds, and then the last message.
    Idle(u64),
    /// The renderer receives until the last message, which is the only one.
    Rest,
}

pub(crate) trait Side {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error>;

    /// Returns the number of wake-ups of the renderer so far, if the subject counts them.
    fn wakes(&self) -> Option<u64> {
        None
    }
}

pub(crate) fn unable() -> Error {
    "the subject cannot do this work".into()
}

/// One process's end of a subject that only carries bytes. Its messages all have the same length.
pub(crate) trait Link: Sized + 'static {
    /// Sends a copy of the message, and waits for room as the library does.
    fn send(&mut self, message: &[u8]) -> Result<(), Error>;

    /// Waits for a message as the library does, and lends it.
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error>;

    fn side(self, payload: usize) -> Box<dyn Side> {
        Box::new(Linked { link: self, message: vec![1; payload] })
    }
}

struct Linked<L> {
    link: L,
    message: Vec<u8>,
}

impl<L: Link> Linked<L> {
    fn send(&mut self, stamp: u64) -> Result<(), Error> {
        set_stamp(&mut self.message, stamp);
        self.link.send(&self.message)
    }
}

impl<L: Link> Side for Linked<L> {
    fn work(&mut self, half: Half<'_>) -> Result<StreamPart, Error> {
        match half {
            Half::Answer(_) => loop {
                let Self { link, message } = self;
                link.receive(|question| message.copy_from_slice(question))?;
                if stamp(message) == OVER {
                    break;
                }
                link.send(message)?;
            },
            Half::Ask(limit, samples) => {
                ask_until(limit, samples, |asked| {
                    self.send(asked)?;
                    self.link.receive(read_all)
                })?;
                self.send(OVER)?;
            }
            Half::AskUntimed(_) => return Err(unable()),
            Half::StreamInMain(_) => {
                return read_stream(|sums| self.link.receive(|message| read(message, sums)));
            }
            Half::StreamInRenderer(limit, _) => {
                return send_stream(self.message.len(), limit, |stamp| self.send(stamp));
            }
            Half::Push(pacer) => pacer.run(|stamp| self.send(stamp))?,
            Half::TakePushes(samples) => loop {
                let sent = self.link.receive(stamp)?;
                if sent == OVER {
                    break;
                }
                samples.push(now_ns().saturating_sub(sent));
            },
            Half::Idle(time_ns) => {
                // A link has no loop to run meanwhile.
                thread::sleep(Duration::from_nanos(time_ns));
                self.send(OVER)?;
            }
            Half::Rest => while self.link.receive(stamp)? != OVER {},
        }
        Ok(StreamPart::default())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamPart {
    pub(crate) count: u64,
    pub(crate) began_ns: Option<u64>,
    /// When the receiver had read the last byte.
    pub(crate) ended_ns: Option<u64>,
}

impl StreamPart {
    pub(crate) fn sent(began_ns: u64, count: u64) -> Self {
        Self { count, began_ns: Some(began_ns), ended_ns: None }
    }

    pub(crate) fn received(count: u64) -> Self {
        Self { count, began_ns: None, ended_ns: Some(now_ns()) }
    }
}

#[inline]
pub(crate) fn stamp(message: &[u8]) -> u64 {
    message.first_chunk().copied().map_or(0, u64::from_ne_bytes)
}

#[inline]
pub(crate) fn set_stamp(message: &mut [u8], stamp: u64) {
    if let Some(place) = message.first_chunk_mut() {
        *place = stamp.to_ne_bytes();
    }
}

#[inline]
pub(crate) fn sum(message: &[u8]) -> u64 {
    let mut words = message.chunks_exact(8);
    let whole: u64 = words
        .by_ref()
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
        .fold(0, u64::wrapping_add);
    words.remainder().iter().fold(whole, |sum, &byte| sum.wrapping_add(u64::from(byte)))
}

/// Runs the caller's loop of a round trip: `ask` sends a stamp and returns the stamp of the answer.
#[inline]
pub(crate) fn ask_until(
    limit: Limit,
    samples: &mut Vec<u64>,
    mut ask: impl FnMut(u64) -> Result<u64, Error>,
) -> Result<(), Error> {
    let began = now_ns();
    let mut ended = began;
    let mut asked = 0;
    while limit.allows(samples.len() as u64, ended - began) {
        asked += 1;
        let sent = now_ns();
        let answered = ask(asked)?;
        ended = now_ns();
        samples.push(ended - sent);
        if answered != asked {
            return Err(format!("question {asked} got the answer to {answered}").into());
        }
    }
    Ok(())
}

/// Runs the sender's loop of a stream: `send` sends one message with a stamp.
#[inline]
pub(crate) fn send_stream(
    payload: usize,
    limit: Limit,
    mut send: impl FnMut(u64) -> Result<(), Error>,
) -> Result<StreamPart, Error> {
    let batch = if payload < LONG { STREAM_BATCH } else { 1 };
    let began = now_ns();
    let mut count = 0;
    while now_ns() - began < limit.time_ns {
        for _ in 0..batch {
            count += 1;
            send(count)?;
        }
    }
    send(OVER)?;
    Ok(StreamPart::sent(began, count + 1))
}

/// Runs the receiver's loop of a stream: `receive` takes one message, adds its bytes to the sum, and returns its
/// stamp.
#[inline]
pub(crate) fn read_stream(
    mut receive: impl FnMut(&mut u64) -> Result<u64, Error>,
) -> Result<StreamPart, Error> {
    let (mut count, mut sums) = (0, 0);
    loop {
        let stamp = receive(&mut sums)?;
        count += 1;
        if stamp == OVER {
            black_box(sums);
            return Ok(StreamPart::received(count));
        }
    }
}

/// Reads every byte of an answer, as its user would. Returns its stamp.
#[inline]
pub(crate) fn read_all(message: &[u8]) -> u64 {
    black_box(sum(message));
    stamp(message)
}

#[inline]
pub(crate) fn read(message: &[u8], sums: &mut u64) -> u64 {
    *sums = sums.wrapping_add(sum(message));
    stamp(message)
}

pub(crate) fn pushes(rate_hz: u64, time_ns: u64) -> u64 {
    (u128::from(rate_hz) * u128::from(time_ns) / 1_000_000_000).max(1) as u64
}

/// The times at which main pushes, and what each push costs it.
pub(crate) struct Pacer {
    period_ns: u64,
    sleeps: bool,
    count: u64,
    /// For a peer that paces itself, which it does at a rate of 0.
    pub(crate) limit: Limit,
    pub(crate) costs: Vec<u64>,
}

impl Pacer {
    pub(super) fn new(task: Task, limit: Limit) -> Self {
        let count = pushes(task.rate_hz, limit.time_ns);
        let period_ns = 1_000_000_000_u64.checked_div(task.rate_hz).unwrap_or(0);
        let sleeps = period_ns > SLEEP_ABOVE_NS && task.setting != Setting::SenderAwake;
        let costs = touched(if task.rate_hz > 0 { count as usize } else { 0 });
        Self { period_ns, sleeps, count, limit, costs }
    }

    /// Calls `send` with a stamp whenever a push is due. A late push does not move the next one. The last
    /// message follows when the renderer has had time to take the others.
    #[inline]
    pub(crate) fn run(
        &mut self,
        mut send: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let period = self.period_ns;
        // The timer is late by its wake-up only.
        set_current_timer_slack(NonZeroU64::new(1))?;
        let began = now_ns() + period;
        for number in 0..self.count {
            wait_until(began + number * period, self.sleeps);
            let sent = now_ns();
            send(sent)?;
            self.costs.push(now_ns() - sent);
        }
        wait_until(now_ns() + period.max(1_000_000), true);
        send(OVER)
    }
}

pub(super) fn wait_until(due_ns: u64, asleep: bool) {
    if asleep {
        let due = Timespec {
            tv_sec: (due_ns / 1_000_000_000) as i64,
            tv_nsec: (due_ns % 1_000_000_000) as i64,
        };
        while clock_nanosleep_absolute(ClockId::Monotonic, &due) == Err(Errno::INTR) {}
    } else {
        while now_ns() < due_ns {}
    }
}

/// Returns an empty vector whose pages are already mapped: a page fault takes as long as several round trips.
pub(crate) fn touched(room: usize) -> Vec<u64> {
    let mut samples = vec![1; room];
    samples.clear();
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::job::Work;

    #[test]
    fn every_byte_counts() {
        let message: Vec<u8> = (0..48).chain([1, 2, 3]).collect();
        let words = (0..48).step_by(8).map(|at| stamp(&message[at..]));
        assert_eq!(sum(&message), words.fold(6, u64::wrapping_add));
    }

    #[test]
    fn a_pacer_pushes_at_its_rate_and_then_sends_the_last_message() {
        let usual = Task::new(Work::Push, 48);
        for (rate_hz, setting) in
            [(1_000, Setting::Usual), (1_000, Setting::SenderAwake), (100_000, Setting::Usual)]
        {
            let mut stamps = Vec::new();
            let task = Task { rate_hz, setting, ..usual };
            let mut pacer = Pacer::new(task, Limit::time(10_000_000));
            let began = now_ns();
            let send = |stamp| {
                stamps.push(stamp);
                Ok(())
            };
            pacer.run(send).unwrap();
            assert!(now_ns() - began >= 9_000_000);
            assert_eq!(stamps.pop(), Some(OVER));
            assert_eq!(stamps.len() as u64, rate_hz / 100);
            assert_eq!(pacer.costs.len(), stamps.len());
            assert!(stamps.is_sorted());
        }
    }

    #[test]
    fn the_answer_to_another_question_is_an_error() {
        let mut samples = Vec::new();
        let error =
            ask_until(Limit::count(10), &mut samples, |asked| Ok(asked.min(3))).unwrap_err();
        assert_eq!(error.to_string(), "question 4 got the answer to 3");
        samples.clear();
        ask_until(Limit::count(10), &mut samples, Ok).unwrap();
        assert_eq!(samples.len(), 10);
    }
}
