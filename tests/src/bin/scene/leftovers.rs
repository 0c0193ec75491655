//! Main processes over named segments that are killed at any moment, or fork.

#![allow(unsafe_code, reason = "a process forks as a C program would")]

use ringbridge::{Config, IpcMain};
use rustix::process::{WaitOptions, waitpid};
use tests::{
    contract::{CONTRACT, TICK},
    stage::{allow_everything, config, scene_command},
};

use crate::Scene;

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("is-killed-at-any-moment", is_killed_at_any_moment),
    ("forks-a-child-that-exits", forks_a_child_that_exits),
];

fn bind(endpoint: &str) -> IpcMain {
    let config = Config { backend: ringbridge::Backend::Portable, ..config() };
    IpcMain::bind_with(endpoint, CONTRACT, config).expect("the name is free")
}

/// `is-killed-at-any-moment ENDPOINT`: launches renderers and talks to them, for ever.
fn is_killed_at_any_moment(arguments: &[String]) {
    let ipc = bind(&arguments[0]);
    ipc.on_did_connect(|window| {
        for number in 0..100 {
            // Its ring may be full, or it gone.
            let _ = window.try_send(TICK, &number);
        }
    });
    for _ in 0..2 {
        let renderer = scene_command("stays", &[]);
        ipc.launch(renderer, allow_everything()).expect("it can be launched");
    }
    ipc.run().expect("nobody else runs it");
}

/// `forks-a-child-that-exits ENDPOINT`: says when the child has exited, and serves on until it is told to end.
fn forks_a_child_that_exits(arguments: &[String]) {
    let ipc = bind(&arguments[0]);
    ipc.run_for(std::time::Duration::from_millis(1)).expect("nobody else runs it");
    // SAFETY: the child does nothing but exit, as the next line says.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::process::exit(0);
    }
    let child = rustix::process::Pid::from_raw(child).expect("it was forked");
    waitpid(Some(child), WaitOptions::empty()).expect("it is a child of this process");
    println!("{}", serde_json::json!({ "event": "exited" }));
    crate::wait_for_input();
    ipc.close().expect("it is open");
}
