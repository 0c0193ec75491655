//! The decision to spin, doze or park, from the lengths of earlier waits.
//!
//! Spinning sees a message after a cache-line transfer, and keeps a core busy. Parking costs nothing until the
//! kernel's wake-up at its end (docs/performance.md, "Waiting"). Recent waits predict the next one:
//!
//! ```text
//!  waits have been short            spin up to the ceiling, then park
//!  waits have been long             spin for a moment, then park
//!  messages come by a clock         sleep until just before the next is due, then spin (see `rhythm`)
//!  yielding brought the message     yield at once, then park: the peer needs this processor
//! ```
//!
//! Most of a short parked wait is the wake-up, which a spinning wait would not have had. So the wake-up is
//! subtracted from the sample. Otherwise two processes that were parked once would measure each other's wake-ups
//! and never spin again. A useless spin up to the ceiling counts twice.
//!
//! If the peer shares this processor, spinning keeps it from answering. To find out, a wait yields now and
//! then. If the message is there right afterwards several times in a row, the processor is shared.

use std::{
    mem,
    time::{Duration, Instant},
};

use crate::{
    primitives::spin_loop,
    wake::rhythm::{Met, Outlook, Rhythm},
};

/// The way in which a process waits for its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitStrategy {
    /// Never sleep: the lowest latency, for a whole core. Each spinning process needs a core of its own.
    Spin,
    /// Spin while waits are short, sleep otherwise. Sleep between pushes that come by a clock, and wake up
    /// before one is due.
    #[default]
    Adaptive,
    /// Sleep at once: the least CPU time, a wake-up's latency.
    Park,
}

/// Looks between two reads of the clock, which costs as much as several looks.
const LOOKS_PER_CLOCK: u32 = 64;
/// Looks before the first spin-loop hint, which itself takes time (docs/performance.md).
const EAGER_LOOKS: u32 = 512;
/// The part of a parked wait that counts as the wake-up: more than on a quiet machine (docs/performance.md,
/// "Waiting").
const WAKE_UP: Duration = Duration::from_micros(60);
/// The spin of `Adaptive` when waits have been long.
const MOMENT: Duration = Duration::from_micros(3);
/// The slowest copy that a wait allows for, between two processors far from each other and twice: main copies a
/// message out, and the answer in.
const BYTES_PER_NS: u64 = 1;
/// Longer messages are waited for asleep: the wake-up is short beside them.
const COPIES_MAX: u64 = 4 << 20;
/// The limit of one sample, so that one pause does not outweigh many short waits.
const SAMPLE_MAX: Duration = Duration::from_micros(200);

/// The next action after a look that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitStep {
    /// Look again.
    Look,
    /// Look again, and check deadlines by this time.
    LookAt(Instant),
    /// Yield the processor, call [`Waiter::yielded`], and look again. The time is now.
    Yield(Instant),
    /// Stop looking and sleep. The time is now.
    Park(Instant),
    /// Sleep until a message is due, and look again then.
    Doze { now: Instant, until: Instant },
}

/// The statistics of one waiting loop, and its present wait.
pub(crate) struct Waiter {
    strategy: WaitStrategy,
    /// The longest spin for a message whose time is not predicted.
    ceiling: Duration,
    /// The usual length of a wait in nanoseconds, as a moving average.
    expected: u64,
    looks: u32,
    /// The start of this wait; `None` until the clock is first read.
    began: Option<Instant>,
    /// The last time of this wait, and the state since then.
    latest: Option<(Instant, Met)>,
    /// The time that it spun before it parked or dozed.
    spun: Option<Duration>,
    sharing: Sharing,
    /// The time of the peer's copies in this wait, which `expected` leaves out.
    copies: Duration,
    foresight: Option<Foresight>,
    /// The sender runs on this thread's processor. A spin before a predicted message would keep it from sending.
    beside_sender: bool,
}

/// The rhythm of the messages, in nanoseconds since `origin`.
struct Foresight {
    rhythm: Rhythm,
    origin: Instant,
}

/// The estimate whether the peer shares this processor.
#[derive(Debug, Default)]
struct Sharing {
    /// Grows with each yield that brought the message, shrinks with each that did not.
    score: u32,
    /// Waits until the next trial.
    until_probe: u32,
    /// Yields of this wait.
    yields: u32,
    /// Another thread had the processor since the last look.
    yielded: bool,
}

impl Sharing {
    /// The score from which the processor counts as shared.
    const SURE: u32 = 4;
    const SCORE_MAX: u32 = 8;
    /// The most yields of one wait: another thread than the peer may take the processor.
    const YIELDS_MAX: u32 = 3;
    const PROBE_EVERY: u32 = 16;
    /// A quick peer on another processor has answered by then.
    const PROBE_AFTER: Duration = Duration::from_micros(2);
    /// In a shorter yield no other thread had the processor.
    const YIELD_MIN: Duration = Duration::from_nanos(900);

    /// Decides whether to yield now, and counts it.
    fn try_yield(&mut self, waited: Duration) -> bool {
        // A trial: now and then, and in each wait while the score is undecided.
        let probes = waited >= Self::PROBE_AFTER && (self.until_probe == 0 || self.score > 0);
        let allowed = if self.is_sure() { Self::YIELDS_MAX } else { u32::from(probes) };
        let yields = self.yields < allowed;
        self.yields += u32::from(yields);
        yields
    }

    fn is_sure(&self) -> bool {
        self.score >= Self::SURE
    }

    /// Learns from a finished wait that has read the clock.
    fn learn(&mut self) {
        if mem::take(&mut self.yielded) {
            self.score = (self.score + 1).min(Self::SCORE_MAX);
        } else if self.yields > 0 {
            self.score = self.score.saturating_sub(1);
        }
        self.until_probe = self.until_probe.checked_sub(1).unwrap_or(Self::PROBE_EVERY - 1);
        self.yields = 0;
    }
}

impl Waiter {
    pub(crate) fn new(strategy: WaitStrategy, ceiling: Duration) -> Self {
        Self {
            strategy,
            ceiling,
            expected: 0,
            looks: 0,
            began: None,
            latest: None,
            spun: None,
            sharing: Sharing::default(),
            copies: Duration::ZERO,
            foresight: None,
            beside_sender: false,
        }
    }

    /// A waiter that predicts messages that come by a clock.
    /// It is awake around them for up to `share_max` percent of the time.
    pub(crate) fn foreseeing(strategy: WaitStrategy, ceiling: Duration, share_max: u8) -> Self {
        let foresees = strategy == WaitStrategy::Adaptive && share_max > 0;
        let foresight = foresees.then(|| Foresight {
            rhythm: Rhythm::new(nanoseconds(ceiling), share_max),
            origin: Instant::now(),
        });
        Self { foresight, ..Self::new(strategy, ceiling) }
    }

    /// Ends the wait: a message came. Returns whether it came during a sleep.
    #[inline]
    pub(crate) fn found(&mut self) -> bool {
        self.looks = 0;
        match self.began.take() {
            // It ended before the clock was first read, so its length counts as 0.
            None => {
                self.expected -= self.expected / 8;
                false
            }
            Some(began) => self.learn(began, Instant::now()),
        }
    }

    pub(crate) fn may_spin(&self) -> bool {
        self.strategy != WaitStrategy::Park
    }

    /// Returns whether messages come by a clock, as far as is known.
    pub(crate) fn has_beat(&self) -> bool {
        self.foresight.as_ref().is_some_and(|foresight| foresight.rhythm.has_beat())
    }

    /// Notes whether the last sender to ring did so on this thread's processor.
    pub(crate) fn set_beside_sender(&mut self, beside: bool) {
        self.beside_sender = beside;
    }

    /// Returns whether a wait begins with the next [`step`](Self::step).
    #[inline]
    pub(crate) fn is_beginning(&self) -> bool {
        self.looks == 0
    }

    /// Allows this wait for the peer's copies of `bytes` that this process has just sent or received: the answer to a
    /// long message takes as long as its copies.
    #[inline]
    pub(crate) fn allow_for(&mut self, bytes: u64) {
        self.copies = Duration::from_nanos(bytes.min(COPIES_MAX) / BYTES_PER_NS);
    }

    /// Returns the next action after a look that found nothing.
    #[inline]
    pub(crate) fn step(&mut self) -> WaitStep {
        self.looks = self.looks.wrapping_add(1);
        if self.looks > EAGER_LOOKS {
            spin_loop();
        }
        if self.strategy != WaitStrategy::Park && !self.looks.is_multiple_of(LOOKS_PER_CLOCK) {
            return WaitStep::Look;
        }
        self.step_by_clock(Instant::now())
    }

    /// Notes that the caller has yielded.
    pub(crate) fn yielded(&mut self) {
        let now = Instant::now();
        let took = self.latest.map_or(Duration::ZERO, |(asked, _)| now.duration_since(asked));
        self.sharing.yielded = took >= Sharing::YIELD_MIN;
        self.latest = Some((now, Met::Awake));
    }

    #[cold]
    fn step_by_clock(&mut self, now: Instant) -> WaitStep {
        let began = *self.began.get_or_insert(now);
        let step = match self.strategy {
            WaitStrategy::Spin => WaitStep::LookAt(now),
            WaitStrategy::Adaptive => self.adapt(now, now.duration_since(began)),
            WaitStrategy::Park => WaitStep::Park(now),
        };
        let met = match step {
            WaitStep::Look | WaitStep::LookAt(_) | WaitStep::Yield(_) => Met::Awake,
            WaitStep::Park(_) => Met::Parked,
            WaitStep::Doze { .. } => Met::Dozing,
        };
        self.sharing.yielded = false;
        self.latest = Some((now, met));
        if met != Met::Awake {
            self.spun.get_or_insert(now.duration_since(began));
        }
        step
    }

    fn adapt(&mut self, now: Instant, waited: Duration) -> WaitStep {
        if self.spun.is_none() {
            if self.sharing.try_yield(waited) {
                return WaitStep::Yield(now);
            }
            if !self.sharing.is_sure() && waited < self.budget() {
                return WaitStep::LookAt(now);
            }
        }
        let Some(Foresight { rhythm, origin }) = &self.foresight else {
            return WaitStep::Park(now);
        };
        if self.beside_sender {
            return WaitStep::Park(now);
        }
        match rhythm.outlook(nanoseconds(now.duration_since(*origin))) {
            Outlook::Unknown => WaitStep::Park(now),
            Outlook::QuietUntil(until) => {
                WaitStep::Doze { now, until: *origin + Duration::from_nanos(until) }
            }
            Outlook::Due => WaitStep::LookAt(now),
        }
    }

    #[cold]
    fn learn(&mut self, began: Instant, now: Instant) -> bool {
        let (looked, met) = self.latest.take().unwrap_or((began, Met::Awake));
        self.sharing.learn();
        if let Some(Foresight { rhythm, origin }) = &mut self.foresight {
            // An awake thread saw the message after the last read of the clock; the time since then includes the
            // message's own work. A sleeping thread saw it after the wake-up.
            let at = if met == Met::Awake { looked } else { (now - WAKE_UP / 2).max(looked) };
            rhythm.arrived(nanoseconds(at.duration_since(*origin)), met);
        }
        let waited = now.duration_since(began).saturating_sub(self.copies);
        let spun = self.spun.take().map(|spun| spun.saturating_sub(self.copies));
        let sample = match spun {
            None => waited,
            Some(spun) if spun >= self.ceiling => waited.max(2 * self.ceiling),
            Some(spun) => waited.saturating_sub(WAKE_UP).max(spun),
        };
        self.expected = (self.expected * 7 + nanoseconds(sample.min(SAMPLE_MAX))) / 8;
        met != Met::Awake
    }

    /// The longest spin of the present wait for an unpredicted message.
    fn budget(&self) -> Duration {
        let budget = if self.expected < nanoseconds(self.ceiling) {
            self.ceiling
        } else {
            MOMENT.min(self.ceiling)
        };
        budget + self.copies
    }
}

fn nanoseconds(span: Duration) -> u64 {
    span.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: Duration = Duration::from_micros(50);

    /// Runs one wait that something ends after `length`, and says when it parked. Time passes in the
    /// wait as it does for a sleeper: by the clock alone.
    fn wait(waiter: &mut Waiter, length: Duration) -> Option<Duration> {
        let began = Instant::now();
        let mut parked = None;
        while began.elapsed() < length {
            if parked.is_none() && matches!(waiter.step(), WaitStep::Park(_)) {
                parked = Some(began.elapsed());
            }
        }
        waiter.found();
        parked
    }

    #[test]
    fn park_parks_at_once_and_spin_never() {
        assert!(matches!(Waiter::new(WaitStrategy::Park, CEILING).step(), WaitStep::Park(_)));
        assert_eq!(
            wait(&mut Waiter::new(WaitStrategy::Spin, CEILING), Duration::from_micros(300)),
            None
        );
    }

    #[test]
    fn adaptive_parks_soon_where_waits_are_long_and_spins_again_where_they_are_short() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive, CEILING);
        for _ in 0..64 {
            wait(&mut waiter, Duration::from_micros(1000));
        }
        assert_eq!(waiter.budget(), MOMENT);
        for _ in 0..64 {
            waiter.step();
            waiter.found();
        }
        assert_eq!(waiter.budget(), CEILING);
    }

    #[test]
    fn a_wait_that_was_mostly_its_own_wake_up_lets_the_next_one_spin() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive, CEILING);
        waiter.expected = SAMPLE_MAX.as_nanos() as u64;
        let spins_again = (0..64).any(|_| {
            wait(&mut waiter, Duration::from_micros(70));
            waiter.budget() == CEILING
        });
        assert!(spins_again, "expected {} ns", waiter.expected);
    }

    #[test]
    fn a_spin_for_nothing_counts_twice() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive, CEILING);
        while !matches!(waiter.step(), WaitStep::Park(_)) {}
        // It would have come a moment later.
        waiter.found();
        assert!(waiter.expected >= nanoseconds(2 * CEILING) / 8, "expected {}", waiter.expected);
    }

    #[test]
    fn the_ceiling_is_the_longest_spin() {
        let spin = |ceiling| {
            let mut waiter = Waiter::new(WaitStrategy::Adaptive, ceiling);
            while !matches!(waiter.step(), WaitStep::Park(_)) {}
            waiter.spun.unwrap()
        };
        assert_eq!(spin(Duration::ZERO), Duration::ZERO);
        assert!(spin(Duration::from_millis(3)) >= Duration::from_millis(3));
    }

    #[test]
    fn where_yielding_brings_the_message_a_wait_yields_and_does_not_spin() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive, CEILING);
        // The peer runs when it may, for a while, and has the message then.
        let mut wait = || {
            let began = Instant::now();
            loop {
                match waiter.step() {
                    WaitStep::Yield(_) => break,
                    step => assert!(!matches!(step, WaitStep::Park(_)), "it never yields"),
                }
            }
            let spun = began.elapsed();
            let running = Instant::now();
            while running.elapsed() < 2 * Sharing::YIELD_MIN {}
            waiter.yielded();
            waiter.found();
            spun
        };
        let first = wait();
        assert!(first >= Sharing::PROBE_AFTER);
        (0..Sharing::SURE).for_each(|_| _ = wait());
        assert!(waiter.sharing.is_sure());
        let mut parks = 0;
        let mut yields = 0;
        // And then it has nothing to say.
        while parks == 0 {
            match waiter.step() {
                WaitStep::Yield(_) => {
                    yields += 1;
                    waiter.yielded();
                }
                WaitStep::Park(_) => parks += 1,
                WaitStep::LookAt(_) => panic!("it spins"),
                _ => {}
            }
        }
        assert_eq!(yields, Sharing::YIELDS_MAX);
        for _ in 0..Sharing::SCORE_MAX {
            waiter.sharing.yields = 1;
            waiter.sharing.learn();
        }
        assert!(!waiter.sharing.is_sure(), "it would yield for ever");
    }
}
