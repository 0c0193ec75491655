//! What the dashboard shows, apart from how: figures over time, the last answer, what is being typed.
//!
//! Time is an argument, and what a key asks of the session is returned as a [`Request`]; so nothing here needs a
//! terminal, a clock or a main process.

use std::{collections::VecDeque, mem, time::Duration};

use contract::Statistics;

use crate::{
    dashboard::{
        keys::{Action, Keymap, Purpose},
        tally::Tally,
    },
    measurements::{Latencies, LatencySummary, Sequence},
    report::{Bytes, SystemInfoLine},
};

/// How long one point of a chart is, in nanoseconds. Main samples as often, unless told otherwise.
const STEP_NS: u64 = 250_000_000;
/// How many steps a chart shows.
pub(super) const STEPS: usize = 240;
/// The time that a chart shows, in seconds.
pub(super) const CHART_S: f64 = (STEPS as u64 * STEP_NS) as f64 / 1e9;
/// How many steps the figures "of the last second" are from.
const STEPS_RECENT: usize = 4;
/// How long a line may be that is typed, in characters.
const INPUT_MAX: usize = 200;
/// How many lines of an answer can be seen, and how many characters of each.
const ANSWER_LINES_MAX: usize = 500;
const ANSWER_LINE_MAX: usize = 500;

/// Something that happened, for the painter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Happening {
    /// A session with main has begun.
    Connected { id: u32, pid: u32, allowed: Vec<String> },
    /// How much of the sandbox there is.
    Sandbox(&'static str),
    /// Main is gone, and may come back.
    MainGone,
    /// Something was answered, or went wrong.
    Answer(Answer),
}

/// What there is to read about the last thing that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) title: String,
    pub(super) lines: Vec<String>,
    pub(super) is_error: bool,
}

impl Answer {
    pub(super) fn system_info(info: &SystemInfoLine<'_>) -> Self {
        let uptime = humantime::format_duration(Duration::from_secs(info.uptime_s));
        Self::new(
            "get-system-info".to_owned(),
            [
                format!("{}: {} cores of {}", info.host_name, info.cores, info.cpu_model),
                format!("{} of memory, up for {uptime}", Bytes(info.total_memory)),
                format!("{} with kernel {}", info.os, info.kernel),
            ],
        )
    }

    /// The beginning of a file, as text.
    pub(super) fn file(path: &str, len: usize, bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(ANSWER_LINES_MAX * ANSWER_LINE_MAX)];
        let text = String::from_utf8_lossy(shown);
        Self::new(format!("read-file {path:?}: {len} bytes"), text.lines())
    }

    pub(super) fn error(title: String, message: &str) -> Self {
        Self { is_error: true, ..Self::new(title, message.lines()) }
    }

    fn sent(message: &str) -> Self {
        Self::new("log-message: sent".to_owned(), [message])
    }

    fn new(title: String, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let lines = lines.into_iter().take(ANSWER_LINES_MAX);
        Self {
            title: harmless(&title),
            lines: lines.map(|line| harmless(line.as_ref())).collect(),
            is_error: false,
        }
    }
}

/// As much of a line as is shown, without what a terminal would take for a command.
fn harmless(line: &str) -> String {
    let shown = line.chars().take(ANSWER_LINE_MAX);
    shown.map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Who this renderer is to main.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) id: u32,
    pub(super) pid: u32,
    pub(super) sandbox: &'static str,
    pub(super) allowed: Vec<String>,
    pub(super) is_connected: bool,
}

/// What keys are for at the moment.
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

/// What a key asks of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    Log(String),
    AskForSystemInfo,
    ReadFile(String),
}

/// All that is shown.
#[derive(Default)]
pub(super) struct Model {
    figures: Figures,
    /// What is shown instead, while the display is paused.
    frozen: Option<Box<Figures>>,
    pub(super) identity: Identity,
    pub(super) answer: Answer,
    /// The first line of the answer that is shown.
    pub(super) scroll: u16,
    pub(super) mode: Mode,
}

impl Model {
    /// Takes what came since the last time.
    pub(super) fn absorb(&mut self, tally: &mut Tally, now_ns: u64) {
        self.figures.absorb(tally, now_ns);
        for happening in tally.happenings.drain(..) {
            self.note(happening);
        }
    }

    fn note(&mut self, happening: Happening) {
        match happening {
            Happening::Connected { id, pid, allowed } => {
                let sandbox = self.identity.sandbox;
                self.identity = Identity { id, pid, sandbox, allowed, is_connected: true };
            }
            Happening::Sandbox(state) => self.identity.sandbox = state,
            Happening::MainGone => self.identity.is_connected = false,
            Happening::Answer(answer) => self.show(answer),
        }
    }

    fn show(&mut self, answer: Answer) {
        self.answer = answer;
        self.scroll = 0;
    }

    /// What came of a log message.
    pub(super) fn logged<E: ToString>(&mut self, message: &str, sent: Result<(), E>) {
        self.show(match sent {
            Ok(()) => Answer::sent(message),
            Err(error) => Answer::error("log-message".to_owned(), &error.to_string()),
        });
    }

    /// What is to be shown: what is, or what was when the display was paused.
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

    /// Does what a key asks for, as far as that is to be done here.
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
                let last = u16::try_from(self.answer.lines.len().saturating_sub(1));
                let scrolled = self.scroll.saturating_add_signed(by);
                self.scroll = scrolled.min(last.unwrap_or(u16::MAX));
            }
            (Action::Type(character), Mode::Type { text, .. }) => {
                if text.chars().count() < INPUT_MAX && !character.is_control() {
                    text.push(character);
                }
            }
            (Action::Erase, Mode::Type { text, .. }) => drop(text.pop()),
            (Action::EraseAll, Mode::Type { text, .. }) => text.clear(),
            // Keys of a mode that is not this one.
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

/// Everything that is measured.
#[derive(Clone, Default)]
pub(super) struct Figures {
    /// The last push.
    pub(super) latest: Option<Statistics>,
    /// What came up to it.
    pub(super) sequence: Sequence,
    /// How long ago the last push had been sent.
    pub(super) lag_ns: Option<u64>,
    /// Pushes a second, of the last second.
    pub(super) push_rate: f64,
    pub(super) push_recent: Option<LatencySummary>,
    pub(super) push_total: Option<LatencySummary>,
    pub(super) round_trip: Option<LatencySummary>,
    pub(super) last_round_trip_ns: Option<u64>,
    pub(super) failed_invokes: u64,

    // One value for each step, the last one is now.
    pub(super) cpu: History,
    pub(super) cores: Vec<History>,
    pub(super) push_rates: History,
    pub(super) push_p99_ns: History,
    pub(super) round_trips_ns: History,

    measured: Measured,
}

/// Where the figures of a step, of the last second and of all time come from.
#[derive(Clone, Default)]
struct Measured {
    step: Step,
    recent: VecDeque<Step>,
    push_total: Latencies,
    round_trips: Latencies,
}

#[derive(Clone, Default)]
struct Step {
    /// None before the first.
    began_ns: Option<u64>,
    lasted_ns: u64,
    pushes: u64,
    push_latency: Latencies,
}

impl Figures {
    fn absorb(&mut self, tally: &Tally, now_ns: u64) {
        let Measured { step, round_trips, .. } = &mut self.measured;
        step.pushes += tally.pushes;
        step.push_latency.add(&tally.push_latency);
        round_trips.add(&tally.round_trips);
        self.failed_invokes += tally.failed_invokes;
        if let Some((statistics, sequence)) = &tally.latest {
            self.latest = Some(*statistics);
            self.sequence = *sequence;
        }
        self.last_round_trip_ns = tally.last_round_trip_ns.or(self.last_round_trip_ns);
        let sent_ns = self.latest.map(|statistics| statistics.sent_ns);
        self.lag_ns = sent_ns.map(|sent_ns| now_ns.saturating_sub(sent_ns));

        let began_ns = *self.measured.step.began_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(began_ns) >= STEP_NS {
            self.end_step(now_ns - began_ns, now_ns);
        }
    }

    fn end_step(&mut self, lasted_ns: u64, now_ns: u64) {
        let Measured { step, recent, push_total, round_trips } = &mut self.measured;
        // The memory of a step that is no longer recent serves the next one.
        let old = if recent.len() == STEPS_RECENT { recent.pop_front() } else { None };
        let mut push_latency = old.map(|old| old.push_latency).unwrap_or_default();
        push_latency.clear();
        step.lasted_ns = lasted_ns;
        let next = Step { began_ns: Some(now_ns), lasted_ns: 0, pushes: 0, push_latency };
        let ended = mem::replace(step, next);

        let rate = |pushes: u64, lasted_ns: u64| pushes as f64 * 1e9 / lasted_ns.max(1) as f64;
        self.push_rates.push(rate(ended.pushes, lasted_ns));
        self.push_p99_ns.push(or_nan(ended.push_latency.summary().p99));
        push_total.add(&ended.push_latency);
        recent.push_back(ended);
        let mut latencies = Latencies::default();
        recent.iter().for_each(|step| latencies.add(&step.push_latency));
        self.push_rate = rate(
            recent.iter().map(|step| step.pushes).sum(),
            recent.iter().map(|step| step.lasted_ns).sum(),
        );
        self.push_recent = Some(latencies.summary());
        self.push_total = Some(push_total.summary());
        self.round_trip = Some(round_trips.summary());
        self.round_trips_ns.push(or_nan(self.last_round_trip_ns));

        // A sampler that is off has looked at nothing.
        let sampled = self.latest.as_ref().filter(|statistics| statistics.sampled_ns != 0);
        self.cpu.push(sampled.map_or(f64::NAN, |statistics| statistics.cpu_usage.into()));
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

/// The values of the last [`STEPS`] steps; NaN where one is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<f64>);

impl History {
    fn push(&mut self, value: f64) {
        if self.0.len() == STEPS {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The last value, if it is known.
    pub(super) fn latest(&self) -> Option<f64> {
        self.0.back().copied().filter(|value| value.is_finite())
    }

    /// All values, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = f64> {
        self.0.iter().rev().copied()
    }

    /// The highest one, if any is known.
    pub(super) fn highest(&self) -> Option<f64> {
        self.0.iter().copied().filter(|value| value.is_finite()).reduce(f64::max)
    }

    /// What is known, with its time: seconds before now, so not above 0.
    pub(super) fn points(&self) -> Vec<(f64, f64)> {
        let step_s = CHART_S / STEPS as f64;
        let ago = |index: usize| (self.0.len() - 1 - index) as f64 * step_s;
        let points = self.0.iter().enumerate().map(|(index, value)| (-ago(index), *value));
        points.filter(|(_, value)| value.is_finite()).collect()
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::zerocopy::FromZeros;

    use super::*;

    const MS: u64 = 1_000_000;

    /// A push of every millisecond of this span, with a latency of 1 µs; the CPU is as busy as told.
    fn tally(pushes: std::ops::Range<u64>, cpu_usage: f32) -> Tally {
        let mut tally = Tally::default();
        let mut sequence = Sequence::default();
        for number in pushes.clone() {
            sequence.record(number);
            tally.pushes += 1;
            tally.push_latency.record(1000);
        }
        let mut statistics = Statistics::new_zeroed();
        statistics.sequence = pushes.end - 1;
        statistics.sent_ns = statistics.sequence * MS;
        (statistics.sampled_ns, statistics.cpu_usage) = (1, cpu_usage);
        statistics.core_count = 2;
        statistics.core_usage[..2].copy_from_slice(&[cpu_usage, 10.0]);
        tally.latest = Some((statistics, sequence));
        tally
    }

    /// Frames of 50 ms, for so long.
    fn watched(model: &mut Model, from_ms: u64, until_ms: u64, cpu_usage: f32) {
        for begin in (from_ms..until_ms).step_by(50) {
            model.absorb(&mut tally(begin..begin + 50, cpu_usage), (begin + 50) * MS);
        }
    }

    fn typed(model: &mut Model, text: &str) {
        text.chars().for_each(|character| drop(model.apply(Action::Type(character))));
    }

    #[test]
    fn the_rate_is_that_of_the_last_second_and_the_latency_of_all() {
        let mut model = Model::default();
        watched(&mut model, 1, 3001, 50.0);
        let figures = model.figures();
        assert!((figures.push_rate - 1000.0).abs() < 1.0, "{}", figures.push_rate);
        assert_eq!(figures.push_recent.unwrap().p50, Some(1000));
        assert!(figures.push_total.unwrap().count > figures.push_recent.unwrap().count);
        assert_eq!(figures.lag_ns, Some(MS));
        // Now nothing comes for two seconds.
        for ms in (3001..5001).step_by(50) {
            model.absorb(&mut Tally::default(), (ms + 50) * MS);
        }
        let figures = model.figures();
        assert_eq!((figures.push_rate, figures.push_recent.unwrap().p50), (0.0, None));
        assert_eq!(figures.push_total.unwrap().p50, Some(1000));
        assert_eq!(figures.lag_ns, Some(2001 * MS));
    }

    #[test]
    fn each_core_has_a_history_that_forgets() {
        let mut model = Model::default();
        watched(&mut model, 1, 1001, 50.0);
        let figures = model.figures();
        assert_eq!((figures.cores.len(), figures.cpu.latest()), (2, Some(50.0)));
        assert_eq!(figures.cores[0].points().last(), Some(&(0.0, 50.0)));
        for begin in (1001..70_001).step_by(250) {
            model.absorb(&mut tally(begin..begin + 250, 70.0), (begin + 250) * MS);
        }
        let points = model.figures().cores[0].points();
        assert_eq!(points.len(), STEPS);
        assert!(points.iter().all(|(x, y)| (-CHART_S..=0.0).contains(x) && *y == 70.0));
    }

    #[test]
    fn a_usage_that_is_not_known_is_a_gap() {
        let mut model = Model::default();
        watched(&mut model, 1, 1001, f32::NAN);
        assert_eq!(model.figures().cpu.latest(), None);
        assert!(model.figures().cpu.points().is_empty());
        assert_eq!(model.figures().cores[1].latest(), Some(10.0));
    }

    #[test]
    fn a_paused_display_stands_still_and_everything_is_counted() {
        let mut model = Model::default();
        watched(&mut model, 1, 1001, 50.0);
        let before = model.figures().push_total.unwrap();
        assert_eq!(model.apply(Action::Pause), None);
        watched(&mut model, 1001, 2001, 90.0);
        assert!(model.is_paused());
        assert_eq!(model.figures().push_total, Some(before));
        assert_eq!(model.figures().cpu.latest(), Some(50.0));
        model.apply(Action::Pause);
        assert!(model.figures().push_total.unwrap().count >= before.count + 1000);
        assert_eq!(model.figures().cpu.latest(), Some(90.0));
        assert_eq!(model.figures().cpu.newest_first().count(), 7, "the charts have no hole");
    }

    #[test]
    fn a_line_is_typed_mended_and_submitted() {
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
        typed(&mut model, "Cargo.toml");
        assert_eq!(model.apply(Action::Submit), Some(Request::ReadFile("Cargo.toml".to_owned())));
    }

    #[test]
    fn a_line_that_is_empty_or_given_up_asks_for_nothing() {
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
    fn a_line_has_a_limit() {
        let mut model = Model::default();
        model.apply(Action::Begin(Purpose::LogMessage));
        typed(&mut model, &"ä".repeat(10 * INPUT_MAX));
        let Some(Request::Log(text)) = model.apply(Action::Submit) else { panic!() };
        assert_eq!(text.chars().count(), INPUT_MAX);
    }

    #[test]
    fn an_answer_is_bounded_and_sends_the_terminal_nothing() {
        let answer = Answer::file("x\u{1b}", 9, b"red \x1b[31m\ttab\r\nnext \xff line");
        assert_eq!(answer.lines, ["red  [31m tab", "next \u{fffd} line"]);
        assert!(!answer.title.contains('\u{1b}'));
        let answer = Answer::file("x", 9, &b"0123456789\n".repeat(100_000));
        assert_eq!(answer.lines.len(), ANSWER_LINES_MAX);
        let answer = Answer::file("x", 9, &b"0".repeat(1_000_000));
        assert_eq!(answer.lines[0].len(), ANSWER_LINE_MAX);
    }

    #[test]
    fn an_answer_is_scrolled_from_its_first_to_its_last_line_and_the_next_begins_at_its_top() {
        let mut model = Model::default();
        model.note(Happening::Answer(Answer::file("x", 9, b"1\n2\n3")));
        model.apply(Action::Scroll(-1));
        assert_eq!(model.scroll, 0);
        model.apply(Action::Scroll(10));
        assert_eq!(model.scroll, 2);
        model.logged("hello", Err::<(), _>("forbidden"));
        assert_eq!((model.scroll, model.answer.is_error), (0, true));
    }

    #[test]
    fn main_goes_and_comes_and_the_new_session_has_a_number_of_its_own() {
        let mut model = Model::default();
        let connected = |id| Happening::Connected { id, pid: 9, allowed: vec!["x".to_owned()] };
        model.note(connected(1));
        model.note(Happening::Sandbox("complete"));
        model.note(Happening::MainGone);
        assert!(!model.identity.is_connected);
        model.note(connected(2));
        assert!(model.identity.is_connected);
        assert_eq!((model.identity.id, model.identity.sandbox), (2, "complete"));
    }
}
