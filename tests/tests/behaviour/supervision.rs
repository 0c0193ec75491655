//! Main notices a renderer that no longer takes its messages, and that takes them again.

use tests::prelude::*;

const AFTER: Duration = Duration::from_millis(300);

/// Changes of renderers' states, with their times.
type Changes = Notes<(u32, &'static str, Instant)>;

/// A stage that sleeps whenever it can, and notes each change.
fn watchful_stage() -> (Stage, Changes) {
    let wait = WaitStrategy::Park;
    let stage = Stage::with(Config { wait, unresponsive_after: AFTER, ..config() });
    let changes = Notes::new();
    let [unresponsive, responsive] = [(); 2].map(|()| changes.adding());
    stage.ipc.on_unresponsive(move |window| {
        unresponsive((window.id(), "unresponsive", Instant::now()));
    });
    stage.ipc.on_responsive(move |window| responsive((window.id(), "responsive", Instant::now())));
    stage.answer(ASK, |_, number| Ok(*number));
    (stage, changes)
}

/// Runs the loop without a pause until the window changes, and returns the time of that. It must become `state`.
fn run_until_changed(
    stage: &Stage,
    changes: &Changes,
    window: &WebContents,
    state: &str,
) -> Instant {
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually(state, || changes.len() == 1);
            stage.ipc.stop();
        });
        stage.ipc.run().unwrap();
    });
    let (changed, to, at) = changes.take()[0];
    assert_eq!((changed, to), (window.id(), state));
    at
}

#[test]
fn a_stopped_renderer_is_unresponsive_until_it_goes_on() {
    let (stage, changes) = watchful_stage();
    let [window, other] = [(); 2].map(|()| stage.play_ready(takes_ticks, &[]));
    stop_process(window.os_process_id());
    // From another thread, while the loop sleeps without a deadline.
    let (sends, also) = (window.clone(), other.clone());
    let sending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        also.send(TICK, &1).unwrap();
        sends.send(TICK, &1).unwrap();
        Instant::now()
    });
    let noticed = run_until_changed(&stage, &changes, &window, "unresponsive");
    let took = noticed - sending.join().unwrap();
    assert!((AFTER..10 * AFTER).contains(&took), "{took:?}");
    assert_eq!(window.gone(), None);

    signal(window.os_process_id(), Signal::CONT);
    run_until_changed(&stage, &changes, &window, "responsive");

    // Main notices it again, for a message from the loop's own thread too.
    stop_process(window.os_process_id());
    window.send(TICK, &2).unwrap();
    run_until_changed(&stage, &changes, &window, "unresponsive");
    // Its end is no response.
    stage.kill(&window);
    stage.close(&other);
    assert!(changes.is_empty());
}

#[test]
fn a_renderer_in_an_endless_loop_is_unresponsive_though_it_was_awake() {
    let (stage, changes) = watchful_stage();
    let scene: RendererScene = |ipc| {
        ipc.hear(TICK, |_, _| {
            loop {
                std::hint::spin_loop();
            }
        });
        ipc.report("listens");
        ipc.run().unwrap();
    };
    let window = stage.play_ready(scene, &[]);
    // It takes the first, and is awake when the others come, so that main does not wake it for them.
    (0..3).for_each(|number| window.send(TICK, &number).unwrap());
    run_until_changed(&stage, &changes, &window, "unresponsive");
    stage.kill(&window);
}

#[test]
fn a_renderer_without_messages_to_take_is_not_unresponsive_however_long_it_is_silent() {
    let (stage, changes) = watchful_stage();
    // It has had a reply, and took that.
    let window = stage.play_ready(takes_ticks, &[]);
    stop_process(window.os_process_id());
    stage.ipc.run_for(4 * AFTER).unwrap();
    assert!(changes.is_empty(), "{:?}", changes.take());
    stage.kill(&window);
}

#[test]
fn a_renderer_that_drives_only_while_it_waits_has_taken_what_came_before_its_reply() {
    let (stage, changes) = watchful_stage();
    stage.ipc.remove_handler(ADD);
    stage.answer(ADD, |event, [first, second]| {
        event.sender().send(TICK, &1).unwrap();
        Ok(first + second)
    });
    // Takes a message and a reply in one wait, and drives no more.
    let scene: RendererScene = |ipc| {
        // The reply is there when the listener returns.
        ipc.hear(TICK, |_, _| thread::sleep(Duration::from_millis(20)));
        assert_eq!(ipc.ask(ADD, &[1, 2]), Ok(3));
        ipc.report("has its reply");
        loop {
            thread::park();
        }
    };
    let window = stage.play_ready(scene, &[]);
    stage.ipc.run_for(4 * AFTER).unwrap();
    assert!(changes.is_empty(), "{:?}", changes.take());
    stage.kill(&window);
}
