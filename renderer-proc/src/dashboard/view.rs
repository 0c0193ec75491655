//! How the dashboard looks: a [`Model`], drawn into whatever room there is.
//!
//! ```text
//!   Ringbridge  renderer 1, process 42, sandbox complete                   live
//!  ┌ CPU ───────────────────────────────────┐┌ Memory ────────────────────────┐
//!  │                                        │└────────────────────────────────┘
//!  │                                        │┌ May use ───────────────────────┐
//!  └────────────────────────────────────────┘└────────────────────────────────┘
//!  ┌ Pushes, one way ───────────────────────┐┌ Invokes, there and back ───────┐
//!  └────────────────────────────────────────┘└────────────────────────────────┘
//!  ┌ the last answer ─────────────────────────────────────────────────────────┐
//!  └──────────────────────────────────────────────────────────────────────────┘
//!   keys, or the line that is being typed
//! ```
//!
//! Colours are the terminal's own sixteen, so that it looks right on a dark ground and on a light one.

use contract::{CONTRACT, Statistics};
use ratatui::{
    Frame,
    layout::{Constraint, Flex, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    symbols::Marker,
    text::{Line, Span, Text},
    widgets::{
        Axis, Block, Chart, Clear, Dataset, Gauge, GraphType, Paragraph, RenderDirection,
        Sparkline, Wrap,
    },
};
use ringbridge::ChannelKind;

use crate::{
    dashboard::{
        keys::{KEYS, Purpose},
        model::{CHART_S, Figures, History, Mode, Model},
    },
    measurements::LatencySummary,
    report::{Bytes, Nanoseconds},
};

/// Less than this has no room for panels.
const PANELS_MIN: (u16, u16) = (60, 16);
/// The colours of cores, in turn.
const CORE_COLOURS: [Color; 6] =
    [Color::Cyan, Color::Magenta, Color::Green, Color::Yellow, Color::Blue, Color::Red];
/// More cores than this have no line of their own, only their average.
const CORE_LINES_MAX: usize = 8;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    if area.width < PANELS_MIN.0 || area.height < PANELS_MIN.1 {
        draw_small(frame, area, model);
    } else {
        draw_panels(frame, area, model);
    }
    if model.mode == Mode::Help {
        draw_help(frame, area);
    }
}

fn draw_panels(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [header, panels, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    let [machine, messages, answer] =
        Layout::vertical([Constraint::Fill(9), Constraint::Fill(8), Constraint::Fill(5)])
            .areas(panels);
    let columns = || Layout::horizontal([Constraint::Percentage(58), Constraint::Fill(1)]);
    let [cpu, right] = columns().areas(machine);
    let [memory, policy] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(CONTRACT.len() as u16 + 2)])
            .areas(right);
    let [pushes, invokes] = columns().areas(messages);
    let figures = model.figures();
    draw_header(frame, header, model);
    draw_cpu(frame, cpu, figures);
    draw_memory(frame, memory, figures.latest.as_ref());
    draw_policy(frame, policy, model);
    draw_pushes(frame, pushes, figures);
    draw_invokes(frame, invokes, figures);
    draw_answer(frame, answer, model);
    frame.render_widget(footer_line(model), footer);
}

/// What matters most, one line each, as many as there are.
fn draw_small(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [above, footer] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let figures = model.figures();
    let mut lines = vec![
        Line::from(vec![state(model), format!(" renderer {}", model.identity.id).into()]),
        Line::from(format!("CPU {}", percent(figures.cpu.latest()))),
        Line::from(format!("pushes {:.0}/s", figures.push_rate)),
        Line::from(counts(figures)),
        Line::from(latencies("push", figures.push_recent)),
        Line::from(latencies("invoke", figures.round_trip)),
        Line::from(memory_text(figures.latest.as_ref())),
        Line::from(model.answer.title.as_str()).style(answer_style(model)),
    ];
    let answer = model.answer.lines.iter().skip(model.scroll.into());
    lines.extend(answer.map(|line| Line::from(line.as_str()).style(answer_style(model))));
    frame.render_widget(Paragraph::new(lines), above);
    frame.render_widget(footer_line(model), footer);
}

// --- panels ------------------------------------------------------------------------------------------

fn draw_header(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let identity = &model.identity;
    let who = Line::from(vec![
        " Ringbridge ".bold().reversed(),
        format!("  renderer {}, process {}, sandbox: ", identity.id, identity.pid).into(),
        Span::styled(
            identity.sandbox,
            match identity.sandbox {
                "complete" => Style::new().green(),
                _ => Style::new().yellow(),
            },
        ),
    ]);
    frame.render_widget(who, area);
    frame.render_widget(Line::from(state(model)).right_aligned(), area);
}

/// Whether what is shown is live.
fn state(model: &Model) -> Span<'static> {
    match (model.identity.is_connected, model.is_paused()) {
        (false, _) => " waiting for main ".bold().black().on_red(),
        (true, true) => " paused ".bold().black().on_yellow(),
        (true, false) => " live ".bold().black().on_green(),
    }
}

fn draw_cpu(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let load = figures.latest.as_ref().filter(|latest| latest.sampled_ns != 0).map(|latest| {
        format!(" load {:.2} {:.2} {:.2} ", latest.load_1, latest.load_5, latest.load_15)
    });
    let title = format!("CPU {}", percent(figures.cpu.latest()));
    let block = panel(&title).title(Line::from(load.unwrap_or_default()).right_aligned());
    let inside = block.inner(area);
    frame.render_widget(block, area);

    let cores: Vec<_> = figures.cores.iter().zip(CORE_COLOURS.into_iter().cycle()).collect();
    let legend = cores_line(&cores, inside.width);
    let legend_height = u16::from(inside.height > 4);
    let [chart, below] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(legend_height)]).areas(inside);
    frame.render_widget(legend, below);

    let lines: Vec<_> = if cores.len() <= CORE_LINES_MAX {
        cores.iter().map(|(history, colour)| (history.points(), *colour)).collect()
    } else {
        vec![(figures.cpu.points(), Color::Cyan)]
    };
    let datasets = lines.iter().map(|(points, colour)| {
        let line = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
        line.style(*colour).data(points)
    });
    let grey = Style::new().dark_gray();
    let from = format!("-{CHART_S:.0} s");
    frame.render_widget(
        Chart::new(datasets.collect())
            .x_axis(
                Axis::default()
                    .bounds([-CHART_S, 0.0])
                    .labels([from, "now".to_owned()])
                    .style(grey),
            )
            .y_axis(Axis::default().bounds([0.0, 100.0]).labels(["0", "50", "100"]).style(grey)),
        chart,
    );
}

/// Each core's usage, in its colour: as many as fit, and how many more there are.
fn cores_line(cores: &[(&History, Color)], width: u16) -> Line<'static> {
    const EACH: usize = 10;
    let fit = usize::from(width) / EACH;
    let shown = if cores.len() <= fit { cores.len() } else { fit.saturating_sub(1) };
    let mut spans: Vec<_> = cores[..shown]
        .iter()
        .enumerate()
        .map(|(core, (history, colour))| {
            let text = format!("{core}: {}", percent(history.latest()));
            Span::styled(format!("{text:<EACH$}"), *colour)
        })
        .collect();
    if shown < cores.len() {
        spans.push(format!("+{}", cores.len() - shown).into());
    }
    Line::from(spans)
}

fn draw_memory(frame: &mut Frame<'_>, area: Rect, latest: Option<&Statistics>) {
    let block = panel("Memory");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let Some(latest) = latest.filter(|latest| latest.memory_total != 0) else { return };
    let used = latest.memory_used as f64 / latest.memory_total as f64;
    // What there is no row for is left out.
    let row = |row| Rect { y: inside.y + row, height: 1, ..inside }.intersection(inside);
    let gauge = Gauge::default().ratio(used.clamp(0.0, 1.0)).label(memory_text(Some(latest)));
    frame.render_widget(gauge.gauge_style(Style::new().cyan().on_dark_gray()), row(0));
    let main = format!(
        "main: {}, {} of a core",
        Bytes(latest.main_memory),
        percent(Some(f64::from(latest.main_cpu_usage)).filter(|usage| usage.is_finite()))
    );
    frame.render_widget(Line::from(main), row(1));
    let swap = format!("swap: {} of {}", Bytes(latest.swap_used), Bytes(latest.swap_total));
    frame.render_widget(Line::from(swap), row(2));
}

fn draw_policy(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let lines = CONTRACT.iter().map(|channel| {
        let key = channel.key();
        let verb = match key.kind() {
            ChannelKind::Event => "send",
            ChannelKind::Method => "invoke",
            ChannelKind::Push | ChannelKind::Topic => "hear",
        };
        let text = format!("{verb:<7}{}", key.name());
        if model.identity.allowed.iter().any(|name| name == key.name()) {
            Line::from(vec!["✓ ".green(), text.into()])
        } else {
            Line::from(vec!["✗ ".red(), text.dark_gray()])
        }
    });
    let text = Text::from_iter(lines);
    frame.render_widget(Paragraph::new(text).block(panel("What main lets it do")), area);
}

fn draw_pushes(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let lag = figures.lag_ns.map(|ns| format!(" last {} ago ", Nanoseconds(ns)));
    let title = format!("Pushes, one way: {:.0}/s", figures.push_rate);
    let block = panel(&title)
        .title(Line::from(lag.unwrap_or_default()).right_aligned())
        .title_bottom(trend_title("p99", &figures.push_p99_ns));
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [text, rate, latency] =
        Layout::vertical([Constraint::Length(4), Constraint::Fill(1), Constraint::Fill(1)])
            .areas(inside);
    let lost = figures.sequence.lost + figures.sequence.out_of_order;
    let style = if lost == 0 { Style::new() } else { Style::new().yellow() };
    frame.render_widget(
        Paragraph::new(vec![
            Line::from(counts(figures)).style(style),
            heading(),
            latency_row("last s", figures.push_recent),
            latency_row("all", figures.push_total),
        ]),
        text,
    );
    draw_trend(frame, rate, "rate", &figures.push_rates, Color::Green);
    draw_trend(frame, latency, "p99", &figures.push_p99_ns, Color::Cyan);
}

fn draw_invokes(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let trend = trend_title("last", &figures.round_trips_ns);
    let block = panel("Invokes, there and back").title_bottom(trend);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [text, trend] =
        Layout::vertical([Constraint::Length(4), Constraint::Fill(1)]).areas(inside);
    let summary = figures.round_trip;
    let ns = |pick: fn(&LatencySummary) -> Option<u64>| duration(summary.as_ref().and_then(pick));
    let failed = match figures.failed_invokes {
        0 => Span::from(""),
        count => format!("  {count} failed").red(),
    };
    frame.render_widget(
        Paragraph::new(vec![
            Line::from(vec![
                format!("{} measured", summary.map_or(0, |summary| summary.count)).into(),
                failed,
            ]),
            Line::from(format!("last {}", duration(figures.last_round_trip_ns))),
            Line::from(format!("p50  {:<10} p99 {}", ns(|all| all.p50), ns(|all| all.p99))),
            Line::from(format!("p99.9 {:<9} max {}", ns(|all| all.p999), ns(|all| all.max))),
        ]),
        text,
    );
    draw_trend(frame, trend, "last", &figures.round_trips_ns, Color::Magenta);
}

/// Its name, and one column for each step, the newest on the right; what is not known is empty.
fn draw_trend(frame: &mut Frame<'_>, area: Rect, name: &str, history: &History, colour: Color) {
    let [label, area] =
        Layout::horizontal([Constraint::Length(5), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Line::from(name).dark_gray(), label);
    let data = history.newest_first().map(|value| value.is_finite().then_some(value as u64));
    let sparkline = Sparkline::default().data(data.collect::<Vec<_>>());
    let sparkline = sparkline.max(history.highest().unwrap_or_default() as u64);
    frame.render_widget(
        sparkline.direction(RenderDirection::RightToLeft).style(colour).absent_value_symbol(" "),
        area,
    );
}

/// What a trend is of, and how high.
fn trend_title(of: &str, history: &History) -> String {
    match history.highest() {
        Some(ns) => format!(" {of}, up to {} ", Nanoseconds(ns as u64)),
        None => String::new(),
    }
}

fn draw_answer(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let answer = &model.answer;
    let title = if answer.title.is_empty() { "Answers" } else { &answer.title };
    let style = answer_style(model);
    let lines = answer.lines.iter().skip(model.scroll.into());
    let text = Text::from_iter(lines.map(|line| Line::from(line.as_str())));
    let mut block = panel(title).border_style(style).title_style(style);
    if answer.lines.len() > usize::from(area.height.saturating_sub(2)) {
        let place = format!(" {} of {} lines, ↑ ↓ ", model.scroll + 1, answer.lines.len());
        block = block.title_bottom(Line::from(place).right_aligned());
    }
    let mut paragraph = Paragraph::new(text).style(style).block(block);
    if answer.is_error {
        paragraph = paragraph.wrap(Wrap { trim: true });
    }
    frame.render_widget(paragraph, area);
}

fn answer_style(model: &Model) -> Style {
    if model.answer.is_error { Style::new().red() } else { Style::new() }
}

/// The keys, or the end of the line that is being typed.
fn footer_line(model: &Model) -> Line<'static> {
    let Mode::Type { purpose, text } = &model.mode else {
        let keys = ["l log", "i info", "r read file", "p pause", "? help", "q quit"];
        let keys = keys.iter().flat_map(|key| [" ".into(), Span::from(*key), " ".into()]);
        return Line::from_iter(keys).dark_gray();
    };
    let what = match purpose {
        Purpose::LogMessage => " log message: ",
        Purpose::ReadFile => " read file: ",
    };
    Line::from(vec![what.bold(), text.clone().into(), " ".reversed()])
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let lines = KEYS.map(|(key, what)| Line::from(vec![format!(" {key:<5}").bold(), what.into()]));
    let width = lines.iter().map(Line::width).max().unwrap_or_default() as u16 + 3;
    let [area] = Layout::vertical([Constraint::Length(KEYS.len() as u16 + 2)])
        .flex(Flex::Center)
        .areas(area);
    let [area] = Layout::horizontal([Constraint::Max(width)]).flex(Flex::Center).areas(area);
    frame.render_widget(Clear, area);
    let block = panel("Keys").title_bottom(Line::from(" any key goes back ").right_aligned());
    frame.render_widget(Paragraph::new(Text::from_iter(lines)).block(block), area);
}

fn panel(title: &str) -> Block<'_> {
    Block::bordered().title(Span::styled(format!(" {title} "), Modifier::BOLD))
}

// --- words -------------------------------------------------------------------------------------------

fn counts(figures: &Figures) -> String {
    let sequence = figures.sequence;
    format!(
        "{} received  {} lost  {} out of order",
        sequence.received, sequence.lost, sequence.out_of_order
    )
}

fn latencies(what: &str, summary: Option<LatencySummary>) -> String {
    let [p50, p99] = [summary.and_then(|all| all.p50), summary.and_then(|all| all.p99)];
    format!("{what} p50 {}  p99 {}", duration(p50), duration(p99))
}

fn heading() -> Line<'static> {
    Line::from(format!("{:8}{:>9}{:>9}{:>9}{:>9}", "", "p50", "p99", "p99.9", "max")).dark_gray()
}

fn latency_row(what: &str, summary: Option<LatencySummary>) -> Line<'static> {
    let mut row = format!("{what:<8}");
    let all = summary.map_or([None; 4], |all| [all.p50, all.p99, all.p999, all.max]);
    for value in all {
        row.push_str(&format!("{:>9}", duration(value)));
    }
    Line::from(row)
}

fn memory_text(latest: Option<&Statistics>) -> String {
    match latest.filter(|latest| latest.memory_total != 0) {
        Some(latest) => {
            format!("{} of {}", Bytes(latest.memory_used), Bytes(latest.memory_total))
        }
        None => "not sampled".to_owned(),
    }
}

fn duration(ns: Option<u64>) -> String {
    ns.map_or("-".to_owned(), |ns| Nanoseconds(ns).to_string())
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1} %"))
}

#[cfg(test)]
mod tests;
