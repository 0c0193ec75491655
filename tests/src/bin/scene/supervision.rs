//! Renderers that stop taking what main sends.

use ringbridge::RunError;
use tests::contract::{ASK, TICK};

use crate::{Scene, connect, report};

pub(crate) const SCENES: &[(&str, Scene)] =
    &[("takes-ticks", takes_ticks), ("loops-without-end", loops_without_end)];

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
