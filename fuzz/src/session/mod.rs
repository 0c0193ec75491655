//! A whole session with main's real loop, over a real socket and real memory. The input plays the renderer, and
//! says what main does meanwhile: it is a program, a byte a step and what the step takes.
//!
//! One main process serves all executions, as it serves all its renderers: what one leaves behind, the next
//! one finds. Beside the hostile renderer there is an honest one, which must get its answers in any case.

mod channels;
mod renderer;

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::Duration,
};

use ringbridge::{
    Config, Failure, GoneReason, IpcMain, IpcRenderer, OnViolation, Policy, Responder,
    WaitStrategy, WebContents,
    fuzzing::{Input, packets},
};

use self::{
    channels::{
        CONTRACT, ECHO, LATER, NEWS, NOTE, NUMBERS, QUESTION, SOON, SWITCH, TEXT, VALUE, policy,
    },
    renderer::{ASK, ATTACHED, CANCEL, GIVE_BACK, INVOKE, Label, Renderer, attached},
};

/// The most steps of one program; a longer one finds nothing more.
const STEPS_MAX: usize = 256;
/// How many others may connect in one program, fewer than the kernel lets wait.
const STRANGERS_MAX: usize = 16;
/// How often main looks before all who hung up must be forgotten: one look takes one of them in.
const LOOKS_MAX: usize = 2 * STRANGERS_MAX + 16;

/// The longest payload, and all that a renderer may have of such memory at once.
const ATTACHED_MAX: usize = 256 * 1024;

/// Runs one program.
pub fn session(bytes: &[u8]) {
    thread_local!(static STAGE: Stage = Stage::new());
    STAGE.with(|stage| stage.run(Input::new(bytes)));
}

/// Invokes that are answered when the input says so.
type Owed = Arc<Mutex<Vec<Responder<[u8], Failure>>>>;

struct Stage {
    main: IpcMain,
    name: String,
    honest: IpcRenderer,
    /// The honest packets, which the input may change.
    packets: [Vec<u8>; 2],
    /// What the next renderer gets.
    policy: Arc<Mutex<Policy>>,
    owed: Owed,
    /// The windows of which main said that they are gone.
    gone: Arc<Mutex<Vec<WebContents>>>,
    /// How many notes the honest renderer has got.
    notes: Arc<AtomicUsize>,
    notes_sent: AtomicUsize,
    /// How many descriptors this process has while nobody but the honest renderer is there.
    descriptors: usize,
}

impl Stage {
    fn new() -> Self {
        let config = Config {
            wait: WaitStrategy::Park,
            main_capacity: 4096,
            renderer_capacity: 8192,
            topic_capacity: 4096,
            attachment_max: ATTACHED_MAX,
            attachment_pool_max: ATTACHED_MAX / 4,
            main_pending_max: 8,
            // Nobody makes room while main waits, for all are on this thread.
            send_timeout: Duration::ZERO,
            // The leak checker attaches to this process as a debugger does.
            protect_memory: false,
            ..Config::default()
        };
        let name = format!("fuzz-{}", std::process::id());
        let main = IpcMain::bind_with(&name, CONTRACT, config).expect("the name is this process's");
        let policy = Arc::new(Mutex::new(policy()));
        let next = policy.clone();
        main.on_attach(move |_candidate| Ok(lock(&next).clone()));
        let gone = Arc::new(Mutex::new(Vec::new()));
        let ended = gone.clone();
        main.on_render_process_gone(move |window, _| lock(&ended).push(window.clone()));
        let owed = Owed::default();
        serve(&main, owed.clone()).expect("the contract has the channels");

        let honest = thread::scope(|scope| {
            let joining = scope.spawn(|| IpcRenderer::attach(&name, CONTRACT));
            while !joining.is_finished() {
                main.poll().expect("nobody else drives it");
            }
            joining.join().expect("it does not panic").expect("main lets it in")
        });
        let notes = Arc::new(AtomicUsize::new(0));
        let heard = notes.clone();
        let listening = honest.on(NOTE, move |_event, _note| _ = heard.fetch_add(1, Relaxed));
        listening.expect("the contract has the channel");
        let packets = packets(CONTRACT).expect("the contract is one");
        let notes_sent = AtomicUsize::new(0);
        main.poll().expect("nobody else drives it");
        let descriptors = open_descriptors().len();
        Self { main, name, honest, packets, policy, owed, gone, notes, notes_sent, descriptors }
    }

    fn run(&self, mut input: Input<'_>) {
        *lock(&self.policy) = self.choose_policy(&mut input);
        let mut play = Play {
            stage: self,
            renderer: Renderer::connect(&self.name),
            strangers: Vec::new(),
            strangers_left: STRANGERS_MAX,
            windows: Vec::new(),
            asked: 0,
            answered: Arc::new(AtomicUsize::new(0)),
        };
        play.shake_hands(&mut input);
        for _ in 0..STEPS_MAX {
            let Some(step) = input.byte() else { break };
            play.step(step, &mut input);
        }
        self.ask_honestly();
        play.end();
        self.ask_honestly();
    }

    fn choose_policy(&self, input: &mut Input<'_>) -> Policy {
        let choice = input.byte().unwrap_or(0);
        let tolerant = choice & 1 != 0;
        let few = choice & 2 != 0;
        policy()
            .on_violation(if tolerant { OnViolation::Tolerate(8) } else { OnViolation::Disconnect })
            .pending_invokes_max(if few { 2 } else { 64 })
            .attachments_max(if few { 2 } else { 8 })
            .attachment_bytes_max(if choice & 4 != 0 { 0 } else { ATTACHED_MAX })
    }

    /// The honest renderer asks and is pushed to. One turn of each loop is enough, whatever others do.
    fn ask_honestly(&self) {
        let answer = Arc::new(Mutex::new(None));
        let taken = answer.clone();
        let asked = self.honest.invoke(ECHO, b"are you there?").expect("there is room");
        asked.then(move |result| *lock(&taken) = Some(result));
        self.main.poll().expect("nobody else drives it");
        let windows = self.main.windows();
        windows[0].try_send(NOTE, b"a note").expect("there is room");
        self.notes_sent.fetch_add(1, Relaxed);
        self.honest.poll().expect("nobody else drives it");
        let answer = lock(&answer).take().expect("there was an answer");
        assert_eq!(answer.expect("it is no error"), b"are you there?");
        assert_eq!(self.notes.load(Relaxed), self.notes_sent.load(Relaxed));
    }

    /// The windows that have gone since the last time, each with its reason.
    fn take_gone(&self) -> Vec<u32> {
        let gone = std::mem::take(&mut *lock(&self.gone));
        for window in &gone {
            let reason = window.gone().expect("a window that is gone says why");
            let violated = matches!(reason, GoneReason::ProtocolViolation(_));
            assert!(!violated || window.counters().violations > 0, "a violation is counted");
        }
        gone.iter().map(WebContents::id).collect()
    }

    /// The windows but the honest one's, which is the first.
    fn others(&self) -> Vec<WebContents> {
        self.main.windows().split_off(1)
    }
}

/// What main does with messages and invokes.
fn serve(main: &IpcMain, owed: Owed) -> Result<(), ringbridge::Error> {
    main.on(TEXT, |_event, text| _ = text.chars().count())?;
    main.on(SWITCH, |_event, switch| assert!(switch.letter <= char::MAX))?;
    main.on(NUMBERS, |_event, numbers| _ = numbers.iter().fold(0, |all, each| all ^ each))?;
    main.on(VALUE, |_event, value| assert!(!format!("{value:?}").is_empty()))?;
    main.handle(ECHO, |_event, bytes: &[u8]| Ok(bytes.to_vec()))?;
    main.handle_deferred(LATER, move |_event, _bytes, responder| lock(&owed).push(responder))?;
    main.handle_async(SOON, |_event, text: String| {
        let mut polled = false;
        async move {
            std::future::poll_fn(move |context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if text.is_empty() { Err(Failure::new("nothing to say")) } else { Ok(text) }
        }
    })?;
    Ok(())
}

/// One program, while it runs.
struct Play<'a> {
    stage: &'a Stage,
    renderer: Renderer,
    strangers: Vec<Renderer>,
    strangers_left: usize,
    /// Its window, if the handshake got so far.
    windows: Vec<WebContents>,
    /// What main asked of this renderer, and how much of that was settled.
    asked: usize,
    answered: Arc<AtomicUsize>,
}

impl Play<'_> {
    fn shake_hands(&mut self, input: &mut Input<'_>) {
        let choice = input.byte().unwrap_or(0);
        let [hello, ready] = &self.stage.packets;
        self.say(choice & 7, hello, input);
        self.poll();
        self.poll();
        self.renderer.listen();
        self.say(choice >> 3 & 7, ready, input);
        self.poll();
        self.windows = self.stage.others();
    }

    /// Says an honest packet, one that was changed, something else, or nothing.
    fn say(&self, how: u8, honest: &[u8], input: &mut Input<'_>) {
        match how {
            4 => {
                let mut packet = honest.to_vec();
                let at = usize::from(input.short()) % packet.len();
                packet[at] ^= input.byte().unwrap_or(0);
                self.renderer.say(&packet, 0);
            }
            5 => {
                let len = usize::from(input.byte().unwrap_or(0));
                self.renderer.say(input.bytes(len), 0);
            }
            6 => self.renderer.say(honest, usize::from(input.byte().unwrap_or(0))),
            7 => {}
            _ => self.renderer.say(honest, 0),
        }
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        match step % 40 {
            0 => self.renderer.write_data(input.short().into(), input.word()),
            1 => {
                let (from, count) = (usize::from(input.short()), input.byte().unwrap_or(0));
                let word = input.word();
                for index in 0..usize::from(count) {
                    self.renderer.write_data(from + index, word);
                }
            }
            // `consumed`, `parked`, `space_wanted`, `bell`, and whatever else is on the page.
            2 => self.renderer.write_control(128, input.word()),
            3 => self.renderer.write_control(128, input.short().into()),
            4 => self.renderer.write_control_half(256, input.short().into()),
            5 => self.renderer.write_control_half(260, input.short().into()),
            6 => self.renderer.write_control_half(384, input.short().into()),
            7 => self.renderer.write_control(input.short().into(), input.word()),
            8..=13 => self.commit(input),
            14 => self.renderer.commit_raw(input.word(), input.word()),
            15 => {
                let label = Label { kind: INVOKE, ..label(input) };
                let payload = payload(input);
                self.renderer.commit(label, &payload);
            }
            16 => self.renderer.commit(Label { kind: CANCEL, ..label(input) }, &[]),
            17 => self.commit_word(ASK, input.word() % (2 * ATTACHED_MAX as u64)),
            18 => self.commit_word(GIVE_BACK, input.byte().unwrap_or(0).into()),
            19 | 20 => {
                let message = label(input);
                let id = u64::from(input.byte().unwrap_or(0));
                let payload = attached(id, input.short().into(), message);
                let label = Label { kind: ATTACHED, flags: 0, channel: message.channel, id: 0 };
                self.renderer.commit(label, &payload);
            }
            21 => self.renderer.listen(),
            22 => self.renderer.fill(input.byte().unwrap_or(0), input.byte().unwrap_or(0)),
            23 => self.renderer.seal(input.byte().unwrap_or(0)),
            24 => self.renderer.damage(input.byte().unwrap_or(0), input.short().into()),
            25 => self.renderer.forget(input.byte().unwrap_or(0)),
            26 => self.renderer.ring(1),
            27 => self.renderer.ring(input.word()),
            28 => {
                let (len, descriptors) = (input.byte().unwrap_or(0), input.byte().unwrap_or(0));
                self.renderer.say(input.bytes(len.into()), descriptors.into());
            }
            29 => self.renderer.hang_up_half(input.byte().unwrap_or(0) & 1 != 0),
            30 | 31 => self.renderer.read(),
            32 => {
                // The reply to what main has asked last.
                let label = Label { id: self.renderer.asked(), ..label(input) };
                let payload = payload(input);
                self.renderer.commit(label, &payload);
            }
            33 | 34 => self.poll(),
            35 => {
                // Long enough to arm every window and look at the epoll.
                let ran = self.stage.main.run_for(Duration::from_nanos(1));
                ran.expect("nobody else drives it");
            }
            36 => self.stage.ask_honestly(),
            37 => self.strange(input),
            38 => self.flood(input),
            _ => self.act(input),
        }
    }

    /// A frame of any kind.
    fn commit(&mut self, input: &mut Input<'_>) {
        let label = label(input);
        let payload = payload(input);
        self.renderer.commit(label, &payload);
    }

    fn commit_word(&mut self, kind: u8, word: u64) {
        let label = Label { kind, flags: 0, channel: 0, id: 0 };
        self.renderer.commit(label, &word.to_le_bytes());
    }

    /// Many frames that differ in their id alone.
    fn flood(&mut self, input: &mut Input<'_>) {
        let first = label(input);
        let payload = payload(input);
        for number in 0..u64::from(input.byte().unwrap_or(0)) {
            let id = if first.id == 0 { 0 } else { first.id.wrapping_add(number) };
            self.renderer.commit(Label { id, ..first }, &payload);
        }
    }

    /// Someone else connects, and says something or nothing; or goes.
    fn strange(&mut self, input: &mut Input<'_>) {
        let len = input.byte().unwrap_or(0);
        if len == u8::MAX {
            self.strangers.pop();
        } else if self.strangers_left > 0 {
            self.strangers_left -= 1;
            let stranger = Renderer::connect(&self.stage.name);
            if len > 0 {
                stranger.say(input.bytes(len.into()), 0);
            }
            self.strangers.push(stranger);
        }
    }

    /// Main does something with this renderer.
    fn act(&mut self, input: &mut Input<'_>) {
        let choice = input.byte().unwrap_or(0);
        let len = match input.byte().unwrap_or(0) {
            // Longer than a ring carries.
            255 => ATTACHED_MAX / 8,
            len => usize::from(len) * 4,
        };
        let bytes = vec![choice; len];
        match (choice % 8, self.windows.first()) {
            (0 | 1, Some(window)) => _ = window.try_send(NOTE, &bytes),
            (2, _) => _ = self.stage.main.publish(NEWS, &bytes[..len.min(800)]),
            (3 | 4, Some(window)) => {
                let timeout = Duration::from_millis(if choice & 8 != 0 { 0 } else { 10_000 });
                let Ok(asked) = window.invoke(QUESTION, &*bytes, timeout) else { return };
                self.asked += 1;
                let answered = self.answered.clone();
                asked.then(move |_result| _ = answered.fetch_add(1, Relaxed));
            }
            (5, _) => {
                let responder = lock(&self.stage.owed).pop();
                let _ = responder.map(|responder| responder.reply(&bytes));
            }
            (6, _) => {
                let responder = lock(&self.stage.owed).pop();
                let _ = responder.map(|responder| responder.reject(&Failure::new("no")));
            }
            (_, Some(window)) if choice & 0xf0 == 0xf0 => window.close(),
            // A responder that is dropped is an answer too.
            _ => _ = lock(&self.stage.owed).pop(),
        }
    }

    fn poll(&self) {
        self.stage.main.poll().expect("nobody else drives it");
    }

    /// All hang up. Main forgets them, and everything that was under way is settled.
    fn end(self) {
        let Self { stage, renderer, strangers, windows, asked, answered, .. } = self;
        let opened: Vec<u32> = windows.iter().map(WebContents::id).collect();
        // What is held of a window keeps its socket open.
        drop((renderer, strangers, windows));
        let mut gone = Vec::new();
        for _ in 0..LOOKS_MAX {
            stage.main.poll().expect("nobody else drives it");
            gone.extend(stage.take_gone());
            if !stage.others().is_empty() {
                continue;
            }
            for responder in std::mem::take(&mut *lock(&stage.owed)) {
                assert!(responder.is_cancelled());
                assert!(!responder.reply(b"too late"), "nobody waits any more");
            }
            if open_descriptors().len() == stage.descriptors {
                gone.retain(|id| opened.contains(id));
                assert_eq!(gone, opened, "a window goes once");
                assert_eq!(answered.load(Relaxed), asked, "each question is settled once");
                return;
            }
        }
        panic!("something is left: {:?}, {:#?}", stage.others(), open_descriptors());
    }
}

/// What a frame says of itself: any kind and channel, and often an id that exists.
fn label(input: &mut Input<'_>) -> Label {
    let [kind, flags, channel, generation] = input.array();
    let id = match generation {
        0 => 0,
        u8::MAX => input.word(),
        _ => u64::from(generation) << 16,
    };
    let channel = if channel < 128 { u16::from(channel) % 16 } else { u16::from(channel) << 8 };
    Label { kind: kind % 16, flags, channel, id }
}

/// Some bytes; or so many of one.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte().unwrap_or(0) {
        len @ ..224 => input.bytes(len.into()).to_vec(),
        len => vec![input.byte().unwrap_or(0); usize::from(len - 223) * 128],
    }
}

/// What is open of the kinds that sessions are made of, by name. (The fuzzer itself opens files and pipes.)
fn open_descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("there is a /proc").flatten();
    let names = entries.flat_map(|entry| fs::read_link(entry.path()));
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let kinds = ["socket:", "anon_inode:", "/memfd:"];
    names.filter(|name| kinds.iter().any(|kind| name.starts_with(kind))).collect()
}

/// No panic in here: a fuzzer's process does not outlive one.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
