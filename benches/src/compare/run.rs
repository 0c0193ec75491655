//! The run: every round visits each subject once per task, one slice at a time.
//!
//! This process sleeps while a slice is measured. What a slice leaves behind, however it ended, goes
//! with the slice: its processes are one process group, its files are in one folder, and the names of its
//! shared memory have one prefix.

use std::{
    env, fs,
    fs::{DirBuilder, File},
    io::{self, Read},
    os::{fd::AsFd, unix::fs::DirBuilderExt, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use ringbridge::{Config, IpcMain};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process_group, test_kill_process},
    time::Timespec,
};

use crate::{
    Error,
    compare::{
        side::Subject,
        slice::{IDLE_MARGIN, Outcome, Said},
        stage::{Assignment, Role},
        usage::Usage,
        work::{Job, Setting, Task, Work},
    },
    pins::Pins,
};

/// How long a slice may take beyond its own time: launching, connecting, ending.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer messages take milliseconds each: a slice is longer, so that it has some.
const LONG: usize = 1 << 20;
/// After so many failures in a row a cell is not tried again.
const FAILURES_MAX: usize = 2;
/// What the names of this program's folders begin with; the process id follows.
const FOLDER: &str = "ringbridge-compare-";

/// What is to be measured.
pub(super) struct Plan {
    pub(super) subjects: Vec<&'static dyn Subject>,
    pub(super) tasks: Vec<Task>,
    pub(super) rounds: usize,
    pub(super) slice: Duration,
    pub(super) pins: Pins,
}

/// One subject at one task.
pub(super) struct Cell {
    pub(super) subject: &'static dyn Subject,
    pub(super) task: Task,
    /// Why it was not tried, if so.
    pub(super) unable: Option<&'static str>,
    /// What came of each round; none if it was given up.
    pub(super) rounds: Vec<Option<Result<Visit, String>>>,
}

/// A slice, and when it began, since the run did.
pub(super) struct Visit {
    pub(super) at: Duration,
    pub(super) outcome: Outcome,
}

/// Why the subject cannot do the task, if so.
fn unable(subject: &dyn Subject, task: Task) -> Option<&'static str> {
    let alone = task.setting == Setting::OneCore && !subject.shares_a_core();
    subject.unable(task).or(alone.then_some("its receiver does not let go of the core"))
}

impl Plan {
    pub(super) fn slices(&self) -> usize {
        self.rounds * self.tasks.iter().map(|&task| self.able(task)).sum::<usize>()
    }

    /// About how long it all takes.
    pub(super) fn duration(&self) -> Duration {
        const AROUND_A_SLICE: Duration = Duration::from_millis(60);
        let of_task = |&task: &Task| {
            let able = self.able(task);
            (self.measured(task) + self.warm(task) + AROUND_A_SLICE) * able as u32
        };
        self.tasks.iter().map(of_task).sum::<Duration>() * self.rounds as u32
    }

    /// How many subjects can do the task.
    fn able(&self, task: Task) -> usize {
        self.subjects.iter().filter(|&&subject| unable(subject, task).is_none()).count()
    }

    /// What is rare needs longer.
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

    /// Measures. `visited` is called after each slice.
    pub(super) fn run(&self, mut visited: impl FnMut(&Cell)) -> Result<Vec<Cell>, Error> {
        let mut cells = self.cells();
        let place = Place::make()?;
        let began = Instant::now();
        for round in 0..self.rounds {
            for task in 0..self.tasks.len() {
                let row = task * self.subjects.len();
                for turn in 0..self.subjects.len() {
                    // So that no subject always follows the same one.
                    let cell = &mut cells[row + (turn + round) % self.subjects.len()];
                    if cell.unable.is_some() {
                        continue;
                    }
                    let given_up = cell.has_failed_too_often();
                    cell.rounds.push((!given_up).then(|| {
                        let at = began.elapsed();
                        let outcome = self.visit(cell.subject, cell.task, &place);
                        outcome.map(|outcome| Visit { at, outcome }).map_err(|e| e.to_string())
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

    /// One slice.
    fn visit(
        &self,
        subject: &'static dyn Subject,
        task: Task,
        place: &Place,
    ) -> Result<Outcome, Error> {
        let nanoseconds = |duration: Duration| duration.as_nanos() as u64;
        let job = Job {
            subject: subject.name().to_owned(),
            task,
            warm_ns: nanoseconds(self.warm(task)),
            time_ns: nanoseconds(self.measured(task)),
            floor_ns: nanoseconds(self.slice / 20).max(500_000),
            pins: self.pins,
            scratch: place.folder.clone(),
            prefix: place.prefix.clone(),
        };
        let errors = place.folder.join("stderr");
        let mut command = Assignment::command(Role::Main, &job)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .process_group(0);
        let limit = self.measured(task) + self.warm(task) + PATIENCE;
        let outcome = Group(command.spawn()?).conduct(limit, self.measured(task));
        let complaint = fs::read(&errors).unwrap_or_default();
        place.clear()?;
        outcome.map_err(|error| explain(&error, &String::from_utf8_lossy(&complaint)).into())
    }
}

impl Cell {
    fn has_failed_too_often(&self) -> bool {
        let last = self.rounds.iter().rev().take(FAILURES_MAX);
        last.filter(|round| !matches!(round, Some(Ok(_)))).count() == FAILURES_MAX
    }

    /// What was measured, with the number of the round.
    pub(super) fn visits(&self) -> impl Iterator<Item = (usize, &Visit)> {
        let rounds = self.rounds.iter().enumerate();
        rounds.filter_map(|(number, round)| Some((number, round.as_ref()?.as_ref().ok()?)))
    }

    /// The first failure.
    pub(super) fn failure(&self) -> Option<&str> {
        self.rounds.iter().flatten().find_map(|round| round.as_ref().err()).map(String::as_str)
    }
}

/// An error of a slice in one line, with what the processes complained of last.
fn explain(error: &Error, complaint: &str) -> String {
    let error = error.to_string();
    let error = error.lines().next().unwrap_or_default();
    match complaint.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(last) => format!("{error} ({last})"),
        None => error.to_owned(),
    }
}

/// The processes of a slice; they end with it.
struct Group(Child);

/// The group that is running, for whoever interrupts.
static RUNNING: AtomicI32 = AtomicI32::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C end the slice, and with it the run.
pub(super) fn end_on_interrupt() -> Result<(), Error> {
    Ok(ctrlc::set_handler(|| {
        // Before the look at the group: one that starts after the look sees this.
        INTERRUPTED.store(true, Ordering::SeqCst);
        kill_group(RUNNING.load(Ordering::SeqCst));
    })?)
}

/// Whether the run was interrupted.
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
    /// Follows the slice to its end.
    fn conduct(mut self, limit: Duration, measured: Duration) -> Result<Outcome, Error> {
        let id = self.0.id() as i32;
        RUNNING.store(id, Ordering::SeqCst);
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err("interrupted".into());
        }
        let deadline = Instant::now() + limit;
        let mut out = Lines::of(self.0.stdout.take().ok_or("main has no output")?);
        let mut idle = None;
        loop {
            let Some(line) = out.next(deadline)? else {
                let status = self.0.wait()?;
                return Err(format!("main ended with {status}").into());
            };
            match serde_json::from_str(&line)? {
                Said::Idle { main, renderer } => {
                    idle = Some(watch_idle(main, renderer, measured - IDLE_MARGIN * 2)?);
                }
                Said::Failed(reason) => return Err(reason.into()),
                Said::Done(mut outcome) => {
                    if let Some(idle) = idle {
                        idle.write_to(&mut outcome);
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
        // It has been killed, or had ended.
        let _ = self.0.wait();
    }
}

/// What two idle processes used.
struct Idle {
    main: Usage,
    renderer: Usage,
    elapsed: Duration,
}

/// Lets both processes come to rest, and looks at them twice from outside.
fn watch_idle(main: u32, renderer: u32, time: Duration) -> Result<Idle, Error> {
    thread::sleep(IDLE_MARGIN);
    let look = || -> Result<_, io::Error> { Ok((Usage::of(main)?, Usage::of(renderer)?)) };
    let (before, began) = (look()?, Instant::now());
    thread::sleep(time);
    let (after, elapsed) = (look()?, began.elapsed());
    Ok(Idle { main: after.0 - before.0, renderer: after.1 - before.1, elapsed })
}

impl Idle {
    fn write_to(&self, outcome: &mut Outcome) {
        outcome.elapsed_ns = self.elapsed.as_nanos() as u64;
        outcome.main_cpu_ns = self.main.cpu_ns;
        outcome.renderer_cpu_ns = self.renderer.cpu_ns;
        outcome.switches = Some([self.main.switches, self.renderer.switches]);
    }
}

/// Lines of another process, waited for no longer than until a deadline.
struct Lines<R> {
    from: R,
    bytes: Vec<u8>,
}

impl<R: Read + AsFd> Lines<R> {
    fn of(from: R) -> Self {
        Self { from, bytes: Vec::new() }
    }

    /// The next line; `None` at the end.
    fn next(&mut self, deadline: Instant) -> Result<Option<String>, Error> {
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                let line = self.bytes.drain(..=end).collect();
                return Ok(Some(String::from_utf8(line)?));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left)?;
            let mut sources = [PollFd::new(&self.from, PollFlags::IN)];
            match poll(&mut sources, Some(&timeout)) {
                Ok(0) => return Err("it did not end in time".into()),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let mut chunk = [0; 1 << 16];
            match self.from.read(&mut chunk)? {
                0 => return Ok(None),
                len => self.bytes.extend_from_slice(&chunk[..len]),
            }
        }
    }
}

/// Where the slices' sockets, files and shared memory are.
struct Place {
    folder: PathBuf,
    prefix: String,
}

const SHARED_MEMORY: &str = "/dev/shm";

impl Place {
    fn make() -> Result<Self, Error> {
        sweep();
        let id = process::id();
        let folder = env::temp_dir().join(format!("{FOLDER}{id}"));
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self { folder, prefix: prefix(id) })
    }

    /// Removes what the slices left.
    fn clear(&self) -> Result<(), Error> {
        remove_memory(&self.prefix);
        for entry in fs::read_dir(&self.folder)? {
            remove(&entry?.path());
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove_memory(&self.prefix);
        remove_segments(&self.prefix);
        remove(&self.folder);
    }
}

fn prefix(id: u32) -> String {
    format!("ringbridge_compare_{id}_")
}

/// Removes what runs left that were killed.
fn sweep() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(FOLDER)).map(str::parse::<u32>);
        if let Some(Ok(id)) = id
            && Pid::from_raw(id as i32).is_some_and(|pid| test_kill_process(pid).is_err())
        {
            remove_memory(&prefix(id));
            remove_segments(&prefix(id));
            remove(&entry.path());
        }
    }
}

fn remove_memory(prefix: &str) {
    for entry in fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            remove(&entry.path());
        }
    }
}

/// Of Ringbridge's slices, whose endpoint has the prefix for a name: whoever binds it removes what dead processes have
/// left of it.
fn remove_segments(prefix: &str) {
    let config = Config {
        backend: ringbridge::Backend::Portable,
        protect_memory: false,
        ..Config::default()
    };
    // If that fails they stay, as files do that cannot be removed.
    let _ = IpcMain::bind_with(prefix, &[], config);
}

/// What is in use by somebody else, or gone already, stays as it is.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;
    use crate::peers::SUBJECTS;

    fn plan(rounds: usize) -> Plan {
        Plan {
            subjects: SUBJECTS.to_vec(),
            tasks: Task::all(&[Work::RoundTrip, Work::Push], &[48, 1024]),
            rounds,
            slice: Duration::from_millis(100),
            pins: Pins { main: 0, renderer: 1 },
        }
    }

    #[test]
    fn every_cell_is_there_and_those_that_are_able_are_counted() {
        let plan = plan(3);
        let cells = plan.cells();
        assert_eq!(cells.len(), SUBJECTS.len() * (3 + 5));
        assert_eq!(plan.slices(), 3 * cells.iter().filter(|cell| cell.unable.is_none()).count());
        assert!(plan.duration() > Duration::from_millis(100) * plan.slices() as u32);
    }

    #[test]
    fn a_cell_is_given_up_after_failures_in_a_row_only() {
        let mut cell = plan(1).cells().remove(0);
        let visit = || Visit { at: Duration::ZERO, outcome: Outcome::default() };
        cell.rounds = vec![Some(Err("one".into())), Some(Ok(visit())), Some(Err("two".into()))];
        assert!(!cell.has_failed_too_often());
        assert_eq!((cell.visits().count(), cell.failure()), (1, Some("one")));
        cell.rounds.push(Some(Err("three".into())));
        assert!(cell.has_failed_too_often());
    }

    #[test]
    fn lines_come_whole_and_not_later_than_the_deadline() {
        let (from, mut to) = pipe().unwrap();
        let mut lines = Lines::of(from);
        let soon = || Instant::now() + Duration::from_millis(20);
        to.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.next(soon()).unwrap().unwrap(), "one\n");
        assert!(lines.next(soon()).unwrap_err().to_string().contains("in time"));
        to.write_all(b"o\n").unwrap();
        assert_eq!(lines.next(soon()).unwrap().unwrap(), "two\n");
        drop(to);
        assert_eq!(lines.next(soon()).unwrap(), None);
    }

    #[test]
    fn an_error_is_one_line_with_the_last_complaint() {
        let error: Error = "it failed\nin two lines".into();
        assert_eq!(explain(&error, ""), "it failed");
        assert_eq!(explain(&error, "a panic\n  why\n\n"), "it failed (why)");
    }
}
