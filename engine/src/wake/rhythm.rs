//! The prediction of the next message, where messages come by a clock, as statistics do.
//!
//! ```text
//!              period
//!   ├───────────────────────────────┤
//!   │                     margin    │ late
//!   │                  ├────────────┼──────┤
//!   ▼                  ▼            ▼      ▼
//!   arrival            wake up      due    nothing came: park until the peer rings
//!   └───── sleep ──────┘└── spin ───────────┘
//! ```
//!
//! A few equal intervals make a *beat*. From then on each arrival corrects the beat's phase and period (an
//! alpha-beta filter). The margin grows by a step with each arrival during a doze, and shrinks by a 256th of a
//! step with each other one. So it covers nearly all jitter of the sender and of the timer.
//!
//! An arrival off the beat does not change it. A beat that is wrong more than one time in five is dropped, and
//! the next one needs twice as many equal intervals. So an irregular stream causes few mistakes.
//!
//! Times are nanoseconds on any one scale.

/// Messages within this time of an arrival belong to it: they come from one tick. With a beat the time is at most
/// half of its period.
const TICK_MAX: u64 = 80_000;
/// The same while there is no beat.
const TICK_FIRST: u64 = 40_000;
/// A shorter period is not predicted: a wait that spins up to the ceiling is awake for it in any case.
const PERIOD_MIN: u64 = 50_000;
const PERIOD_MAX: u64 = 1_000_000_000;
/// Equal intervals that make a beat, at first and after mistakes.
const ALIKE_MIN: u32 = 3;
const ALIKE_MAX: u32 = 24;
/// The mean of a run is over this many intervals, so that a long run follows a slow change.
const MEAN_OVER: u32 = 16;
/// Arrivals on the beat after which all mistakes are forgotten.
const TRUSTED_AFTER: u32 = 64;
/// The worth of a new beat, and the most. At 0 the beat is dropped. A predicted arrival adds 1 and another one
/// subtracts 4, so a beat lasts while it is right four times in five.
const WORTH_FIRST: u32 = 16;
const WORTH_MAX: u32 = 32;
const WORTH_LOSS: u32 = 4;
/// The shortest sleep that is worth its two system calls.
const SLEEP_MIN: u64 = 15_000;
/// The first margin, its limit, and the steps in which it grows and shrinks.
const MARGIN_FIRST: u64 = 60_000;
const MARGIN_MIN: u64 = 2_000;
const MARGIN_STEP: u64 = 8_000;
const MARGIN_DECAY: u64 = MARGIN_STEP / 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    Unknown,
    /// No message before this moment. A sleeper that wakes up then is awake for the next one.
    QuietUntil(u64),
    Due,
}

/// The receiver's state when a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    Awake,
    /// In a sleep [until](Outlook::QuietUntil) just before the message was due, which was too long.
    Dozing,
    /// In a sleep without a predicted end.
    Parked,
}

/// The statistics of a stream of arrivals.
#[derive(Debug)]
pub(super) struct Rhythm {
    /// The least [`window`](Self::window), where `share_max` allows it.
    window_min: u64,
    /// The most time awake around a predicted message, in percent of the period.
    share_max: u64,
    last: Option<u64>,
    run: Run,
    beat: Option<Beat>,
    margin: u64,
    /// Equal intervals that make the next beat.
    alike_needed: u32,
}

/// The latest intervals, as long as they are equal within the tolerance.
#[derive(Debug, Default)]
struct Run {
    count: u32,
    total: u64,
}

#[derive(Debug)]
struct Beat {
    period: u64,
    /// The predicted time of the next arrival.
    due: u64,
    worth: u32,
    /// Arrivals in a row on the beat, and off it.
    hits: u32,
    strays: u32,
}

impl Rhythm {
    pub(super) fn new(window_min: u64, share_max: u8) -> Self {
        Self {
            window_min,
            share_max: share_max.min(100).into(),
            last: None,
            run: Run::default(),
            beat: None,
            margin: MARGIN_FIRST,
            alike_needed: ALIKE_MIN,
        }
    }

    /// Returns whether messages come by a clock.
    pub(super) fn has_beat(&self) -> bool {
        self.beat.is_some()
    }

    pub(super) fn outlook(&self, now: u64) -> Outlook {
        let Some(beat) = &self.beat else { return Outlook::Unknown };
        let window = self.window(beat.period);
        if now > beat.due + window {
            return Outlook::Unknown;
        }
        let wake = beat.due.saturating_sub(self.margin.min(window));
        if wake > now + SLEEP_MIN { Outlook::QuietUntil(wake) } else { Outlook::Due }
    }

    pub(super) fn arrived(&mut self, at: u64, met: Met) {
        let last = *self.last.get_or_insert(at);
        let interval = at.saturating_sub(last);
        if interval < self.tick() {
            return;
        }
        self.last = Some(at);
        self.run.add(interval);
        self.follow(at, met);
        self.find_beat(at);
    }

    fn tick(&self) -> u64 {
        self.beat.as_ref().map_or(TICK_FIRST, |beat| TICK_MAX.min(beat.period / 2))
    }

    /// Compares an arrival with the beat, and corrects the beat by it.
    fn follow(&mut self, at: u64, met: Met) {
        let Some(period) = self.beat.as_ref().map(|beat| beat.period) else { return };
        let window = self.window(period);
        let Some(beat) = &mut self.beat else { return };
        let error = beat.error(at);
        if error.unsigned_abs() > tolerance(beat.period) {
            beat.stray(at);
        } else {
            beat.correct(at, error);
            match met {
                Met::Dozing => {
                    beat.lose();
                    self.margin = (self.margin + MARGIN_STEP).min(window);
                }
                Met::Awake => {
                    self.margin = self.margin.saturating_sub(MARGIN_DECAY).max(MARGIN_MIN);
                }
                Met::Parked => {}
            }
        }
        if beat.hits >= TRUSTED_AFTER {
            self.alike_needed = ALIKE_MIN;
        }
        if beat.worth == 0 {
            self.beat = None;
            self.alike_needed = (self.alike_needed * 2).min(ALIKE_MAX);
        }
    }

    /// Makes a beat of a run of equal intervals, unless there is such a beat.
    fn find_beat(&mut self, at: u64) {
        if self.run.count < self.alike_needed {
            return;
        }
        let period = self.run.mean();
        let known = self.beat.as_ref().is_some_and(|beat| {
            beat.strays == 0 && beat.period.abs_diff(period) <= tolerance(period)
        });
        if !known && (PERIOD_MIN..=PERIOD_MAX).contains(&period) {
            let worth = WORTH_FIRST;
            self.beat = Some(Beat { period, due: at + period, worth, hits: 0, strays: 0 });
        }
    }

    /// The longest time awake before a message is due, and after: `window_min` or a tenth of the period, but both
    /// together at most the share of the period.
    fn window(&self, period: u64) -> u64 {
        self.window_min.max(period / 10).min(period * self.share_max / 200)
    }
}

impl Run {
    fn add(&mut self, interval: u64) {
        if self.count > 0 && interval.abs_diff(self.mean()) > tolerance(self.mean()) {
            *self = Self::default();
        }
        if self.count >= MEAN_OVER {
            self.total -= self.mean();
        }
        self.total += interval;
        self.count = (self.count + 1).min(ALIKE_MAX);
    }

    fn mean(&self) -> u64 {
        self.total / u64::from(self.count.clamp(1, MEAN_OVER))
    }
}

impl Beat {
    /// The delay of an arrival from the nearest beat; negative if it was early.
    fn error(&self, at: u64) -> i64 {
        let ahead = at as i64 - self.due as i64;
        let period = self.period as i64;
        // Euclidean: the same distance from a beat has the same sign on either side of `due`.
        (ahead + period / 2).rem_euclid(period) - period / 2
    }

    fn lose(&mut self) {
        self.worth = self.worth.saturating_sub(WORTH_LOSS);
    }

    fn stray(&mut self, at: u64) {
        self.lose();
        self.hits = 0;
        self.strays += 1;
        if self.due < at {
            self.due += (at - self.due).next_multiple_of(self.period);
        }
    }

    /// Corrects phase and period by an arrival that was `error` late.
    fn correct(&mut self, at: u64, error: i64) {
        self.strays = 0;
        self.hits = self.hits.saturating_add(1);
        self.worth = (self.worth + 1).min(WORTH_MAX);
        let on_beat = at.saturating_add_signed(-error);
        self.period = self.period.saturating_add_signed(error / 16).max(PERIOD_MIN);
        self.due = on_beat.saturating_add_signed(error / 2) + self.period;
    }
}

/// The largest error of an arrival on the beat.
fn tolerance(period: u64) -> u64 {
    (period / 8).max(25_000)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const WINDOW: u64 = 50_000;
    /// The lateness of the simulated sleeper's timer.
    const LATENESS: [u64; 4] = [5_000, 30_000, 12_000, 20_000];

    /// A receiver that does as it is told, and its books.
    struct Receiver {
        rhythm: Rhythm,
        /// The last arrival.
        now: u64,
        arrivals: u64,
        /// Arrivals that were seen awake.
        awake: u64,
        /// Time that was spent looking out for something due.
        spun: u64,
    }

    impl Receiver {
        fn new() -> Self {
            Self { rhythm: Rhythm::new(WINDOW, 100), now: 0, arrivals: 0, awake: 0, spun: 0 }
        }

        /// Waits for one arrival, at this interval after the last.
        fn receive_after(&mut self, interval: u64) {
            let at = self.now + interval;
            let late = LATENESS[self.arrivals as usize % LATENESS.len()];
            let met = match self.rhythm.outlook(self.now) {
                Outlook::Unknown => Met::Parked,
                Outlook::Due => self.spin(self.now, at),
                Outlook::QuietUntil(wake) if wake + late > at => Met::Dozing,
                Outlook::QuietUntil(wake) => self.spin(wake + late, at),
            };
            self.awake += u64::from(met == Met::Awake);
            self.arrivals += 1;
            self.rhythm.arrived(at, met);
            self.now = at;
        }

        /// Looks out from then on, until the arrival or for as long as something is due.
        fn spin(&mut self, from: u64, at: u64) -> Met {
            let mut now = from;
            while now < at {
                if self.rhythm.outlook(now) == Outlook::Unknown {
                    return Met::Parked;
                }
                now += 1_000;
                self.spun += 1_000;
            }
            Met::Awake
        }

        fn receive(&mut self, intervals: impl IntoIterator<Item = u64>) -> &mut Self {
            (self.awake, self.spun, self.arrivals) = (0, 0, 0);
            intervals.into_iter().for_each(|interval| self.receive_after(interval));
            self
        }
    }

    /// Numbers that look random, from 0 to below `limit`.
    fn noise(limit: u64) -> impl Iterator<Item = u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % limit
        })
    }

    #[test]
    fn a_steady_stream_is_met_awake_for_a_tenth_of_the_time() {
        let mut receiver = Receiver::new();
        receiver.receive([MS; 6]);
        receiver.receive([MS; 10_000]);
        assert!(receiver.awake >= 9_900, "{} of 10000", receiver.awake);
        assert!(receiver.spun < 10_000 * MS / 10, "{} ns", receiver.spun);
    }

    #[test]
    fn a_sender_that_is_now_and_then_late_by_its_own_wake_up_is_met_awake() {
        let mut receiver = Receiver::new();
        // On a fixed schedule, each time up to 60 µs behind it.
        let lateness: Vec<u64> = noise(60_000).take(10_001).collect();
        let intervals: Vec<u64> = lateness.windows(2).map(|two| MS + two[1] - two[0]).collect();
        receiver.receive(intervals);
        assert!(receiver.awake >= 9_800, "{} of 10000", receiver.awake);
    }

    #[test]
    fn a_change_of_period_is_relearned_within_a_few_messages() {
        for (before, after) in [(MS, 2 * MS), (2 * MS, MS), (MS, 700_000), (MS, 10 * MS)] {
            let mut receiver = Receiver::new();
            receiver.receive(std::iter::repeat_n(before, 1_000));
            receiver.receive(std::iter::repeat_n(after, 6));
            receiver.receive(std::iter::repeat_n(after, 100));
            assert!(receiver.awake >= 95, "{before} to {after}: {} of 100", receiver.awake);
        }
    }

    #[test]
    fn a_missed_push_and_a_stranger_do_not_break_the_beat() {
        let mut receiver = Receiver::new();
        receiver.receive([MS; 1_000]);
        // One does not come, and one comes in between.
        receiver.receive([2 * MS, MS, MS, 400_000, 600_000, MS, MS]);
        assert!(receiver.awake >= 5, "{} of 7", receiver.awake);
        receiver.receive([MS; 100]);
        assert!(receiver.awake >= 98, "{} of 100", receiver.awake);
    }

    #[test]
    fn several_messages_of_one_tick_are_one_arrival() {
        let mut receiver = Receiver::new();
        let ticks = [10_000, MS - 10_000];
        receiver.receive(ticks.repeat(10));
        receiver.receive(ticks.repeat(1_000));
        assert!(receiver.awake >= 990, "{} of 1000 ticks", receiver.awake);
    }

    #[test]
    fn an_irregular_stream_costs_a_few_mistakes_and_then_nothing() {
        let mut receiver = Receiver::new();
        receiver.receive(noise(2 * MS).take(2_000));
        receiver.receive(noise(2 * MS).take(10_000));
        let total = 10_000 * MS;
        assert!(receiver.spun < total / 500, "{} of {total} ns", receiver.spun);
    }

    #[test]
    fn a_sender_with_too_much_jitter_for_its_period_is_not_followed() {
        let mut receiver = Receiver::new();
        let lateness: Vec<u64> = noise(60_000).take(12_001).collect();
        let intervals: Vec<u64> =
            lateness.windows(2).map(|two| MS / 10 + two[1] - two[0]).collect();
        receiver.receive(intervals[..2_000].iter().copied());
        receiver.receive(intervals[2_000..].iter().copied());
        let total = 10_000 * MS / 10;
        assert!(receiver.spun < total / 20, "{} of {total} ns", receiver.spun);
    }

    #[test]
    fn a_steady_stream_is_followed_again_however_often_its_beat_was_lost() {
        let mut receiver = Receiver::new();
        receiver.rhythm.alike_needed = ALIKE_MAX;
        receiver.receive([MS; 2 * ALIKE_MAX as usize]);
        receiver.receive([MS; 1_000]);
        assert!(receiver.awake >= 980, "{} of 1000", receiver.awake);
    }

    #[test]
    fn ten_thousand_messages_a_second_are_met_awake_in_spite_of_jitter() {
        let mut receiver = Receiver::new();
        let lateness: Vec<u64> = noise(22_000).take(12_001).collect();
        let intervals: Vec<u64> =
            lateness.windows(2).map(|two| MS / 10 + two[1] - two[0]).collect();
        receiver.receive(intervals);
        assert!(receiver.awake >= 10_800, "{} of 12000", receiver.awake);
    }

    #[test]
    fn the_share_bounds_the_time_awake() {
        let mut receiver = Receiver::new();
        receiver.rhythm.share_max = 4;
        receiver.receive([MS; 1_000]);
        assert!(receiver.spun <= 1_000 * MS * 4 / 100, "{} ns", receiver.spun);
    }

    #[test]
    fn silence_is_not_looked_out_for() {
        let mut receiver = Receiver::new();
        receiver.receive([MS; 1_000]);
        let after = receiver.now + MS + MS / 10 + WINDOW;
        assert_eq!(receiver.rhythm.outlook(after), Outlook::Unknown);
        assert_eq!(receiver.rhythm.outlook(u64::MAX / 2), Outlook::Unknown);
    }
}
