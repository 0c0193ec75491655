//! One side dies at each step of the protocol in turn, and the other comes through.
//!
//! Only with `--features kill-points`: the library that is tested has the means to die in it.

use std::{
    fs::File,
    io::{self, PipeReader, Read},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tests::prelude::*;

/// At which occurrences each point kills: the first may be while everything is still empty.
const OCCURRENCES: [u32; 2] = [1, 5];
/// A wait must end so soon after the other side's death.
const PROMPTLY: Duration = Duration::from_secs(1);

/// What this process holds of the library's: descriptors of any kind, and mappings. Over the portable backend a process
/// that died inside an event has left one of each behind.
fn held() -> (usize, usize) {
    let held = (open_descriptors(), mappings_of_the_library());
    let left = left_behind().sessions;
    (held.0 - left, held.1 - left)
}

/// The points of one side, with their places in the list and the occurrences that it comes to.
fn runs(of: fn(KillPoint) -> bool) -> impl Iterator<Item = (usize, KillPoint, u32)> {
    let points = KillPoint::ALL.iter().copied().enumerate().filter(move |(_, point)| of(*point));
    points.flat_map(|(place, point)| {
        let once = matches!(
            point,
            KillPoint::HelloSent
                | KillPoint::HelloReceived
                | KillPoint::SessionOpened
                | KillPoint::WelcomeSent
                | KillPoint::WelcomeReceived
                | KillPoint::MemoryMapped
                | KillPoint::ReadySent
                | KillPoint::ReadyReceived
        );
        let occurrences = if once { &OCCURRENCES[..1] } else { &OCCURRENCES[..] };
        occurrences.iter().map(move |nth| (place, point, *nth))
    })
}

#[test]
fn main_comes_through_wherever_a_renderer_dies() {
    let stage = Stage::with(config());
    for (place, point, nth) in runs(|point| point.sides().1) {
        // Each run has its own listeners.
        stage.ipc.remove_all_listeners_of(NUMBER);
        stage.ipc.remove_all_listeners_of(BYTES);
        stage.ipc.remove_handler(ECHO);
        stage.ipc.remove_handler(READ);
        let heard = Heard::default();
        listen_in_main(&stage.ipc, &heard);

        let (reader, writer) = io::pipe().unwrap();
        let mut command = process(dies_as_renderer, &[&place.to_string(), &nth.to_string()]);
        command.stdout(writer);
        let window = stage.launch(command, allow_everything());
        let pushing = thread::spawn({
            let (window, heard) = (window.clone(), heard.clone());
            move || push_from_main(&window, &heard, &mut Notebook::nowhere())
        });
        let ending = stage.run_until_gone(&window);
        let gone = Instant::now();

        let RenderProcessGone { reason, exit_code } = ending.details;
        let possible = [GoneReason::Killed, GoneReason::LaunchFailed];
        assert!(possible.contains(&reason), "{point:?} {nth}: {reason}");
        assert_eq!(exit_code, Some(Signal::KILL.as_raw()), "{point:?} {nth}");
        assert!(
            within(PROMPTLY, || pushing.is_finished()),
            "{point:?} {nth}: a thread still waits for the dead"
        );
        pushing.join().unwrap();
        assert!(gone.elapsed() < PROMPTLY, "{point:?} {nth}");
        let sent = Notebook::read(reader);
        let received = heard.count();
        assert!(
            received == Some(sent) || received == Some(sent + 1),
            "{point:?} {nth}: {sent} sends returned, {received:?} numbers came"
        );
        let counters = window.counters();
        assert_eq!((counters.violations, counters.panics), (0, 0), "{point:?} {nth}");
    }

    // Main is as good as new.
    let healthy = stage.play(stays);
    stage.run_until_reported("connected");
    stage.close(&healthy);
}

#[test]
fn a_renderer_comes_through_wherever_main_dies() {
    let mut before = None;
    for (place, point, nth) in runs(|point| point.sides().0) {
        let name = SweptName(unique_name("kill-point"));
        let (reader, writer) = io::pipe().unwrap();
        let mut command = process(dies_as_main, &[&place.to_string(), &nth.to_string(), &name.0]);
        let mut main = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
        // The command has a copy of the pipe's end.
        drop(command);
        eventually("main is there", || !endpoint_files(&name.0).is_empty());

        let heard = Heard::default();
        let mut attached = None;
        eventually("main lets us in, or dies", || {
            match IpcRenderer::attach_with(&name.0, CONTRACT, config()) {
                Ok(ipc) => attached = Some(ipc),
                Err(ConnectError::NoSuchEndpoint { .. }) => return false,
                Err(ConnectError::Stale { .. }) => {
                    // Not listening yet, or dead.
                    return main.try_wait().unwrap().is_some();
                }
                // It died meanwhile.
                Err(_) => {}
            }
            true
        });
        let handshaken = attached.is_some();
        if let Some(ipc) = attached {
            play_renderer(&ipc, &heard, &mut Notebook::nowhere());
            assert!(!ipc.is_connected());
        }
        let told = Instant::now();
        eventually("main is dead", || main.try_wait().unwrap().is_some());
        let status = main.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{point:?} {nth}: {status}");
        assert!(told.elapsed() < PROMPTLY, "{point:?} {nth}");

        let sent = Notebook::read(reader);
        let received = heard.count();
        assert!(
            received == Some(sent) || received == Some(sent + 1),
            "{point:?} {nth}: {sent} pushes returned, {received:?} numbers came"
        );
        if handshaken && sent > 0 {
            assert!(heard.was_told(), "{point:?} {nth}: nobody was told of an invoke's end");
        }
        // The name is free for the next main.
        drop(IpcMain::bind_with(&name.0, CONTRACT, config()).expect("the dead hold no name"));

        // Its watcher may take a moment to leave.
        let before = before.get_or_insert_with(held);
        assert!(
            within(PROMPTLY, || held().0 <= before.0 && held().1 <= before.1),
            "{point:?} {nth}: held {before:?}, holds {:?}",
            held()
        );
        // The first count may have come a moment too early as well.
        let now = held();
        *before = (before.0.min(now.0), before.1.min(now.1));
    }
}

// --- renderers and main processes ---------------------------------------------------------------

/// The point by its place in the list. Arguments: POINT NTH.
fn dies_as_renderer(arguments: &Arguments) {
    arm(arguments);
    let ipc = arguments.connect_with(config());
    play_renderer(&ipc, &Heard::default(), &mut Notebook::of_this_process());
}

/// For a renderer that attaches. Arguments: POINT NTH ENDPOINT.
fn dies_as_main(arguments: &Arguments) {
    let ipc = IpcMain::bind_with(&arguments[2], CONTRACT, config()).expect("the name is free");
    ipc.on_attach(|_| Ok(allow_everything()));
    listen_in_main(&ipc, &Heard::default());
    ipc.on_did_connect(|window| {
        let window = window.clone();
        thread::spawn(move || {
            push_from_main(&window, &Heard::default(), &mut Notebook::of_this_process());
        });
    });
    arm(arguments);
    ipc.run().expect("it runs until it dies");
}

fn arm(arguments: &Arguments) {
    arm_kill_point(KillPoint::ALL[arguments.number(0) as usize], arguments.number(1) as u32);
}

// --- what each side does ------------------------------------------------------------------------

/// Longer than a ring carries.
const LARGE: usize = 100_000;
/// Of what is sent, so much is long, asked or large: one in so many numbers.
const LONG_EVERY: u64 = 4;
const ASK_EVERY: u64 = 16;
const LARGE_EVERY: u64 = 32;
/// A listener that is slow once in so many messages: then the ring is full, and the sender waits.
const SLOW_EVERY: u64 = 64;
const SLOW: Duration = Duration::from_millis(3);

/// Rings that are soon full and soon lapped, and sides that sleep whenever they can.
fn config() -> Config {
    Config {
        wait: WaitStrategy::Park,
        main_capacity: 4096,
        renderer_capacity: 4096,
        ..tests::stage::config()
    }
}

/// What one side has heard: numbers from 0 on, and what it was told of the end.
#[derive(Clone, Default)]
struct Heard {
    count: Arc<AtomicU64>,
    out_of_order: Arc<AtomicBool>,
    told: Arc<AtomicBool>,
}

impl Heard {
    /// How many numbers came; `None` if one of them was not the next.
    fn count(&self) -> Option<u64> {
        (!self.out_of_order.load(Relaxed)).then(|| self.count.load(Relaxed))
    }

    /// Whether the invoke that is never answered was told that the other side is gone.
    fn was_told(&self) -> bool {
        self.told.load(Relaxed)
    }

    fn take(&self, number: u64) {
        if self.count.fetch_add(1, Relaxed) != number {
            self.out_of_order.store(true, Relaxed);
        }
        if number % SLOW_EVERY == SLOW_EVERY - 1 {
            thread::sleep(SLOW);
        }
    }

    fn tell<R, E>(&self, result: &Result<R, InvokeError<E>>)
    where
        E: std::fmt::Debug + std::fmt::Display,
    {
        self.told.store(matches!(result, Err(InvokeError::Gone { .. })), Relaxed);
    }
}

/// A pipe into which a process writes each number whose sending has returned, so that it is known after
/// its death how many there were.
struct Notebook(File);

impl Notebook {
    /// On the standard output, which its test has given it.
    fn of_this_process() -> Self {
        let output = io::stdout();
        let descriptor = rustix::io::dup(&output).expect("there is a standard output");
        Self(File::from(descriptor))
    }

    /// For a side that will not die.
    fn nowhere() -> Self {
        Self(File::create("/dev/null").expect("it is there"))
    }

    fn note(&mut self, number: u64) {
        self.0.write_all(&number.to_le_bytes()).expect("somebody reads it");
    }

    /// How many sends had returned. The writer is dead.
    fn read(reader: PipeReader) -> u64 {
        let mut notes = Vec::new();
        File::from(OwnedFd::from(reader)).read_to_end(&mut notes).expect("a pipe can be read");
        (notes.len() / size_of::<u64>()) as u64
    }
}

/// Sends, asks and attaches until main is gone.
fn play_renderer(ipc: &IpcRenderer, heard: &Heard, notebook: &mut Notebook) {
    let ticks = heard.clone();
    ipc.on(TICK, move |_, number| ticks.take(*number)).expect("it is allowed");
    ipc.on(BLOB, |_, bytes| check(bytes)).expect("it is allowed");
    ipc.handle(ADD, |_, [left, right]| Ok(left + right)).expect("there is no other");
    let told = heard.clone();
    match ipc.invoke_with(READ, "for ever", None) {
        Ok(invocation) => invocation.then(move |result| told.tell(&result)),
        Err(error) => return assert!(is_gone(&error), "{error}"),
    }
    for number in 0.. {
        if let Err(error) = say(ipc, number, notebook) {
            assert!(is_gone(&error), "{error}");
            break;
        }
    }
    // What main has committed is still delivered.
    let ended = ipc.run_for(LIMIT);
    assert!(matches!(ended, Err(RunError::MainGone)), "{ended:?}");
}

fn say(ipc: &IpcRenderer, number: u64, notebook: &mut Notebook) -> Result<(), InvokeError> {
    ipc.send(NUMBER, &number)?;
    notebook.note(number);
    if number.is_multiple_of(LONG_EVERY) {
        ipc.send(BYTES, &pattern(number as usize % 1500))?;
    }
    if number.is_multiple_of(ASK_EVERY) {
        let bytes = pattern(number as usize % 900);
        assert_eq!(ipc.invoke(ECHO, &bytes)?.wait()?, bytes);
        // Sleeps, if there is nothing.
        match ipc.run_for(Duration::from_millis(1)) {
            Ok(()) | Err(RunError::MainGone) => {}
            Err(error) => panic!("{error}"),
        }
    }
    if number.is_multiple_of(LARGE_EVERY) {
        ipc.send(BYTES, &large(LARGE, 1))?;
    }
    Ok(())
}

/// Registers what main does when it is asked.
fn listen_in_main(ipc: &IpcMain, heard: &Heard) {
    let numbers = heard.clone();
    ipc.on(NUMBER, move |_, number| numbers.take(*number)).expect("the contract has it");
    ipc.on(BYTES, |_, bytes| check(bytes)).expect("the contract has it");
    ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).expect("there is no other");
    let kept = Notes::new();
    ipc.handle_deferred(READ, move |_, _, responder| kept.add(responder)).expect("the same");
}

/// Pushes, asks and attaches until the renderer is gone. Not on the loop's thread.
fn push_from_main(window: &WebContents, heard: &Heard, notebook: &mut Notebook) {
    let told = heard.clone();
    match window.invoke(ASK, &1, LIMIT) {
        // Nobody handles it, until the renderer is gone.
        Ok(invocation) => invocation.then(move |result| told.tell(&result)),
        Err(error) => return assert!(is_gone(&error), "{error}"),
    }
    for number in 0.. {
        if let Err(error) = push(window, number, notebook) {
            return assert!(is_gone(&error), "{error}");
        }
    }
}

fn push(window: &WebContents, number: u64, notebook: &mut Notebook) -> Result<(), InvokeError> {
    window.send(TICK, &number)?;
    notebook.note(number);
    if number.is_multiple_of(LONG_EVERY) {
        window.send(BLOB, &pattern(number as usize % 1500))?;
    }
    if number.is_multiple_of(ASK_EVERY) {
        assert_eq!(window.invoke(ADD, &[number, 1], LIMIT)?.wait()?, number + 1);
    }
    if number.is_multiple_of(LARGE_EVERY) {
        window.send(BLOB, &large(LARGE, 1))?;
    }
    Ok(())
}

fn check(bytes: &[u8]) {
    let as_sent = if bytes.len() == LARGE {
        is_large(bytes, LARGE, 1)
    } else {
        bytes == pattern(bytes.len())
    };
    assert!(as_sent, "{} bytes are not as they were sent", bytes.len());
}

fn is_gone(error: &InvokeError) -> bool {
    matches!(error, InvokeError::Gone { .. } | InvokeError::Send(SendError::Gone { .. }))
}

tests::scenes!(one at a time);
