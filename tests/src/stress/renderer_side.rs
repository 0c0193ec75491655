//! A renderer: sends and invokes as fast as it can, takes what comes, and notes all of it.

use super::{controller::Holdings, *};

/// How many calls are under way at once.
const CALLS_MAX: usize = 8;
/// How many messages are sent in one go.
const BURST_MAX: usize = 64;
/// How long the end of a session may take, once it has begun.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Plays one session that main has launched this process for, or attaches for one session after another.
pub(super) fn play(role: &Role, slot: usize, session: Option<u64>) -> Result<ExitCode, Fatal> {
    feed();
    let config = config(role.backend);
    let board = Board::inherited(role.journal, false)?;
    let place = board.slot(slot);
    if let Some(session) = session {
        let record = board.record(session).ok_or("main has not begun this session's record")?;
        return match IpcRenderer::connect_with(CONTRACT, config) {
            Ok(ipc) => {
                Session::begin(ipc, place, record, role.seed)?.run();
                Ok(ExitCode::SUCCESS)
            }
            // Main was killed, and the kernel is about to kill this process.
            Err(ConnectError::HungUp) => Ok(ExitCode::FAILURE),
            Err(error) => Err(error.into()),
        };
    }
    follow_to_death(role.parent)?;
    let this = std::process::id();
    let before = Holdings::of(this);
    while board.phase() == Phase::Run {
        let ipc = match IpcRenderer::attach_with(&role.endpoint, CONTRACT, config.clone()) {
            Ok(ipc) => ipc,
            Err(error) if is_passing(&error) => {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let record = board.begin(slot, 0, true);
        record.process.set(this.into());
        match Session::begin(ipc, place, record, role.seed) {
            Ok(session) => session.run(),
            // Main went at once.
            Err(_) => record.settled_by_renderer_ns.set(now_ns()),
        }
        let left = || Holdings::of(this).beyond(&before);
        if !within(END_WITHIN, || left() == 0) {
            eprintln!("stress renderer: held {before:?} and holds {:?}", Holdings::of(this));
            place.leaks.add(left());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns whether main is not there yet, or lacks the resources for a session.
fn is_passing(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::NoSuchEndpoint { .. }
            | ConnectError::Stale { .. }
            | ConnectError::Refused { .. }
            | ConnectError::HungUp
            | ConnectError::Io(_)
    )
}

struct Session {
    ipc: IpcRenderer,
    slot: &'static Slot,
    record: &'static Record,
    composer: Composer,
    events: Outflow,
    large: Outflow,
    calls: Outflow,
    /// Calls whose end a callback will report.
    pending: Arc<AtomicUsize>,
    /// 1 while the call that is never answered is pending.
    held: Arc<AtomicUsize>,
    /// Main has sent everything.
    last: Arc<AtomicBool>,
    starved: Option<Starved>,
}

struct Gone;

impl Session {
    fn begin(
        ipc: IpcRenderer,
        slot: &'static Slot,
        record: &'static Record,
        seed: u64,
    ) -> Result<Self, Fatal> {
        let session = record.session.get();
        let mut composer = Composer::new(seed ^ session.rotate_left(32));
        // In one of four sessions a background thread runs the loop.
        let background = composer.rng().u8(..4) == 0;
        let this = Self {
            ipc,
            slot,
            record,
            composer,
            events: Outflow::new(record, Stream::Event),
            large: Outflow::new(record, Stream::Large),
            calls: Outflow::new(record, Stream::Call),
            pending: Arc::default(),
            held: Arc::default(),
            last: Arc::default(),
            starved: None,
        };
        this.listen()?;
        this.ipc.send(JOIN, &session)?;
        record.joined.set(1);
        this.hold()?;
        if background {
            this.ipc.drive_in_background()?;
        }
        Ok(this)
    }

    fn listen(&self) -> Result<(), RegisterError> {
        let record = self.record;
        for (push, stream) in
            [(PUSH, Stream::Push), (PATIENT, Stream::Patient), (BLOB, Stream::Blob)]
        {
            let mut inflow = Inflow::new(record, stream);
            self.ipc.on(push, move |_, message| _ = inflow.take(message))?;
        }
        let last = self.last.clone();
        self.ipc.on(LAST, move |_, ()| last.store(true, Relaxed))?;
        let mut asked = Inflow::new(record, Stream::Ask);
        self.ipc.handle(ASK, move |_, message| Ok(asked.take(message).map_or(0, answer)))?;
        let mut kept = Vec::new();
        self.ipc.handle_deferred(KEEP, move |_, (), responder| kept.push(responder))?;
        let topic = &record.topic;
        self.ipc.subscribe(NEWS, move |event, message| {
            let Some(Numbered { number, .. }) = read(message) else {
                topic.corrupt.add(1);
                return;
            };
            let before = topic.last.get();
            if before > 0 && number != before + 1 + event.lost() {
                topic.out_of_order.add(1);
            }
            topic.last.set(number);
            topic.received.add(1);
        })?;
        Ok(())
    }

    /// Invokes a method that is never answered, so that a call is pending whenever main dies.
    fn hold(&self) -> Result<(), InvokeError> {
        let (record, held) = (self.record, self.held.clone());
        held.store(1, Relaxed);
        self.ipc.invoke_with(HOLD, &(), None)?.then(move |result| {
            held.store(0, Relaxed);
            if !matches!(result, Err(InvokeError::Gone { .. })) {
                record.unexpected.add(1);
            }
            record.last_error_ns.raise(now_ns());
        });
        Ok(())
    }

    fn run(mut self) {
        let mut talked = Ok(());
        while talked.is_ok() && !self.last.load(Relaxed) {
            self.obey();
            // Takes what has come meanwhile, unless another thread does.
            talked = self.step().and_then(|()| until_gone(self.ipc.poll()));
        }
        self.starved = None;
        if talked.is_ok() && self.end_in_order() {
            self.note_counters();
            self.record.in_order.set(1);
        } else {
            self.see_main_go();
        }
    }

    fn step(&mut self) -> Result<(), Gone> {
        match self.composer.rng().u8(..100) {
            0..=54 => self.send(),
            55..=64 => self.send_all(),
            65..=79 => self.call(),
            80..=91 => self.call_beside(),
            92..=94 => self.send_large(),
            _ => {
                let pause = Duration::from_micros(self.composer.rng().u64(..2000));
                until_gone(self.ipc.run_for(pause))
            }
        }
    }

    fn send(&mut self) -> Result<(), Gone> {
        let burst = self.composer.rng().usize(1..=BURST_MAX);
        for _ in 0..burst {
            let len = self.composer.ordinary();
            let began = Instant::now();
            let ipc = &self.ipc;
            let sent = self.events.send(&mut self.composer, len, |bytes| ipc.send(EVENT, bytes));
            self.judge(sent, began)?;
        }
        Ok(())
    }

    fn send_all(&mut self) -> Result<(), Gone> {
        let burst = self.composer.rng().usize(1..=BURST_MAX);
        let lens: Vec<_> = (0..burst).map(|_| self.composer.ordinary()).collect();
        let began = Instant::now();
        let ipc = &self.ipc;
        let sent = self
            .events
            .send_all(&mut self.composer, &lens, |messages| ipc.send_all(EVENT, messages));
        self.judge(sent.map_err(|SendAllError { source, .. }| source), began)
    }

    fn send_large(&mut self) -> Result<(), Gone> {
        let len = self.composer.large();
        let began = Instant::now();
        let ipc = &self.ipc;
        let sent = self.large.send(&mut self.composer, len, |bytes| ipc.send(LARGE, bytes));
        self.judge(sent, began)
    }

    fn call(&mut self) -> Result<(), Gone> {
        let (ipc, began) = (&self.ipc, Instant::now());
        match self.calls.ask("renderer", &mut self.composer, |bytes| ipc.invoke(CALL, bytes)) {
            Ok(asked) => {
                if asked.wait() {
                    Err(Gone)
                } else {
                    Ok(())
                }
            }
            Err(error) => self.judge_invoke(error, began),
        }
    }

    /// Calls without waiting for the reply, up to [`CALLS_MAX`] at once.
    fn call_beside(&mut self) -> Result<(), Gone> {
        while self.pending.load(Relaxed) < CALLS_MAX {
            let (ipc, began) = (&self.ipc, Instant::now());
            match self.calls.ask("renderer", &mut self.composer, |bytes| ipc.invoke(CALL, bytes)) {
                Ok(asked) => asked.note_later(&self.pending),
                Err(error) => return self.judge_invoke(error, began),
            }
        }
        Ok(())
    }

    fn judge_invoke(&self, error: InvokeError, began: Instant) -> Result<(), Gone> {
        match error {
            InvokeError::Send(error) => self.judge(Err(error), began),
            InvokeError::Gone { .. } => Err(Gone),
            InvokeError::TooManyPending { .. } => {
                self.record.refused.add(1);
                Ok(())
            }
            error => {
                eprintln!("stress renderer: {error}");
                self.record.unexpected.add(1);
                Ok(())
            }
        }
    }

    fn judge(&self, sent: Result<(), SendError>, began: Instant) -> Result<(), Gone> {
        let Err(error) = sent else { return Ok(()) };
        note_send("renderer", self.record, &error, began);
        if matches!(error, SendError::Gone { .. }) { Err(Gone) } else { Ok(()) }
    }

    /// Starves this process for a while, if the controller has ordered it.
    fn obey(&mut self) {
        match self.slot.order.shortage() {
            None => self.starved = None,
            Some(what) if self.starved.is_none() => self.starved = Starved::of(what),
            Some(_) => {}
        }
    }

    /// Waits for the replies that are still to come; `false` if main went meanwhile.
    fn end_in_order(&self) -> bool {
        let deadline = Instant::now() + END_WITHIN;
        while self.pending.load(Relaxed) > 0 && Instant::now() < deadline {
            match self.ipc.run_for(Duration::from_millis(1)) {
                Err(RunError::MainGone) => return false,
                Err(RunError::AlreadyRunning) => thread::sleep(Duration::from_millis(1)),
                _ => {}
            }
        }
        // The call that is never answered ends with this process or this session.
        self.record.unsettled.set(self.pending.load(Relaxed) as u64);
        true
    }

    /// Takes what main has committed, and waits until every pending call has failed.
    fn see_main_go(&self) {
        let mut gone = false;
        within(END_WITHIN, || {
            gone = until_gone(self.ipc.run_for(END_WITHIN)).is_err();
            gone
        });
        // Another thread may be about to report the last of them.
        let waiting = || self.pending.load(Relaxed) + self.held.load(Relaxed);
        within(END_WITHIN, || waiting() == 0);
        self.record.unsettled.set(waiting() as u64 + u64::from(!gone));
        self.note_counters();
        self.record.settled_by_renderer_ns.set(now_ns());
    }

    fn note_counters(&self) {
        let counters = self.ipc.counters();
        self.record.flow(Stream::Blob).counted.set(counters.attachments_lost);
        self.record.violations.add(counters.violations);
    }
}

/// Ignores all outcomes of a loop but main's end: another thread may run it.
fn until_gone<T>(outcome: Result<T, RunError>) -> Result<(), Gone> {
    if matches!(outcome, Err(RunError::MainGone)) { Err(Gone) } else { Ok(()) }
}
