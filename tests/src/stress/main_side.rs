//! The main process: launches its renderers again and again, pushes, invokes and publishes as fast as it can.
//!
//! ```text
//!   loop      listeners, handlers, ends of renderers
//!   keeper    launches, shortages and pauses, as the controller orders
//!   pusher    pushes without waiting, large pushes, invokes, publishes
//!   patient   pushes to one renderer until that ring is full, and waits for room
//! ```

use super::*;

const TICK: Duration = Duration::from_millis(1);
/// Messages to one renderer before the next has its turn.
const PUSHES_MAX: usize = 16;
const PATIENT_MAX: usize = 256;
/// Invokes that may be under way to one renderer.
const ASKS_MAX: usize = 4;
/// One large message in this many turns.
const BLOB_ONE_IN: u32 = 64;

/// Plays the main process until the controller ends the run.
pub(super) fn play(role: &Role, generation: u64) -> Result<ExitCode, Fatal> {
    follow_to_death(role.parent)?;
    let board = Board::inherited(role.journal, true)?;
    let config = Config {
        main_capacity: CAPACITY,
        renderer_capacity: CAPACITY,
        topic_capacity: TOPIC_CAPACITY,
        // The controller looks at it in /proc.
        protect_memory: false,
        ..config(role.backend)
    };
    let main = Arc::new(Main {
        page: board.main(generation),
        board,
        role: role.clone(),
        generation,
        ipc: IpcMain::bind_with(&role.endpoint, CONTRACT, config)?,
        windows: Mutex::default(),
        starved: AtomicBool::new(false),
        idle: AtomicUsize::new(0),
    });
    main.warm_up()?;
    Main::listen(&main)?;
    let start = |name: &str, work: Box<dyn FnOnce(&Main) + Send>| {
        let main = main.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            main.wait_until_counted();
            work(&main);
        })
    };
    // Made here, before memory may be short.
    let pushing = Composer::new(role.seed ^ generation);
    let patient = Composer::new(role.seed ^ !generation);
    start("keeper", Box::new(Main::keep))?;
    start("pusher", Box::new(move |main| main.push(pushing)))?;
    start("patient", Box::new(move |main| main.push_patiently(patient)))?;
    main.page.ready.set(1);
    main.wait_until_counted();
    main.ipc.run()?;
    main.ipc.close()?;
    Ok(ExitCode::SUCCESS)
}

struct Main {
    board: &'static Board,
    page: &'static MainPage,
    role: Role,
    generation: u64,
    ipc: IpcMain,
    windows: Mutex<Windows>,
    starved: AtomicBool,
    /// How many of the two threads that push are idle.
    idle: AtomicUsize,
}

#[derive(Default)]
struct Windows {
    live: HashMap<u32, Arc<Window>>,
    /// Their renderers have gone, but callbacks or threads still have them in hand.
    departed: Vec<Arc<Window>>,
    /// The windows that have ended since the latest launch began, and whether each had ever been live.
    ended: Vec<(u32, bool)>,
}

struct Window {
    contents: WebContents,
    record: &'static Record,
    /// It was launched while something was short.
    launched_starved: bool,
    inflows: Mutex<[Inflow; 3]>,
    pushes: Mutex<[Outflow; 3]>,
    patient: Mutex<Outflow>,
    asking: Arc<AtomicUsize>,
    /// 1 while the request that is never answered is pending.
    keeping: Arc<AtomicUsize>,
    last_sent: AtomicBool,
}

impl Window {
    fn new(contents: WebContents, record: &'static Record, launched_starved: bool) -> Arc<Self> {
        let inflows = [Stream::Event, Stream::Large, Stream::Call];
        let pushes = [Stream::Push, Stream::Blob, Stream::Ask];
        let window = Arc::new(Self {
            contents,
            record,
            launched_starved,
            inflows: Mutex::new(inflows.map(|stream| Inflow::new(record, stream))),
            pushes: Mutex::new(pushes.map(|stream| Outflow::new(record, stream))),
            patient: Mutex::new(Outflow::new(record, Stream::Patient)),
            asking: Arc::default(),
            keeping: Arc::default(),
            last_sent: AtomicBool::new(false),
        });
        window.keep();
        window
    }

    /// Invokes a method that is never answered, so that a call is pending whenever the renderer dies.
    fn keep(&self) {
        let Ok(invocation) = self.contents.invoke(KEEP, &(), Duration::from_secs(3600)) else {
            return;
        };
        let (record, keeping) = (self.record, self.keeping.clone());
        keeping.store(1, Relaxed);
        invocation.then(move |result| {
            keeping.store(0, Relaxed);
            // If the session ends in order, the responder goes with it.
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
    /// Starts what lives as long as the process, before the controller counts what main holds.
    fn warm_up(&self) -> Result<(), Fatal> {
        let window = self.ipc.launch(Command::new("true"), Policy::deny_all())?;
        eventually("a program that does not connect is gone", || {
            _ = self.ipc.run_for(TICK);
            window.gone().is_some() && self.ipc.windows().is_empty()
        });
        // Its process is reaped after its session's end.
        self.ipc.run_for(50 * TICK)?;
        Ok(())
    }

    fn wait_until_counted(&self) {
        while self.page.may_begin.get() == 0 && self.board.phase() != Phase::End {
            thread::sleep(TICK);
        }
    }

    fn listen(main: &Arc<Self>) -> Result<(), Fatal> {
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

    /// Returns numbers only, since a window in hand cannot be settled.
    fn window_ids(&self) -> Vec<u32> {
        lock(&self.windows).live.keys().copied().collect()
    }

    /// A renderer has sent its session's number. It may have attached, or be faster than its launch.
    fn joined(&self, contents: WebContents, session: u64) {
        let Some(record) = self.board.record(session) else {
            self.page.unexpected.add(1);
            return;
        };
        record.generation.set(self.generation);
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
        // In one step, so that a window that is not settled is always in one of the two lists.
        let mut windows = lock(&self.windows);
        let window = windows.live.remove(&contents.id());
        windows.ended.push((contents.id(), window.is_some()));
        windows.departed.extend(window);
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

    /// Notes the sessions that no callback waits for and no thread has in hand.
    fn settle_departed(&self) {
        lock(&self.windows).departed.retain(|window| {
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
            self.settle_departed();
            match (self.board.phase(), self.page.order.shortage()) {
                (Phase::Run, Some(what)) => self.starve(what),
                (Phase::Run, None) => self.launch_missing(),
                (Phase::Quiet, _) => self.end_in_order(),
                (Phase::End, _) => {}
            }
            thread::sleep(TICK);
        }
        self.ipc.stop();
    }

    fn launch_missing(&self) {
        for slot in self.role.attached()..self.role.renderers {
            {
                let mut windows = lock(&self.windows);
                if windows.live.values().any(|window| window.record.slot.get() == slot as u64) {
                    continue;
                }
                windows.ended.clear();
            }
            let record = self.board.begin(slot, self.generation, false);
            let session = Some(record.session.get());
            let command = self.role.command(Part::Renderer { slot, session });
            let starved = self.starved.load(Relaxed);
            match self.ipc.launch(command, Policy::deny_all().allow_all(CONTRACT)) {
                Ok(contents) => self.launched(contents, record),
                Err(error) => {
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

    /// Takes a launched renderer in. Meanwhile the loop may have heard of it, or of its end.
    fn launched(&self, contents: WebContents, record: &'static Record) {
        let mut windows = lock(&self.windows);
        match windows.ended.iter().find(|(id, _)| *id == contents.id()) {
            None => {
                record.process.set(u64::from(contents.os_process_id()));
                self.make_live(&mut windows, contents, record);
            }
            Some((_, true)) => {}
            // It ended by itself, since the controller did not know its process.
            Some((_, false)) => {
                let starved = self.starved.load(Relaxed);
                (if starved { &self.page.refused } else { &self.page.crashes }).add(1);
                record.settled_by_main_ns.set(now_ns());
            }
        }
    }

    /// Starves this process for a while, and goes on meanwhile.
    fn starve(&self, what: Shortage) {
        self.starved.store(true, Relaxed);
        let starved = Starved::of(what);
        self.starved.store(starved.is_some(), Relaxed);
        while self.page.order.shortage().is_some() && self.board.phase() == Phase::Run {
            self.launch_missing();
            self.settle_departed();
            thread::sleep(TICK);
        }
        drop(starved);
        self.starved.store(false, Relaxed);
    }

    /// Tells each renderer that everything has been sent, and the controller when all sessions have ended.
    fn end_in_order(&self) {
        let wanted = self.page.pause_wanted.get();
        if self.page.pause_reached.get() == wanted || self.idle.load(Relaxed) < 2 {
            return;
        }
        for window in self.window_ids().into_iter().filter_map(|id| self.window(id)) {
            if !window.last_sent.load(Relaxed) && window.contents.try_send(LAST, &()).is_ok() {
                window.last_sent.store(true, Relaxed);
            }
        }
        let windows = lock(&self.windows);
        if windows.live.is_empty() && windows.departed.is_empty() && self.ipc.windows().is_empty() {
            self.page.pause_reached.set(wanted);
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
            let numbered = Numbered { number: published, session: self.generation };
            let len = composer.ordinary() / 4;
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
                    .send(&mut composer, len, |bytes| contents.send(PATIENT, bytes));
                window.judge(sent, began);
            }
        });
    }

    /// Repeats a turn while the run goes on, and is idle in pauses.
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

/// Sends as much as there is room for, up to a limit. Returns whether anything was sent.
fn push_to(window: &Window, composer: &mut Composer) -> bool {
    let contents = &window.contents;
    let [pushes, blobs, asks] = &mut *lock(&window.pushes);
    let began = Instant::now();
    let mut sent = 0;
    for _ in 0..PUSHES_MAX {
        let len = composer.ordinary();
        let pushed = pushes.send(composer, len, |bytes| contents.try_send(PUSH, bytes));
        let full = pushed.is_err();
        window.judge(pushed, began);
        if full {
            break;
        }
        sent += 1;
    }
    if composer.rng().u32(..BLOB_ONE_IN) == 0 {
        let len = composer.large();
        let pushed = blobs.send(composer, len, |bytes| contents.try_send(BLOB, bytes));
        window.judge(pushed, began);
    }
    // An invoke blocks until there is room, and the other renderers wait meanwhile.
    while sent == PUSHES_MAX && window.asking.load(Relaxed) < ASKS_MAX {
        match asks.ask("main", composer, |bytes| contents.invoke(ASK, bytes, SILENCE_MAX)) {
            Ok(asked) => asked.note_later(&window.asking),
            Err(InvokeError::Send(error)) => {
                window.judge(Err(error), began);
                break;
            }
            Err(_) => break,
        }
    }
    sent > 0
}
