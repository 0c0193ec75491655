//! One side dies at each step of the protocol in turn, and the other comes through.
//!
//! Only with `--features kill-points`: the library that is tested has the means to die in it.

use std::{fs, io, os::unix::process::ExitStatusExt, process::Stdio, sync::Mutex};

use tests::{
    kill_points::{
        Heard, Notebook, config, connect, listen_in_main, play_renderer, push_from_main,
    },
    prelude::*,
};

/// At which occurrences each point kills: the first may be while everything is still empty.
const OCCURRENCES: [u32; 2] = [1, 5];
/// A wait must end so soon after the other side's death.
const PROMPTLY: Duration = Duration::from_secs(1);

/// The tests look at what this process holds.
static ALONE: Mutex<()> = Mutex::new(());

/// What this process holds of the library's: descriptors of any kind, and mappings.
fn held() -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").expect("proc is mounted");
    (open_descriptors(), maps.lines().filter(|line| is_of_the_library(line)).count())
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
    let _alone = ALONE.lock().unwrap();
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
    healthy.close();
    stage.run_until_gone(&healthy);
}

#[test]
fn a_renderer_comes_through_wherever_main_dies() {
    let _alone = ALONE.lock().unwrap();
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
        let no_more = |now: (usize, usize)| now.0 <= before.0 && now.1 <= before.1;
        assert!(
            within(PROMPTLY, || no_more(held())),
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
    let ipc = connect().expect("main is there");
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

fn arm(arguments: &[String]) {
    arm_kill_point(KillPoint::ALL[number(arguments, 0) as usize], number(arguments, 1) as u32);
}

tests::scenes!();
