//! The contents of the dashboard: figures over time, the last answer, and the line that the user types.
//!
//! Time is an argument, and what a key asks of the session is returned as a [`Request`]. So nothing here needs a
//! terminal, a clock or a main process.

use std::{collections::VecDeque, mem, time::Duration};

use contract::{
    Statistics, SystemInfo,
    figures::{bytes, duration},
};

use crate::{
    dashboard::{
        board::Received,
        keys::{Action, Keymap, Purpose},
    },
    measurements::{LatencySummary, Sequence, Tally},
};

/// The time of one point of a chart, in nanoseconds. Main's default sampling interval is the same.
const STEP_NS: u64 = 250_000_000;
/// The number of steps of a chart.
pub(super) const STEPS: usize = 240;
/// The time of a step, in seconds.
const STEP_S: f64 = STEP_NS as f64 / 1e9;
/// The time of a chart, in seconds.
pub(super) const CHART_S: f64 = STEPS as f64 * STEP_S;
/// The number of steps in the figures "of the last second".
const STEPS_RECENT: usize = 4;
/// The maximum length of a typed line, in characters.
const INPUT_MAX: usize = 200;
/// The maximum number of lines of an answer, and of characters in each.
const ANSWER_LINES_MAX: usize = 500;
const ANSWER_LINE_MAX: usize = 500;

/// The result of the user's last request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    pub(super) is_error: bool,
}

impl Answer {
    pub(super) fn system_info(info: &SystemInfo) -> Self {
        let uptime = duration(Duration::from_secs(info.uptime_s));
        Self::new(
            "get-system-info",
            [
                format!("{}: {} cores of {}", info.host_name, info.cores, info.cpu_model),
                format!("{} of memory, up for {uptime}", bytes(info.total_memory)),
                format!("{} with kernel {}", info.os, info.kernel),
            ],
        )
    }

    /// The beginning of a file, as text.
    pub(super) fn file(path: &str, len: usize, bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(ANSWER_LINES_MAX * ANSWER_LINE_MAX)];
        let text = String::from_utf8_lossy(shown);
        Self::new(&format!("read-file {path:?}: {len} bytes"), text.lines())
    }

    pub(super) fn error(title: &str, message: &str) -> Self {
        Self { is_error: true, ..Self::new(title, message.lines()) }
    }

    fn new(title: &str, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let lines = lines.into_iter().take(ANSWER_LINES_MAX);
        let lines = lines.map(|line| harmless(line.as_ref())).collect();
        Self { title: harmless(title), lines, is_error: false }
    }
}

/// Cuts a line to the length that is shown, and replaces control characters, which a terminal would obey.
fn harmless(line: &str) -> String {
    let shown = line.chars().take(ANSWER_LINE_MAX);
    shown.map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The renderer, as main knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) id: u32,
    pub(super) pid: u32,
    pub(super) sandbox: &'static str,
    pub(super) allowed: Vec<String>,
    pub(super) is_connected: bool,
}

/// The present use of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Watch,
    Type {
        purpose: Purpose,
        text: String,
    },
    Help,
}

/// A request of the user to the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    Log(String),
    AskForSystemInfo,
    ReadFile(String),
}

/// Everything that the dashboard shows.
#[derive(Default)]
pub(super) struct Model {
    figures: Figures,
    /// The figures that are shown while the display is paused.
    frozen: Option<Box<Figures>>,
    pub(super) identity: Identity,
    pub(super) answer: Answer,
    /// The first line of the answer that is shown.
    pub(super) scroll: u16,
    pub(super) mode: Mode,
}

impl Model {
    /// Takes what came since the last frame.
    pub(super) fn absorb(&mut self, received: &mut Received, now_ns: u64) {
        self.figures.absorb(received, now_ns);
        if let Some(identity) = received.identity.take() {
            self.identity = identity;
        }
        if let Some(answer) = received.answer.take() {
            self.show(answer);
        }
    }

    fn show(&mut self, answer: Answer) {
        self.answer = answer;
        self.scroll = 0;
    }

    /// Shows the result of sending a log message.
    pub(super) fn logged<E: ToString>(&mut self, message: &str, sent: Result<(), E>) {
        self.show(match sent {
            Ok(()) => Answer::new("log-message: sent", [message]),
            Err(error) => Answer::error("log-message", &error.to_string()),
        });
    }

    /// Returns the figures to show: the present ones, or those of the moment of the pause.
    pub(super) fn figures(&self) -> &Figures {
        self.frozen.as_deref().unwrap_or(&self.figures)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn keymap(&self) -> Keymap {
        match self.mode {
            Mode::Watch => Keymap::Commands,
            Mode::Type { .. } => Keymap::Typing,
            Mode::Help => Keymap::Help,
        }
    }

    /// Applies a key's action, and returns what it asks of the session.
    pub(super) fn apply(&mut self, action: Action) -> Option<Request> {
        match (action, &mut self.mode) {
            (Action::Quit, _) => return Some(Request::Quit),
            (Action::AskForSystemInfo, _) => return Some(Request::AskForSystemInfo),
            (Action::Submit, Mode::Type { .. }) => return self.submit(),
            (Action::Pause, _) => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some(Box::new(self.figures.clone())),
                };
            }
            (Action::Help, Mode::Help) | (Action::Cancel, _) => self.mode = Mode::Watch,
            (Action::Help, _) => self.mode = Mode::Help,
            (Action::Begin(purpose), _) => {
                self.mode = Mode::Type { purpose, text: String::new() };
            }
            (Action::Scroll(by), _) => {
                let last = self.answer.lines.len().saturating_sub(1) as u16;
                self.scroll = self.scroll.saturating_add_signed(by).min(last);
            }
            (Action::Type(character), Mode::Type { text, .. }) => {
                if text.chars().count() < INPUT_MAX && !character.is_control() {
                    text.push(character);
                }
            }
            (Action::Erase, Mode::Type { text, .. }) => drop(text.pop()),
            (Action::EraseAll, Mode::Type { text, .. }) => text.clear(),
            // Keys of another mode.
            (Action::Submit | Action::Type(_) | Action::Erase | Action::EraseAll, _) => {}
        }
        None
    }

    fn submit(&mut self) -> Option<Request> {
        let Mode::Type { purpose, text } = mem::take(&mut self.mode) else { return None };
        (!text.is_empty()).then_some(match purpose {
            Purpose::LogMessage => Request::Log(text),
            Purpose::ReadFile => Request::ReadFile(text),
        })
    }
}

/// All measurements that are shown.
#[derive(Clone, Default)]
pub(super) struct Figures {
    /// The last push.
    pub(super) latest: Option<Statistics>,
    /// The sequence up to the last push.
    pub(super) sequence: Sequence,
    /// The time since the last push was sent.
    pub(super) lag_ns: Option<u64>,
    /// Pushes a second, in the last second.
    pub(super) push_rate: f64,
    pub(super) push_recent: LatencySummary,
    pub(super) push_total: LatencySummary,
    pub(super) round_trip: LatencySummary,
    pub(super) last_round_trip_ns: Option<u64>,
    pub(super) failed_invokes: u64,

    // One value for each step; the last one is the newest.
    pub(super) cpu: History,
    pub(super) cores: Vec<History>,
    pub(super) push_rates: History,
    pub(super) push_p99_ns: History,
    pub(super) round_trips_ns: History,

    total: Tally,
    /// The present step; the steps of the last second come before it.
    step: Tally,
    step_began_ns: Option<u64>,
    recent: VecDeque<(Tally, u64)>,
}

impl Figures {
    fn absorb(&mut self, received: &Received, now_ns: u64) {
        self.step.add(&received.tally);
        self.total.round_trip.add(&received.tally.round_trip);
        self.failed_invokes += received.tally.failed_invokes;
        self.last_round_trip_ns = received.tally.last_round_trip_ns.or(self.last_round_trip_ns);
        if let Some((statistics, sequence)) = received.latest {
            (self.latest, self.sequence) = (Some(statistics), sequence);
        }
        self.lag_ns = self.latest.map(|latest| now_ns.saturating_sub(latest.sent_ns));
        let lasted_ns = now_ns.saturating_sub(*self.step_began_ns.get_or_insert(now_ns));
        if lasted_ns >= STEP_NS {
            self.step_began_ns = Some(now_ns);
            self.end_step(lasted_ns);
        }
    }

    fn end_step(&mut self, lasted_ns: u64) {
        let step = mem::take(&mut self.step);
        let rate = |pushes: u64, lasted_ns: u64| pushes as f64 * 1e9 / lasted_ns.max(1) as f64;
        self.push_rates.push(rate(step.push.count(), lasted_ns));
        self.push_p99_ns.push(or_nan(step.push.summary().p99));
        self.round_trips_ns.push(or_nan(self.last_round_trip_ns));
        self.total.push.add(&step.push);
        if self.recent.len() == STEPS_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((step, lasted_ns));
        let mut second = Tally::default();
        self.recent.iter().for_each(|(step, _)| second.push.add(&step.push));
        let second_ns = self.recent.iter().map(|(_, lasted_ns)| lasted_ns).sum();
        self.push_rate = rate(second.push.count(), second_ns);
        self.push_recent = second.push.summary();
        self.push_total = self.total.push.summary();
        self.round_trip = self.total.round_trip.summary();

        let sampled = self.latest.as_ref().filter(|latest| latest.is_sampled());
        self.cpu.push(sampled.map_or(f64::NAN, |latest| latest.cpu_usage.into()));
        let cores = sampled.map_or(&[][..], Statistics::cores);
        let known = self.cores.len().max(cores.len());
        self.cores.resize_with(known, History::default);
        for (core, history) in self.cores.iter_mut().enumerate() {
            history.push(cores.get(core).map_or(f64::NAN, |usage| f64::from(*usage)));
        }
    }
}

fn or_nan(ns: Option<u64>) -> f64 {
    ns.map_or(f64::NAN, |ns| ns as f64)
}

/// The values of the last [`STEPS`] steps; NaN where a value is unknown.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<f64>);

impl History {
    fn push(&mut self, value: f64) {
        if self.0.len() == STEPS {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// Returns the last value, which may be NaN.
    pub(super) fn latest(&self) -> f64 {
        self.0.back().copied().unwrap_or(f64::NAN)
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = f64> {
        self.0.iter().rev().copied()
    }

    /// Returns the highest known value.
    pub(super) fn highest(&self) -> Option<f64> {
        self.newest_first().filter(|value| value.is_finite()).reduce(f64::max)
    }

    /// Returns the known values, the oldest first, each with its time: seconds from now, so not above 0.
    pub(super) fn points(&self) -> Vec<(f64, f64)> {
        let newest = self.0.len() as f64 - 1.0;
        let points = self.0.iter().enumerate();
        let points = points.map(|(index, value)| ((index as f64 - newest) * STEP_S, *value));
        points.filter(|(_, value)| value.is_finite()).collect()
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::zerocopy::FromZeros;

    use super::*;

    const MS: u64 = 1_000_000;

    /// One push for each millisecond of this span, with a latency of 1 µs and this CPU usage.
    fn received(pushes: std::ops::Range<u64>, cpu_usage: f32) -> Received {
        let mut received = Received::default();
        let mut sequence = Sequence::default();
        for number in pushes.clone() {
            sequence.record(number);
            received.tally.push.record(1000);
        }
        let mut statistics = Statistics::new_zeroed();
        statistics.sequence = pushes.end - 1;
        statistics.sent_ns = statistics.sequence * MS;
        (statistics.sampled_ns, statistics.cpu_usage) = (1, cpu_usage);
        statistics.core_count = 2;
        statistics.core_usage[..2].copy_from_slice(&[cpu_usage, 10.0]);
        received.latest = Some((statistics, sequence));
        received
    }

    /// Absorbs a frame every 50 ms of this span.
    fn watch(model: &mut Model, span_ms: std::ops::Range<u64>, cpu_usage: f32) {
        for begin in span_ms.step_by(50) {
            model.absorb(&mut received(begin..begin + 50, cpu_usage), (begin + 50) * MS);
        }
    }

    fn typed(model: &mut Model, text: &str) {
        text.chars().for_each(|character| drop(model.apply(Action::Type(character))));
    }

    #[test]
    fn the_rate_is_that_of_the_last_second_and_the_latency_of_all() {
        let mut model = Model::default();
        watch(&mut model, 1..3001, 50.0);
        let figures = model.figures();
        assert!((figures.push_rate - 1000.0).abs() < 1.0, "{}", figures.push_rate);
        assert_eq!((figures.push_recent.p50, figures.lag_ns), (Some(1000), Some(MS)));
        assert!(figures.push_total.count > figures.push_recent.count);
        // Nothing comes for two seconds.
        for ms in (3001..5001).step_by(50) {
            model.absorb(&mut Received::default(), (ms + 50) * MS);
        }
        let figures = model.figures();
        assert_eq!((figures.push_rate, figures.push_recent.p50), (0.0, None));
        assert_eq!((figures.push_total.p50, figures.lag_ns), (Some(1000), Some(2001 * MS)));
    }

    #[test]
    fn each_core_has_a_history_that_forgets() {
        let mut model = Model::default();
        watch(&mut model, 1..1001, 50.0);
        let figures = model.figures();
        assert_eq!((figures.cores.len(), figures.cpu.latest()), (2, 50.0));
        assert_eq!(figures.cores[0].points().last(), Some(&(0.0, 50.0)));
        for begin in (1001..70_001).step_by(250) {
            model.absorb(&mut received(begin..begin + 250, 70.0), (begin + 250) * MS);
        }
        let points = model.figures().cores[0].points();
        assert_eq!(points.len(), STEPS);
        assert!(points.iter().all(|(x, y)| (-CHART_S..=0.0).contains(x) && *y == 70.0));
    }

    #[test]
    fn an_unknown_usage_is_a_gap() {
        let mut model = Model::default();
        watch(&mut model, 1..1001, f32::NAN);
        assert!(model.figures().cpu.latest().is_nan());
        assert!(model.figures().cpu.points().is_empty());
        assert_eq!(model.figures().cores[1].latest(), 10.0);
    }

    #[test]
    fn a_paused_display_stands_still_and_everything_is_counted() {
        let mut model = Model::default();
        watch(&mut model, 1..1001, 50.0);
        let before = model.figures().push_total;
        assert_eq!(model.apply(Action::Pause), None);
        watch(&mut model, 1001..2001, 90.0);
        assert!(model.is_paused());
        assert_eq!((model.figures().push_total, model.figures().cpu.latest()), (before, 50.0));
        model.apply(Action::Pause);
        assert!(model.figures().push_total.count >= before.count + 1000);
        assert_eq!(model.figures().cpu.latest(), 90.0);
        assert_eq!(model.figures().cpu.newest_first().count(), 7, "the charts have no hole");
    }

    #[test]
    fn a_line_is_typed_corrected_and_submitted() {
        let mut model = Model::default();
        model.apply(Action::Begin(Purpose::LogMessage));
        assert_eq!(model.keymap(), Keymap::Typing);
        typed(&mut model, "nonsense");
        model.apply(Action::EraseAll);
        typed(&mut model, "hellö!");
        model.apply(Action::Erase);
        assert_eq!(model.apply(Action::Submit), Some(Request::Log("hellö".to_owned())));
        assert_eq!(model.mode, Mode::Watch);
        model.apply(Action::Begin(Purpose::ReadFile));
        typed(&mut model, &"ä".repeat(10 * INPUT_MAX));
        let longest = Request::ReadFile("ä".repeat(INPUT_MAX));
        assert_eq!(model.apply(Action::Submit), Some(longest));
    }

    #[test]
    fn an_empty_or_cancelled_line_asks_for_nothing() {
        let mut model = Model::default();
        model.apply(Action::Begin(Purpose::ReadFile));
        assert_eq!(model.apply(Action::Submit), None);
        model.apply(Action::Begin(Purpose::ReadFile));
        typed(&mut model, "x");
        model.apply(Action::Cancel);
        assert_eq!(model.mode, Mode::Watch);
        assert_eq!(model.apply(Action::Submit), None);
    }

    #[test]
    fn an_answer_is_bounded_and_sends_no_control_characters() {
        let answer = Answer::file("x\u{1b}", 9, b"red \x1b[31m\ttab\r\nnext \xff line");
        assert_eq!(answer.lines, ["red  [31m tab", "next \u{fffd} line"]);
        assert!(!answer.title.contains('\u{1b}'));
        let answer = Answer::file("x", 9, &b"0123456789\n".repeat(100_000));
        assert_eq!(answer.lines.len(), ANSWER_LINES_MAX);
        let answer = Answer::file("x", 9, &b"0".repeat(1_000_000));
        assert_eq!(answer.lines[0].len(), ANSWER_LINE_MAX);
    }

    #[test]
    fn an_answer_scrolls_from_its_first_to_its_last_line_and_the_next_begins_at_its_top() {
        let mut model = Model::default();
        model.show(Answer::file("x", 9, b"1\n2\n3"));
        let mut scrolled = |by| {
            model.apply(Action::Scroll(by));
            model.scroll
        };
        assert_eq!([-1, 10, -1, 1].map(&mut scrolled), [0, 2, 1, 2]);
        model.logged("hello", Err::<(), _>("forbidden"));
        assert_eq!((model.scroll, model.answer.is_error), (0, true));
    }
}
