//! One side dies at each step of the protocol in turn, and its peer goes on.
//!
//! Only with `--features kill-points`, which lets the library under test kill its process.

use std::{
    io::{self, PipeReader, Read},
    os::unix::process::ExitStatusExt,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tests::prelude::*;

/// The occurrences at which each point kills. At the first one everything may still be empty.
const OCCURRENCES: [u32; 2] = [1, 5];
/// The limit of a wait after the peer's death.
const PROMPTLY: Duration = Duration::from_secs(1);

/// The descriptors of this process, and its mappings of the library's memory. Over the portable backend a process that
/// died inside an event has left one of each behind.
fn held() -> [usize; 2] {
    let held = [open_descriptors(), mappings_of_the_library()];
    let left = left_behind().sessions;
    held.map(|count| count - left)
}

/// The points of one side and their occurrences, with the arguments of [`arm`].
fn runs(of: fn(KillPoint) -> bool) -> impl Iterator<Item = ([String; 2], String)> {
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
        occurrences.iter().map(move |nth| {
            ([place.to_string(), nth.to_string()], format!("{point:?}, occurrence {nth}"))
        })
    })
}

/// Checks that every send that returned has arrived, and at most one more.
fn check_arrivals(run: &str, sent: u64, heard: &Heard) {
    let count = heard.count.load(Relaxed);
    assert!(!heard.out_of_order.load(Relaxed), "{run}: the numbers are out of order");
    assert!(
        [sent, sent + 1].contains(&count),
        "{run}: {sent} sends returned, {count} numbers came"
    );
}

#[test]
fn main_comes_through_wherever_a_renderer_dies() {
    let stage = Stage::with(config());
    for ([place, nth], run) in runs(|point| point.sides().1) {
        // Each run has its own listeners.
        stage.ipc.remove_all_listeners_of(NUMBER);
        stage.ipc.remove_all_listeners_of(BYTES);
        stage.ipc.remove_handler(ECHO);
        stage.ipc.remove_handler(READ);
        let heard = Arc::<Heard>::default();
        listen_in_main(&stage.ipc, &heard);

        let (reader, writer) = io::pipe().unwrap();
        let mut command = process(dies_as_renderer, &[&place, &nth]);
        command.stdout(writer);
        let window = stage.launch(command, allow_everything());
        let pushing = thread::spawn({
            let (window, heard) = (window.clone(), heard.clone());
            move || push_from_main(&window, &heard, None)
        });
        let ending = stage.run_until_gone(&window);
        let gone = Instant::now();

        let RenderProcessGone { reason, exit_code } = ending.details;
        assert!(
            [GoneReason::Killed, GoneReason::LaunchFailed].contains(&reason),
            "{run}: {reason}"
        );
        assert_eq!(exit_code, Some(Signal::KILL.as_raw()), "{run}");
        let is_over = within(PROMPTLY, || pushing.is_finished());
        assert!(is_over, "{run}: a thread still waits for the dead renderer");
        pushing.join().unwrap();
        assert!(gone.elapsed() < PROMPTLY, "{run}");
        check_arrivals(&run, sends_that_returned(reader), &heard);
        let counters = window.counters();
        assert_eq!((counters.violations, counters.panics), (0, 0), "{run}");
    }

    // Main still serves renderers.
    let healthy = stage.play(stays);
    stage.run_until_reported("connected");
    stage.close(&healthy);
}

#[test]
fn a_renderer_comes_through_wherever_main_dies() {
    let mut before: Option<[usize; 2]> = None;
    for ([place, nth], run) in runs(|point| point.sides().0) {
        let name = SweptName(unique_name("kill-point"));
        let (reader, writer) = io::pipe().unwrap();
        let mut command = process(dies_as_main, &[&place, &nth, &name.0]);
        let mut main = Killed(command.stdin(Stdio::null()).stdout(writer).spawn().unwrap());
        // The command has a copy of the pipe's end.
        drop(command);
        eventually("main is there", || !endpoint_files(&name.0).is_empty());

        let heard = Arc::<Heard>::default();
        let mut attached = None;
        eventually("main admits the renderer, or dies", || {
            match IpcRenderer::attach_with(&name.0, CONTRACT, config()) {
                Ok(ipc) => attached = Some(ipc),
                Err(ConnectError::NoSuchEndpoint { .. }) => return false,
                // Not listening yet, or dead.
                Err(ConnectError::Stale { .. }) => return main.status().is_some(),
                // It died meanwhile.
                Err(_) => {}
            }
            true
        });
        let handshaken = attached.is_some();
        if let Some(ipc) = attached {
            play_renderer(&ipc, &heard, None);
            assert!(!ipc.is_connected());
        }
        let told = Instant::now();
        let status = main.end();
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{run}: {status}");
        assert!(told.elapsed() < PROMPTLY, "{run}");

        let sent = sends_that_returned(reader);
        check_arrivals(&run, sent, &heard);
        if handshaken && sent > 0 {
            assert!(heard.told.load(Relaxed), "{run}: the pending invoke was not told of the end");
        }
        // The name is free for the next main.
        drop(IpcMain::bind_with(&name.0, CONTRACT, config()).expect("the dead main holds no name"));

        // The watcher may take a moment to leave.
        let before = before.get_or_insert_with(held);
        assert!(
            within(PROMPTLY, || held()[0] <= before[0] && held()[1] <= before[1]),
            "{run}: held {before:?}, holds {:?}",
            held()
        );
        // The first count may have come a moment too early as well.
        let now = held();
        *before = [before[0].min(now[0]), before[1].min(now[1])];
    }
}

// --- renderers and main processes ---------------------------------------------------------------

/// Arguments: POINT NTH.
fn dies_as_renderer(arguments: &Arguments) {
    arm(arguments);
    let ipc = arguments.connect_with(config());
    play_renderer(&ipc, &Arc::default(), Some(&mut io::stdout()));
}

/// Arguments: POINT NTH ENDPOINT.
fn dies_as_main(arguments: &Arguments) {
    let ipc = IpcMain::bind_with(&arguments[2], CONTRACT, config()).expect("the name is free");
    ipc.on_attach(|_| Ok(allow_everything()));
    listen_in_main(&ipc, &Arc::default());
    ipc.on_did_connect(|window| {
        let window = window.clone();
        thread::spawn(move || {
            push_from_main(&window, &Arc::default(), Some(&mut io::stdout()));
        });
    });
    arm(arguments);
    ipc.run().expect("it runs until it dies");
}

/// Arms a point by its place in the list.
fn arm(arguments: &Arguments) {
    arm_kill_point(KillPoint::ALL[arguments.number(0) as usize], arguments.number(1) as u32);
}

// --- what each side does ------------------------------------------------------------------------

/// Longer than a ring carries.
const LARGE: usize = 100_000;
/// With one in this many numbers goes a long payload, an invoke or a large payload.
const LONG_EVERY: u64 = 4;
const ASK_EVERY: u64 = 16;
const LARGE_EVERY: u64 = 32;
/// A listener is slow once in this many messages, so that the ring becomes full and the sender waits.
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

/// The messages of one side.
#[derive(Default)]
struct Heard {
    /// The count of numbers. `out_of_order`: one of them was not the next.
    count: AtomicU64,
    out_of_order: AtomicBool,
    /// The invoke that is never answered was told that the peer is gone.
    told: AtomicBool,
}

impl Heard {
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

/// The standard output of a process that will die, for each number whose sending has returned.
type Notebook<'a> = Option<&'a mut io::Stdout>;

fn note(notebook: &mut Notebook<'_>, number: u64) {
    if let Some(output) = notebook {
        output.write_all(&number.to_le_bytes()).expect("the test reads it");
        output.flush().expect("the test reads it");
    }
}

/// Reads how many sends of a dead process had returned.
fn sends_that_returned(mut reader: PipeReader) -> u64 {
    let mut notes = Vec::new();
    reader.read_to_end(&mut notes).expect("a pipe can be read");
    (notes.len() / size_of::<u64>()) as u64
}

/// Sends, invokes and attaches until main is gone.
fn play_renderer(ipc: &IpcRenderer, heard: &Arc<Heard>, mut notebook: Notebook<'_>) {
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
        if let Err(error) = say(ipc, number, &mut notebook) {
            assert!(is_gone(&error), "{error}");
            break;
        }
    }
    // Messages that main has committed are still delivered.
    let ended = ipc.run_for(LIMIT);
    assert!(matches!(ended, Err(RunError::MainGone)), "{ended:?}");
}

fn say(ipc: &IpcRenderer, number: u64, notebook: &mut Notebook<'_>) -> Result<(), InvokeError> {
    ipc.send(NUMBER, &number)?;
    note(notebook, number);
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

fn listen_in_main(ipc: &IpcMain, heard: &Arc<Heard>) {
    let numbers = heard.clone();
    ipc.on(NUMBER, move |_, number| numbers.take(*number)).expect("the contract has it");
    ipc.on(BYTES, |_, bytes| check(bytes)).expect("the contract has it");
    ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).expect("there is no other");
    let kept = Notes::new();
    ipc.handle_deferred(READ, move |_, _, responder| kept.add(responder)).expect("the same");
}

/// Pushes, invokes and attaches until the renderer is gone. Not on the loop's thread.
fn push_from_main(window: &WebContents, heard: &Arc<Heard>, mut notebook: Notebook<'_>) {
    let told = heard.clone();
    match window.invoke(ASK, &1, LIMIT) {
        // No handler answers it.
        Ok(invocation) => invocation.then(move |result| told.tell(&result)),
        Err(error) => return assert!(is_gone(&error), "{error}"),
    }
    for number in 0.. {
        if let Err(error) = push(window, number, &mut notebook) {
            return assert!(is_gone(&error), "{error}");
        }
    }
}

fn push(window: &WebContents, number: u64, notebook: &mut Notebook<'_>) -> Result<(), InvokeError> {
    window.send(TICK, &number)?;
    note(notebook, number);
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
    let len = bytes.len();
    let as_sent = if len == LARGE { is_large(bytes, LARGE, 1) } else { bytes == pattern(len) };
    assert!(as_sent, "{len} bytes are not as they were sent");
}

fn is_gone(error: &InvokeError) -> bool {
    matches!(error, InvokeError::Gone { .. } | InvokeError::Send(SendError::Gone { .. }))
}

tests::scenes!(one at a time);
