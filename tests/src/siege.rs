//! A main process under attack, and an honest renderer beside the attacker.
//!
//! Main does what mains do all the time: it pushes to every window, publishes, invokes the bystander, handles
//! and hears. The bystander invokes, one after the other, and measures. Whatever an attacker does, both go on.

use std::{
    env, fs,
    hint::{black_box, spin_loop},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ringbridge::{
    Config, Failure, GoneReason, Invocation, LaunchOptions, Policy, Responder, WebContents,
};

use rustix::fs::{Mode, OFlags, open};

use crate::{
    attacker::{Attacker, door::Socket, session::Session, system},
    attacks::{self, Attack, Entry, REFUSED, StoppedBy, Verdict},
    contract::{
        ADD, ASK, BYTES, CUE, ECHO, FLAG, NEGATE, NEWS, NOTHING, NUMBER, READ, SETTINGS, TEXT, TICK,
    },
    proc::resident_memory,
    processes::{Killed, LIMIT, endpoint_files, left_out},
    scene::{Arguments, Renderer, process, renderer},
    stage::{Ending, Notes, Stage, allow_everything, config},
};

/// Invokes of the bystander before an attack, and at least as many during and after it.
const INVOKES: u64 = 40;
/// Pushes to each window between two slices of the loop.
const TICKS: u64 = 32;
/// How many windows there may be.
const WINDOWS_MAX: usize = 16;
/// What one attack may add to main's resident memory: what its own windows and the allocator keep.
const GROWTH_MAX: u64 = 24 << 20;
/// How much longer than before an attack an invoke may take beside it, at the median. Generous: it tells a
/// main that stands still from one that works, on a machine that is busy with other tests.
const SLOWER_MAX: u32 = 100;
const SLOWER_SPARED: Duration = Duration::from_millis(50);

type NeverAnswered = Responder<str, Failure>;

/// A stage with a bystander.
pub struct Siege {
    stage: Stage,
    bystander: WebContents,
    /// What main has asked the bystander, and what it heard.
    asked: AtomicU64,
    answered: Notes<bool>,
    never_answered: Arc<Mutex<Vec<NeverAnswered>>>,
}

/// What the bystander measured between two marks.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub invokes: u64,
    pub median: Duration,
    pub longest: Duration,
}

/// What an attack did to others.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The bystander's invokes just before.
    pub before: Latency,
    /// And from its start to its end.
    pub during: Latency,
    /// What main's resident memory grew by, in bytes.
    pub growth: u64,
}

impl Default for Siege {
    fn default() -> Self {
        Self::new()
    }
}

impl Siege {
    /// Opens the stage, and has the bystander connect.
    pub fn new() -> Self {
        let stage = Stage::with(Config {
            main_capacity: 16 * 1024,
            send_timeout: Duration::from_millis(500),
            windows_max: WINDOWS_MAX,
            protect_memory: true,
            ..config()
        });
        let never_answered = live_as_usual(&stage);
        stage.ipc.on_attach(|_| Ok(besieged()));
        let bystander = stage.launch(renderer(stands_by, &[]), allow_everything());
        stage.run_until_reported("stands by");
        let (asked, answered) = (AtomicU64::new(0), Notes::new());
        Self { stage, bystander, asked, answered, never_answered }
    }

    /// Has an attack happen, and sees that its verdict comes true and that everyone else goes on.
    ///
    /// `None`: it was not run, and that was said.
    pub fn withstand(&self, attack: &Attack) -> Option<Outcome> {
        if attack.stopped_by == StoppedBy::AnotherUser && !system::can_change_user() {
            left_out(&format!("'{}' must be run by another user, which takes root", attack.name));
            return None;
        }
        self.measure();
        self.run_for_invokes(INVOKES);
        let before = self.measure();
        let memory = resident_memory();
        let refused = self.stage.ipc.counters().refused;

        match attack.entry {
            Entry::Launched => self.withstand_launched(attack),
            Entry::Door => self.withstand_at_the_door(attack),
        }

        self.run_for_invokes(INVOKES);
        let during = self.measure();
        if attack.verdict == Verdict::Refused {
            let refused = self.stage.ipc.counters().refused - refused;
            assert!(refused > 0, "{}: nobody was refused", attack.name);
        }
        self.check_bystander(attack);
        self.never_answered.lock().unwrap().retain(|responder| !responder.is_cancelled());
        let growth = resident_memory().saturating_sub(memory);
        assert!(growth <= GROWTH_MAX, "{}: main has grown by {growth} bytes", attack.name);
        let most = before.median * SLOWER_MAX + SLOWER_SPARED;
        assert!(during.median <= most, "{}: {during:?} after {before:?}", attack.name);
        self.stage.forget();
        Some(Outcome { before, during, growth })
    }

    fn withstand_launched(&self, attack: &Attack) {
        let command = self.attacker(attack);
        let policy = (attack.policy)(besieged());
        let options = LaunchOptions::default();
        // Not by the stage, which would have it end well.
        let window =
            self.stage.ipc.launch_with(command, policy, options).expect("it can be launched");
        let meanwhile = attack.meanwhile.map(|work| work(window.clone()));
        let ending = self.run_until_gone(&window);
        if let Some(work) = meanwhile {
            self.run_until("main's other thread is done", || work.is_finished());
            work.join().expect("main's other thread has seen what it should");
        }
        check_ending(attack, &ending);
    }

    fn withstand_at_the_door(&self, attack: &Attack) {
        if attack.stopped_by == StoppedBy::AnotherUser && attack.verdict == Verdict::Refused {
            // The careless administrator.
            let widened = fs::Permissions::from_mode(0o666);
            fs::set_permissions(socket_of(&self.stage), widened).expect("it is this user's");
        }
        let mut child = Killed(self.attacker(attack).spawn().expect("it can be started"));
        let mut status = None;
        self.run_until("the attacker is done", || {
            status = child.0.try_wait().expect("it is this process's child");
            status.is_some()
        });
        let status = status.expect("it has ended");
        assert!(status.success(), "{}: {status}", attack.name);
        // Those that it left behind are gone too, in whatever way.
        self.run_until("only the bystander is left", || self.stage.ipc.windows().len() == 1);
    }

    fn attacker(&self, attack: &Attack) -> Command {
        attacker_command(attack, &self.stage, self.bystander.os_process_id())
    }

    // --- main's life -------------------------------------------------------------------------------

    fn run_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        self.stage.run_until(what, || {
            self.live();
            condition()
        });
    }

    /// Runs the loop until the bystander has been answered so often.
    fn run_for_invokes(&self, count: u64) {
        let answered = || self.bystander.counters().invokes_received;
        let enough = answered() + count;
        self.run_until("the bystander is answered", || answered() >= enough);
    }

    fn run_until_gone(&self, window: &WebContents) -> Ending {
        let mut ending = None;
        self.run_until("the attacker has gone", || {
            let endings = self.stage.endings();
            ending = endings.into_iter().find(|ending| ending.window == window.id());
            ending.is_some()
        });
        ending.expect("it was found")
    }

    /// A moment of main's ordinary life.
    fn live(&self) {
        for window in self.stage.ipc.windows() {
            for number in 0..TICKS {
                // Who does not read, or may not hear, misses it.
                let _ = window.try_send(TICK, &number);
            }
        }
        self.stage.ipc.publish(NEWS, &1).expect("it fits");
        let asked = self.asked.load(Relaxed);
        if self.answered.len() as u64 == asked {
            let notes = self.answered.clone();
            let invocation = self.bystander.invoke(ASK, &asked, LIMIT).expect("it is there");
            invocation.then(move |reply| notes.add(reply == Ok(asked + 1)));
            self.asked.store(asked + 1, Relaxed);
        }
    }

    /// What the bystander has measured since the last time.
    fn measure(&self) -> Latency {
        let reports = self.stage.reports_of(&self.bystander).len();
        self.run_until("there is room", || self.bystander.try_send(CUE, "mark").is_ok());
        self.run_until("the bystander's figures", || {
            self.stage.reports_of(&self.bystander).len() > reports
        });
        let report = self.stage.reports_of(&self.bystander).pop().expect("it was counted");
        let figures: Vec<u64> =
            report.split(' ').map(|word| word.parse().expect("it is a number")).collect();
        let [invokes, median, longest] = figures[..] else { panic!("{report}") };
        let [median, longest] = [median, longest].map(Duration::from_nanos);
        Latency { invokes, median, longest }
    }

    fn check_bystander(&self, attack: &Attack) {
        assert_eq!(self.bystander.gone(), None, "{}", attack.name);
        let counters = self.bystander.counters();
        let blamed =
            [counters.violations, counters.panics, counters.bad_payloads, counters.unhandled];
        assert_eq!(blamed, [0; 4], "{}: {counters:?}", attack.name);
        assert_eq!((counters.stale_replies, counters.timed_out), (0, 0), "{}", attack.name);
        // The list is kept, since its length says how many were answered.
        let answers = self.answered.take();
        assert!(answers.iter().all(|right| *right), "{}: main got a wrong answer", attack.name);
        self.asked.fetch_sub(answers.len() as u64, Relaxed);
    }
}

/// Lets an attacker in, who is in this process, and runs the stage until it is done.
pub fn beside<R: Send + 'static>(
    stage: &Stage,
    policy: Policy,
    part: impl FnOnce(&mut Session) -> R + Send + 'static,
) -> R {
    let attacker = start_beside(stage, policy, part);
    stage.run_until("the attacker is done", || attacker.is_finished());
    attacker.join().expect("it has found what it should")
}

/// Starts an attacker in this process, to whom main will give this policy.
pub fn start_beside<R: Send + 'static>(
    stage: &Stage,
    policy: Policy,
    part: impl FnOnce(&mut Session) -> R + Send + 'static,
) -> JoinHandle<R> {
    stage.ipc.on_attach(move |_| Ok(policy.clone()));
    let path = socket_of(stage);
    thread::spawn(move || {
        let socket = Socket::connect(&path).expect("main listens");
        part(&mut Session::begin(socket))
    })
}

/// The command of the attacker's part in an attack on this process.
pub fn attacker_command(attack: &Attack, stage: &Stage, bystander: u32) -> Command {
    let socket = socket_of(stage);
    let socket = socket.to_str().expect("it is text");
    let [main, bystander] = [std::process::id(), bystander].map(|id| id.to_string());
    process(play_attacker, &[attack.name, socket, &main, &bystander])
}

/// Where a stage's endpoint is found.
pub fn socket_of(stage: &Stage) -> PathBuf {
    let files = endpoint_files(stage.name());
    let socket = files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "sock"));
    socket.expect("it is bound")
}

/// The listeners and handlers of main. Those that can be lied to look at what they get.
fn live_as_usual(stage: &Stage) -> Arc<Mutex<Vec<NeverAnswered>>> {
    let ipc = &stage.ipc;
    ipc.on(NUMBER, |_, number| assert_ne!(*number, REFUSED)).unwrap();
    let refuse = |number: &u64| if *number == REFUSED { Err("refused".to_owned()) } else { Ok(()) };
    ipc.validate(NUMBER, move |_, number| refuse(number)).unwrap();
    ipc.on(NOTHING, |_, ()| ()).unwrap();
    ipc.on(SETTINGS, |_, _| ()).unwrap();
    ipc.on(FLAG, |_, flag| {
        assert!(black_box(u8::from(*flag)) < 2, "no bool is anything else");
    })
    .unwrap();
    ipc.on(TEXT, |_, text| {
        assert!(std::str::from_utf8(black_box(text.as_bytes())).is_ok());
    })
    .unwrap();
    ipc.on(BYTES, |_, bytes| {
        // One byte of each cache line will do.
        let sum = || bytes.iter().step_by(64).map(|byte| u64::from(black_box(*byte))).sum::<u64>();
        let first = sum();
        (0..2000).for_each(|_| spin_loop());
        assert_eq!(first, sum(), "what a listener is given does not change");
    })
    .unwrap();
    ipc.handle(ADD, |_, [left, right]| Ok(left.wrapping_add(*right))).unwrap();
    ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).unwrap();
    ipc.handle(NEGATE, |_, flag| Ok(!*flag)).unwrap();
    let never_answered = Arc::new(Mutex::new(Vec::new()));
    let keeper = never_answered.clone();
    ipc.handle_deferred(READ, move |_, _, responder| {
        let mut kept: MutexGuard<'_, Vec<NeverAnswered>> = keeper.lock().unwrap();
        if kept.len() >= 64 {
            kept.retain(|responder| !responder.is_cancelled());
        }
        kept.push(responder);
    })
    .unwrap();
    never_answered
}

/// What an attacker may do.
fn besieged() -> Policy {
    allow_everything().pending_invokes_max(16).attachment_bytes_max(4 << 20).attachments_max(4)
}

/// Whether a session ended as the verdict says, with the right counters.
fn check_ending(attack: &Attack, ending: &Ending) {
    let Attack { name, verdict, .. } = attack;
    let Ending { details, counters, .. } = ending;
    let violations = match (verdict, &details.reason) {
        (Verdict::Violation(names), GoneReason::ProtocolViolation(violation)) => {
            assert!(names.contains(&violation.name()), "{name}: {violation}");
            1
        }
        (Verdict::Gone(expected), reason) => {
            assert_eq!(reason.name(), *expected, "{name}");
            0
        }
        (Verdict::Violation(_), reason) => panic!("{name}: {reason}, {counters:?}"),
        (_, reason) => {
            let well = (&GoneReason::CleanExit, Some(0));
            assert_eq!((reason, details.exit_code), well, "{name}: {counters:?}");
            match verdict {
                Verdict::Tolerated(count) => *count,
                _ => 0,
            }
        }
    };
    assert_eq!(counters.violations, violations, "{name}: {counters:?}");
    assert_eq!(counters.panics, 0, "{name}");
    if let Verdict::Counted(counter) = verdict {
        let count = counters.iter().find(|(known, _)| known == counter);
        let (_, count) = count.unwrap_or_else(|| panic!("{name}: no counter '{counter}'"));
        assert!(count > 0, "{name}: {counter} is 0: {counters:?}");
    }
}

/// Invokes, one after the other, until main is gone; at each sign reports how many there were since the last,
/// and what half of them and the longest took, in nanoseconds.
fn stands_by(ipc: &Renderer) {
    let signs = Notes::new();
    let notes = signs.clone();
    ipc.on(CUE, move |_, _| notes.add(())).unwrap();
    ipc.on(TICK, |_, _| ()).unwrap();
    ipc.subscribe(NEWS, |_, _| ()).unwrap();
    ipc.handle(ASK, |_, number| Ok(number + 1)).unwrap();
    ipc.report("stands by");
    let mut took = Vec::new();
    for number in 0.. {
        let began = Instant::now();
        let sum = ipc.invoke_with(ADD, &[number, 1], Some(LIMIT)).and_then(Invocation::wait);
        if !ipc.is_connected() {
            return;
        }
        assert_eq!(sum, Ok(number + 1), "whatever others do");
        took.push(began.elapsed());
        if !signs.take().is_empty() {
            took.sort_unstable();
            let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
            ipc.report(format_args!("{} {} {}", took.len(), median.as_nanos(), longest.as_nanos()));
            took.clear();
        }
        if ipc.run_for(Duration::from_micros(200)).is_err() {
            return;
        }
    }
}

/// An attacker's part: the attack's name, main's socket, main's process and the bystander's.
fn play_attacker(arguments: &Arguments) {
    let attack = attacks::find(&arguments[0]);
    let path = PathBuf::from(&arguments[1]);
    let mut attacker = Attacker {
        // This process may still open the socket's file as main's user. The right to connect is checked later.
        way_in: open(&path, OFlags::PATH, Mode::empty()).ok().map(Socket),
        path,
        main: arguments.number(2) as u32,
        bystander: arguments.number(3) as u32,
        inherited: inherited().map(Socket),
    };
    if attack.stopped_by == StoppedBy::AnotherUser {
        system::become_nobody();
    }
    attack.run(&mut attacker);
}

/// The socket with which main launched this process.
fn inherited() -> Option<OwnedFd> {
    let number = env::var("RINGBRIDGE_SOCKET").ok()?.parse().expect("it is a number");
    // SAFETY: main has left it open for this process, and nothing here closes it.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    Some(rustix::io::fcntl_dupfd_cloexec(inherited, 0).expect("main has left it open"))
}
