//! Main dies and comes back, and its renderers go on with their listeners.

use tests::prelude::*;

fn start_main(name: &SweptName, how: &[&str]) -> Program {
    let main = Program::start(&mut process(is_main_again, &[&[name.0.as_str()], how].concat()));
    main.lines.next_of("serves");
    main
}

fn start_renderer(name: &SweptName) -> Program {
    Program::start(&mut process(waits_for_main, &[&name.0]))
}

/// Kills main, and checks that the renderer's pending invoke fails once.
fn kill(mut main: Program, renderer: &Program) {
    main.kill();
    let gone = renderer.lines.next_of("main_gone");
    let failure = "no reply to 'ask': the other process is gone (main-gone)";
    assert_eq!(gone["failures"], json!([failure]));
}

/// The error with which a renderer gives up.
fn error_of(mut renderer: Program) -> String {
    let line = renderer.lines.next_of("gives_up");
    assert!(renderer.end().success());
    line["error"].to_string()
}

#[test]
fn a_renderer_goes_on_with_its_listeners_and_subscriptions_when_main_comes_back() {
    let name = SweptName(unique_name("reconnect"));
    let mut main = start_main(&name, &["same"]);
    let renderer = start_renderer(&name);
    // With a contract in which every channel has another number, and with the same one.
    for (round, how) in [(1, "reversed"), (2, "same")] {
        let hears = renderer.lines.next_of("hears");
        assert_eq!((&hears["round"], &hears["sum"]), (&json!(round), &json!(round + 1)));
        kill(main, &renderer);
        main = start_main(&name, &[how]);
    }
    assert_eq!(renderer.lines.next_of("hears")["round"], 3);
    kill(main, &renderer);
    let error = error_of(renderer);
    assert!(error.contains("stale"), "{error}");
}

#[test]
fn a_renderer_does_not_join_a_main_that_comes_back_without_a_channel_in_use() {
    let name = SweptName(unique_name("reconnect"));
    let main = start_main(&name, &["same"]);
    let renderer = start_renderer(&name);
    renderer.lines.next_of("hears");
    kill(main, &renderer);
    let _main = start_main(&name, &["without-ticks"]);
    let error = error_of(renderer);
    assert!(error.contains("without the channel 'tick'"), "{error}");
}

#[test]
fn a_launched_renderer_that_outlives_main_finds_the_next_one_by_its_name() {
    let name = SweptName(unique_name("reconnect"));
    let mut main = start_main(&name, &["same", "launches"]);
    // It shares main's output.
    assert_eq!(main.lines.next_of("hears")["round"], 1);
    main.kill();
    let gone = main.lines.next_of("main_gone");
    assert_eq!(gone["failures"].as_array().unwrap().len(), 1);
    for round in [2, 3] {
        let mut next = start_main(&name, &["same"]);
        assert_eq!(main.lines.next_of("hears")["round"], round);
        next.kill();
        main.lines.next_of("main_gone");
    }
    main.lines.next_of("gives_up");
}

#[test]
fn reconnecting_ends_a_session_that_still_lives_and_is_refused_inside_a_listener() {
    let stage = Stage::open();
    let name = stage.name().to_owned();
    let attached = thread::spawn(move || {
        let ipc = IpcRenderer::attach_with(&name, CONTRACT, config()).unwrap();
        let again = ipc.reconnect(Duration::from_secs(20)).unwrap();
        assert!(again.id() > ipc.id());
        assert!(again.is_connected() && !ipc.is_connected());
        let (inside, results) = (again.clone(), Notes::new());
        let note = results.adding();
        let asked = again.invoke(ASK, &1).unwrap();
        asked.then(move |_| note(inside.reconnect(Duration::ZERO).map(drop)));
        again.run_for(Duration::from_secs(1)).unwrap();
        results.take().remove(0)
    });
    stage.run_until("both sessions are over", || stage.endings().len() == 2);
    let refused = attached.join().unwrap();
    assert!(matches!(refused, Err(ConnectError::InsideListener)), "{refused:?}");
}

/// Answers each number by a tick and by news, and never answers `ask`, until it is killed.
/// Arguments: ENDPOINT same|reversed|without-ticks [LAUNCHES].
fn is_main_again(arguments: &Arguments) {
    let mut contract = CONTRACT.to_vec();
    match arguments[1].as_str() {
        "reversed" => contract.reverse(),
        "without-ticks" => contract.retain(|channel| channel.key().name() != "tick"),
        _ => {}
    }
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
    let keep = Notes::new().adding();
    ipc.handle_deferred(ASK, move |_, _, responder| keep(responder)).unwrap();
    ipc.handle(ADD, |_, [left, right]| Ok(left + right)).unwrap();
    if arguments.get(2).is_some() {
        let options = LaunchOptions { die_with_main: false, ..LaunchOptions::default() };
        ipc.launch_with(process(waits_for_main, &["launched"]), policy, options).unwrap();
    }
    println!("{}", json!({ "event": "serves" }));
    ipc.run_for(LIMIT).unwrap();
}

/// Registers listeners and a handler once, for all sessions.
fn listen(ipc: &IpcRenderer) -> Notes<String> {
    let heard = Notes::new();
    let [tick, news, asked] = [(); 3].map(|()| heard.adding());
    ipc.on(TICK, move |_, number| tick(format!("tick {number}"))).unwrap();
    ipc.subscribe(NEWS, move |_, number| news(format!("news {number}"))).unwrap();
    ipc.handle(ASK, move |_, number| {
        asked(format!("asked {number}"));
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
        let failed = failures.adding();
        let asked = ipc.invoke_with(ASK, &round, None).unwrap();
        asked.then(move |result| failed(result.unwrap_err().to_string()));
        // A tick may come before main knows of the subscription, so it sends until both have come.
        let mut came = Vec::new();
        while !["tick", "news"].iter().all(|kind| came.contains(&format!("{kind} {round}"))) {
            ipc.send(NUMBER, &round).unwrap();
            ipc.run_for(Duration::from_millis(5)).unwrap();
            came.extend(heard.take());
        }
        let sum = ipc.invoke(ADD, &[round, 1]).unwrap().wait().unwrap();
        println!("{}", json!({ "event": "hears", "round": round, "sum": sum }));
        assert!(matches!(ipc.run(), Err(RunError::MainGone)));
        println!("{}", json!({ "event": "main_gone", "failures": failures.take() }));
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
