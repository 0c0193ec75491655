//! The contents of the dashboard: figures over time, the last answer, and the line that the user types.
//!
//! Time and keys are arguments, and the result of a key is a [`Request`] to the session.

use std::{collections::VecDeque, mem};

use contract::{Statistics, SystemInfo};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    dashboard::board::Received,
    measurements::{Latencies, LatencySummary, Sequence},
    report,
};

/// The help: the keys that [`Model::press`] understands.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("l", "send main a log message"),
    ("i", "invoke get-system-info"),
    ("r", "invoke read-file, with a path below main's --files"),
    ("p", "pause the display; everything is still counted"),
    ("↑ ↓", "move through a long answer, also by PgUp and PgDn"),
    ("Esc", "cancel the line that you type"),
    ("?", "this help"),
    ("q", "quit, also by Ctrl-C: main ends too, if it launched this renderer"),
];
const PAGE: i16 = 10;

/// The time of one point of a chart, in nanoseconds. Main's default sampling interval is the same.
const STEP_NS: u64 = 250_000_000;
pub(super) const STEPS: usize = 240;
const STEP_S: f64 = STEP_NS as f64 / 1e9;
pub(super) const CHART_S: f64 = STEPS as f64 * STEP_S;
/// The number of steps in the figures "of the last second".
const STEPS_RECENT: usize = 4;
const INPUT_MAX: usize = 200;
/// The maximum number of lines of an answer, and of characters in each.
const ANSWER_LINES_MAX: usize = 500;
const ANSWER_LINE_MAX: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    pub(super) is_error: bool,
}

impl Answer {
    pub(super) fn system_info(info: &SystemInfo) -> Self {
        Self::new("get-system-info", report::system_info(info))
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    LogMessage,
    ReadFile,
}

/// The present meaning of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Watch,
    Type(Purpose, String),
    Help,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    AskForSystemInfo,
    Line(Purpose, String),
}

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
    /// Takes everything that came since the last frame.
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

    /// Handles a key, and returns its request to the session.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Request> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (&mut self.mode, key.code) {
            (_, KeyCode::Char('c')) if control => return Some(Request::Quit),
            (Mode::Type(_, text), KeyCode::Char('u')) if control => text.clear(),
            _ if control => {}
            (Mode::Type(_, text), KeyCode::Char(character))
                if text.chars().count() < INPUT_MAX && !character.is_control() =>
            {
                text.push(character);
            }
            (Mode::Type(_, text), KeyCode::Backspace) => drop(text.pop()),
            (Mode::Type(..), KeyCode::Enter) => return self.submit(),
            (Mode::Type(..), KeyCode::Esc) => self.mode = Mode::Watch,
            (Mode::Type(..), _) => {}
            (_, KeyCode::Char('q')) => return Some(Request::Quit),
            (Mode::Help, _) => self.mode = Mode::Watch,
            (Mode::Watch, KeyCode::Char('p' | ' ')) => {
                let figures = self.frozen.is_none().then(|| Box::new(self.figures.clone()));
                self.frozen = figures;
            }
            (_, KeyCode::Char('?' | 'h')) => self.mode = Mode::Help,
            (_, KeyCode::Char('l')) => self.type_line(Purpose::LogMessage),
            (_, KeyCode::Char('r')) => self.type_line(Purpose::ReadFile),
            (_, KeyCode::Char('i')) => return Some(Request::AskForSystemInfo),
            (_, KeyCode::Up) => self.scroll_by(-1),
            (_, KeyCode::Down) => self.scroll_by(1),
            (_, KeyCode::PageUp) => self.scroll_by(-PAGE),
            (_, KeyCode::PageDown) => self.scroll_by(PAGE),
            _ => {}
        }
        None
    }

    fn type_line(&mut self, purpose: Purpose) {
        self.mode = Mode::Type(purpose, String::new());
    }

    fn scroll_by(&mut self, lines: i16) {
        let last = self.answer.lines.len().saturating_sub(1) as u16;
        self.scroll = self.scroll.saturating_add_signed(lines).min(last);
    }

    fn submit(&mut self) -> Option<Request> {
        let Mode::Type(purpose, text) = mem::take(&mut self.mode) else { return None };
        (!text.is_empty()).then_some(Request::Line(purpose, text))
    }
}

#[derive(Clone, Default)]
pub(super) struct Figures {
    pub(super) latest: Option<Statistics>,
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

    pushes: Latencies,
    round_trips: Latencies,
    /// The pushes of the present step; the steps of the last second come before it, each with its duration.
    step: Latencies,
    step_began_ns: Option<u64>,
    recent: VecDeque<(Latencies, u64)>,
}

impl Figures {
    fn absorb(&mut self, received: &Received, now_ns: u64) {
        self.step.add(&received.tally.push);
        self.round_trips.add(&received.tally.round_trip);
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
        self.push_rates.push(rate(step.count(), lasted_ns));
        self.push_p99_ns.push(or_nan(step.summary().p99));
        self.round_trips_ns.push(or_nan(self.last_round_trip_ns));
        self.pushes.add(&step);
        if self.recent.len() == STEPS_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((step, lasted_ns));
        let mut second = Latencies::default();
        self.recent.iter().for_each(|(step, _)| second.add(step));
        let second_ns = self.recent.iter().map(|(_, lasted_ns)| lasted_ns).sum();
        self.push_rate = rate(second.count(), second_ns);
        self.push_recent = second.summary();
        self.push_total = self.pushes.summary();
        self.round_trip = self.round_trips.summary();

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

    fn press(model: &mut Model, code: KeyCode) -> Option<Request> {
        model.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn control(model: &mut Model, letter: char) -> Option<Request> {
        model.press(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
    }

    fn typed(model: &mut Model, text: &str) {
        for character in text.chars() {
            assert_eq!(press(model, KeyCode::Char(character)), None);
        }
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
    fn each_core_has_a_history_that_forgets_and_an_unknown_usage_is_a_gap() {
        let mut model = Model::default();
        watch(&mut model, 1..1001, f32::NAN);
        assert!(model.figures().cpu.latest().is_nan() && model.figures().cpu.points().is_empty());
        assert_eq!(model.figures().cores[1].latest(), 10.0);
        watch(&mut model, 1001..2001, 50.0);
        let figures = model.figures();
        assert_eq!((figures.cores.len(), figures.cpu.latest()), (2, 50.0));
        assert_eq!(figures.cores[0].points().last(), Some(&(0.0, 50.0)));
        for begin in (2001..70_001).step_by(250) {
            model.absorb(&mut received(begin..begin + 250, 70.0), (begin + 250) * MS);
        }
        let points = model.figures().cores[0].points();
        assert_eq!(points.len(), STEPS);
        assert!(points.iter().all(|(x, y)| (-CHART_S..=0.0).contains(x) && *y == 70.0));
    }

    #[test]
    fn a_paused_display_stands_still_and_everything_is_counted() {
        let mut model = Model::default();
        watch(&mut model, 1..1001, 50.0);
        let before = model.figures().push_total;
        typed(&mut model, "p");
        watch(&mut model, 1001..2001, 90.0);
        assert!(model.is_paused());
        assert_eq!((model.figures().push_total, model.figures().cpu.latest()), (before, 50.0));
        typed(&mut model, "p");
        assert!(model.figures().push_total.count >= before.count + 1000);
        assert_eq!(model.figures().cpu.latest(), 90.0);
        assert_eq!(model.figures().cpu.newest_first().count(), 7, "the charts have no hole");
    }

    #[test]
    fn a_line_is_typed_corrected_and_submitted_or_cancelled() {
        let mut model = Model::default();
        typed(&mut model, "lnonsense");
        control(&mut model, 'u');
        typed(&mut model, "hellö!");
        press(&mut model, KeyCode::Backspace);
        let submitted = press(&mut model, KeyCode::Enter);
        assert_eq!(submitted, Some(Request::Line(Purpose::LogMessage, "hellö".to_owned())));
        assert_eq!(model.mode, Mode::Watch);
        typed(&mut model, "r");
        typed(&mut model, &"ä".repeat(10 * INPUT_MAX));
        let submitted = press(&mut model, KeyCode::Enter);
        assert_eq!(submitted, Some(Request::Line(Purpose::ReadFile, "ä".repeat(INPUT_MAX))));
        for end in [KeyCode::Enter, KeyCode::Esc] {
            typed(&mut model, if end == KeyCode::Esc { "rx" } else { "r" });
            assert_eq!(press(&mut model, end), None);
            assert_eq!(model.mode, Mode::Watch);
        }
    }

    #[test]
    fn every_letter_in_the_help_does_something_and_ctrl_c_always_quits() {
        for key in KEYS.map(|(key, _)| key).into_iter().filter(|key| key.len() == 1) {
            let mut model = Model::default();
            let request = press(&mut model, KeyCode::Char(key.chars().next().unwrap()));
            assert!(request.is_some() || model.is_paused() || model.mode != Mode::Watch, "{key}");
            assert_eq!(control(&mut model, 'c'), Some(Request::Quit));
        }
        let mut model = Model::default();
        for code in [KeyCode::Char('?'), KeyCode::Esc, KeyCode::Enter, KeyCode::Char('l')] {
            typed(&mut model, "?");
            assert_eq!(model.mode, Mode::Help);
            press(&mut model, code);
            assert_eq!(model.mode, Mode::Watch);
        }
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
        let keys = [KeyCode::Up, KeyCode::PageDown, KeyCode::Up, KeyCode::Down];
        let scrolled = keys.map(|key| {
            press(&mut model, key);
            model.scroll
        });
        assert_eq!(scrolled, [0, 2, 1, 2]);
        model.logged("hello", Err::<(), _>("forbidden"));
        assert_eq!((model.scroll, model.answer.is_error), (0, true));
    }
}
