//! How to wait: spin, park, or learn which of the two pays.
//!
//! Spinning sees a message after a cache-line transfer, and burns a core. Parking costs nothing while it
//! lasts and a wake-up by the kernel when it ends (docs/performance.md, "Waiting"). Which is right depends
//! on how long the wait will be, and recent waits say that best:
//!
//! ```text
//!  waits have been short            spin up to the ceiling, then park
//!  waits have been long             spin for a moment, then park
//!  messages come by a clock         sleep until just before the next is due, then spin (see `rhythm`)
//!  yielding brought the message     yield at once, then park: the peer wants this very processor
//! ```
//!
//! What a parked wait took is not what a spinning one would have: most of a short one is the wake-up
//! itself. So that is taken off before it is learned from. Otherwise two processes that talk quickly, and
//! were both parked by one pause, would go on measuring each other's wake-ups and never spin again. A
//! spin up to the ceiling that was for nothing counts twice.
//!
//! Where the peer shares this processor, spinning keeps it from answering. Only progress tells: now and then
//! a wait yields, and if what it waits for is there right afterwards, time after time, it was that.
//!
//! A process that waits for nothing parks for good and makes no wake-ups.
//!
//! This module decides; it does not sleep, and looks at no shared memory.

use std::time::{Duration, Instant};

use super::rhythm::{Met, Outlook, Rhythm};
use crate::primitives::spin_loop;

/// How a process waits for its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitStrategy {
    /// Never sleep: the lowest latency, a whole core. (Of two processes that spin on one core, each
    /// waits for the other's time slice to end: a core for each, or another strategy.)
    Spin,
    /// Spin while that pays, sleep otherwise; sleep between pushes that come by a clock, and be awake when
    /// one is due.
    #[default]
    Adaptive,
    /// Sleep at once: the least CPU time, a wake-up's latency.
    Park,
}

/// Looks between two looks at the clock, which costs as much as several of them.
const LOOKS_PER_CLOCK: u32 = 64;
/// Looks before the processor is told that this is a spin loop: the hint itself takes time
/// (docs/performance.md).
const EAGER_LOOKS: u32 = 512;
/// The part of a parked wait that is taken for the wake-up: more than is measured on a quiet machine
/// (docs/performance.md, "Waiting").
const WAKE_UP: Duration = Duration::from_micros(60);
/// What `Adaptive` spins where waits have been long.
const MOMENT: Duration = Duration::from_micros(3);
/// A wait counts as no longer than this, so that one pause does not outweigh many short waits.
const SAMPLE_MAX: Duration = Duration::from_micros(200);

/// What to do after a look that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitStep {
    /// Look again.
    Look,
    /// Look again; the clock has been read, so deadlines can be checked.
    LookAt(Instant),
    /// Let others have the processor, say so by [`Waiter::yielded`], and look again. The time is now.
    Yield(Instant),
    /// Stop looking and sleep. The time is now.
    Park(Instant),
    /// Sleep until something is due, and look again then. Until then nothing is expected. The time is now.
    Doze { now: Instant, until: Instant },
}

/// What one thread of waiting has learned, and the wait that is under way.
pub(crate) struct Waiter {
    strategy: WaitStrategy,
    /// The longest spin for something that cannot be foreseen.
    ceiling: Duration,
    /// The usual length of a wait in nanoseconds, as a moving average.
    expected: u64,
    looks: u32,
    /// When this wait began; unknown until the clock is first read.
    began: Option<Instant>,
    /// When the clock was last read in this wait, and what was done then.
    latest: Option<(Instant, Last)>,
    /// For how long it spun before it parked, if it has.
    spun: Option<Duration>,
    sharing: Sharing,
    foresight: Option<Foresight>,
}

/// What a wait did when it last looked at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Looked,
    /// And another thread had the processor meanwhile.
    Yielded,
    Parked,
    Dozed,
}

/// The rhythm of what comes, on a scale that begins when it does.
struct Foresight {
    rhythm: Rhythm,
    origin: Instant,
}

/// Whether the peer seems to share this processor.
#[derive(Debug, Default)]
struct Sharing {
    /// Grows with each yield that brought the message, shrinks with each that did not.
    score: u32,
    /// Waits until yielding is tried again, to find out.
    until_probe: u32,
    /// Yields of this wait.
    yields: u32,
}

impl Sharing {
    /// So many yields in favour decide it.
    const SURE: u32 = 4;
    const SCORE_MAX: u32 = 8;
    /// Yields in one wait: another thread may have had the processor, and not the peer.
    const YIELDS_MAX: u32 = 3;
    const PROBE_EVERY: u32 = 16;
    /// A peer on another processor has answered by then, if it is quick.
    const PROBE_AFTER: Duration = Duration::from_micros(2);
    /// A yield that took less gave the processor to nobody.
    const YIELD_MIN: Duration = Duration::from_nanos(900);

    /// Whether to yield now, in a wait that has taken so long.
    fn try_yield(&mut self, waited: Duration) -> bool {
        let allowed = if self.is_sure() {
            Self::YIELDS_MAX
        } else {
            u32::from(waited >= Self::PROBE_AFTER && self.probes())
        };
        let yields = self.yields < allowed;
        self.yields += u32::from(yields);
        yields
    }

    fn is_sure(&self) -> bool {
        self.score >= Self::SURE
    }

    /// Once in so many waits, and in each while it is undecided.
    fn probes(&self) -> bool {
        self.until_probe == 0 || self.score > 0
    }

    /// A wait that looked at the clock is over.
    fn learn(&mut self, yield_brought_it: bool) {
        if yield_brought_it {
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
            foresight: None,
        }
    }

    /// One that sleeps until just before something is due, where that can be foreseen.
    pub(crate) fn foreseeing(strategy: WaitStrategy, ceiling: Duration) -> Self {
        let foresight = (strategy == WaitStrategy::Adaptive).then(|| Foresight {
            rhythm: Rhythm::new(nanoseconds(ceiling)),
            origin: Instant::now(),
        });
        Self { foresight, ..Self::new(strategy, ceiling) }
    }

    /// Something came: the wait is over, and the next one begins.
    #[inline]
    pub(crate) fn found(&mut self) {
        self.looks = 0;
        match self.began.take() {
            // It ended before the clock was first read: as short as none.
            None => self.expected -= self.expected / 8,
            Some(began) => self.learn(began, Instant::now()),
        }
    }

    /// A look found nothing.
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

    /// Others have had their chance, as asked for.
    pub(crate) fn yielded(&mut self) {
        let now = Instant::now();
        let took = self.latest.map_or(Duration::ZERO, |(asked, _)| now.duration_since(asked));
        let last = if took >= Sharing::YIELD_MIN { Last::Yielded } else { Last::Looked };
        self.latest = Some((now, last));
    }

    #[cold]
    fn step_by_clock(&mut self, now: Instant) -> WaitStep {
        let began = *self.began.get_or_insert(now);
        let step = match self.strategy {
            WaitStrategy::Spin => WaitStep::LookAt(now),
            WaitStrategy::Adaptive => self.adapt(now, now.duration_since(began)),
            WaitStrategy::Park => WaitStep::Park(now),
        };
        let last = match step {
            WaitStep::Look | WaitStep::LookAt(_) | WaitStep::Yield(_) => Last::Looked,
            WaitStep::Park(_) => Last::Parked,
            WaitStep::Doze { .. } => Last::Dozed,
        };
        self.latest = Some((now, last));
        if matches!(last, Last::Parked | Last::Dozed) {
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
        match rhythm.outlook(nanoseconds(now.duration_since(*origin))) {
            Outlook::Unknown => WaitStep::Park(now),
            Outlook::QuietUntil(until) => {
                WaitStep::Doze { now, until: *origin + Duration::from_nanos(until) }
            }
            Outlook::Due => WaitStep::LookAt(now),
        }
    }

    #[cold]
    fn learn(&mut self, began: Instant, now: Instant) {
        let (looked, last) = self.latest.take().unwrap_or((began, Last::Looked));
        self.sharing.learn(last == Last::Yielded);
        if let Some(Foresight { rhythm, origin }) = &mut self.foresight {
            // Who was awake saw it come after the last look at the clock; what came since, as the work that
            // the message made, is not its. Who slept was told of it by a wake-up.
            let (at, met) = match last {
                Last::Looked | Last::Yielded => (looked, Met::Awake),
                Last::Parked => ((now - WAKE_UP / 2).max(looked), Met::Parked),
                Last::Dozed => ((now - WAKE_UP / 2).max(looked), Met::Dozing),
            };
            rhythm.arrived(nanoseconds(at.duration_since(*origin)), met);
        }
        let waited = now.duration_since(began);
        let sample = match self.spun.take() {
            None => waited,
            Some(spun) if spun >= self.ceiling => waited.max(2 * self.ceiling),
            Some(spun) => waited.saturating_sub(WAKE_UP).max(spun),
        };
        self.expected = (self.expected * 7 + nanoseconds(sample.min(SAMPLE_MAX))) / 8;
    }

    /// For how long the present wait may spin for what cannot be foreseen.
    fn budget(&self) -> Duration {
        if self.expected < nanoseconds(self.ceiling) {
            self.ceiling
        } else {
            MOMENT.min(self.ceiling)
        }
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
            waiter.sharing.learn(false);
        }
        assert!(!waiter.sharing.is_sure(), "it would yield for ever");
    }
}
