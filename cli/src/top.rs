//! `ringbridge top`: the state of a main process live, with rates per second.
//!
//! ```text
//!   main's state, ten times a second ──▶ the newest, once a second ──▶ minus the one before ──▶ rates
//! ```
//!
//! The terminal is restored at every end: by a key, a signal, main's end, an error, a panic.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, IsTerminal},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use contract::figures::{bytes, count, percent, share};
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::Stylize,
    text::Line,
    widgets::{Cell, Paragraph, Row, Table},
};
use ringbridge::{Counters, InspectedWindow, Inspection, Inspector, WindowState};

use crate::{inspect, print};

/// The time between two states, whose difference is the rates.
const PERIOD: Duration = Duration::from_secs(1);
const HEARD_WITHIN: Duration = Duration::from_millis(50);

pub(crate) fn run(endpoint: &str, json: bool) -> Result<(), Box<dyn Error>> {
    if !json && !io::stdout().is_terminal() {
        return Err("standard output is no terminal: use --json, or 'ringbridge inspect'".into());
    }
    let mut inspector = Inspector::attach(endpoint)?;
    let first = inspect::next(&mut inspector)?;
    let ended = Arc::new(AtomicBool::new(false));
    let signalled = ended.clone();
    ctrlc::set_handler(move || signalled.store(true, Ordering::Relaxed))?;
    if json {
        return print_states(&mut inspector, &first, &ended);
    }
    // It installs a panic hook that restores the terminal.
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &mut inspector, first, &ended);
    ratatui::try_restore()?;
    shown
}

fn print_states(
    inspector: &mut Inspector,
    first: &Inspection,
    ended: &AtomicBool,
) -> Result<(), Box<dyn Error>> {
    print(inspect::as_json(first))?;
    let mut due = Instant::now() + PERIOD;
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(HEARD_WITHIN);
        let newest = inspector.next(Duration::ZERO)?;
        if let Some(newest) = newest.filter(|_| Instant::now() >= due) {
            print(inspect::as_json(&newest))?;
            due += PERIOD;
        }
    }
    Ok(())
}

/// Shows the states until a key, a signal or main's end.
fn show(
    terminal: &mut DefaultTerminal,
    inspector: &mut Inspector,
    first: Inspection,
    ended: &AtomicBool,
) -> Result<(), Box<dyn Error>> {
    let mut view = View { before: first.clone(), seen: first, scrolled: 0 };
    let mut due = Instant::now() + PERIOD;
    let mut changed = true;
    while !ended.load(Ordering::Relaxed) {
        if changed {
            terminal.draw(|frame| view.draw(frame))?;
            changed = false;
        }
        if event::poll(HEARD_WITHIN)? {
            match event::read()? {
                Event::Key(key) if view.is_ended_by(key) => return Ok(()),
                _ => {}
            }
            changed = true;
        }
        if let Some(newest) = inspector.next(Duration::ZERO)?
            && Instant::now() >= due
        {
            view.before = mem::replace(&mut view.seen, newest);
            due = Instant::now() + PERIOD;
            changed = true;
        }
    }
    Ok(())
}

struct View {
    before: Inspection,
    seen: Inspection,
    /// The number of windows above the first line.
    scrolled: usize,
}

const HEADINGS: &str =
    "WINDOW,PID,STATE,FROM IT/s,TO IT/s,WAITING,ASKED,RUNG/s,PARKS/s,THROTTLED,VIOLATIONS";
const WIDTHS: [u16; 11] = [6, 8, 10, 11, 11, 16, 9, 9, 9, 9, 10];

impl View {
    /// Handles a key, and returns whether it ends the view.
    fn is_ended_by(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return key.kind == KeyEventKind::Press,
            // A terminal in raw mode sends no signal for it.
            KeyCode::Char('c') => return key.modifiers.contains(KeyModifiers::CONTROL),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::Down => self.scrolled += 1,
            _ => {}
        }
        false
    }

    /// Returns the rate per second of a number with these values before and now.
    fn rate(&self, before: u64, now: u64) -> f64 {
        let seconds = self.seen.open_for.saturating_sub(self.before.open_for).as_secs_f64();
        if seconds == 0.0 { 0.0 } else { now.saturating_sub(before) as f64 / seconds }
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        self.scrolled = self.scrolled.min(self.seen.windows.len().saturating_sub(1));
        let layout = Layout::vertical([Constraint::Length(3), Constraint::Min(1)]);
        let [head, body] = layout.areas(frame.area());
        let (before, now) = (&self.before.metrics, &self.seen.metrics);
        let asleep = percent(self.rate(before.slept_ns, now.slept_ns) / 1e7);
        let sleeps = count(self.rate(before.sleeps, now.sleeps).round() as u64);
        let asleep = format!("main sleeps {asleep} of the time, {sleeps} times a second");
        let lines = vec![Line::from(inspect::headline(&self.seen)).bold(), Line::from(asleep)];
        frame.render_widget(Paragraph::new(lines), head);

        let before = self.before.windows.iter().map(|window| (window.id, window.counters));
        let before: HashMap<_, _> = before.collect();
        // A new window is at most a second old, so all its counters are of the last second.
        let rate = |window: &InspectedWindow, counter: fn(&Counters) -> u64| {
            self.rate(before.get(&window.id).map_or(0, counter), counter(&window.counters))
        };
        let traffic = |window: &InspectedWindow| {
            rate(window, |counters| counters.frames_received + counters.frames_sent)
        };
        let mut windows: Vec<_> = self.seen.windows.iter().collect();
        windows.sort_by(|one, other| {
            traffic(other).total_cmp(&traffic(one)).then(one.id.cmp(&other.id))
        });
        let rows = windows
            .into_iter()
            .skip(self.scrolled)
            .map(|window| row(window, |counter| count(rate(window, counter).round() as u64)));
        let unshown = self.seen.windows_unshown;
        let unshown = (unshown > 0).then(|| Row::new([format!("+{unshown}")]));
        let headings = Row::new(HEADINGS.split(',')).reversed();
        frame.render_widget(Table::new(rows.chain(unshown), WIDTHS).header(headings), body);
    }
}

fn row(window: &InspectedWindow, rate: impl Fn(fn(&Counters) -> u64) -> String) -> Row<'static> {
    let InspectedWindow { metrics, counters, .. } = window;
    let (used, capacity) = (metrics.outbox_used_bytes, metrics.outbox_capacity_bytes);
    let state = match window.state {
        WindowState::Live if metrics.asleep == 1 => Cell::from("asleep").dim(),
        WindowState::Live => Cell::from("live").green(),
        state => Cell::from(state.name()).yellow(),
    };
    let bad = |number: u64| match number {
        0 => Cell::from("0"),
        number => Cell::from(count(number)).red(),
    };
    Row::new([
        Cell::from(window.id.to_string()),
        Cell::from(window.pid.to_string()),
        state,
        Cell::from(rate(|counters| counters.frames_received)),
        Cell::from(rate(|counters| counters.frames_sent)),
        Cell::from(format!("{} {}", bytes(used), share(used, capacity))),
        Cell::from(format!("{} / {}", metrics.pending_invokes, metrics.unanswered_invokes)),
        Cell::from(rate(|counters| counters.wakes)),
        Cell::from(rate(|counters| counters.parks)),
        bad(counters.throttled),
        bad(counters.violations),
    ])
}
