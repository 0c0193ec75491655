//! Main launches a crashed renderer again, after a pause and not for ever.

use tests::prelude::*;

const MS: Duration = Duration::from_millis(1);

fn on_crash(max: u32) -> LaunchOptions {
    let restarts = Restarts { max, backoff: 40 * MS, backoff_max: 100 * MS, ..Restarts::default() };
    LaunchOptions { restart: RestartPolicy::OnCrash(restarts), ..LaunchOptions::default() }
}

/// A restart: the old window's number, the new window if there is one, and the time.
type Restarted = (u32, Option<WebContents>, Instant);

fn stage_with_restarts() -> (Stage, Notes<Restarted>) {
    let (stage, restarted) = (Stage::new(), Notes::new());
    let note = restarted.adding();
    stage.ipc.on_render_process_restarted(move |old, new| {
        note((old.id(), new.ok().cloned(), Instant::now()));
    });
    (stage, restarted)
}

/// Launches a renderer that is restarted after crashes, and runs until it has connected.
fn launch(stage: &Stage) -> WebContents {
    let window = stage.launch_with(renderer(stays, &[]), allow_everything(), on_crash(3));
    connected(stage, &window);
    window
}

fn connected(stage: &Stage, window: &WebContents) {
    stage.run_until("it has connected", || !stage.reports_of(window).is_empty());
}

#[test]
fn a_killed_renderer_comes_back_in_a_window_of_its_own_and_goes_on() {
    let (stage, restarted) = stage_with_restarts();
    let mut window = launch(&stage);
    for round in 0..3_u32 {
        let process = window.os_process_id();
        let ending = stage.kill(&window);
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
        // The old window does not become the new one.
        assert!(matches!(window.send(TICK, &1), Err(SendError::Gone { .. })));
        new.send(TICK, &1).unwrap();
        window = new.clone();
        connected(&stage, &window);
    }
    // That was the last time.
    stage.kill(&window);
    assert_eq!(window.restarts_in(), None);
    stage.ipc.run_for(300 * MS).unwrap();
    assert!(restarted.is_empty());
    assert!(stage.ipc.windows().is_empty());
}

#[test]
fn a_program_that_never_connects_is_launched_as_often_as_allowed_and_no_more() {
    let (stage, restarted) = stage_with_restarts();
    let first = stage.launch_with(Command::new("/bin/false"), Policy::deny_all(), on_crash(2));
    stage.run_until("all attempts have failed", || stage.endings().len() == 3);
    stage.ipc.run_for(200 * MS).unwrap();
    let details = RenderProcessGone { reason: GoneReason::LaunchFailed, exit_code: Some(1) };
    let endings: Vec<_> = stage.endings().into_iter().map(|ending| ending.details).collect();
    assert_eq!(endings, [details.clone(), details.clone(), details]);
    let olds: Vec<u32> = restarted.take().iter().map(|(old, ..)| *old).collect();
    assert_eq!(olds, [first.id(), first.id() + 1]);
}

#[test]
fn a_program_that_has_vanished_is_reported_and_tried_again() {
    let (stage, restarted) = stage_with_restarts();
    let folder = Folder::new("program");
    let program = folder.join("false");
    std::fs::copy("/bin/false", &program).unwrap();
    let window = stage.launch_with(Command::new(&program), Policy::deny_all(), on_crash(3));
    std::fs::remove_file(&program).unwrap();
    stage.run_until("all attempts have failed", || restarted.len() == 3);
    assert!(restarted.take().iter().all(|(old, new, _)| *old == window.id() && new.is_none()));
    assert_eq!(window.restarts_in(), None);
    assert!(stage.ipc.windows().is_empty());
}

#[test]
fn closing_the_crashed_window_or_the_endpoint_prevents_the_restart() {
    let (stage, restarted) = stage_with_restarts();
    let crashed = || {
        let window = launch(&stage);
        stage.kill(&window);
        window
    };
    crashed().close();
    stage.ipc.run_for(200 * MS).unwrap();
    assert!(restarted.is_empty());

    crashed();
    stage.ipc.close().unwrap();
    stage.ipc.run_for(200 * MS).unwrap();
    assert!(restarted.is_empty());
}
