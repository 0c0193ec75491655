//! Processes that die at a given step.

use std::thread;

use ringbridge::{IpcMain, KillPoint, arm_kill_point};
use tests::{
    contract::CONTRACT,
    kill_points::{
        Heard, Notebook, config, connect, listen_in_main, play_renderer, push_from_main,
    },
    stage::allow_everything,
};

use crate::{Scene, number};

pub(crate) const SCENES: &[(&str, Scene)] =
    &[("dies-as-renderer", dies_as_renderer), ("dies-as-main", dies_as_main)];

/// `dies-as-renderer POINT NTH`, the point by its place in the list.
fn dies_as_renderer(arguments: &[String]) {
    arm(arguments);
    let ipc = connect().expect("main is there");
    play_renderer(&ipc, &Heard::default(), &mut Notebook::of_this_process());
}

/// `dies-as-main POINT NTH ENDPOINT`: for a renderer that attaches.
fn dies_as_main(arguments: &[String]) {
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
