//! The comparison: Ringbridge, its peers, and the floors of the machine at the same work.
//!
//! ```text
//!   compare ──launches for each slice──▶ main ──launches──▶ renderer       both are this program
//!      ▲                                   │  └──the subject──┘
//!      └────────────── outcome ────────────┘
//! ```
//!
//! `run` goes round after round through all cells, and sleeps while two processes measure one. `cell` computes the
//! figures of the outcomes, `checks` decides the claims, `table` and `html` print both.

mod cell;
mod checks;
mod html;
mod options;
mod run;
mod table;

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Parser;

pub(crate) use self::run::slice_main;
use self::{
    cell::Cell,
    checks::Check,
    options::{Options, list},
    run::{Plan, end_on_interrupt, was_interrupted},
};
use crate::{
    Error, Pins,
    cli::{exit, progress},
    peers::{LEFT_OUT, SUBJECTS},
    report::Machine,
};

/// The exit status of a program that Ctrl-C ended, as a shell reports it.
const INTERRUPTED: u8 = 130;

/// Runs the whole program.
pub fn main() -> ExitCode {
    crate::take_part().unwrap_or_else(|| match compare(&Options::parse()) {
        Err(_) if was_interrupted() => ExitCode::from(INTERRUPTED),
        done => exit("compare", done.map(|()| true)),
    })
}

fn compare(options: &Options) -> Result<(), Error> {
    let plan = options.plan()?;
    if options.list {
        return print(&list(&plan));
    }
    options.output.claim()?;
    end_on_interrupt()?;
    let machine = look(plan.pins);
    let cells = run(&plan)?;
    let checks = checks::check(&cells);
    let table = table::write(&machine, &cells, &checks)?;
    options.output.write(
        || html::write(&machine, &cells, &checks, &table),
        || html::picture(&machine, &cells),
    )?;
    if !options.json {
        return print(&table);
    }
    let lines = std::iter::once(serde_json::to_value(&machine)?)
        .chain(cells.iter().map(Cell::json))
        .chain(checks.iter().map(Check::json));
    print(&lines.map(|line| format!("{line}\n")).collect::<String>())
}

fn look(pins: Pins) -> Machine {
    let mut packages: Vec<&'static str> =
        SUBJECTS.iter().filter_map(|subject| subject.package).collect();
    packages.dedup();
    let mut program = "compare";
    if cfg!(feature = "peers") {
        packages.extend(["zmq", "shared_memory"]);
        program = "compare --features peers";
    }
    Machine::look(pins, program, packages, LEFT_OUT)
}

fn run(plan: &Plan) -> Result<Vec<Cell>, Error> {
    let bar = progress(plan.slices(), "{wide_bar} {msg} {pos}/{len} {eta}")?;
    let cells = plan.run(|cell| {
        bar.set_message(format!("{} {}", cell.subject.name, cell.task));
        bar.inc(1);
    });
    bar.finish_and_clear();
    cells
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::{cell::Outcome, checks::check, *};
    use crate::{
        Slice,
        pair::job::{SMALL, Task, Work},
        peers,
        report::tests::assert_well_formed,
        stats::Distribution,
    };

    /// Returns a cell of 48 bytes with these outcomes, one a round; pushes are at 1 kHz.
    pub(super) fn cell_of(subject: &str, work: Work, outcomes: Vec<Outcome>) -> Cell {
        let rate_hz = if work == Work::Push { 1000 } else { 0 };
        Cell {
            subject: peers::find(subject).unwrap(),
            task: Task { rate_hz, ..Task::new(work, SMALL) },
            unable: None,
            rounds: outcomes.into_iter().map(|outcome| Some(Ok(outcome))).collect(),
        }
    }

    /// Returns a round trip or push of this latency beside a floor of 100 ns.
    pub(super) fn outcome(latency_ns: u64) -> Outcome {
        let slice = Slice {
            count: 1000,
            all: Distribution::of(&[latency_ns; 1000]),
            longest: vec![(500, 10 * latency_ns)],
            ..Slice::default()
        };
        let (floors_ns, elapsed_ns) = ([100, 100], 1_000_000);
        Outcome { floors_ns, slice, elapsed_ns, ..Outcome::default() }
    }

    fn machine() -> Machine {
        look(Pins { main: 0, renderer: 1 })
    }

    /// Returns a cell that was measured, one that failed, and one that is not possible.
    fn three_cells(work: Work) -> [Cell; 3] {
        let mut pushed = outcome(150);
        pushed.slice.cost = (work == Work::Push).then(|| Distribution::of(&[50; 10]));
        let measured = cell_of("ringbridge-spin", work, vec![pushed]);
        let mut failed = cell_of("pipe", work, vec![]);
        failed.rounds.push(Some(Err("it broke <badly> & \"loudly\"".to_owned())));
        let mut unable = cell_of("memcpy", work, vec![]);
        unable.unable = Some("a copy is no conversation");
        [measured, failed, unable]
    }

    #[test]
    fn a_table_has_a_row_for_every_subject_whatever_became_of_it() {
        let cells = three_cells(Work::RoundTrip);
        let text = table::write(&machine(), &cells, &check(&cells)).unwrap();
        for expected in [
            "== round-trip 48 B: 1 slices near, 0 far, 0 moved; floor 100 ns; others used 0.0 % of a core ==",
            "(150 ns..150 ns)",
            "FAILED: it broke",
            "n/a: a copy is no conversation",
            "must hold: invoke 48 B spin: p50 in floors <= 1.300; measured 1.500 (1.500 to 1.500): \
             NOT MET",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_page_is_well_formed_and_has_every_cell() {
        let works = [Work::RoundTrip, Work::Stream, Work::Push, Work::Idle];
        let cells: Vec<Cell> = works.into_iter().flat_map(three_cells).collect();
        let checks = check(&cells);
        let page = html::write(&machine(), &cells, &checks, "text < & >").unwrap();
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

    #[test]
    fn the_picture_is_of_the_first_task_that_takes_time() {
        let cells = [Work::Stream, Work::RoundTrip, Work::Push].map(|work| {
            let mut outcome = outcome(150);
            if work == Work::Stream {
                outcome.slice.all = Distribution::default();
            }
            cell_of("ringbridge-spin", work, vec![outcome])
        });
        let svg = html::picture(&machine(), &cells).unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains("\nTwo processes: round-trip 48 B\n"), "{svg}");
        assert!(svg.contains("\nringbridge-spin 150 ns\n</text>"), "{svg}");
        assert!(html::picture(&machine(), &cells[..1]).is_err());
    }
}
