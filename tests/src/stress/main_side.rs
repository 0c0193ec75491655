//! The main process: launches its renderers again and again, pushes, asks and publishes as fast as it can.
//!
//! ```text
//!   the loop      listeners, handlers, ends of renderers
//!   the keeper    launches, shortages, pauses: what the controller asks for
//!   the pusher    pushes without waiting, large ones, invokes, publishes
//!   the patient   pushes to one renderer until that ring is full, and waits for room
//! ```

use std::{
    collections::HashMap,
    process::{Command, ExitCode},
    sync::{
        Arc, Barrier, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use ringbridge::{
    Config, GoneReason, InvokeError, IpcMain, Policy, RenderProcessGone, SendError, WebContents,
};

use super::*;

/// Between two looks of the keeper at what is to do.
const TICK: Duration = Duration::from_millis(1);
/// Messages to one renderer before the next has its turn.
const PUSHES_MAX: usize = 16;
const PATIENT_MAX: usize = 256;
/// Invokes that may be under way to one renderer.
const ASKS_MAX: usize = 4;
/// One large message in so many turns.
const BLOB_ONE_IN: u32 = 64;
/// What is not let go by then is leaked. The machine may be busy.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);

/// Plays the main process until it is told to leave.
pub(super) fn play(role: MainRole) -> Result<ExitCode, Failure> {
    follow_to_death(role.parent)?;
    let board = Board::inherited(role.journal, true)?;
    let config = Config {
        main_capacity: CAPACITY,
        renderer_capacity: CAPACITY,
        topic_capacity: TOPIC_CAPACITY,
        // It looks at itself in /proc.
        protect_memory: false,
        ..config(role.backend)
    };
    let ipc = IpcMain::bind_with(&role.endpoint, CONTRACT, config)?;
    let main = Arc::new(Main {
        page: board.main(role.generation),
        board,
        role,
        ipc,
        windows: Mutex::default(),
        departed: Mutex::default(),
        starved: AtomicBool::new(false),
        idle: AtomicUsize::new(0),
    });
    main.warm_up()?;
    Main::listen(&main)?;
    let looked = Arc::new(Barrier::new(4));
    let start = |name: &str, work: Box<dyn FnOnce(&Main) + Send>| {
        let (main, looked) = (main.clone(), looked.clone());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            looked.wait();
            work(&main);
        })
    };
    // Made here: once memory may be short it is too late.
    let pushing = Composer::new(main.role.seed ^ main.role.generation);
    let patient = Composer::new(main.role.seed ^ !main.role.generation);
    start("keeper", Box::new(Main::keep))?;
    start("pusher", Box::new(move |main| main.push(pushing)))?;
    start("patient", Box::new(move |main| main.push_patiently(patient)))?;
    // Its threads are there, and have done nothing yet.
    Holdings::now().write(&main.page.baseline);
    looked.wait();
    main.page.process.set(u64::from(std::process::id()));
    main.page.ready_ns.set(now_ns());
    main.ipc.run()?;
    main.ipc.close()?;
    Ok(ExitCode::SUCCESS)
}

struct Main {
    board: &'static Board,
    page: &'static MainPage,
    role: MainRole,
    ipc: IpcMain,
    windows: Mutex<Windows>,
    /// Their renderers have gone.
    departed: Mutex<Vec<Arc<Window>>>,
    starved: AtomicBool,
    /// How many of the two threads that push have nothing under way and start nothing.
    idle: AtomicUsize,
}

#[derive(Default)]
struct Windows {
    live: HashMap<u32, Arc<Window>>,
    /// What has ended since the latest launch began, and whether it had ever been live.
    ended: Vec<(u32, bool)>,
}

/// A session that is under way.
struct Window {
    contents: WebContents,
    record: &'static Record,
    /// It was launched while something was short.
    launched_starved: bool,
    inflows: Mutex<[Inflow; 3]>,
    pushes: Mutex<[Outflow; 3]>,
    patient: Mutex<Outflow>,
    asking: Arc<AtomicUsize>,
    /// The request that is never answered.
    keeping: Arc<AtomicUsize>,
    last_sent: AtomicBool,
}

impl Window {
    fn new(contents: WebContents, record: &'static Record, launched_starved: bool) -> Arc<Self> {
        let session = record.session.get();
        let window = Arc::new(Self {
            contents,
            record,
            launched_starved,
            inflows: Mutex::new(
                [Stream::Event, Stream::Large, Stream::Call]
                    .map(|stream| Inflow::new(record, session, stream)),
            ),
            pushes: Mutex::new(
                [Stream::Push, Stream::Blob, Stream::Ask]
                    .map(|stream| Outflow::new(record, session, stream)),
            ),
            patient: Mutex::new(Outflow::new(record, session, Stream::Patient)),
            asking: Arc::default(),
            keeping: Arc::default(),
            last_sent: AtomicBool::new(false),
        });
        window.keep();
        window
    }

    /// Asks what is never answered, so that something is pending whenever the renderer dies.
    fn keep(&self) {
        let Ok(invocation) = self.contents.invoke(KEEP, &(), Duration::from_secs(3600)) else {
            return;
        };
        let (record, keeping) = (self.record, self.keeping.clone());
        keeping.store(1, Relaxed);
        invocation.then(move |result| {
            keeping.store(0, Relaxed);
            // In order, its responder goes with the renderer's session.
            if matches!(result, Err(InvokeError::Gone { .. } | InvokeError::ReplyNeverSent { .. }))
            {
                record.last_error_ns.raise(now_ns());
            } else {
                record.unexpected.add(1);
            }
        });
    }

    fn take(&self, stream: Stream, message: &[u8]) -> Option<Numbered> {
        lock(&self.inflows)[stream as usize].take(message)
    }

    fn judge(&self, sent: Result<(), SendError>, began: Instant) {
        if let Err(error) = sent {
            note_send("main", self.record, &error, began);
        }
    }
}

impl Main {
    /// Starts what lives as long as the process, so that it is there when main first looks at itself.
    fn warm_up(&self) -> Result<(), Failure> {
        let window = self.ipc.launch(Command::new("true"), Policy::deny_all())?;
        eventually("a program that does not connect is gone", || {
            _ = self.ipc.run_for(TICK);
            window.gone().is_some() && self.ipc.windows().is_empty()
        });
        // Its process is reaped after its session's end.
        self.ipc.run_for(50 * TICK)?;
        Ok(())
    }

    fn listen(main: &Arc<Self>) -> Result<(), Failure> {
        let ipc = &main.ipc;
        ipc.on_attach(|_| Ok(Policy::deny_all().allow_all(CONTRACT)));
        let this = main.clone();
        ipc.on(JOIN, move |event, session| this.joined(event.sender(), *session))?;
        for (event, stream) in [(EVENT, Stream::Event), (LARGE, Stream::Large)] {
            let this = main.clone();
            ipc.on(event, move |event, message| {
                if let Some(window) = this.window(event.sender_id()) {
                    window.take(stream, message);
                }
            })?;
        }
        let this = main.clone();
        ipc.handle(CALL, move |event, message| {
            let window = this.window(event.sender_id());
            let taken = window.and_then(|window| window.take(Stream::Call, message));
            Ok(taken.map_or(0, answer))
        })?;
        let held = Arc::new(Mutex::new(HashMap::new()));
        let keep = held.clone();
        ipc.handle_deferred(HOLD, move |event, (), responder| {
            lock(&keep).insert(event.sender_id(), responder);
        })?;
        let this = main.clone();
        ipc.on_render_process_gone(move |window, details| {
            lock(&held).remove(&window.id());
            this.gone(window, details);
        });
        Ok(())
    }

    fn window(&self, id: u32) -> Option<Arc<Window>> {
        lock(&self.windows).live.get(&id).cloned()
    }

    /// Numbers only: who has a window in hand keeps it from being settled.
    fn window_ids(&self) -> Vec<u32> {
        lock(&self.windows).live.keys().copied().collect()
    }

    /// A renderer has said which session it plays: news, if it has attached or was quicker than its launch.
    fn joined(&self, contents: WebContents, session: u64) {
        let Some(record) = self.board.record(session) else {
            self.page.unexpected.add(1);
            return;
        };
        record.generation.set(self.role.generation);
        self.make_live(&mut lock(&self.windows), contents, record);
    }

    fn make_live(&self, windows: &mut Windows, contents: WebContents, record: &'static Record) {
        let starved = self.starved.load(Relaxed);
        let id = contents.id();
        windows.live.entry(id).or_insert_with(|| Window::new(contents, record, starved));
    }

    fn gone(&self, contents: &WebContents, details: &RenderProcessGone) {
        if let Some(window) = self.window(contents.id()) {
            self.note_end(&window, details);
        }
        // In one step: at every moment a window that is not settled is in one of the two lists.
        let mut windows = lock(&self.windows);
        let window = windows.live.remove(&contents.id());
        windows.ended.push((contents.id(), window.is_some()));
        lock(&self.departed).extend(window);
    }

    fn note_end(&self, window: &Window, details: &RenderProcessGone) {
        let contents = &window.contents;
        let record = window.record;
        let killed = record.killed_ns.get() != 0;
        match &details.reason {
            GoneReason::CleanExit | GoneReason::Disconnected | GoneReason::Closed => {}
            GoneReason::Killed | GoneReason::LaunchFailed if killed => {}
            GoneReason::LaunchFailed if window.launched_starved => _ = self.page.refused.add(1),
            reason => {
                eprintln!("stress main: renderer {}: {reason}, {details:?}", contents.id());
                self.page.crashes.add(1);
            }
        }
        let counters = contents.counters();
        record.violations.add(counters.violations);
        record.flow(Stream::Large).counted.set(counters.attachments_lost);
        record.flow(Stream::Call).counted.set(counters.orphaned);
    }

    /// Notes which sessions nobody waits for any more, and no thread has under its hands.
    fn settle_departed(&self) {
        lock(&self.departed).retain(|window| {
            let waiting = window.asking.load(Relaxed) + window.keeping.load(Relaxed);
            let settled = waiting == 0 && Arc::strong_count(window) == 1;
            if settled {
                window.record.settled_by_main_ns.set(now_ns());
            }
            !settled
        });
    }

    // --- the keeper ------------------------------------------------------------------------------

    fn keep(&self) {
        while self.board.phase() != Phase::End {
            if let Some((what, duration)) = self.page.order.take() {
                self.starve(what, Duration::from_nanos(duration));
            }
            self.settle_departed();
            match self.board.phase() {
                Phase::Run => self.launch_missing(),
                Phase::Quiet => self.end_in_order(),
                Phase::End => {}
            }
            thread::sleep(TICK);
        }
        self.ipc.stop();
    }

    /// Launches a renderer for every place that has none.
    fn launch_missing(&self) {
        for slot in self.role.attached..self.role.renderers {
            {
                let mut windows = lock(&self.windows);
                if windows.live.values().any(|window| window.record.slot.get() == slot as u64) {
                    continue;
                }
                windows.ended.clear();
            }
            let record = self.board.begin(slot, self.role.generation, false);
            let command = self.role.renderer_command(slot, record.session.get());
            let starved = self.starved.load(Relaxed);
            match self.ipc.launch(command, Policy::deny_all().allow_all(CONTRACT)) {
                Ok(contents) => self.launched(contents, record),
                Err(error) => {
                    // Nothing has begun.
                    record.settled_by_main_ns.set(now_ns());
                    if starved {
                        self.page.refused.add(1);
                        return;
                    }
                    eprintln!("stress main: {error}");
                    self.page.unexpected.add(1);
                }
            }
        }
    }

    /// The launch has returned; meanwhile the loop may have heard of the renderer, or of its end.
    fn launched(&self, contents: WebContents, record: &'static Record) {
        let mut windows = lock(&self.windows);
        match windows.ended.iter().find(|(id, _)| *id == contents.id()) {
            None => {
                record.process.set(u64::from(contents.os_process_id()));
                self.make_live(&mut windows, contents, record);
            }
            // It is settled as all others are.
            Some((_, true)) => {}
            // Nobody but itself could end it: its process is not known yet.
            Some((_, false)) => {
                let count = if self.starved.load(Relaxed) {
                    &self.page.refused
                } else {
                    &self.page.crashes
                };
                count.add(1);
                record.settled_by_main_ns.set(now_ns());
            }
        }
    }

    /// Is short of something for a while, and goes on.
    fn starve(&self, what: Shortage, duration: Duration) {
        self.starved.store(true, Relaxed);
        if let Some(starved) = Starved::of(what) {
            let until = Instant::now() + duration;
            while Instant::now() < until && self.board.phase() == Phase::Run {
                self.launch_missing();
                self.settle_departed();
                thread::sleep(TICK);
            }
            drop(starved);
        }
        self.starved.store(false, Relaxed);
    }

    /// Tells each renderer that everything has been sent, and looks at itself when all have gone.
    fn end_in_order(&self) {
        let wanted = self.page.census_wanted.get();
        if self.page.census_of.get() == wanted || self.idle.load(Relaxed) < 2 {
            return;
        }
        let ids = self.window_ids();
        for window in ids.iter().filter_map(|id| self.window(*id)) {
            if !window.last_sent.load(Relaxed) && window.contents.try_send(LAST, &()).is_ok() {
                window.last_sent.store(true, Relaxed);
            }
        }
        let windows = lock(&self.windows);
        let settled = windows.live.is_empty() && lock(&self.departed).is_empty();
        drop(windows);
        if settled && self.ipc.windows().is_empty() {
            // The memory of the last session goes with its last reference, which the loop may still hold.
            let baseline = Holdings::read(&self.page.baseline);
            within(RELEASED_WITHIN, || Holdings::now().beyond(&baseline) == 0);
            Holdings::now().write(&self.page.census);
            self.page.census_of.set(wanted);
        }
    }

    // --- the pusher ------------------------------------------------------------------------------

    fn push(&self, mut composer: Composer) {
        let mut published = 0;
        self.while_running(|| {
            let mut sent = false;
            for window in self.window_ids().into_iter().filter_map(|id| self.window(id)) {
                sent |= push_to(&window, &mut composer);
            }
            published += 1;
            let numbered = Numbered { number: published, session: self.role.generation };
            let len = composer.ordinary() / 4;
            self.page.published_begun.set(published);
            match self.ipc.publish(NEWS, composer.compose(numbered, len)) {
                Ok(number) if number == published => self.page.published_done.set(published),
                _ => _ = self.page.unexpected.add(1),
            }
            if !sent {
                // All rings are full, or there are none.
                thread::sleep(TICK / 10);
            }
        });
    }

    // --- the patient -----------------------------------------------------------------------------

    fn push_patiently(&self, mut composer: Composer) {
        self.while_running(|| {
            let ids = self.window_ids();
            let chosen = (!ids.is_empty()).then(|| ids[composer.rng().usize(..ids.len())]);
            let Some(window) = chosen.and_then(|id| self.window(id)) else {
                thread::sleep(TICK);
                return;
            };
            for _ in 0..PATIENT_MAX {
                if self.board.phase() != Phase::Run || window.contents.gone().is_some() {
                    return;
                }
                let len = composer.ordinary();
                let contents = &window.contents;
                let began = Instant::now();
                let sent = lock(&window.patient)
                    .send(&mut composer, len, |bytes, _| contents.send(PATIENT, bytes));
                window.judge(sent, began);
            }
        });
    }

    /// Repeats a turn while there is anything to do, and is idle in pauses.
    fn while_running(&self, mut turn: impl FnMut()) {
        while self.board.phase() != Phase::End {
            if self.board.phase() == Phase::Run {
                turn();
                continue;
            }
            self.idle.fetch_add(1, Relaxed);
            while self.board.phase() == Phase::Quiet {
                thread::sleep(TICK);
            }
            self.idle.fetch_sub(1, Relaxed);
        }
    }
}

/// Sends as much as there is room for, up to a limit. Says whether that was anything.
fn push_to(window: &Window, composer: &mut Composer) -> bool {
    let contents = &window.contents;
    let [pushes, blobs, asks] = &mut *lock(&window.pushes);
    let began = Instant::now();
    let mut sent = 0;
    for _ in 0..PUSHES_MAX {
        let len = composer.ordinary();
        let pushed = pushes.send(composer, len, |bytes, _| contents.try_send(PUSH, bytes));
        let full = pushed.is_err();
        window.judge(pushed, began);
        if full {
            break;
        }
        sent += 1;
    }
    if composer.rng().u32(..BLOB_ONE_IN) == 0 {
        let len = composer.large();
        let pushed = blobs.send(composer, len, |bytes, _| contents.try_send(BLOB, bytes));
        window.judge(pushed, began);
    }
    // An invoke waits for room, and here others wait with it.
    while sent == PUSHES_MAX && window.asking.load(Relaxed) < ASKS_MAX {
        let len = composer.ordinary();
        let asked = asks.send(composer, len, |bytes, numbered| {
            contents.invoke(ASK, bytes, SILENCE_MAX).map(|invocation| (invocation, numbered))
        });
        let (invocation, numbered) = match asked {
            Ok(asked) => asked,
            Err(InvokeError::Send(error)) => {
                window.judge(Err(error), began);
                break;
            }
            Err(_) => break,
        };
        window.asking.fetch_add(1, Relaxed);
        let (record, flow, asking) = (window.record, asks.flow(), window.asking.clone());
        invocation.then(move |result| {
            note_outcome("main", record, flow, numbered, result);
            asking.fetch_sub(1, Relaxed);
        });
    }
    sent > 0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MainRole {
    fn renderer_command(&self, slot: usize, session: u64) -> Command {
        let Self { endpoint, backend, journal, seed, .. } = self.clone();
        let (parent, session) = (std::process::id(), Some(session));
        Role::Renderer(RendererRole { endpoint, backend, journal, parent, slot, session, seed })
            .command()
    }
}
