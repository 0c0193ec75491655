//! The run: who is killed when, who starts them again, and what is found in the journal afterwards.
//!
//! The controller talks to nobody. It gives orders through the journal, sends signals, and reads in the
//! journal how each session ended. It is the reaper of everyone whose parent is gone.

use std::{
    cell::Cell,
    collections::HashMap,
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::{
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, pidfd_open, pidfd_send_signal,
        set_child_subreaper, wait,
    },
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};

use super::*;

/// Between two looks at the processes.
const TICK: Duration = Duration::from_millis(1);
/// A wait that lasts longer than this after the other side's death is a hang.
const HANG_NS: u64 = 1_000_000_000;
/// A recovery that is worth a line.
const SLOW_NS: u64 = 100_000_000;
/// How long a main process may take to come up, and a pause to begin.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// How long the last main process may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// By so much main's memory may differ from one pause to another.
const RESIDENT_SLACK_KIB: u64 = 16 * 1024;

/// Runs it all. Says whether it was interrupted.
pub(super) fn run(options: &Options, seed: u64, show: bool) -> Result<(Summary, bool), Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Relaxed))?;
    // Whoever loses its parent becomes our child, and none is forgotten.
    set_child_subreaper(Some(getpid()))?;
    let mut controller = Controller::start(options, seed, interrupted)?;
    let outcome = controller.rage(show);
    controller.leave();
    outcome?;
    let interrupted = controller.is_interrupted();
    Ok((controller.into_summary(), interrupted))
}

struct Controller<'a> {
    options: &'a Options,
    seed: u64,
    began: Instant,
    interrupted: Arc<AtomicBool>,
    board: &'static Board,
    /// Kept open for those that are still to be started.
    _journal: OwnedFd,
    endpoint: SweptName,
    /// What the names of this endpoint's segments begin with, once that is known.
    segments: Option<SegmentNames>,
    main: MainProcess,
    /// When each main process died.
    dead_mains: HashMap<u64, u64>,
    /// What each main process had in memory in its first pause.
    resident_kib: HashMap<u64, u64>,
    places: Vec<Place>,
    /// So many places are attached renderers'.
    attached: usize,
    seen: u64,
    open: Vec<Open>,
    /// Renderers that must die with a main that is dead, and when that was.
    doomed: Vec<(u32, u64)>,
    summary: Summary,
    recoveries: Vec<u64>,
}

struct MainProcess {
    role: MainRole,
    generation: u64,
    process: Process,
    killed_ns: u64,
    stopped: Option<Instant>,
    resumed_ns: u64,
}

/// A process, by a descriptor that never means another one.
struct Process {
    id: u32,
    pidfd: OwnedFd,
}

/// A renderer's place, as the controller sees it.
#[derive(Default)]
struct Place {
    /// Of an attached renderer.
    child: Option<Process>,
    killed: bool,
    /// Who is stopped, and until when.
    stopped: Option<(OwnedFd, Instant)>,
    resumed_ns: u64,
}

/// A session that was not judged yet.
struct Open {
    session: u64,
    seen: Instant,
    /// When its killed process was first seen to have ended; 0: not yet.
    ended_ns: Cell<u64>,
}

impl Open {
    /// Whether main has had a second since the killed renderer ended.
    ///
    /// Main hears of the end, not of the kill. Between the two the kernel takes the process down, which needs the
    /// processor, and on a busy machine more than a second.
    fn is_overdue(&self, record: &Record, since_ns: u64) -> bool {
        if !is_late(since_ns) {
            return false;
        }
        if proc::is_alive(record.process.get() as u32) {
            return now_ns().saturating_sub(since_ns) > LEAVE_WITHIN.as_nanos() as u64;
        }
        if self.ended_ns.get() == 0 {
            self.ended_ns.set(now_ns());
        }
        is_late(self.ended_ns.get().max(since_ns))
    }
}

/// What is to be done with an open session.
enum Step {
    Wait,
    /// Nothing can be said about it.
    Drop,
    Hang,
    Judge(Survivor),
}

impl<'a> Controller<'a> {
    fn start(
        options: &'a Options,
        seed: u64,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self, Failure> {
        let (board, journal) = Board::create()?;
        let endpoint = SweptName(unique_name("stress"));
        let attached = options.renderers / 4;
        let main = MainProcess::start(MainRole {
            endpoint: endpoint.0.clone(),
            backend: options.backend,
            journal: journal.as_raw_fd(),
            parent: std::process::id(),
            generation: 1,
            renderers: options.renderers,
            attached,
            seed,
        })?;
        let mut controller = Self {
            options,
            seed,
            began: Instant::now(),
            interrupted,
            board,
            _journal: journal,
            endpoint,
            segments: None,
            main,
            dead_mains: HashMap::new(),
            resident_kib: HashMap::new(),
            places: (0..options.renderers).map(|_| Place::default()).collect(),
            attached,
            seen: 0,
            open: Vec::new(),
            doomed: Vec::new(),
            summary: Summary {
                seed,
                backend: options.backend,
                renderers: options.renderers,
                ..Summary::default()
            },
            recoveries: Vec::new(),
        };
        let is_up = controller.supervise_until(UP_WITHIN, |this| this.page().ready_ns.get() != 0);
        // Who is interrupted before that has a summary of nothing, and ends as always.
        if !is_up && !controller.is_interrupted() {
            controller.leave();
            return Err("the main process does not come up".into());
        }
        if options.backend == Over::Portable && is_up {
            let names = SegmentNames::of_process(controller.main.process.id);
            controller.segments = Some(names.ok_or("the main process maps no segment")?);
        }
        Ok(controller)
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Relaxed)
    }

    fn page(&self) -> &'static MainPage {
        self.board.main(self.main.generation)
    }

    // --- the run ---------------------------------------------------------------------------------

    /// One action after the other, with pauses, until the time is over.
    fn rage(&mut self, show: bool) -> Result<(), Failure> {
        let bar = progress(self.options.duration, show);
        let mut schedule = Schedule::new(self.seed, self.options.renderers, self.options.backend);
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
                    // What the pause took is not made up for.
                    next = Instant::now() + self.options.kill_every;
                }
            }
            bar.set_position(self.began.elapsed().as_secs());
            bar.set_message(format!(
                "{} kills, {} lost, {} leaks, {} hangs",
                self.summary.kills, self.summary.lost, self.summary.leaks, self.summary.hangs
            ));
            thread::sleep(TICK);
        }
        bar.finish_and_clear();
        if self.is_interrupted() { Ok(()) } else { self.pause(actions as u64 + 1) }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Kill { slot } => self.kill(slot),
            Action::KillTwo { slots } => slots.into_iter().for_each(|slot| self.kill(slot)),
            Action::Stop { slot, duration } => self.stop(slot, duration),
            Action::StopAndKill { slot, duration } => {
                self.stop(slot, duration);
                // The stop is over before anyone has seen it, or not: both must be survived.
                self.kill(slot);
            }
            Action::KillMain => self.kill_main(),
            Action::StopMain { duration } => self.stop_main(duration),
            Action::Starve { slot, of, duration } => {
                self.summary.shortages += 1;
                self.board.slot(slot).order.give(of, duration.as_nanos() as u64);
            }
            Action::StarveMain { of, duration } => {
                self.summary.shortages += 1;
                self.page().order.give(of, duration.as_nanos() as u64);
            }
            Action::JumpClock { seconds } => self.jump_clock(seconds),
        }
    }

    /// The process in this place, with the record of its session if it has one that is not over.
    fn target(&self, slot: usize) -> Option<(OwnedFd, Option<&'static Record>)> {
        let record = self.board.record(self.board.slot(slot).session.get());
        let place = &self.places[slot];
        if slot < self.attached {
            let child = place.child.as_ref()?;
            let own = record.filter(|record| {
                record.process.get() == u64::from(child.id)
                    && record.settled_by_renderer_ns.get() == 0
            });
            return Some((child.pidfd.try_clone().ok()?, own));
        }
        let record = record.filter(|record| record.settled_by_main_ns.get() == 0)?;
        let id = u32::try_from(record.process.get()).ok()?;
        let process = Process::open(id).ok()?;
        // Looked at after it was opened: the number could have been given to somebody else before.
        self.is_ours(id).then_some((process.pidfd, Some(record)))
    }

    /// Whether the process is one of this run.
    fn is_ours(&self, id: u32) -> bool {
        proc::command_line(id).iter().any(|argument| argument.contains(&self.endpoint.0))
    }

    fn kill(&mut self, slot: usize) {
        let Some((pidfd, record)) = self.target(slot) else { return };
        if record.is_some_and(|record| record.killed_ns.get() != 0) || self.places[slot].killed {
            return;
        }
        if let Some(record) = record {
            record.killed_ns.set(now_ns());
        }
        self.places[slot].killed = slot < self.attached;
        // It fails only if the process has ended, and then somebody has noticed that by itself.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        self.summary.kills += 1;
    }

    fn stop(&mut self, slot: usize, duration: Duration) {
        if self.places[slot].stopped.is_some() {
            return;
        }
        let Some((pidfd, _)) = self.target(slot) else { return };
        let _ = pidfd_send_signal(&pidfd, Signal::STOP);
        self.places[slot].stopped = Some((pidfd, Instant::now() + duration));
        self.summary.stops += 1;
    }

    fn kill_main(&mut self) {
        if self.main.killed_ns == 0 && self.page().ready_ns.get() != 0 {
            self.main.killed_ns = now_ns();
            let _ = pidfd_send_signal(&self.main.process.pidfd, Signal::KILL);
            self.summary.kills += 1;
        }
    }

    fn stop_main(&mut self, duration: Duration) {
        if self.main.stopped.is_none() && self.main.killed_ns == 0 {
            let _ = pidfd_send_signal(&self.main.process.pidfd, Signal::STOP);
            self.main.stopped = Some(Instant::now() + duration);
            self.summary.stops += 1;
        }
    }

    /// Sets the wall clock off, and back again after some ticks.
    fn jump_clock(&mut self, seconds: i64) {
        if !self.options.jump_clock {
            return;
        }
        let (before, since) = (clock_gettime(ClockId::Realtime), Instant::now());
        let set = clock_settime(
            ClockId::Realtime,
            Timespec { tv_sec: before.tv_sec + seconds, ..before },
        );
        if let Err(error) = set {
            eprintln!("stress: the clock is not set: {error}");
            return;
        }
        thread::sleep(10 * TICK);
        let passed = since.elapsed();
        let nanoseconds = before.tv_nsec + i64::from(passed.subsec_nanos());
        let now = Timespec {
            tv_sec: before.tv_sec + passed.as_secs() as i64 + nanoseconds / 1_000_000_000,
            tv_nsec: nanoseconds % 1_000_000_000,
        };
        match clock_settime(ClockId::Realtime, now) {
            Ok(()) => self.summary.clock_jumps += 1,
            Err(error) => eprintln!("stress: the clock was set off and is not set back: {error}"),
        }
    }

    // --- supervision -----------------------------------------------------------------------------

    /// Looks at everything once.
    fn supervise(&mut self) -> Result<(), Failure> {
        self.resume_due(Instant::now());
        self.reap()?;
        self.start_attached()?;
        for session in self.seen + 1..=self.board.sessions.get() {
            self.open.push(Open { session, seen: Instant::now(), ended_ns: Cell::new(0) });
            self.seen = session;
        }
        let mut open = std::mem::take(&mut self.open);
        open.retain(|open| {
            let step = self.step(open);
            self.take_step(open.session, &step);
            matches!(step, Step::Wait)
        });
        self.open = open;
        self.look_after_doomed();
        Ok(())
    }

    /// Supervises until the condition holds; `false` if it does not in time, or on an interruption.
    fn supervise_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> bool {
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
        for place in &mut self.places {
            if place.stopped.as_ref().is_some_and(|(_, until)| *until <= now)
                && let Some((pidfd, _)) = place.stopped.take()
            {
                // It fails only if the process has ended.
                let _ = pidfd_send_signal(&pidfd, Signal::CONT);
                place.resumed_ns = now_ns();
            }
        }
        if self.main.stopped.is_some_and(|until| until <= now) {
            let _ = pidfd_send_signal(&self.main.process.pidfd, Signal::CONT);
            self.main.stopped = None;
            self.main.resumed_ns = now_ns();
        }
    }

    fn reap(&mut self) -> Result<(), Failure> {
        // An error means that there is no child.
        while let Ok(Some((id, status))) = wait(WaitOptions::NOHANG) {
            let id = id.as_raw_nonzero().get() as u32;
            if id == self.main.process.id {
                self.main_died(status)?;
            } else if let Some(place) = self
                .places
                .iter_mut()
                .find(|place| place.child.as_ref().is_some_and(|child| child.id == id))
            {
                let killed = std::mem::take(&mut place.killed);
                place.child = None;
                place.stopped = None;
                if !killed && status.exit_status() != Some(0) {
                    eprintln!("stress: the attached renderer {id} ended with {status:?}");
                    self.summary.crashes += 1;
                }
            }
        }
        Ok(())
    }

    fn main_died(&mut self, status: WaitStatus) -> Result<(), Failure> {
        let generation = self.main.generation;
        let died = match self.main.killed_ns {
            0 => now_ns(),
            killed => killed,
        };
        self.dead_mains.insert(generation, died);
        self.close_page(generation);
        if self.board.phase() == Phase::End {
            return Ok(());
        }
        if self.main.killed_ns == 0 {
            eprintln!("stress: main process {generation} ended with {status:?}");
            self.summary.crashes += 1;
        }
        let of_it = self.open.iter().filter_map(|open| self.board.record(open.session));
        let launched = of_it
            .filter(|record| record.generation.get() == generation && record.attached.get() == 0);
        self.doomed.extend(launched.map(|record| (record.process.get() as u32, died)));
        self.summary.main_restarts += 1;
        let generation = generation + 1;
        self.main = MainProcess::start(MainRole { generation, ..self.main.role.clone() })?;
        Ok(())
    }

    /// Adds what a main process has counted.
    fn close_page(&mut self, generation: u64) {
        let page = self.board.main(generation);
        self.summary.publishes += page.published_done.get();
        self.summary.unexpected += page.unexpected.get();
        self.summary.refused += page.refused.get();
        self.summary.crashes += page.crashes.get();
    }

    fn start_attached(&mut self) -> Result<(), Failure> {
        if self.board.phase() != Phase::Run {
            return Ok(());
        }
        for slot in 0..self.attached {
            if self.places[slot].child.is_none() {
                let MainRole { endpoint, backend, journal, parent, seed, .. } =
                    self.main.role.clone();
                let role =
                    RendererRole { endpoint, backend, journal, parent, slot, session: None, seed };
                let role = Role::Renderer(role);
                self.places[slot].child = Some(Process::start(&mut role.command())?);
            }
        }
        Ok(())
    }

    /// Renderers that main has launched must not outlive it.
    fn look_after_doomed(&mut self) {
        let mut doomed = std::mem::take(&mut self.doomed);
        doomed.retain(|(id, since)| {
            if !self.is_ours(*id) {
                return false;
            }
            // The kernel kills it with its main process, and then takes it down as soon as the processor is free.
            let limit = if proc::is_killed(*id) { LEAVE_WITHIN.as_nanos() as u64 } else { HANG_NS };
            let late = now_ns().saturating_sub(*since) > limit;
            if late {
                eprintln!("stress: renderer {id} outlives its main process");
                self.summary.leaks += 1;
                if let Ok(process) = Process::open(*id) {
                    let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
                }
            }
            !late
        });
        self.doomed = doomed;
    }

    // --- sessions --------------------------------------------------------------------------------

    /// What there is to do for a session that was not judged yet.
    fn step(&self, open: &Open) -> Step {
        let Some(record) = self.board.record(open.session) else {
            // Whoever began it has not come to fill it in, and will not if it was killed.
            let late = open.seen.elapsed() > Duration::from_nanos(2 * HANG_NS);
            return if late { Step::Drop } else { Step::Wait };
        };
        if record.settled_by_main_ns.get() != 0 {
            let in_order = record.in_order.get() != 0;
            return Step::Judge(if in_order { Survivor::Both } else { Survivor::Main });
        }
        let generation = record.generation.get();
        let main_death = self.dead_mains.get(&generation).copied();
        match (main_death, record.attached.get() != 0) {
            (Some(death), true) => self.step_after_main(record, death),
            // It dies with main, if it has not before.
            (Some(_), false) if self.is_ours(record.process.get() as u32) => Step::Wait,
            (Some(_), false) => Step::Judge(Survivor::Nobody),
            (None, true) if generation == 0 => self.step_before_main(record),
            (None, _) => {
                let killed = record.killed_ns.get();
                let since = killed.max(self.main.resumed_ns);
                if killed != 0 && self.main.stopped.is_none() && open.is_overdue(record, since) {
                    Step::Hang
                } else {
                    Step::Wait
                }
            }
        }
    }

    /// Its main process is dead.
    fn step_after_main(&self, record: &Record, death: u64) -> Step {
        let place = &self.places[record.slot.get() as usize];
        if record.settled_by_renderer_ns.get() != 0 {
            Step::Judge(Survivor::Renderer)
        } else if !self.is_child_of(place, record) {
            Step::Judge(Survivor::Nobody)
        } else if place.stopped.is_none() && is_late(death.max(place.resumed_ns)) {
            Step::Hang
        } else {
            Step::Wait
        }
    }

    /// No main process has heard of it.
    fn step_before_main(&self, record: &Record) -> Step {
        let place = &self.places[record.slot.get() as usize];
        if record.settled_by_renderer_ns.get() != 0 {
            return Step::Judge(Survivor::Nobody);
        }
        if self.is_child_of(place, record) {
            return Step::Wait;
        }
        let began = record.began_ns.get();
        // Its main may have been dead already when it began: renderers notice that a moment later.
        let main_died = self.dead_mains.values().any(|death| *death + HANG_NS >= began);
        if record.joined.get() == 0 || main_died {
            // It was killed before it had told main of itself, or main was.
            Step::Drop
        } else if self.main.stopped.is_none()
            && is_late(record.killed_ns.get().max(self.main.resumed_ns))
        {
            Step::Hang
        } else {
            Step::Wait
        }
    }

    fn is_child_of(&self, place: &Place, record: &Record) -> bool {
        place.child.as_ref().is_some_and(|child| u64::from(child.id) == record.process.get())
    }

    fn take_step(&mut self, session: u64, step: &Step) {
        let Some(record) = self.board.record(session) else { return };
        match *step {
            Step::Wait | Step::Drop => {}
            Step::Hang => {
                self.summary.count(record);
                self.summary.hangs += 1;
                eprintln!("stress: session {session} is not over: {}", describe(record));
            }
            Step::Judge(survivor) => {
                self.summary.count(record);
                self.summary.hangs += record.unsettled.get();
                let page = self.board.main(record.generation.get());
                let faults = judge(record, page, survivor);
                if faults != Faults::default() || record.unsettled.get() != 0 {
                    let details = describe(record);
                    eprintln!("stress: session {session}, {survivor:?}: {faults:?}; {details}");
                }
                self.summary.add(faults);
                self.note_recovery(record, survivor);
            }
        }
    }

    /// How long it took from the death to the last error, less what the survivor was stopped for.
    fn note_recovery(&mut self, record: &Record, survivor: Survivor) {
        let (died, resumed) = match survivor {
            Survivor::Main => (record.killed_ns.get(), self.main.resumed_ns),
            Survivor::Renderer => (
                self.dead_mains.get(&record.generation.get()).copied().unwrap_or(0),
                self.places[record.slot.get() as usize].resumed_ns,
            ),
            Survivor::Both | Survivor::Nobody => return,
        };
        let told = record.last_error_ns.get();
        if died != 0 && told >= died {
            let since = if resumed <= told { died.max(resumed) } else { died };
            let recovery = told - since;
            if recovery > SLOW_NS {
                let (milliseconds, slot) = (recovery / 1_000_000, record.slot.get());
                eprintln!("stress: slot {slot}: {survivor:?} was told after {milliseconds} ms");
            }
            self.recoveries.push(recovery);
        }
    }

    // --- pauses ----------------------------------------------------------------------------------

    /// Lets all sessions end in order, counts what main holds, and goes on.
    fn pause(&mut self, number: u64) -> Result<(), Failure> {
        let far = Instant::now() + Duration::from_secs(3600);
        self.resume_due(far);
        self.board.set_phase(Phase::Quiet);
        let quiet = self.supervise_until(UP_WITHIN, |this| {
            this.page().census_wanted.set(number);
            let over =
                this.open.is_empty() && this.places.iter().all(|place| place.child.is_none());
            over && this.page().census_of.get() == number
        });
        if !quiet {
            if self.is_interrupted() {
                return Ok(());
            }
            self.summary.hangs += 1;
            for open in &self.open {
                if let Some(record) = self.board.record(open.session) {
                    eprintln!("stress: session {} goes on: {}", open.session, describe(record));
                }
            }
            return Err("not everything came to rest".into());
        }
        self.count_what_is_left();
        self.board.set_phase(Phase::Run);
        Ok(())
    }

    fn count_what_is_left(&mut self) {
        self.summary.censuses += 1;
        let page = self.page();
        let (before, now) = (Holdings::read(&page.baseline), Holdings::read(&page.census));
        let first = *self.resident_kib.entry(self.main.generation).or_insert(now.resident_kib);
        let grown = now.resident_kib > first + RESIDENT_SLACK_KIB;
        let processes = self.processes_but_main();
        let slots = (0..self.options.renderers).map(|slot| self.board.slot(slot).leaks.get());
        let in_renderers: u64 = slots.sum();
        self.summary.left_behind = self.summary.left_behind.max(now.left_behind);
        let leaks = now.beyond(&before) + u64::from(grown) + processes.len() as u64;
        if leaks > 0 {
            let ours = proc::mappings(self.main.process.id, proc::is_of_the_library);
            eprintln!(
                "stress: main held {before:?} and holds {now:?}, {first} KiB at first; \
                 processes {processes:?}; mapped: {ours:#?}"
            );
        }
        if in_renderers > self.summary.leaks {
            eprintln!("stress: attached renderers still hold {in_renderers} after their sessions");
        }
        self.summary.leaks += leaks;
    }

    /// Children of ours or of main's that should not be there any more, be it as zombies.
    fn processes_but_main(&self) -> Vec<u32> {
        let mut processes = proc::descendants(std::process::id());
        processes.retain(|id| *id != self.main.process.id);
        processes
    }

    // --- the end ---------------------------------------------------------------------------------

    /// Ends everything that runs, whatever it does, and sees what is left.
    fn leave(&mut self) {
        self.resume_due(Instant::now() + Duration::from_secs(3600));
        self.board.set_phase(Phase::End);
        let generation = self.main.generation;
        let deadline = Instant::now() + LEAVE_WITHIN;
        let mut killed = false;
        while !self.dead_mains.contains_key(&generation) {
            // It fails only if a process cannot be started, and none is any more.
            let _ = self.reap();
            if Instant::now() >= deadline && !killed {
                eprintln!("stress: the main process does not leave");
                self.summary.hangs += 1;
                let _ = pidfd_send_signal(&self.main.process.pidfd, Signal::KILL);
                killed = true;
            }
            thread::sleep(TICK);
        }
        for child in self.places.iter().filter_map(|place| place.child.as_ref()) {
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
        }
        self.places.iter_mut().for_each(|place| place.killed = true);
        let deadline = Instant::now() + LEAVE_WITHIN;
        while wait_for_any().is_ok() && Instant::now() < deadline {
            thread::sleep(TICK);
        }
        if wait_for_any().is_ok() {
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
        let slots = (0..self.options.renderers).map(|slot| self.board.slot(slot).leaks.get());
        summary.leaks += slots.sum::<u64>();
        summary.seconds = (self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        summary.set_recoveries(self.recoveries);
        summary
    }
}

impl MainProcess {
    fn start(role: MainRole) -> Result<Self, Failure> {
        Ok(Self {
            generation: role.generation,
            process: Process::start(&mut Role::Main(role.clone()).command())?,
            role,
            killed_ns: 0,
            stopped: None,
            resumed_ns: 0,
        })
    }
}

impl Process {
    fn start(command: &mut Command) -> Result<Self, Failure> {
        use std::os::unix::process::CommandExt;
        // A group of its own: Ctrl-C is for the controller. It is reaped by its number.
        let child = command.process_group(0).spawn()?;
        Self::open(child.id())
    }

    fn open(id: u32) -> Result<Self, Failure> {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        Ok(Self { id, pidfd: pidfd_open(pid, PidfdFlags::empty())? })
    }
}

fn is_late(since_ns: u64) -> bool {
    now_ns().saturating_sub(since_ns) > HANG_NS
}

/// Reaps a child, if one has ended; an error if there is none at all.
fn wait_for_any() -> rustix::io::Result<()> {
    wait(WaitOptions::NOHANG).map(drop)
}

fn describe(record: &Record) -> String {
    let streams =
        Stream::ALL.map(|stream| format!("{stream:?} {:?}", Counts::of(record.flow(stream))));
    format!(
        "slot {}, process {}, generation {}, attached {}, killed {}, told {}, settled {} {}, \
         unsettled {}, unexpected {}; {}",
        record.slot.get(),
        record.process.get(),
        record.generation.get(),
        record.attached.get(),
        record.killed_ns.get(),
        record.last_error_ns.get(),
        record.settled_by_main_ns.get(),
        record.settled_by_renderer_ns.get(),
        record.unsettled.get(),
        record.unexpected.get(),
        streams.join("; "),
    )
}

fn progress(duration: Duration, show: bool) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} s  {msg}")
        .expect("the template is well formed");
    let target = ProgressDrawTarget::stderr();
    ProgressBar::with_draw_target(Some(duration.as_secs()), target).with_style(style)
}
