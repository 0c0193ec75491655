//! The report as one page that needs nothing else: no network, no script.

use std::fmt::{self, Write};

use crate::{
    compare::{
        chart::{Axis, Bar, Chart, Escaped, NARROW, WIDE, bars},
        checks::Check,
        figures::{Figures, Status},
        machine::Machine,
        run::Cell,
        table::{Count, Time, percent},
        work::Work,
    },
    peers::SUBJECTS,
};

const STYLE: &str = include_str!("report.css");
/// Width and height of a chart, and of one of two.
const LARGE: [f64; 2] = [WIDE, 380.0];
const SMALL: [f64; 2] = [NARROW, 190.0];

/// The whole page. `figures` are those of `cells`, in the same order; `table` is the report as text.
pub(super) fn write(
    machine: &Machine,
    cells: &[Cell],
    figures: &[Figures],
    checks: &[Check],
    table: &str,
) -> Result<String, fmt::Error> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>Ringbridge beside its peers</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n",
        colours()?
    );
    writeln!(page, "<h1>Ringbridge beside its peers</h1>")?;
    write_machine(&mut page, machine)?;
    write_checks(&mut page, checks)?;
    for rows in figures.chunk_by(|one, other| one.task == other.task) {
        write_task(&mut page, rows)?;
    }
    write_timeline(&mut page, cells)?;
    writeln!(
        page,
        "<section>\n<h2>All figures</h2>\n<pre>{}</pre>\n</section>\n</body>\n</html>",
        Escaped(table)
    )?;
    Ok(page)
}

/// A colour for each subject: Ringbridge warm, the floors grey, the others around the rest of the circle.
fn colours() -> Result<String, fmt::Error> {
    let mut css = String::new();
    let mut others = 0;
    for (number, subject) in SUBJECTS.iter().enumerate() {
        let (hue, saturation, lighter) = match subject.name() {
            "ringbridge-spin" => (0, 85, 0),
            "ringbridge-adaptive" => (24, 90, 5),
            "ringbridge-park" => (340, 70, 0),
            "ringbridge-in-place" => (45, 90, 0),
            "bounce" => (220, 4, 0),
            "futex" => (220, 4, 18),
            "memcpy" => (220, 4, -12),
            _ => {
                others += 1;
                (80 + others * 97 % 240, 55, if others % 2 == 0 { -10 } else { 8 })
            }
        };
        let light = format!("calc(var(--l) + {lighter}%)");
        writeln!(css, ".s{number} {{ --c: hsl({hue} {saturation}% {light}); }}")?;
    }
    Ok(css)
}

/// The class of a subject's colour.
fn class(subject: &str) -> String {
    let number = SUBJECTS.iter().position(|each| each.name() == subject);
    number.map_or(String::new(), |number| format!("s{number}"))
}

fn write_machine(page: &mut String, machine: &Machine) -> fmt::Result {
    writeln!(page, "<section>\n<table class=\"facts\">")?;
    let mut row = |name: &str, value: &str| {
        writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", Escaped(value))
    };
    let kind = if machine.virtual_machine { ", virtual" } else { "" };
    row("Processor", &format!("{}{kind}", machine.cpu))?;
    let [main, renderer] = machine.pins;
    row("Processors", &format!("{}; main on {main}, renderer on {renderer}", machine.processors))?;
    row("Kernel", &machine.kernel)?;
    let versions: Vec<_> =
        machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    row("Versions", &versions.join(", "))?;
    if !machine.left_out.is_empty() {
        row("Not compiled in", &machine.left_out.join(", "))?;
    }
    row("To measure it again", &machine.command)?;
    writeln!(
        page,
        "</table>\n<p>Two processes, pinned, launched for each slice; slices of all subjects \
         alternate, each between two slices of the floor, a bare cache line that is bounced. \
         Figures are medians over the rounds; spreads are the least and the most.</p>\n</section>"
    )
}

fn write_checks(page: &mut String, checks: &[Check]) -> fmt::Result {
    writeln!(
        page,
        "<section>\n<h2>What must hold</h2>\n<table>\n<tr><th>claim</th><th>required</th>\
         <th>measured</th><th></th></tr>"
    )?;
    for check in checks {
        let (required, measured) = check.figures();
        writeln!(
            page,
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            check.verdict().to_lowercase().replace(' ', "-"),
            Escaped(check.claim),
            Escaped(required),
            Escaped(measured),
            check.verdict()
        )?;
    }
    writeln!(page, "</table>\n</section>")
}

fn write_task(page: &mut String, rows: &[Figures]) -> fmt::Result {
    let Some(first) = rows.first() else { return Ok(()) };
    writeln!(page, "<section>\n<h2>{}</h2>", first.task)?;
    match first.task.work {
        Work::RoundTrip => {
            write_ratios(page, rows)?;
            write_curves(page, rows)?;
            write_histograms(page, rows)?;
        }
        Work::Push => {
            write_curves(page, rows)?;
            write_histograms(page, rows)?;
            write_cpu(page, rows)?;
        }
        Work::Stream => write_rates(page, rows)?,
        Work::Idle => write_cpu(page, rows)?,
    }
    write_others(page, rows)?;
    writeln!(page, "</section>")
}

fn write_ratios(page: &mut String, rows: &[Figures]) -> fmt::Result {
    let ratios: Vec<Bar<'_>> = rows
        .iter()
        .filter_map(|row| {
            let latency = row.latency.as_ref()?;
            Some(Bar {
                name: row.subject,
                class: class(row.subject),
                value: latency.ratio.median,
                ends: Some((latency.ratio.min, latency.ratio.max)),
                label: format!("{:.2} = {}", latency.ratio.median, Time(latency.p50_ns.median)),
            })
        })
        .collect();
    figure(page, "p50 in floors", &bars("p50 in floors", &ratios, |ratio| ratio)?)
}

fn write_rates(page: &mut String, rows: &[Figures]) -> fmt::Result {
    let rates: Vec<Bar<'_>> = rows
        .iter()
        .filter_map(|row| {
            let stream = row.stream.as_ref()?;
            let rate = stream.messages_per_second;
            let gib = stream.gib_per_second.median;
            Some(Bar {
                name: row.subject,
                class: class(row.subject),
                value: rate.median,
                ends: Some((rate.min, rate.max)),
                label: format!("{}/s = {gib:.2} GiB/s", Count(rate.median)),
            })
        })
        .collect();
    figure(page, "messages a second", &bars("messages a second", &rates, Count)?)
}

fn write_cpu(page: &mut String, rows: &[Figures]) -> fmt::Result {
    let bar = |row: &Figures| {
        let cpu = row.cpu.as_ref()?;
        let (main, renderer) = (cpu.main.median, cpu.renderer.median);
        let both = main + renderer;
        Some((both, format!("{} main + {} renderer", percent(main), percent(renderer))))
    };
    let bars_of: Vec<Bar<'_>> = rows
        .iter()
        .filter_map(|row| {
            let (both, label) = bar(row)?;
            // An axis by factors has no zero; a hundredth of a per cent is none.
            let value = both.max(1e-4) * 100.0;
            let name = row.subject;
            Some(Bar { name, class: class(name), value, ends: None, label })
        })
        .collect();
    figure(
        page,
        "CPU time of both processes, in per cent of one core",
        &bars("CPU time of both processes", &bars_of, |part| format!("{part} %"))?,
    )
}

/// Percentiles over the number of nines: the tail takes as much room as the rest.
fn write_curves(page: &mut String, rows: &[Figures]) -> fmt::Result {
    let curves: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row.subject, row.latency.as_ref()?.all.curve())))
        .collect();
    let values = curves.iter().flat_map(|(_, curve)| curve.iter().map(|point| point.1 as f64));
    let up = Axis::factors(values, Time, "");
    let most = curves.iter().filter_map(|(_, curve)| Some(curve.last()?.0)).fold(1.0, f64::max);
    let names = ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let ticks = names.iter().enumerate().map(|(nines, name)| (nines as f64, (*name).to_owned()));
    let ticks = ticks.take_while(|(nines, _)| *nines <= most).collect();
    let across = Axis::even(0.0, most, ticks, "percentile");
    let mut chart = Chart::new("percentiles", LARGE, across, up)?;
    for (subject, curve) in &curves {
        let points = curve.iter().map(|&(nines, value)| (nines, value as f64));
        chart.line(&class(subject), subject, points)?;
    }
    figure(page, "Percentiles", &chart.finish())?;
    write_legend(page, curves.iter().map(|(subject, _)| *subject))
}

/// How often each time occurred, both by factors: one in a million is a column as well.
fn write_histograms(page: &mut String, rows: &[Figures]) -> fmt::Result {
    let columns: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row.subject, row.latency.as_ref()?)))
        .map(|(subject, latency)| (subject, latency.samples, latency.all.columns()))
        .collect();
    // One scale for all of them, so that they can be compared.
    let ends =
        columns.iter().flat_map(|(.., columns)| columns).flat_map(|each| [each.from, each.to]);
    let across = Axis::factors(ends, Time, "");
    writeln!(page, "<div class=\"small\">")?;
    for (subject, samples, columns) in columns {
        let shares = columns.iter().map(|column| column.share).chain([1.0]);
        let up = Axis::factors(shares, |share| format!("{} %", (share * 1e8).round() / 1e6), "");
        let label = format!("{subject}, {samples} samples");
        let mut chart = Chart::new(&label, SMALL, across.clone(), up)?;
        for column in columns {
            let ends = [column.from, column.to];
            let [from, to] = ends.map(Time);
            let title = format!("{from} to {to}: {:.4} %", column.share * 100.0);
            chart.column(&class(subject), &title, ends, column.share)?;
        }
        figure(page, &label, &chart.finish())?;
    }
    writeln!(page, "</div>")
}

/// What is not in the pictures, and why.
fn write_others(page: &mut String, rows: &[Figures]) -> fmt::Result {
    writeln!(page, "<ul>")?;
    for row in rows {
        let (near, far, moved) = (row.near, row.far, row.moved);
        let reason = Escaped(row.reason.as_deref().unwrap_or_default());
        match row.status {
            Status::Measured => writeln!(
                page,
                "<li><b>{}</b>: {}; {near} slices near, {far} far, {moved} moved{}</li>",
                row.subject,
                Escaped(row.about),
                if row.rounds_failed > 0 {
                    format!("; {} rounds failed: {reason}", row.rounds_failed)
                } else {
                    String::new()
                }
            )?,
            Status::NotApplicable => {
                writeln!(page, "<li><b>{}</b>: n/a: {reason}</li>", row.subject)?;
            }
            Status::Failed => {
                writeln!(page, "<li><b>{}</b>: FAILED: {reason}</li>", row.subject)?;
            }
        }
    }
    writeln!(page, "</ul>")
}

/// The longest samples of each slice, when they happened: what hits all subjects at once is the machine.
fn write_timeline(page: &mut String, cells: &[Cell]) -> fmt::Result {
    let dots: Vec<_> = cells
        .iter()
        .flat_map(|cell| {
            cell.visits().flat_map(move |(_, visit)| {
                visit.outcome.outliers.iter().map(move |&(after_ns, length_ns)| {
                    let at = visit.at.as_secs_f64() + after_ns as f64 / 1e9;
                    (cell, at, length_ns as f64)
                })
            })
        })
        .collect();
    if dots.is_empty() {
        return Ok(());
    }
    let end = dots.iter().map(|dot| dot.1).fold(0.0, f64::max);
    let ticks = (0..=8).map(|part| end * f64::from(part) / 8.0);
    let ticks = ticks.map(|at| (at, format!("{at:.1} s"))).collect();
    let across = Axis::even(0.0, end, ticks, "since the run began");
    let up = Axis::factors(dots.iter().map(|dot| dot.2), Time, "");
    let mut chart = Chart::new("outliers", LARGE, across, up)?;
    for (cell, at, length) in &dots {
        let name = cell.subject.name();
        let title = format!("{name}, {}: {} at {at:.3} s", cell.task, Time(*length));
        chart.dot(&class(name), &title, *at, *length)?;
    }
    writeln!(page, "<section>\n<h2>Outliers</h2>")?;
    figure(page, "The longest samples of each slice", &chart.finish())?;
    let mut subjects: Vec<_> = dots.iter().map(|(cell, ..)| cell.subject.name()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    write_legend(page, subjects.into_iter())?;
    writeln!(page, "</section>")
}

fn write_legend<'a>(page: &mut String, subjects: impl Iterator<Item = &'a str>) -> fmt::Result {
    write!(page, "<p class=\"legend\">")?;
    for subject in subjects {
        write!(page, "<span class=\"{}\"><i></i>{}</span> ", class(subject), Escaped(subject))?;
    }
    writeln!(page, "</p>")
}

fn figure(page: &mut String, caption: &str, svg: &str) -> fmt::Result {
    writeln!(page, "<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>", Escaped(caption))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{
            checks::check,
            samples::{cell_of, outcome},
            stats::Distribution,
        },
        pins::Pins,
    };

    /// Every tag is closed in order, and there is no reference to elsewhere.
    fn assert_well_formed(page: &str) {
        let mut open = Vec::new();
        let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>').expect("a tag ends");
            let tag = &rest[start + 1..end];
            assert!(!tag.contains('<'), "{tag}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
            }
            rest = &rest[end + 1..];
        }
        assert_eq!(open, Vec::<&str>::new());
        for elsewhere in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_page_is_well_formed_and_has_every_cell() {
        let mut cells: Vec<Cell> = Vec::new();
        for work in [Work::RoundTrip, Work::Stream, Work::Push, Work::Idle] {
            cells.push(cell_of("ringbridge-spin", work, vec![outcome(150), outcome(170)]));
            let mut failed = cell_of("pipe", work, vec![]);
            failed.rounds.push(Some(Err("it broke <badly> & \"loudly\"".to_owned())));
            cells.push(failed);
            let mut unable = cell_of("memcpy", work, vec![]);
            unable.unable = Some("a copy is no conversation");
            cells.push(unable);
        }
        for cell in &mut cells {
            for round in &mut cell.rounds {
                if let (Some(Ok(visit)), Work::Push) = (round, cell.task.work) {
                    visit.outcome.cost = Some(Distribution::of(&[50; 10]));
                }
            }
        }
        let figures: Vec<_> = cells.iter().map(Figures::of).collect();
        let machine = Machine::look(Pins { main: 0, renderer: 1 });
        let page = write(&machine, &cells, &figures, &check(&cells), "text < & >").unwrap();
        assert_well_formed(&page);
        for work in ["round-trip 48 B", "stream 48 B", "push 1 kHz", "idle"] {
            let section = page
                .split("<section>")
                .find(|each| each.trim_start().starts_with(&format!("<h2>{work}</h2>")));
            let section = section.expect(work);
            assert!(section.contains("<b>ringbridge-spin</b>: invoke"), "{work}");
            assert!(section.contains("<b>pipe</b>: FAILED: it broke &lt;badly&gt;"), "{work}");
            assert!(section.contains("<b>memcpy</b>: n/a: a copy"), "{work}");
            assert!(section.contains("<svg"), "{work}");
        }
        assert!(page.contains("<h2>Outliers</h2>") && page.contains("prefers-color-scheme"));
    }
}
