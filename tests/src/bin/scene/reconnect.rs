//! Main processes that come and go, and renderers that wait for them.

use std::time::Duration;

use ringbridge::{
    Channel, Config, Contract, IpcMain, IpcRenderer, LaunchOptions, Policy, RunError, WaitStrategy,
};
use serde_json::json;
use tests::{
    contract::{ADD, ASK, CONTRACT, NEWS, NUMBER, TICK},
    processes::LIMIT,
    stage::{Notes, config, scene_command},
};

use crate::Scene;

pub(crate) const SCENES: &[(&str, Scene)] =
    &[("is-main-again", is_main_again), ("waits-for-main", waits_for_main)];

/// `is-main-again ENDPOINT same|reversed|without-ticks [LAUNCHES]`: answers each number by a tick and by news,
/// and never answers what it is asked; until it is killed.
fn is_main_again(arguments: &[String]) {
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
        ipc.launch_with(scene_command("waits-for-main", &["launched"]), policy, options).unwrap();
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

/// `waits-for-main ENDPOINT|launched`: prints what it hears in one session after the other, and gives up when main
/// comes back no more.
fn waits_for_main(arguments: &[String]) {
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
