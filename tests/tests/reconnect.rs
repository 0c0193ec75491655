//! Main dies and comes back, and its renderers go on with their listeners.

use std::time::Duration;

use ringbridge::{ConnectError, IpcRenderer};
use rustix::process::Signal;
use serde_json::json;
use tests::{
    contract::CONTRACT,
    processes::{Program, SweptName, unique_name},
    stage::{Stage, allow_everything, config, scene_command},
};

fn start_main(name: &SweptName, how: &[&str]) -> Program {
    let mut arguments = vec![name.0.as_str()];
    arguments.extend(how);
    let main = Program::start(&mut scene_command("is-main-again", &arguments));
    main.lines.next_of("serves");
    main
}

fn start_renderer(name: &SweptName) -> Program {
    Program::start(&mut scene_command("waits-for-main", &[&name.0]))
}

/// Kills main, and checks what the renderer sees of that.
fn kill(mut main: Program, renderer: &Program) {
    main.signal(Signal::KILL);
    main.end();
    let gone = renderer.lines.next_of("main_gone");
    let failure = "no reply to 'ask': the other process is gone (main-gone)";
    assert_eq!(gone["failures"], json!([failure]), "what was pending fails once");
}

#[test]
fn a_renderer_goes_on_with_its_listeners_and_subscriptions_when_main_comes_back() {
    let name = SweptName(unique_name("reconnect"));
    let mut main = start_main(&name, &["same"]);
    let mut renderer = start_renderer(&name);
    // With the same contract, and with one in which every channel has another number.
    for (round, how) in [(1, "reversed"), (2, "same")] {
        let hears = renderer.lines.next_of("hears");
        assert_eq!((&hears["round"], &hears["sum"]), (&json!(round), &json!(round + 1)));
        kill(main, &renderer);
        main = start_main(&name, &[how]);
    }
    assert_eq!(renderer.lines.next_of("hears")["round"], 3);
    kill(main, &renderer);
    // Nobody comes back any more.
    let error = renderer.lines.next_of("gives_up")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("stale"), "{error}");
    assert!(renderer.end().success());
}

#[test]
fn a_main_that_comes_back_without_a_channel_in_use_is_not_joined() {
    let name = SweptName(unique_name("reconnect"));
    let main = start_main(&name, &["same"]);
    let mut renderer = start_renderer(&name);
    renderer.lines.next_of("hears");
    kill(main, &renderer);
    let _main = start_main(&name, &["without-ticks"]);
    let error = renderer.lines.next_of("gives_up")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("without the channel 'tick'"), "{error}");
    assert!(renderer.end().success());
}

#[test]
fn a_renderer_that_main_launched_and_that_outlives_it_finds_the_next_one_by_its_name() {
    let name = SweptName(unique_name("reconnect"));
    let mut main = start_main(&name, &["same", "launches"]);
    // It shares main's output.
    assert_eq!(main.lines.next_of("hears")["round"], 1);
    main.signal(Signal::KILL);
    main.end();
    let gone = main.lines.next_of("main_gone");
    assert_eq!(gone["failures"].as_array().unwrap().len(), 1);
    let mut second = start_main(&name, &["same"]);
    assert_eq!(main.lines.next_of("hears")["round"], 2);
    second.signal(Signal::KILL);
    second.end();
    main.lines.next_of("main_gone");
    let mut third = start_main(&name, &["same"]);
    assert_eq!(main.lines.next_of("hears")["round"], 3);
    third.signal(Signal::KILL);
    third.end();
    main.lines.next_of("gives_up");
}

#[test]
fn a_session_that_still_lives_ends_and_another_begins() {
    let stage = Stage::new();
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    let name = stage.name().to_owned();
    let attached = std::thread::spawn(move || {
        let ipc = IpcRenderer::attach_with(&name, CONTRACT, config()).unwrap();
        let again = ipc.reconnect(Duration::from_secs(20)).unwrap();
        assert!(again.id() > ipc.id());
        assert!(again.is_connected() && !ipc.is_connected());
        let inside = again.clone();
        let (tell, told) = std::sync::mpsc::channel();
        again
            .invoke(tests::contract::ASK, &1)
            .unwrap()
            .then(move |_| tell.send(inside.reconnect(Duration::ZERO).map(drop)).unwrap());
        again.run_for(Duration::from_secs(1)).unwrap();
        told.recv().unwrap()
    });
    stage.ipc.handle(tests::contract::ASK, |_, number| Ok(*number)).unwrap();
    stage.run_until("both sessions are over", || stage.endings().len() == 2);
    let refused = attached.join().unwrap();
    assert!(matches!(refused, Err(ConnectError::InsideListener)), "{refused:?}");
}
