//! The run: every round visits each subject once per task, one slice at a time.
//!
//! In a slice, two processes connect, warm up, and measure a task between two floors, while this process sleeps.
//! They exist for this slice only. So no other process of the comparison runs, a subject that crashes ends one
//! slice, and each slice has other memory.
//!
//! The processes of a slice are one process group, its files are in one folder, and the names of its shared
//! memory have one prefix. So all of it is removed with the slice, however that ended.

use std::{
    env, fs,
    fs::{DirBuilder, File},
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use procfs::ProcResult;
use ringbridge::{Config, IpcMain};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Outcome};
use crate::{
    Error, Limit, Pair,
    pair::{
        job::{Chosen, Job, Setting, Task, Work},
        stage::Control,
    },
    peers::Subject,
    system::{Pins, Usage, machine_busy_ns},
};

const MESSAGES_MAX: u64 = 4 << 20;
const FLOOR_MAX: u64 = 1 << 17;
/// The time before an idle pair is looked at, and afterwards.
pub(super) const IDLE_MARGIN: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The processes of both sides, which are idle from now on.
    Idle([u32; 2]),
    Ended(Result<Box<Outcome>, String>),
}

/// The time for launching, connecting and ending that a slice may take beyond its own.
const PATIENCE: Duration = Duration::from_secs(20);
const LONG: usize = 1 << 20;
const FAILURES_MAX: usize = 2;
/// The prefix of the names of this program's folders. The process id follows.
const FOLDER: &str = "ringbridge-compare-";

/// The subjects and tasks of a run, and the time of a slice.
pub(super) struct Plan {
    pub(super) subjects: Vec<&'static Subject>,
    pub(super) tasks: Vec<Task>,
    pub(super) rounds: usize,
    pub(super) slice: Duration,
    pub(super) pins: Pins,
}

fn unable(subject: &Subject, task: Task) -> Option<&'static str> {
    let alone = task.setting == Setting::OneCore && !subject.shares_a_core;
    subject.unable(task).or(alone.then_some("its receiver does not let go of the core"))
}

impl Plan {
    pub(super) fn slices(&self) -> usize {
        self.rounds * self.tasks.iter().map(|&task| self.able(task)).sum::<usize>()
    }

    pub(super) fn duration(&self) -> Duration {
        const AROUND_A_SLICE: Duration = Duration::from_millis(60);
        let of_task = |&task: &Task| {
            let able = self.able(task);
            (self.measured(task) + self.warm(task) + AROUND_A_SLICE) * able as u32
        };
        self.tasks.iter().map(of_task).sum::<Duration>() * self.rounds as u32
    }

    fn able(&self, task: Task) -> usize {
        self.subjects.iter().filter(|subject| unable(subject, task).is_none()).count()
    }

    /// Returns the time of a slice, which is longer where messages are rare.
    fn measured(&self, task: Task) -> Duration {
        match task.work {
            Work::RoundTrip | Work::Stream if task.payload <= LONG => self.slice,
            Work::Push if task.rate_hz <= 1000 => self.slice * 10,
            Work::RoundTrip | Work::Stream | Work::Push => self.slice * 3,
            Work::Idle => self.slice * 10 + IDLE_MARGIN * 2,
        }
    }

    fn warm(&self, task: Task) -> Duration {
        match task.work {
            Work::RoundTrip | Work::Stream if task.payload <= LONG => self.slice / 4,
            Work::RoundTrip | Work::Stream | Work::Push => self.slice / 2,
            Work::Idle => self.slice / 20,
        }
    }

    pub(super) fn run(&self, mut visited: impl FnMut(&Cell)) -> Result<Vec<Cell>, Error> {
        let mut cells = self.cells();
        let place = Place::make()?;
        let began = Instant::now();
        for round in 0..self.rounds {
            for task in 0..self.tasks.len() {
                let row = task * self.subjects.len();
                for turn in 0..self.subjects.len() {
                    // The order differs in each round, so that no subject always follows the same one.
                    let cell = &mut cells[row + (turn + round) % self.subjects.len()];
                    if cell.unable.is_some() {
                        continue;
                    }
                    let given_up = has_failed_too_often(cell);
                    cell.rounds.push((!given_up).then(|| {
                        let at = began.elapsed();
                        let outcome = self.visit(cell.subject, cell.task, &place);
                        outcome.map(|outcome| Outcome { at, ..outcome }).map_err(|e| e.to_string())
                    }));
                    if INTERRUPTED.load(Ordering::Relaxed) {
                        return Err("interrupted".into());
                    }
                    visited(cell);
                }
            }
        }
        Ok(cells)
    }

    fn cells(&self) -> Vec<Cell> {
        let row = |&task: &Task| {
            self.subjects.iter().map(move |&subject| Cell {
                subject,
                task,
                unable: unable(subject, task),
                rounds: Vec::new(),
            })
        };
        self.tasks.iter().flat_map(row).collect()
    }

    fn visit(&self, subject: &Subject, task: Task, place: &Place) -> Result<Outcome, Error> {
        let job = Job {
            subject: Chosen::Named(subject.name.to_owned()),
            task,
            pins: self.pins,
            pinned: true,
            scratch: place.folder.clone(),
            prefix: place.prefix.clone(),
        };
        let times = [self.warm(task), self.measured(task), self.slice / 20];
        let [warm_ns, time_ns, floor_ns] = times.map(|time| time.as_nanos() as u64);
        let (control, theirs) = Control::pair()?;
        let times_ns = [warm_ns, time_ns, floor_ns.max(500_000)];
        let mut command = job.command(Some(times_ns), theirs)?;
        let errors = place.folder.join("stderr");
        command
            // Peers and the engine put their sockets and files there.
            .env("XDG_RUNTIME_DIR", &place.folder)
            .env("TMPDIR", &place.folder)
            .stderr(File::create(&errors)?)
            .process_group(0);
        let group = Group(command.spawn()?);
        // The command owns main's end of the socket.
        drop(command);
        control.set_patience(self.measured(task) + self.warm(task) + PATIENCE)?;
        let outcome = group.conduct(&control, self.measured(task));
        let complaint = fs::read(&errors).unwrap_or_default();
        place.clear();
        outcome.map_err(|error| explain(&error, &String::from_utf8_lossy(&complaint)).into())
    }
}

fn has_failed_too_often(cell: &Cell) -> bool {
    let last = cell.rounds.iter().rev().take(FAILURES_MAX);
    last.filter(|round| !matches!(round, Some(Ok(_)))).count() == FAILURES_MAX
}

/// Runs the main process of a slice. `times_ns` are those of the warm-up, the measuring, and a floor.
pub(crate) fn slice_main(run: &Control, job: Job, times_ns: [u64; 3]) -> Result<(), Error> {
    let outcome = measure(run, job, times_ns);
    run.say(&Said::Ended(outcome.map(Box::new).map_err(|error| error.to_string())))
}

fn measure(
    run: &Control,
    job: Job,
    [warm_ns, time_ns, floor_ns]: [u64; 3],
) -> Result<Outcome, Error> {
    let work = job.task.work;
    let limit = |time_ns| Limit { count: MESSAGES_MAX, time_ns };
    let floor = Limit { count: FLOOR_MAX, time_ns: floor_ns };
    let mut pair = Pair::launch(job)?;
    pair.work(limit(warm_ns))?;
    let before = pair.bounce(floor)?;
    if work == Work::Idle {
        run.say(&Said::Idle([process::id(), pair.renderer]))?;
    }
    let busy = machine_busy_ns()?;
    let slice = pair.work(limit(time_ns))?;
    let busy = machine_busy_ns()? - busy;
    let after = pair.bounce(floor)?;
    pair.close()?;

    let [Some(before), Some(after)] = [before.p50_ns, after.p50_ns] else {
        return Err("the floor was not measured: it had no time".into());
    };
    let elapsed = if work == Work::Stream { slice.elapsed } else { slice.main_elapsed };
    Ok(Outcome {
        floors_ns: [before, after],
        elapsed_ns: elapsed.as_nanos() as u64,
        others_cpu_ns: busy as i64 - slice.cpu_ns.iter().sum::<u64>() as i64,
        slice,
        ..Outcome::default()
    })
}

/// Returns an error of a slice in one line, with the last line of the processes' standard error.
fn explain(error: &Error, complaint: &str) -> String {
    let error = error.to_string();
    let error = error.lines().next().unwrap_or_default();
    match complaint.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(last) => format!("{error} ({last})"),
        None => error.to_owned(),
    }
}

struct Group(Child);

static RUNNING: AtomicI32 = AtomicI32::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(super) fn end_on_interrupt() -> Result<(), Error> {
    Ok(ctrlc::set_handler(|| {
        // Stored before the group is loaded: a group that starts afterwards sees it.
        INTERRUPTED.store(true, Ordering::SeqCst);
        kill_group(RUNNING.load(Ordering::SeqCst));
    })?)
}

pub(super) fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

fn kill_group(id: i32) {
    if let Some(group) = Pid::from_raw(id) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Group {
    fn conduct(mut self, control: &Control, measured: Duration) -> Result<Outcome, Error> {
        RUNNING.store(self.0.id() as i32, Ordering::SeqCst);
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err("interrupted".into());
        }
        let mut idle = None;
        loop {
            let said = control.hear().map_err(|error| match self.0.try_wait() {
                Ok(Some(status)) => format!("main ended with {status}").into(),
                _ => error,
            });
            match said? {
                Said::Idle(processes) => {
                    idle = Some(watch_idle(processes, measured - IDLE_MARGIN * 2)?);
                }
                Said::Ended(outcome) => {
                    let mut outcome = outcome?;
                    if let Some(([main, renderer], elapsed)) = idle {
                        outcome.elapsed_ns = elapsed.as_nanos() as u64;
                        outcome.slice.cpu_ns = [main.cpu_ns, renderer.cpu_ns];
                        outcome.switches = Some([main.switches, renderer.switches]);
                    }
                    return Ok(*outcome);
                }
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Until main is reaped, no other group can have its number.
        kill_group(self.0.id() as i32);
        RUNNING.store(0, Ordering::SeqCst);
        // It fails only if the process was reaped already.
        let _ = self.0.wait();
    }
}

/// Lets two processes come to rest, and returns what they use afterwards, seen from outside.
fn watch_idle([main, renderer]: [u32; 2], time: Duration) -> ProcResult<([Usage; 2], Duration)> {
    thread::sleep(IDLE_MARGIN);
    let look =
        || -> ProcResult<_> { Ok([Usage::of(&[main], None)?, Usage::of(&[renderer], None)?]) };
    let (before, began) = (look()?, Instant::now());
    thread::sleep(time);
    let (after, elapsed) = (look()?, began.elapsed());
    Ok(([after[0].since(before[0]), after[1].since(before[1])], elapsed))
}

/// The place of the sockets, files and shared memory of a run's slices. Dropping it removes all of them.
struct Place {
    folder: PathBuf,
    /// The prefix of the names in `/dev/shm`, which is also the name of Ringbridge's endpoint.
    prefix: String,
}

impl Place {
    fn of(process: u32) -> Self {
        let folder = env::temp_dir().join(format!("{FOLDER}{process}"));
        Self { folder, prefix: format!("ringbridge_compare_{process}_") }
    }

    /// Makes the place of this run, and removes those of killed runs.
    fn make() -> Result<Self, Error> {
        for entry in fs::read_dir(env::temp_dir())?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.parse().ok());
            if let Some(id) = id
                && Pid::from_raw(id).is_some_and(|pid| test_kill_process(pid).is_err())
            {
                drop(Self::of(id as u32));
            }
        }
        let place = Self::of(process::id());
        DirBuilder::new().mode(0o700).create(&place.folder)?;
        Ok(place)
    }

    fn clear(&self) {
        let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in files(Path::new("/dev/shm")) {
            if entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                remove(&entry.path());
            }
        }
        files(&self.folder).for_each(|entry| remove(&entry.path()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
        let backend = ringbridge::Backend::Portable;
        let config = Config { backend, protect_memory: false, ..Config::default() };
        // Binding a name removes the segments that dead processes have left of it. If that fails they stay,
        // like files that cannot be removed.
        let _ = IpcMain::bind_with(&self.prefix, &[], config);
        remove(&self.folder);
    }
}

/// Removes a file or folder. One that is in use or gone already is ignored.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::SUBJECTS;

    fn plan(rounds: usize) -> Plan {
        let round_trip = |payload| Task::new(Work::RoundTrip, payload);
        let one_core = Task { setting: Setting::OneCore, ..round_trip(48) };
        let push = Task { rate_hz: 1000, ..Task::new(Work::Push, 48) };
        Plan {
            subjects: SUBJECTS.iter().collect(),
            tasks: vec![round_trip(48), round_trip(1024), one_core, push],
            rounds,
            slice: Duration::from_millis(100),
            pins: Pins { main: 0, renderer: 1 },
        }
    }

    #[test]
    fn every_cell_is_there_and_those_that_are_able_are_counted() {
        let plan = plan(3);
        let cells = plan.cells();
        assert_eq!(cells.len(), SUBJECTS.len() * 4);
        assert_eq!(plan.slices(), 3 * cells.iter().filter(|cell| cell.unable.is_none()).count());
        assert!(plan.duration() > Duration::from_millis(100) * plan.slices() as u32);
    }

    #[test]
    fn a_cell_is_given_up_after_failures_in_a_row_only() {
        let mut cell = plan(1).cells().remove(0);
        cell.unable = None;
        cell.rounds =
            vec![Some(Err("one".into())), Some(Ok(Outcome::default())), Some(Err("two".into()))];
        assert!(!has_failed_too_often(&cell));
        assert_eq!((cell.outcomes().count(), cell.reason()), (1, Some("one")));
        cell.rounds.push(Some(Err("three".into())));
        assert!(has_failed_too_often(&cell));
    }

    #[test]
    fn an_error_is_one_line_with_the_last_complaint() {
        let error: Error = "it failed\nin two lines".into();
        assert_eq!(explain(&error, ""), "it failed");
        assert_eq!(explain(&error, "a panic\n  why\n\n"), "it failed (why)");
    }
}
