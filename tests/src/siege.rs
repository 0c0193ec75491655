//! A main process under attack, and an honest renderer beside the attacker.
//!
//! Main pushes to every window, publishes, invokes the bystander, handles and listens. The bystander invokes one method
//! after another, and measures. Both must go on during every attack.

use std::{
    cell::Cell,
    env, fs,
    hint::{black_box, spin_loop},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};

use crate::{
    attacker::{Attacker, door::Socket, session::Session, system},
    attacks::{self, Attack, REFUSED, Steps, StoppedBy, Verdict},
    prelude::*,
};

/// Invokes of the bystander before an attack, and at least as many during and after it.
const INVOKES: u64 = 40;
/// Pushes to each window between two slices of the loop.
const TICKS: u64 = 32;
const WINDOWS_MAX: usize = 16;
/// The most that one attack may add to main's resident memory, for its windows and the allocator.
const GROWTH_MAX: u64 = 24 << 20;
/// The most that the median invoke may take, as a multiple of before the attack. Generous, since it only shows that main
/// does not block, on a machine that is busy with other tests.
const SLOWER_MAX: u32 = 100;
const SLOWER_SPARED: Duration = Duration::from_millis(50);

type NeverAnswered = Responder<str, Failure>;

pub struct Siege {
    stage: Stage,
    bystander: WebContents,
    /// The number of main's invokes, and whether each reply was right.
    asked: Cell<usize>,
    answered: Notes<bool>,
    never_answered: Arc<Mutex<Vec<NeverAnswered>>>,
}

/// The bystander's measurement between two marks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Latency {
    invokes: usize,
    median: Duration,
    longest: Duration,
}

impl Default for Siege {
    fn default() -> Self {
        Self::new()
    }
}

impl Siege {
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
        Self { stage, bystander, asked: Cell::new(0), answered: Notes::new(), never_answered }
    }

    /// Runs an attack, and checks its verdict and that main and the bystander go on. Prints its effect on them.
    pub fn withstand(&self, attack: &Attack) {
        let (name, began) = (attack.name, Instant::now());
        if attack.stopped_by == StoppedBy::AnotherUser && !system::can_change_user() {
            return left_out(&format!("'{name}' must be run by another user, which takes root"));
        }
        self.measure();
        self.run_for_invokes(INVOKES);
        let before = self.measure();
        let memory = resident_memory();
        let refused = self.stage.ipc.counters().refused;

        match attack.steps {
            Steps::AtTheDoor(_) => self.withstand_at_the_door(attack),
            Steps::Launched(_) | Steps::InSession(_) => self.withstand_launched(attack),
        }

        self.run_for_invokes(INVOKES);
        let during = self.measure();
        if attack.verdict == Verdict::Refused {
            let refused = self.stage.ipc.counters().refused - refused;
            assert!(refused > 0, "{name}: main refused no connection");
        }
        self.check_bystander(attack);
        lock(&self.never_answered).retain(|responder| !responder.is_cancelled());
        let growth = resident_memory().saturating_sub(memory);
        let took = began.elapsed();
        println!("{name} in {took:.1?}: {during:.1?} after {before:.1?}, {growth} bytes");
        assert!(growth <= GROWTH_MAX, "{name}: main has grown by {growth} bytes");
        let most = before.median * SLOWER_MAX + SLOWER_SPARED;
        assert!(during.median <= most, "{name}: {during:?} after {before:?}");
        self.stage.forget();
    }

    fn withstand_launched(&self, attack: &Attack) {
        let window = self.stage.launch(self.attacker(attack), (attack.policy)(besieged()));
        let meanwhile = attack.meanwhile.map(|work| work(window.clone()));
        self.run_until("the attacker has gone", || self.stage.ending_of(&window).is_some());
        if let Some(work) = meanwhile {
            self.run_until("main's other thread is done", || work.is_finished());
            work.join().expect("main's other thread has seen what it should");
        }
        check_ending(attack, &self.stage.ending_of(&window).expect("it has gone"));
    }

    fn withstand_at_the_door(&self, attack: &Attack) {
        if attack.stopped_by == StoppedBy::AnotherUser && attack.verdict == Verdict::Refused {
            // The careless administrator.
            let widened = fs::Permissions::from_mode(0o666);
            fs::set_permissions(socket_of(&self.stage), widened).expect("it is this user's");
        }
        let mut child = Killed(self.attacker(attack).spawn().expect("it can be started"));
        self.run_until("the attacker is done", || child.status().is_some());
        let status = child.end();
        assert!(status.success(), "{}: {status}", attack.name);
        // The processes that it left behind are gone too.
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

    /// Does what main ordinarily does between two slices of its loop.
    fn live(&self) {
        for window in self.stage.ipc.windows() {
            for number in 0..TICKS {
                // A window that does not read, or may not receive, misses it.
                let _ = window.try_send(TICK, &number);
            }
        }
        self.stage.ipc.publish(NEWS, &1).expect("it fits");
        let asked = self.asked.get();
        if self.answered.len() == asked {
            let (notes, number) = (self.answered.clone(), asked as u64);
            let invocation = self.bystander.invoke(ASK, &number, LIMIT).expect("it is there");
            invocation.then(move |reply| notes.add(reply == Ok(number + 1)));
            self.asked.set(asked + 1);
        }
    }

    /// Returns the bystander's measurement since the last one.
    fn measure(&self) -> Latency {
        let reports = || self.stage.reports_of(&self.bystander);
        let before = reports().len();
        self.run_until("there is room", || self.bystander.try_send(CUE, "mark").is_ok());
        self.run_until("the bystander's figures", || reports().len() > before);
        let report = reports().pop().expect("it was counted");
        serde_json::from_str(&report).expect("it is a measurement")
    }

    fn check_bystander(&self, attack: &Attack) {
        assert_eq!(self.bystander.gone(), None, "{}", attack.name);
        let counters = self.bystander.counters();
        let blamed =
            [counters.violations, counters.panics, counters.bad_payloads, counters.unhandled];
        assert_eq!(blamed, [0; 4], "{}: {counters:?}", attack.name);
        assert_eq!((counters.stale_replies, counters.timed_out), (0, 0), "{}", attack.name);
        let answers = self.answered.take();
        assert!(answers.iter().all(|right| *right), "{}: main got a wrong answer", attack.name);
        self.asked.set(self.asked.get() - answers.len());
    }
}

/// Runs an attacker in a thread of this process, and the stage until it is done.
pub fn beside<R: Send + 'static>(
    stage: &Stage,
    policy: Policy,
    part: impl FnOnce(&mut Session) -> R + Send + 'static,
) -> R {
    let attacker = start_beside(stage, policy, part);
    stage.run_until("the attacker is done", || attacker.is_finished());
    attacker.join().expect("it has found what it expects")
}

/// Starts an attacker in a thread of this process. Main gives it this policy.
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

pub fn socket_of(stage: &Stage) -> PathBuf {
    let files = endpoint_files(stage.name());
    let socket = files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "sock"));
    socket.expect("it is bound")
}

/// Registers main's listeners and handlers. They check payloads that an attacker can forge.
fn live_as_usual(stage: &Stage) -> Arc<Mutex<Vec<NeverAnswered>>> {
    stage.hear(NUMBER, |_, number| assert_ne!(*number, REFUSED));
    let refuse = |number: &u64| if *number == REFUSED { Err("refused".to_owned()) } else { Ok(()) };
    stage.ipc.validate(NUMBER, move |_, number| refuse(number)).unwrap();
    stage.hear(NOTHING, |_, ()| ());
    stage.hear(SETTINGS, |_, _| ());
    stage.hear(FLAG, |_, flag| {
        assert!(black_box(u8::from(*flag)) < 2, "every bool is 0 or 1");
    });
    stage.hear(TEXT, |_, text| assert!(str::from_utf8(black_box(text.as_bytes())).is_ok()));
    stage.hear(BYTES, |_, bytes| {
        // One byte of each cache line is enough.
        let sum = || bytes.iter().step_by(64).map(|byte| u64::from(black_box(*byte))).sum::<u64>();
        let first = sum();
        (0..2000).for_each(|_| spin_loop());
        assert_eq!(first, sum(), "a listener's payload does not change");
    });
    stage.answer(ADD, |_, [left, right]| Ok(left.wrapping_add(*right)));
    stage.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
    stage.answer(NEGATE, |_, flag| Ok(!*flag));
    let never_answered = Arc::new(Mutex::new(Vec::new()));
    let kept = never_answered.clone();
    stage.answer_later(READ, move |_, _, responder| {
        let mut kept = lock(&kept);
        if kept.len() >= 64 {
            kept.retain(|responder: &NeverAnswered| !responder.is_cancelled());
        }
        kept.push(responder);
    });
    never_answered
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn besieged() -> Policy {
    allow_everything().pending_invokes_max(16).attachment_bytes_max(4 << 20).attachments_max(4)
}

/// Checks that a session ended as the verdict says, with the right counters.
fn check_ending(attack: &Attack, ending: &Ending) {
    let Attack { name, verdict, .. } = attack;
    let Ending { details, counters, .. } = ending;
    let violations = match (verdict, &details.reason) {
        (Verdict::Violation(names), GoneReason::ProtocolViolation(violation)) => {
            assert!(names.contains(&violation.name()), "{name}: {violation}");
            1
        }
        (Verdict::Gone(expected), reason) if reason.name() == *expected => 0,
        (Verdict::Violation(_) | Verdict::Gone(_), reason) => {
            panic!("{name}: {reason}, {counters:?}")
        }
        (_, reason) => {
            let well = (&GoneReason::CleanExit, Some(0));
            assert_eq!((reason, details.exit_code), well, "{name}: {counters:?}");
            if let Verdict::Tolerated(count) = verdict { *count } else { 0 }
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

/// Invokes one method after another until main is gone. Reports the latency since the last sign at each sign.
fn stands_by(ipc: &Renderer) {
    let signs = ipc.cues();
    ipc.hear(TICK, |_, _| ());
    ipc.follow(NEWS, |_, _| ());
    ipc.answer(ASK, |_, number| Ok(number + 1));
    ipc.report("stands by");
    let mut took = Vec::new();
    for number in 0.. {
        let began = Instant::now();
        let sum = ipc.invoke_with(ADD, &[number, 1], Some(LIMIT)).and_then(Invocation::wait);
        if !ipc.is_connected() {
            return;
        }
        assert_eq!(sum, Ok(number + 1), "the attack does not change the reply");
        took.push(began.elapsed());
        if signs.came() {
            took.sort_unstable();
            let (invokes, median, longest) =
                (took.len(), took[took.len() / 2], took[took.len() - 1]);
            let latency = Latency { invokes, median, longest };
            ipc.report(serde_json::to_string(&latency).expect("it is a value of JSON"));
            took.clear();
        }
        if ipc.run_for(Duration::from_micros(200)).is_err() {
            return;
        }
    }
}

/// Plays the attacker. Arguments: the attack's name, main's socket, main's process and the bystander's.
fn play_attacker(arguments: &Arguments) {
    let attack = attacks::find(&arguments[0]);
    let path = PathBuf::from(&arguments[1]);
    let mut attacker = Attacker {
        // As main's user, while this process may open the socket's file. The kernel checks the right to connect later.
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
