//! Main dies and comes back, and its renderers go on with their listeners.

use tests::prelude::*;

fn start_main(name: &SweptName, how: &[&str]) -> Program {
    let mut arguments = vec![name.0.as_str()];
    arguments.extend(how);
    let main = Program::start(&mut process(is_main_again, &arguments));
    main.lines.next_of("serves");
    main
}

fn start_renderer(name: &SweptName) -> Program {
    Program::start(&mut process(waits_for_main, &[&name.0]))
}

/// Kills main, and checks what the renderer sees of that.
fn kill(mut main: Program, renderer: &Program) {
    main.kill();
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
    main.kill();
    let gone = main.lines.next_of("main_gone");
    assert_eq!(gone["failures"].as_array().unwrap().len(), 1);
    let mut second = start_main(&name, &["same"]);
    assert_eq!(main.lines.next_of("hears")["round"], 2);
    second.kill();
    main.lines.next_of("main_gone");
    let mut third = start_main(&name, &["same"]);
    assert_eq!(main.lines.next_of("hears")["round"], 3);
    third.kill();
    main.lines.next_of("gives_up");
}

#[test]
fn a_session_that_still_lives_ends_and_another_begins() {
    let stage = Stage::new();
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    let name = stage.name().to_owned();
    let attached = thread::spawn(move || {
        let ipc = IpcRenderer::attach_with(&name, CONTRACT, config()).unwrap();
        let again = ipc.reconnect(Duration::from_secs(20)).unwrap();
        assert!(again.id() > ipc.id());
        assert!(again.is_connected() && !ipc.is_connected());
        let inside = again.clone();
        let (tell, told) = std::sync::mpsc::channel();
        again
            .invoke(ASK, &1)
            .unwrap()
            .then(move |_| tell.send(inside.reconnect(Duration::ZERO).map(drop)).unwrap());
        again.run_for(Duration::from_secs(1)).unwrap();
        told.recv().unwrap()
    });
    stage.answer(ASK, |_, number| Ok(*number));
    stage.run_until("both sessions are over", || stage.endings().len() == 2);
    let refused = attached.join().unwrap();
    assert!(matches!(refused, Err(ConnectError::InsideListener)), "{refused:?}");
}

// --- renderers and main processes ---------------------------------------------------------------

/// Answers each number by a tick and by news, and never answers what it is asked; until it is
/// killed. Arguments: ENDPOINT same|reversed|without-ticks [LAUNCHES].
fn is_main_again(arguments: &Arguments) {
    let contract: Vec<&'static dyn Channel> = match arguments[1].as_str() {
        "reversed" => CONTRACT.iter().copied().rev().collect(),
        "without-ticks" => {
            CONTRACT.iter().copied().filter(|channel| channel.key().name() != "tick").collect()
        }
        _ => CONTRACT.to_vec(),
    };
    let contract: Contract = contract.leak();
    let config = Config { wait: WaitStrategy::Park, ..config() };
    let ipc = IpcMain::bind_with(&arguments[0], contract, config).unwrap();
    let policy = Policy::deny_all().allow_all(contract);
    let attached = policy.clone();
    ipc.on_attach(move |_| Ok(attached.clone()));
    let publishing = ipc.clone();
    ipc.on(NUMBER, move |event, number| {
        event.sender().send(TICK, number).unwrap();
        publishing.publish(NEWS, number).unwrap();
    })
    .unwrap();
    let kept = Notes::new();
    ipc.handle_deferred(ASK, move |_, _, responder| kept.add(responder)).unwrap();
    ipc.handle(ADD, |_, [left, right]| Ok(left + right)).unwrap();
    if arguments.get(2).is_some() {
        let options = LaunchOptions { die_with_main: false, ..LaunchOptions::default() };
        ipc.launch_with(process(waits_for_main, &["launched"]), policy, options).unwrap();
    }
    println!("{}", json!({ "event": "serves" }));
    ipc.run_for(LIMIT).unwrap();
}

/// What the renderer's own code keeps over all sessions: listeners are registered once.
fn listen(ipc: &IpcRenderer) -> Notes<String> {
    let heard = Notes::new();
    let notes = heard.clone();
    ipc.on(TICK, move |_, number| notes.add(format!("tick {number}"))).unwrap();
    let notes = heard.clone();
    ipc.subscribe(NEWS, move |_, number| notes.add(format!("news {number}"))).unwrap();
    let notes = heard.clone();
    ipc.handle(ASK, move |_, number| {
        notes.add(format!("asked {number}"));
        Ok(*number)
    })
    .unwrap();
    heard
}

/// Prints what it hears in one session after the other, and gives up when main comes back no more.
/// Arguments: ENDPOINT|launched.
fn waits_for_main(arguments: &Arguments) {
    let mut ipc = match arguments[0].as_str() {
        "launched" => IpcRenderer::connect(CONTRACT).unwrap(),
        name => IpcRenderer::attach_with(name, CONTRACT, config()).unwrap(),
    };
    let heard = listen(&ipc);
    for round in 1.. {
        let failures = Notes::new();
        let noted = failures.clone();
        // A tick may come before main knows of the subscription: so it asks on until both have come.
        ipc.invoke_with(ASK, &round, None)
            .unwrap()
            .then(move |result| noted.add(result.unwrap_err().to_string()));
        let mut came = Vec::new();
        while !(came.contains(&format!("tick {round}")) && came.contains(&format!("news {round}")))
        {
            ipc.send(NUMBER, &round).unwrap();
            ipc.run_for(Duration::from_millis(5)).unwrap();
            came.extend(heard.take());
        }
        let sum = ipc.invoke(ADD, &[round, 1]).unwrap().wait().unwrap();
        println!("{}", json!({ "event": "hears", "round": round, "sum": sum, "id": ipc.id() }));
        assert!(matches!(ipc.run(), Err(RunError::MainGone)));
        let failed = failures.take();
        println!("{}", json!({ "event": "main_gone", "failures": failed }));
        let old = ipc.clone();
        ipc = match ipc.reconnect(Duration::from_millis(if round < 3 { 20_000 } else { 300 })) {
            Ok(ipc) => ipc,
            Err(error) => {
                println!("{}", json!({ "event": "gives_up", "error": error.to_string() }));
                return;
            }
        };
        assert!(failures.is_empty(), "they fail once");
        assert!(!old.is_connected() && old.send(NUMBER, &0).is_err());
        heard.take();
    }
}
