//! The comparison: Ringbridge, its peers, and the floors of the machine at the same work.
//!
//! ```text
//!   compare ──launches for each slice──▶ main ──launches──▶ renderer       both are this program
//!      ▲                                   │  └──the subject──┘
//!      └────────────── outcome ────────────┘
//! ```
//!
//! `run` goes round after round through all cells and sleeps while `slice` measures one. `side` says
//! what a subject is; the subjects are in `peers`. `figures` makes figures of the
//! outcomes, `checks` holds them against what must hold, `table` and `html` print them.

mod checks;
pub(crate) mod control;
mod figures;
mod html;
pub(crate) mod link;
mod options;
mod run;
#[cfg(test)]
mod samples;
pub(crate) mod side;
mod slice;
pub(crate) mod stage;
mod table;
mod usage;
pub(crate) mod work;

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    Error, Pins,
    compare::{
        control::Control,
        figures::Figures,
        options::{Options, list},
        run::{Plan, end_on_interrupt, was_interrupted},
        stage::{Assignment, Role, Stage},
    },
    peers::{LEFT_OUT, SUBJECTS},
    report::{Machine, write_file},
};

/// What a shell says of a program that was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// The whole program: the run, or one of the two processes of a slice.
pub fn main() -> ExitCode {
    let done = match Assignment::of_this_process() {
        Ok(Some(assignment)) => take_part(assignment),
        Ok(None) => compare(&Options::parse()),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if was_interrupted() => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn take_part(assignment: Assignment) -> Result<(), Error> {
    assignment.follow_parent()?;
    match assignment.role {
        Role::Main => slice::main_process(assignment.job),
        Role::Renderer => {
            let stage = Stage::of_renderer(assignment.job, Control::of_stdin()?)?;
            slice::renderer_half(&stage)
        }
    }
}

fn compare(options: &Options) -> Result<(), Error> {
    let plan = options.plan()?;
    if options.list {
        return print(&list(&plan));
    }
    options.output.claim()?;
    end_on_interrupt()?;
    // Looks at the whole machine, so before there is anything to wait for.
    let machine = look(plan.pins);
    let cells = run(&plan)?;
    let figures: Vec<Figures> = cells.iter().map(Figures::of).collect();
    let checks = checks::check(&cells);
    let table = table::write(&machine, &figures, &checks)?;
    if let Some(file) = &options.output.html {
        let page = html::write(&machine, &cells, &figures, &checks, &table)?;
        write_file(file, &page)?;
    }
    if let Some(file) = &options.output.svg {
        write_file(file, &html::picture(&machine, &figures)?)?;
    }
    if !options.json {
        return print(&table);
    }
    let mut lines = serde_json::to_string(&machine)? + "\n";
    for cell in &figures {
        lines += &(serde_json::to_string(cell)? + "\n");
    }
    for check in &checks {
        lines += &(serde_json::to_string(check)? + "\n");
    }
    print(&lines)
}

/// The machine, with the versions of all that is measured.
fn look(pins: Pins) -> Machine {
    let mut packages: Vec<&'static str> =
        SUBJECTS.iter().filter_map(|subject| subject.package()).collect();
    packages.dedup();
    let mut program = "compare";
    if cfg!(feature = "peers") {
        packages.extend(["zmq", "shared_memory"]);
        program = "compare --features peers";
    }
    Machine::look(pins, program, packages, LEFT_OUT)
}

fn run(plan: &Plan) -> Result<Vec<run::Cell>, Error> {
    // Draws on a terminal only, and only between slices.
    let bar =
        ProgressBar::with_draw_target(Some(plan.slices() as u64), ProgressDrawTarget::stderr())
            .with_style(ProgressStyle::with_template("{wide_bar} {msg} {pos}/{len} {eta}")?);
    let cells = plan.run(|cell| {
        bar.set_message(format!("{} {}", cell.subject.name(), cell.task));
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
