//! Main notices who does not take its messages any more, and who does again.

use tests::prelude::*;

const AFTER: Duration = Duration::from_millis(300);

/// What became of whom, and when.
type Changes = Notes<(u32, &'static str, Instant)>;

/// A stage that sleeps whenever it can, and notes who does not respond and who does again.
fn watchful_stage() -> (Stage, Changes) {
    let wait = WaitStrategy::Park;
    let stage = Stage::with(Config { wait, unresponsive_after: AFTER, ..config() });
    let changes = Notes::new();
    let notes = changes.clone();
    stage.ipc.on_unresponsive(move |window| {
        notes.add((window.id(), "unresponsive", Instant::now()));
    });
    let notes = changes.clone();
    stage.ipc.on_responsive(move |window| notes.add((window.id(), "responsive", Instant::now())));
    stage.answer(ASK, |_, number| Ok(*number));
    (stage, changes)
}

fn play_and_listen(stage: &Stage, scene: RendererScene) -> WebContents {
    let window = stage.play(scene);
    stage.run_until("it listens", || !stage.reports_of(&window).is_empty());
    window
}

fn stop(window: &WebContents) {
    signal(window.os_process_id(), Signal::STOP);
    eventually("it is stopped", || is_stopped(window.os_process_id()));
}

/// Runs the loop in one go, until another thread finds what it waits for.
fn run_until_noted(stage: &Stage, what: &str, changes: &Changes, count: usize) {
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually(what, || changes.len() == count);
            stage.ipc.stop();
        });
        stage.ipc.run().unwrap();
    });
}

#[test]
fn a_renderer_that_is_stopped_is_unresponsive_until_it_goes_on() {
    let (stage, changes) = watchful_stage();
    let [window, other] = [(); 2].map(|()| play_and_listen(&stage, takes_ticks));
    stop(&window);
    // From another thread, while the loop sleeps without a deadline.
    let (sends, also) = (window.clone(), other.clone());
    let sending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        also.send(TICK, &1).unwrap();
        sends.send(TICK, &1).unwrap();
        Instant::now()
    });
    run_until_noted(&stage, "it is noticed", &changes, 1);
    let sent_at = sending.join().unwrap();
    let [(who, what, at)] = changes.take()[..] else { panic!("one change") };
    assert_eq!((who, what), (window.id(), "unresponsive"));
    assert!(at - sent_at >= AFTER, "{:?}", at - sent_at);
    assert!(at - sent_at < 10 * AFTER, "{:?}", at - sent_at);
    assert_eq!(window.gone(), None);

    signal(window.os_process_id(), Signal::CONT);
    run_until_noted(&stage, "that it goes on is noticed", &changes, 1);
    let [(who, what, _)] = changes.take()[..] else { panic!("one change") };
    assert_eq!((who, what), (window.id(), "responsive"));

    // It is noticed again, from the loop's own thread too.
    stop(&window);
    window.send(TICK, &2).unwrap();
    run_until_noted(&stage, "it is noticed again", &changes, 1);
    assert_eq!(changes.take()[0].1, "unresponsive");
    // Its end is no response.
    stage.kill(&window);
    stage.close(&other);
    assert!(changes.is_empty());
}

#[test]
fn a_renderer_in_an_endless_loop_is_unresponsive_though_it_was_awake() {
    let (stage, changes) = watchful_stage();
    let window = play_and_listen(&stage, loops_without_end);
    // It takes the first, and is awake when the others come, so that nobody rings for them.
    for number in 0..3 {
        window.send(TICK, &number).unwrap();
    }
    run_until_noted(&stage, "it is noticed", &changes, 1);
    assert_eq!(changes.take()[0].1, "unresponsive");
    stage.kill(&window);
}

#[test]
fn who_has_nothing_to_take_is_not_unresponsive_however_long_it_is_silent() {
    let (stage, changes) = watchful_stage();
    // It has had a reply, and took that.
    let window = play_and_listen(&stage, takes_ticks);
    stop(&window);
    stage.ipc.run_for(4 * AFTER).unwrap();
    assert!(changes.is_empty(), "{:?}", changes.take());
    stage.kill(&window);
}

#[test]
fn a_renderer_that_drives_only_while_it_waits_has_taken_what_came_before_its_reply() {
    let (stage, changes) = watchful_stage();
    stage.answer(ADD, |event, [first, second]| {
        event.sender().send(TICK, &1).unwrap();
        Ok(first + second)
    });
    let window = play_and_listen(&stage, drives_only_while_it_waits);
    stage.ipc.run_for(4 * AFTER).unwrap();
    assert!(changes.is_empty(), "{:?}", changes.take());
    stage.kill(&window);
}

// --- renderers and main processes ---------------------------------------------------------------

/// Never comes back from its listener.
fn loops_without_end(ipc: &Renderer) {
    ipc.hear(TICK, |_, _| {
        loop {
            std::hint::spin_loop();
        }
    });
    ipc.report("listens");
    ipc.run().unwrap();
}

/// Takes a message and a reply in one wait, and drives no more.
fn drives_only_while_it_waits(ipc: &Renderer) {
    // The reply is there when the listener returns.
    ipc.hear(TICK, |_, _| thread::sleep(Duration::from_millis(20)));
    assert_eq!(ipc.invoke(ADD, &[1, 2]).unwrap().wait().unwrap(), 3);
    ipc.report("has its reply");
    loop {
        thread::park();
    }
}
