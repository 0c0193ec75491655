//! The look of the dashboard: a [`Model`], drawn into an area of any size.
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
//!   keys, or the line that the user types
//! ```
//!
//! Colours are the terminal's own sixteen, so that they suit a dark background and a light one.

use contract::{
    CONTRACT, Statistics,
    figures::{bytes, bytes_of, nanoseconds, percent},
};
use ratatui::{
    Frame,
    layout::{
        Constraint::{Fill, Length, Max, Percentage},
        Layout, Rect,
    },
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
    dashboard::model::{CHART_S, Figures, History, KEYS, Mode, Model, Purpose},
    measurements::{LatencySummary, Sequence},
};

const PANELS_MIN: (u16, u16) = (60, 16);
const CORE_COLOURS: [Color; 6] =
    [Color::Cyan, Color::Magenta, Color::Green, Color::Yellow, Color::Blue, Color::Red];
/// With more cores than this, the chart shows only their average.
const CORE_LINES_MAX: usize = 8;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let is_small = area.width < PANELS_MIN.0 || area.height < PANELS_MIN.1;
    let draw_figures = if is_small { draw_small } else { draw_panels };
    draw_figures(frame, area, model);
    if model.mode == Mode::Help {
        draw_help(frame, area);
    }
}

fn draw_panels(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [header, panels, footer] = Layout::vertical([Length(1), Fill(1), Length(1)]).areas(area);
    let [machine, messages, answer] = Layout::vertical([Fill(9), Fill(8), Fill(5)]).areas(panels);
    let columns = || Layout::horizontal([Percentage(58), Fill(1)]);
    let [cpu, right] = columns().areas(machine);
    let [memory, policy] =
        Layout::vertical([Fill(1), Length(CONTRACT.len() as u16 + 2)]).areas(right);
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

/// Draws the most important figures, one on each line.
fn draw_small(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [above, footer] = Layout::vertical([Fill(1), Length(1)]).areas(area);
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
    let sandbox = match identity.sandbox {
        "complete" => identity.sandbox.green(),
        other => other.yellow(),
    };
    let who = Line::from(vec![
        " Ringbridge ".bold().reversed(),
        format!("  renderer {}, process {}, sandbox: ", identity.id, identity.pid).into(),
        sandbox,
    ]);
    frame.render_widget(who, area);
    frame.render_widget(Line::from(state(model)).right_aligned(), area);
}

fn state(model: &Model) -> Span<'static> {
    match (model.identity.is_connected, model.is_paused()) {
        (false, _) => " waiting for main ".bold().black().on_red(),
        (true, true) => " paused ".bold().black().on_yellow(),
        (true, false) => " live ".bold().black().on_green(),
    }
}

fn draw_cpu(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let load = figures.latest.as_ref().filter(|latest| latest.is_sampled()).map(|latest| {
        format!(" load {:.2} {:.2} {:.2} ", latest.load_1, latest.load_5, latest.load_15)
    });
    let title = format!("CPU {}", percent(figures.cpu.latest()));
    let block = panel(&title).title(Line::from(load.unwrap_or_default()).right_aligned());
    let inside = draw_block(frame, area, block);

    let cores: Vec<_> = figures.cores.iter().zip(CORE_COLOURS.into_iter().cycle()).collect();
    let legend = cores_line(&cores, inside.width);
    let legend_height = u16::from(inside.height > 4);
    let [chart, below] = Layout::vertical([Fill(1), Length(legend_height)]).areas(inside);
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
    let axis = |from, to| Axis::default().bounds([from, to]).dark_gray();
    let x_axis = axis(-CHART_S, 0.0).labels([format!("-{CHART_S:.0} s"), "now".to_owned()]);
    let y_axis = axis(0.0, 100.0).labels(["0", "50", "100"]);
    frame.render_widget(Chart::new(datasets.collect()).x_axis(x_axis).y_axis(y_axis), chart);
}

/// Returns the usage of each core that fits, in its colour, and the number of the others.
fn cores_line(cores: &[(&History, Color)], width: u16) -> Line<'static> {
    const EACH: usize = 10;
    let fit = usize::from(width) / EACH;
    let shown = if cores.len() <= fit { cores.len() } else { fit.saturating_sub(1) };
    let others = (shown < cores.len()).then(|| format!("+{}", cores.len() - shown).into());
    let spans = cores[..shown].iter().enumerate().map(|(core, (history, colour))| {
        let text = format!("{core}: {}", percent(history.latest()));
        Span::styled(format!("{text:<EACH$}"), *colour)
    });
    spans.chain(others).collect()
}

fn draw_memory(frame: &mut Frame<'_>, area: Rect, latest: Option<&Statistics>) {
    let inside = draw_block(frame, area, panel("Memory"));
    let Some(latest) = latest.filter(|latest| latest.memory_total != 0) else { return };
    let used = latest.memory_used as f64 / latest.memory_total as f64;
    // Rows that do not fit are left out.
    let row = |row| Rect { y: inside.y + row, height: 1, ..inside }.intersection(inside);
    let gauge = Gauge::default().ratio(used.clamp(0.0, 1.0)).label(memory_text(Some(latest)));
    frame.render_widget(gauge.gauge_style(Style::new().cyan().on_dark_gray()), row(0));
    let usage = percent(latest.main_cpu_usage.into());
    let main = format!("main: {}, {usage} of a core", bytes(latest.main_memory));
    frame.render_widget(Line::from(main), row(1));
    let swap = format!("swap: {}", bytes_of(latest.swap_used, latest.swap_total));
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
    let lag = figures.lag_ns.map(|ns| format!(" last {} ago ", nanoseconds(ns)));
    let title = format!("Pushes, one way: {:.0}/s", figures.push_rate);
    let block = panel(&title)
        .title(Line::from(lag.unwrap_or_default()).right_aligned())
        .title_bottom(trend_title("p99", &figures.push_p99_ns));
    let [text, rate, latency] =
        Layout::vertical([Length(4), Fill(1), Fill(1)]).areas(draw_block(frame, area, block));
    let lost = figures.sequence.lost + figures.sequence.out_of_order;
    let style = if lost == 0 { Style::new() } else { Style::new().yellow() };
    let heading = format!("{:8}{:>9}{:>9}{:>9}{:>9}", "", "p50", "p99", "p99.9", "max");
    let lines = vec![
        Line::from(counts(figures)).style(style),
        Line::from(heading).dark_gray(),
        latency_row("last s", figures.push_recent),
        latency_row("all", figures.push_total),
    ];
    frame.render_widget(Paragraph::new(lines), text);
    draw_trend(frame, rate, "rate", &figures.push_rates, Color::Green);
    draw_trend(frame, latency, "p99", &figures.push_p99_ns, Color::Cyan);
}

fn draw_invokes(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let trend = trend_title("last", &figures.round_trips_ns);
    let block = panel("Invokes, there and back").title_bottom(trend);
    let [text, trend] =
        Layout::vertical([Length(4), Fill(1)]).areas(draw_block(frame, area, block));
    let LatencySummary { count, p50, p99, p999, max } = figures.round_trip;
    let [last, p50, p99, p999, max] =
        [figures.last_round_trip_ns, p50, p99, p999, max].map(latency);
    let failed = match figures.failed_invokes {
        0 => Span::from(""),
        count => format!("  {count} failed").red(),
    };
    let lines = vec![
        Line::from(vec![format!("{count} measured").into(), failed]),
        Line::from(format!("last {last}")),
        Line::from(format!("p50  {p50:<10} p99 {p99}")),
        Line::from(format!("p99.9 {p999:<9} max {max}")),
    ];
    frame.render_widget(Paragraph::new(lines), text);
    draw_trend(frame, trend, "last", &figures.round_trips_ns, Color::Magenta);
}

/// Draws a name, and one column for each step, the newest on the right. An unknown value has no column.
fn draw_trend(frame: &mut Frame<'_>, area: Rect, name: &str, history: &History, colour: Color) {
    let [label, area] = Layout::horizontal([Length(5), Fill(1)]).areas(area);
    frame.render_widget(Line::from(name).dark_gray(), label);
    let data = history.newest_first().map(|value| value.is_finite().then_some(value as u64));
    let sparkline = Sparkline::default().data(data.collect::<Vec<_>>());
    let sparkline = sparkline.max(history.highest().unwrap_or_default() as u64);
    frame.render_widget(
        sparkline.direction(RenderDirection::RightToLeft).style(colour).absent_value_symbol(" "),
        area,
    );
}

/// Returns the name of a trend, and its highest value.
fn trend_title(name: &str, history: &History) -> String {
    let title = |ns| format!(" {name}, up to {} ", nanoseconds(ns as u64));
    history.highest().map(title).unwrap_or_default()
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

fn footer_line(model: &Model) -> Line<'static> {
    let Mode::Type(purpose, text) = &model.mode else {
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
    let area = area.centered(Max(width), Length(KEYS.len() as u16 + 2));
    frame.render_widget(Clear, area);
    let block = panel("Keys").title_bottom(Line::from(" any key goes back ").right_aligned());
    frame.render_widget(Paragraph::new(Text::from_iter(lines)).block(block), area);
}

fn panel(title: &str) -> Block<'_> {
    Block::bordered().title(Span::styled(format!(" {title} "), Modifier::BOLD))
}

fn draw_block(frame: &mut Frame<'_>, area: Rect, block: Block<'_>) -> Rect {
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

// --- words -------------------------------------------------------------------------------------------

fn counts(figures: &Figures) -> String {
    let Sequence { received, lost, out_of_order, .. } = figures.sequence;
    format!("{received} received  {lost} lost  {out_of_order} out of order")
}

fn latencies(name: &str, LatencySummary { p50, p99, .. }: LatencySummary) -> String {
    format!("{name} p50 {}  p99 {}", latency(p50), latency(p99))
}

fn latency_row(name: &str, summary: LatencySummary) -> Line<'static> {
    let LatencySummary { p50, p99, p999, max, .. } = summary;
    let [p50, p99, p999, max] = [p50, p99, p999, max].map(latency);
    Line::from(format!("{name:<8}{p50:>9}{p99:>9}{p999:>9}{max:>9}"))
}

fn memory_text(latest: Option<&Statistics>) -> String {
    let sampled = latest.filter(|latest| latest.memory_total != 0);
    let text = sampled.map(|latest| bytes_of(latest.memory_used, latest.memory_total));
    text.unwrap_or_else(|| "not sampled".to_owned())
}

fn latency(ns: Option<u64>) -> String {
    ns.map_or("-".to_owned(), nanoseconds)
}

#[cfg(test)]
mod tests;
