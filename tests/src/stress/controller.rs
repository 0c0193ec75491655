//! The run: kills and restarts processes by the schedule, and judges each session by the journal.
//!
//! The controller sends no messages. It gives orders through the journal, sends signals, and reads in the journal how
//! each session ended. It reaps every process whose parent is gone.

use std::{
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    rc::Rc,
};

use indicatif::{ProgressBar, ProgressStyle};
use rustix::{
    process::{
        Pid, PidfdFlags, WaitOptions, WaitStatus, getpid, pidfd_open, pidfd_send_signal,
        set_child_subreaper, wait,
    },
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};

use super::*;

/// Between two looks at the processes.
const TICK: Duration = Duration::from_millis(1);
/// A wait that lasts longer than this after the peer's death is a hang.
const HANG: Duration = Duration::from_secs(1);
/// A longer recovery is reported.
const SLOW: Duration = Duration::from_millis(100);
/// How long a main process may take to come up, and a pause to begin.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// How long a killed process may take to end, and the last main process to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How long main may take to release its last session. The machine may be busy.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);
/// The most that main's memory may grow from its first pause on.
const RESIDENT_SLACK_KIB: u64 = 16 * 1024;

/// Runs it all, and prints the summary.
pub(super) fn run(options: &Options) -> Result<ExitCode, Fatal> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Relaxed))?;
    // A process that loses its parent becomes a child of this one, so that none is forgotten.
    set_child_subreaper(Some(getpid()))?;
    let mut controller = Controller::start(options, interrupted)?;
    let outcome = controller.rage();
    controller.leave();
    outcome?;
    let interrupted = controller.is_interrupted();
    let summary = controller.into_summary();
    if options.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        print!("{summary}");
    }
    Ok(match (summary.is_good(), interrupted) {
        (_, true) => ExitCode::from(130),
        (true, false) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

struct Controller<'a> {
    options: &'a Options,
    began: Instant,
    interrupted: Arc<AtomicBool>,
    board: &'static Board,
    /// Open for processes that are still to be started.
    _journal: OwnedFd,
    endpoint: SweptName,
    /// The beginning of the names of this endpoint's segments, once it is known.
    segments: Option<SegmentNames>,
    role: Role,
    generation: u64,
    main: Place,
    /// Main's holdings at its beginning, and its resident memory in its first pause.
    baseline: Holdings,
    resident_kib: Option<u64>,
    /// When each main process died.
    dead_mains: HashMap<u64, u64>,
    places: Vec<Place>,
    /// The last session that was seen to begin, and those that were not judged yet.
    seen: u64,
    open: Vec<Open>,
    summary: Summary,
    recoveries: Vec<u64>,
}

/// The place of main or of a renderer.
#[derive(Default)]
struct Place {
    /// `None` for a renderer that main launches.
    child: Option<Process>,
    /// When the child was killed; 0: it was not.
    killed_ns: u64,
    /// The process that is stopped, and until when.
    stopped: Option<(Process, Instant)>,
    resumed_ns: u64,
}

/// A process, by a descriptor that never means another one.
#[derive(Clone)]
struct Process {
    id: u32,
    pidfd: Rc<OwnedFd>,
}

struct Open {
    session: u64,
    seen: Instant,
    /// When its killed process was first seen to have ended; 0: not yet.
    ended_ns: u64,
}

enum Step {
    Wait,
    /// There is no evidence.
    Drop,
    Hang,
    /// The renderer outlives the main process that launched it.
    Outlives,
    Judge(Survivor),
}

impl<'a> Controller<'a> {
    fn start(options: &'a Options, interrupted: Arc<AtomicBool>) -> Result<Self, Fatal> {
        let (board, journal) = Board::create()?;
        let endpoint = SweptName(unique_name("stress"));
        let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        let renderers = options.renderers.into();
        let mut controller = Self {
            options,
            began: Instant::now(),
            interrupted,
            board,
            role: Role {
                endpoint: endpoint.0.clone(),
                backend: options.backend,
                journal: journal.as_raw_fd(),
                seed,
                renderers,
                parent: std::process::id(),
                part: Part::Main { generation: 0 },
            },
            _journal: journal,
            endpoint,
            segments: None,
            generation: 0,
            main: Place::default(),
            baseline: Holdings::default(),
            resident_kib: None,
            dead_mains: HashMap::new(),
            places: (0..renderers).map(|_| Place::default()).collect(),
            seen: 0,
            open: Vec::new(),
            summary: Summary { seed, backend: options.backend, renderers, ..Summary::default() },
            recoveries: Vec::new(),
        };
        controller.start_main()?;
        let is_up = controller.supervise_until(UP_WITHIN, |this| this.page().may_begin.get() != 0);
        // A run that is interrupted before that has a summary of nothing, and ends as always.
        if !is_up && !controller.is_interrupted() {
            controller.leave();
            return Err("the main process does not come up".into());
        }
        if options.backend == Over::Portable && is_up {
            let names = SegmentNames::of_process(controller.main_id());
            controller.segments = Some(names.ok_or("the main process maps no segment")?);
        }
        Ok(controller)
    }

    fn start_main(&mut self) -> Result<(), Fatal> {
        self.generation += 1;
        self.board.begin_main(self.generation);
        let part = Part::Main { generation: self.generation };
        self.main = Place { child: Some(self.start_process(part)?), ..Place::default() };
        self.resident_kib = None;
        Ok(())
    }

    fn start_process(&self, part: Part) -> Result<Process, Fatal> {
        // A group of its own, since Ctrl-C is for the controller. `reap` reaps it.
        Process::open(self.role.command(part).process_group(0).spawn()?.id())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Relaxed)
    }

    fn page(&self) -> &'static MainPage {
        self.board.main(self.generation)
    }

    fn main_id(&self) -> u32 {
        self.main.child.as_ref().map_or(0, |main| main.id)
    }

    // --- the run ---------------------------------------------------------------------------------

    /// Does one action after the other, with pauses, until the time is over.
    fn rage(&mut self) -> Result<(), Fatal> {
        let style = ProgressStyle::with_template("{bar:30} {pos} of {len} s  {msg}");
        let bar = ProgressBar::new(self.options.duration.as_secs())
            .with_style(style.expect("the template is well formed"));
        let mut schedule = Schedule::new(self.role.seed, self.role.renderers, self.options.backend);
        if !self.options.jump_clock && self.options.backend == Over::Sealed {
            eprintln!("stress: the system's clock is left alone; --jump-clock sets it");
        }
        let deadline = self.began + self.options.duration;
        let mut next = Instant::now() + self.options.kill_every;
        let mut actions = 0;
        while Instant::now() < deadline && !self.is_interrupted() {
            self.supervise()?;
            if Instant::now() >= next {
                next += self.options.kill_every;
                if let Some(action) = schedule.next() {
                    self.act(action);
                }
                actions += 1;
                if actions % ROUND == 0 {
                    self.pause(actions as u64)?;
                    // The time of the pause is not made up for.
                    next = Instant::now() + self.options.kill_every;
                }
            }
            bar.set_position(self.began.elapsed().as_secs());
            let Summary { kills, faults, leaks, hangs, .. } = &self.summary;
            bar.set_message(format!(
                "{kills} kills, {} lost, {leaks} leaks, {hangs} hangs",
                faults.lost
            ));
            thread::sleep(TICK);
        }
        bar.finish_and_clear();
        if self.is_interrupted() { Ok(()) } else { self.pause(actions as u64 + 1) }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Kill(victim) => self.kill(victim),
            Action::KillTwo(victims) => victims.into_iter().for_each(|victim| self.kill(victim)),
            Action::Stop(victim, duration) => self.stop(victim, duration),
            Action::StopAndKill(victim, duration) => {
                self.stop(victim, duration);
                // The stop may end before any process has noticed it, or not. Both must be survived.
                self.kill(victim);
            }
            Action::Starve(victim, of, duration) => {
                self.summary.shortages += 1;
                let order = match victim {
                    Victim::Main => &self.page().order,
                    Victim::Slot(slot) => &self.board.slot(slot).order,
                };
                order.give(of, duration);
            }
            Action::JumpClock(seconds) if self.options.jump_clock => self.jump_clock(seconds),
            Action::JumpClock(_) => {}
        }
    }

    fn place(&mut self, victim: Victim) -> &mut Place {
        match victim {
            Victim::Main => &mut self.main,
            Victim::Slot(slot) => &mut self.places[slot],
        }
    }

    /// Finds the process in this place, with the record of its session if it has one that is not over.
    fn target(&self, victim: Victim) -> Option<(Process, Option<&'static Record>)> {
        let Victim::Slot(slot) = victim else { return Some((self.main.child.clone()?, None)) };
        let record = self.board.record(self.board.slot(slot).session.get());
        if slot < self.role.attached() {
            let child = self.places[slot].child.clone()?;
            let own = record.filter(|record| {
                record.process.get() == u64::from(child.id)
                    && record.settled_by_renderer_ns.get() == 0
            });
            return Some((child, own));
        }
        let record = record.filter(|record| record.settled_by_main_ns.get() == 0)?;
        let process = Process::open(record.process.get() as u32).ok()?;
        // After the process was opened: another one could have had the number before.
        self.is_ours(process.id).then_some((process, Some(record)))
    }

    /// Returns whether the process is one of this run.
    fn is_ours(&self, id: u32) -> bool {
        proc::command_line(id).iter().any(|argument| argument.contains(&self.endpoint.0))
    }

    fn kill(&mut self, victim: Victim) {
        let Some((process, record)) = self.target(victim) else { return };
        let is_early = victim == Victim::Main && self.page().ready.get() == 0;
        let place = self.place(victim);
        let is_killed = record.is_some_and(|record| record.killed_ns.get() != 0);
        if is_early || is_killed || place.killed_ns != 0 {
            return;
        }
        let now = now_ns();
        if place.child.is_some() {
            place.killed_ns = now;
        }
        if let Some(record) = record {
            record.killed_ns.set(now);
        }
        process.signal(Signal::KILL);
        self.summary.kills += 1;
    }

    fn stop(&mut self, victim: Victim, duration: Duration) {
        let target = self.target(victim);
        let place = self.place(victim);
        if let Some((process, _)) = target
            && place.stopped.is_none()
            && place.killed_ns == 0
        {
            process.signal(Signal::STOP);
            place.stopped = Some((process, Instant::now() + duration));
            self.summary.stops += 1;
        }
    }

    /// Sets the wall clock off, and back again after some ticks.
    fn jump_clock(&mut self, seconds: i64) {
        let (before, since) = (clock_gettime(ClockId::Realtime), Instant::now());
        let off = Timespec { tv_sec: before.tv_sec + seconds, ..before };
        let set = clock_settime(ClockId::Realtime, off).and_then(|()| {
            thread::sleep(10 * TICK);
            let before = Duration::new(before.tv_sec as u64, before.tv_nsec as u32);
            let now = Timespec::try_from(before + since.elapsed()).expect("it is in this century");
            clock_settime(ClockId::Realtime, now)
        });
        match set {
            Ok(()) => self.summary.clock_jumps += 1,
            Err(error) => eprintln!("stress: the clock cannot be set: {error}"),
        }
    }

    // --- supervision -----------------------------------------------------------------------------

    fn supervise(&mut self) -> Result<(), Fatal> {
        self.resume_due(Instant::now());
        self.reap()?;
        if self.page().ready.get() != 0 && self.page().may_begin.get() == 0 {
            self.baseline = Holdings::of(self.main_id());
            self.page().may_begin.set(1);
        }
        self.start_attached()?;
        for session in self.seen + 1..=self.board.sessions.get() {
            self.open.push(Open { session, seen: Instant::now(), ended_ns: 0 });
            self.seen = session;
        }
        let mut open = std::mem::take(&mut self.open);
        open.retain_mut(|open| {
            let step = self.step(open);
            if let Some(record) = self.board.record(open.session) {
                self.take_step(record, &step);
            }
            matches!(step, Step::Wait)
        });
        self.open = open;
        Ok(())
    }

    /// Supervises until the condition holds; `false` if it does not in time, or on an interruption.
    fn supervise_until(&mut self, limit: Duration, condition: impl Fn(&mut Self) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self.supervise().is_err() || self.is_interrupted() || Instant::now() >= deadline {
                return false;
            }
            if condition(self) {
                return true;
            }
            thread::sleep(TICK);
        }
    }

    fn resume_due(&mut self, now: Instant) {
        for place in self.places.iter_mut().chain([&mut self.main]) {
            if let Some((process, _)) = place.stopped.take_if(|(_, until)| *until <= now) {
                process.signal(Signal::CONT);
                place.resumed_ns = now_ns();
            }
        }
    }

    fn reap(&mut self) -> Result<(), Fatal> {
        // An error means that there is no child.
        while let Ok(Some((id, status))) = wait(WaitOptions::NOHANG) {
            let id = id.as_raw_nonzero().get() as u32;
            if id == self.main_id() {
                self.main_died(status)?;
            } else if let Some(place) = self.places.iter_mut().find(|place| place.is_of(id.into()))
            {
                if place.killed_ns == 0 && status.exit_status() != Some(0) {
                    eprintln!("stress: the attached renderer {id} ended with {status:?}");
                    self.summary.crashes += 1;
                }
                *place = Place { resumed_ns: place.resumed_ns, ..Place::default() };
            }
        }
        Ok(())
    }

    fn main_died(&mut self, status: WaitStatus) -> Result<(), Fatal> {
        let (page, killed_ns) = (self.page(), self.main.killed_ns);
        self.dead_mains.insert(self.generation, if killed_ns == 0 { now_ns() } else { killed_ns });
        self.summary.publishes += page.published_done.get();
        self.summary.unexpected += page.unexpected.get();
        self.summary.refused += page.refused.get();
        self.summary.crashes += page.crashes.get();
        if self.board.phase() == Phase::End {
            return Ok(());
        }
        if killed_ns == 0 {
            eprintln!("stress: main process {} ended with {status:?}", self.generation);
            self.summary.crashes += 1;
        }
        self.summary.main_restarts += 1;
        self.start_main()
    }

    fn start_attached(&mut self) -> Result<(), Fatal> {
        for slot in 0..self.role.attached() {
            if self.board.phase() == Phase::Run && self.places[slot].child.is_none() {
                let part = Part::Renderer { slot, session: None };
                self.places[slot].child = Some(self.start_process(part)?);
            }
        }
        Ok(())
    }

    // --- sessions --------------------------------------------------------------------------------

    fn step(&self, open: &mut Open) -> Step {
        let Some(record) = self.board.record(open.session) else {
            // The process that began it has not filled it in, and will not if it was killed.
            return if open.seen.elapsed() > 2 * HANG { Step::Drop } else { Step::Wait };
        };
        if record.settled_by_main_ns.get() != 0 {
            let in_order = record.in_order.get() != 0;
            return Step::Judge(if in_order { Survivor::Both } else { Survivor::Main });
        }
        let generation = record.generation.get();
        let process = record.process.get() as u32;
        match (self.dead_mains.get(&generation), record.attached.get() != 0) {
            (Some(death), true) => self.step_after_main(record, *death),
            (Some(death), false) if self.is_ours(process) => {
                // The kernel kills it with main, and then takes it down as soon as the processor is free.
                let limit = if proc::is_killed(process) { LEAVE_WITHIN } else { HANG };
                if is_later(limit, *death) { Step::Outlives } else { Step::Wait }
            }
            (Some(_), false) => Step::Judge(Survivor::Nobody),
            (None, true) if generation == 0 => self.step_before_main(record),
            (None, _) => {
                let killed = record.killed_ns.get();
                let since = killed.max(self.main.resumed_ns);
                let waits = killed == 0 || self.main.stopped.is_some();
                if !waits && open.is_overdue(record, since) { Step::Hang } else { Step::Wait }
            }
        }
    }

    /// Its main process is dead.
    fn step_after_main(&self, record: &Record, death: u64) -> Step {
        let place = &self.places[record.slot.get() as usize];
        if record.settled_by_renderer_ns.get() != 0 {
            Step::Judge(Survivor::Renderer)
        } else if !place.is_of(record.process.get()) {
            Step::Judge(Survivor::Nobody)
        } else if place.stopped.is_none() && is_later(HANG, death.max(place.resumed_ns)) {
            Step::Hang
        } else {
            Step::Wait
        }
    }

    /// No main process has heard of it.
    fn step_before_main(&self, record: &Record) -> Step {
        if record.settled_by_renderer_ns.get() != 0 {
            return Step::Judge(Survivor::Nobody);
        }
        if self.places[record.slot.get() as usize].is_of(record.process.get()) {
            return Step::Wait;
        }
        // Its main may have been dead when it began: renderers notice that a moment later.
        let began = record.began_ns.get();
        let main_died =
            self.dead_mains.values().any(|death| *death + HANG.as_nanos() as u64 >= began);
        let since = record.killed_ns.get().max(self.main.resumed_ns);
        if record.joined.get() == 0 || main_died {
            // It was killed before it had told main of itself, or main was.
            Step::Drop
        } else if self.main.stopped.is_none() && is_later(HANG, since) {
            Step::Hang
        } else {
            Step::Wait
        }
    }

    fn take_step(&mut self, record: &Record, step: &Step) {
        match *step {
            Step::Wait | Step::Drop => return,
            Step::Hang => {
                self.summary.hangs += 1;
                eprintln!("stress: this session is not over: {record:?}");
            }
            Step::Outlives => {
                self.summary.leaks += 1;
                eprintln!("stress: this renderer outlives its main process: {record:?}");
                if let Ok(process) = Process::open(record.process.get() as u32) {
                    process.signal(Signal::KILL);
                }
            }
            Step::Judge(survivor) => {
                let page = self.board.main(record.generation.get());
                let (faults, unsettled) = (judge(record, page, survivor), record.unsettled.get());
                if faults != Faults::default() || unsettled != 0 {
                    eprintln!("stress: {survivor:?} lived on: {faults:?}; {record:?}");
                }
                self.summary.hangs += unsettled;
                self.summary.faults += faults;
                self.note_recovery(record, survivor);
            }
        }
        self.summary.count(record);
    }

    /// Notes the time from the death to the last error, without the time for which the survivor was stopped.
    fn note_recovery(&mut self, record: &Record, survivor: Survivor) {
        let slot = record.slot.get();
        let (died, resumed) = match survivor {
            Survivor::Main => (record.killed_ns.get(), self.main.resumed_ns),
            Survivor::Renderer => (
                self.dead_mains.get(&record.generation.get()).copied().unwrap_or(0),
                self.places[slot as usize].resumed_ns,
            ),
            Survivor::Both | Survivor::Nobody => return,
        };
        let told = record.last_error_ns.get();
        if died != 0 && told >= died {
            let recovery = told - if resumed <= told { died.max(resumed) } else { died };
            if recovery > SLOW.as_nanos() as u64 {
                let milliseconds = recovery / 1_000_000;
                eprintln!("stress: slot {slot}: {survivor:?} was told after {milliseconds} ms");
            }
            self.recoveries.push(recovery);
        }
    }

    // --- pauses ----------------------------------------------------------------------------------

    /// Lets all sessions end in order, counts what main holds, and goes on.
    fn pause(&mut self, number: u64) -> Result<(), Fatal> {
        self.resume_due(Instant::now() + Duration::from_secs(3600));
        self.board.set_phase(Phase::Quiet);
        let quiet = self.supervise_until(UP_WITHIN, |this| {
            this.page().pause_wanted.set(number);
            this.open.is_empty()
                && this.places.iter().all(|place| place.child.is_none())
                && this.page().pause_reached.get() == number
        });
        if quiet {
            self.count_holdings();
            self.board.set_phase(Phase::Run);
        } else if !self.is_interrupted() {
            self.summary.hangs += 1;
            for record in self.open.iter().filter_map(|open| self.board.record(open.session)) {
                eprintln!("stress: this session goes on: {record:?}");
            }
            return Err("not everything came to rest".into());
        }
        Ok(())
    }

    fn count_holdings(&mut self) {
        self.summary.censuses += 1;
        // The memory of the last session goes with its last reference, which main's loop may still hold.
        let (main, before) = (self.main_id(), self.baseline);
        within(RELEASED_WITHIN, || {
            let now = Holdings::of(main);
            now.beyond(&before) == 0 && now.left_behind == 0
        });
        let now = Holdings::of(main);
        let first = *self.resident_kib.get_or_insert(now.resident_kib);
        let grown = now.resident_kib > first + RESIDENT_SLACK_KIB;
        // Children of this process or of main that should have ended, including zombies.
        let mut processes = proc::descendants(std::process::id());
        processes.retain(|id| *id != main);
        self.summary.left_behind = self.summary.left_behind.max(now.left_behind);
        let leaks = now.beyond(&before) + u64::from(grown) + processes.len() as u64;
        if leaks > 0 {
            let ours = proc::mappings(main, proc::is_of_the_library);
            eprintln!(
                "stress: main held {before:?} and holds {now:?}, {first} KiB at first; \
                 processes {processes:?}; mapped: {ours:#?}"
            );
        }
        self.summary.leaks += leaks;
    }

    // --- the end ---------------------------------------------------------------------------------

    /// Ends all processes, and counts what is left.
    fn leave(&mut self) {
        self.resume_due(Instant::now() + Duration::from_secs(3600));
        self.board.set_phase(Phase::End);
        let generation = self.generation;
        let mut deadline = Some(Instant::now() + LEAVE_WITHIN);
        while !self.dead_mains.contains_key(&generation) {
            // It fails only if a process cannot be started, and none is any more.
            let _ = self.reap();
            if deadline.take_if(|deadline| *deadline <= Instant::now()).is_some() {
                eprintln!("stress: the main process does not leave");
                self.summary.hangs += 1;
                self.main.child.iter().for_each(|main| main.signal(Signal::KILL));
            }
            thread::sleep(TICK);
        }
        self.places.iter().flat_map(|place| &place.child).for_each(|child| {
            child.signal(Signal::KILL);
        });
        let deadline = Instant::now() + LEAVE_WITHIN;
        let a_child_is_left = || wait(WaitOptions::NOHANG).is_ok();
        while a_child_is_left() && Instant::now() < deadline {
            thread::sleep(TICK);
        }
        if a_child_is_left() {
            eprintln!("stress: some process does not end");
            self.summary.leaks += 1;
        }
        let files = endpoint_files(&self.endpoint.0);
        let segments = self.segments.as_ref().map(SegmentNames::existing).unwrap_or_default();
        if !(files.is_empty() && segments.is_empty()) {
            eprintln!("stress: left behind: {files:?}, {segments:?}");
        }
        self.summary.leaks += (files.len() + segments.len()) as u64;
    }

    fn into_summary(self) -> Summary {
        let mut summary = self.summary;
        let slots = 0..self.role.renderers;
        summary.leaks += slots.map(|slot| self.board.slot(slot).leaks.get()).sum::<u64>();
        summary.seconds = (self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        summary.set_recoveries(self.recoveries);
        summary
    }
}

impl Place {
    fn is_of(&self, process: u64) -> bool {
        self.child.as_ref().is_some_and(|child| u64::from(child.id) == process)
    }
}

impl Open {
    /// Returns whether main has had a second since the killed renderer ended.
    ///
    /// Main hears of the end, not of the kill. Between the two the kernel takes the process down, which on a busy
    /// machine takes more than a second.
    fn is_overdue(&mut self, record: &Record, since_ns: u64) -> bool {
        if !is_later(HANG, since_ns) {
            return false;
        }
        if proc::is_alive(record.process.get() as u32) {
            return is_later(LEAVE_WITHIN, since_ns);
        }
        if self.ended_ns == 0 {
            self.ended_ns = now_ns();
        }
        is_later(HANG, self.ended_ns.max(since_ns))
    }
}

impl Process {
    fn open(id: u32) -> Result<Self, Fatal> {
        let pid = Pid::from_raw(id as i32).ok_or("no process id")?;
        Ok(Self { id, pidfd: Rc::new(pidfd_open(pid, PidfdFlags::empty())?) })
    }

    fn signal(&self, signal: Signal) {
        // It fails only if the process has ended.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// Returns whether more than `limit` has passed.
fn is_later(limit: Duration, since_ns: u64) -> bool {
    Duration::from_nanos(now_ns().saturating_sub(since_ns)) > limit
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holdings {
    descriptors: u64,
    threads: u64,
    /// Threads that a dead process has left behind in an event of the portable backend.
    left_behind: u64,
    /// Mappings of the library's memory.
    mappings: u64,
    resident_kib: u64,
}

impl Holdings {
    pub(super) fn of(process_id: u32) -> Self {
        Self {
            descriptors: proc::open_descriptors_of(process_id) as u64,
            threads: proc::threads_of(process_id) as u64,
            left_behind: proc::threads_in_events_of(process_id) as u64,
            mappings: proc::mappings(process_id, proc::is_of_the_library).len() as u64,
            resident_kib: proc::resident_memory_of(process_id) / 1024,
        }
    }

    /// Counts the descriptors, threads and mappings beyond `before`, without those that were left behind: two threads
    /// of a session keep a mapping and its descriptor.
    pub(super) fn beyond(&self, before: &Self) -> u64 {
        let sessions = self.left_behind / 2;
        self.descriptors.saturating_sub(before.descriptors + sessions)
            + self.threads.saturating_sub(before.threads + self.left_behind)
            + self.mappings.saturating_sub(before.mappings + sessions)
    }
}
