//! Renderers that stop taking what main sends.

use std::process;

use ringbridge::RunError;
use tests::contract::{ASK, TICK};

use crate::{Scene, connect, report};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("takes-ticks", takes_ticks),
    ("loops-without-end", loops_without_end),
    ("ends-at-a-sign", ends_at_a_sign),
];

/// Asks main something, and listens until main goes.
fn takes_ticks(_: &[String]) {
    let ipc = connect();
    ipc.on(TICK, |_, _| ()).unwrap();
    ipc.invoke(ASK, &1).unwrap().wait().unwrap();
    report(&ipc, "listens");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// Never comes back from its listener.
fn loops_without_end(_: &[String]) {
    let ipc = connect();
    ipc.on(TICK, |_, _| {
        loop {
            std::hint::spin_loop();
        }
    })
    .unwrap();
    report(&ipc, "listens");
    ipc.run().unwrap();
}

/// Ends well at a tick of 0, and crashes at any other.
fn ends_at_a_sign(_: &[String]) {
    let ipc = connect();
    ipc.on(TICK, |_, number| {
        if *number == 0 {
            process::exit(0);
        }
        process::abort();
    })
    .unwrap();
    report(&ipc, "here");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}
