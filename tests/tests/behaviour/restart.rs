//! A renderer that crashes is launched again, with patience and not for ever.

use tests::prelude::*;

const MS: Duration = Duration::from_millis(1);

fn on_crash(max: u32) -> LaunchOptions {
    let restarts = Restarts { max, backoff: 40 * MS, backoff_max: 100 * MS, ..Restarts::default() };
    LaunchOptions { restart: RestartPolicy::OnCrash(restarts), ..LaunchOptions::default() }
}

/// A restart: the old window's number, and the new one if there is one.
type Restarted = (u32, Option<WebContents>, Instant);

fn note_restarts(stage: &Stage) -> Notes<Restarted> {
    let restarted = Notes::new();
    let notes = restarted.clone();
    stage.ipc.on_render_process_restarted(move |old, new| {
        notes.add((old.id(), new.ok().cloned(), Instant::now()));
    });
    restarted
}

fn connected(stage: &Stage, window: &WebContents) {
    stage.run_until("it has connected", || !stage.reports_of(window).is_empty());
}

#[test]
fn a_renderer_that_is_killed_comes_back_in_a_window_of_its_own_and_goes_on() {
    let stage = Stage::new();
    let restarted = note_restarts(&stage);
    let mut window = stage.launch_with(renderer(stays, &[]), allow_everything(), on_crash(3));
    for round in 0..3_u32 {
        connected(&stage, &window);
        let process = window.os_process_id();
        signal(process, Signal::KILL);
        let ending = stage.run_until_gone(&window);
        let gone_at = Instant::now();
        assert_eq!(ending.details.reason, GoneReason::Killed);
        let wait = (40 * MS * 2_u32.pow(round)).min(100 * MS);
        assert_eq!(window.restarts_in(), Some(wait));
        stage.run_until("it is launched again", || restarted.len() == 1);
        let [(old, Some(new), at)] = &restarted.take()[..] else { panic!("one restart") };
        assert_eq!(*old, window.id());
        assert!(*at - gone_at >= wait - 5 * MS, "after {:?}", *at - gone_at);
        assert!(new.id() > window.id() && new.gone().is_none());
        assert!(!exists(process));
        // The old window stays what it was.
        assert!(matches!(window.send(TICK, &1), Err(SendError::Gone { .. })));
        new.send(TICK, &1).unwrap();
        window = new.clone();
    }
    // That was the last time.
    connected(&stage, &window);
    stage.kill(&window);
    assert_eq!(window.restarts_in(), None);
    stage.ipc.run_for(300 * MS).unwrap();
    assert!(restarted.is_empty());
    assert!(stage.ipc.windows().is_empty());
}

#[test]
fn only_a_crash_is_followed_by_a_restart() {
    let stage = Stage::new();
    let restarted = note_restarts(&stage);
    let launch = || {
        let window =
            stage.launch_with(renderer(ends_at_a_sign, &[]), allow_everything(), on_crash(3));
        connected(&stage, &window);
        window
    };
    let ends_well = launch();
    ends_well.send(TICK, &0).unwrap();
    stage.run_until_gone(&ends_well);
    let is_closed = launch();
    stage.close(&is_closed);
    let is_forgotten = stage.play(ends_at_a_sign);
    connected(&stage, &is_forgotten);
    is_forgotten.send(TICK, &1).unwrap();
    stage.run_until_gone(&is_forgotten);
    stage.ipc.run_for(200 * MS).unwrap();
    assert!(restarted.is_empty());

    let crashes = launch();
    crashes.send(TICK, &1).unwrap();
    let ending = stage.run_until_gone(&crashes);
    assert_eq!(ending.details.reason, GoneReason::Crashed);
    stage.run_until("it is launched again", || restarted.len() == 1);
}

#[test]
fn a_program_that_never_connects_is_tried_so_many_times_and_no_more() {
    let stage = Stage::new();
    let restarted = note_restarts(&stage);
    let first = stage.launch_with(Command::new("/bin/false"), Policy::deny_all(), on_crash(2));
    stage.run_until("all attempts have failed", || stage.endings().len() == 3);
    stage.ipc.run_for(200 * MS).unwrap();
    let endings = stage.endings();
    assert_eq!(endings.len(), 3);
    assert!(endings.iter().all(|ending| ending.details.reason == GoneReason::LaunchFailed));
    assert!(endings.iter().all(|ending| ending.details.exit_code == Some(1)));
    let olds: Vec<u32> = restarted.take().iter().map(|(old, ..)| *old).collect();
    assert_eq!(olds, [first.id(), first.id() + 1]);
}

#[test]
fn a_program_that_has_vanished_is_told_of_and_tried_again() {
    let stage = Stage::new();
    let restarted = note_restarts(&stage);
    let program = std::env::temp_dir().join(unique_name("ringbridge-program"));
    std::fs::copy("/bin/false", &program).unwrap();
    let window = stage.launch_with(Command::new(&program), Policy::deny_all(), on_crash(3));
    std::fs::remove_file(&program).unwrap();
    stage.run_until("all attempts have failed", || restarted.len() == 3);
    assert!(restarted.take().iter().all(|(old, new, _)| *old == window.id() && new.is_none()));
    assert_eq!(window.restarts_in(), None);
    assert!(stage.ipc.windows().is_empty());
}

#[test]
fn closing_the_window_that_crashed_or_the_endpoint_ends_the_waiting() {
    let stage = Stage::new();
    let restarted = note_restarts(&stage);
    let launch = || {
        let window = stage.launch_with(renderer(stays, &[]), allow_everything(), on_crash(3));
        connected(&stage, &window);
        stage.kill(&window);
        window
    };
    launch().close();
    stage.ipc.run_for(200 * MS).unwrap();
    assert!(restarted.is_empty());

    launch();
    stage.ipc.close().unwrap();
    stage.ipc.run_for(200 * MS).unwrap();
    assert!(restarted.is_empty());
}

/// Ends well at a tick of 0, and crashes at any other.
fn ends_at_a_sign(ipc: &Renderer) {
    ipc.hear(TICK, |_, number| {
        if *number == 0 {
            std::process::exit(0);
        }
        std::process::abort();
    });
    ipc.report("here");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}
