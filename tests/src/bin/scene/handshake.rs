//! Renderers that come to the wrong door.

use ringbridge::{ConnectError, Contract, Event, IpcRenderer};
use tests::{contract::TEXT, stage::Stage};

use crate::Scene;

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("is-of-another-build", is_of_another_build),
    ("was-launched-by-nobody", was_launched_by_nobody),
    ("binds", binds),
];

/// `number` is a `u64` in main.
fn is_of_another_build(_: &[String]) {
    const NUMBER: Event<u32> = Event::new("number");
    const CONTRACT: Contract = &[&TEXT, &NUMBER];
    match IpcRenderer::connect(CONTRACT).map(drop) {
        Err(ConnectError::TypeMismatch { channel, ours, theirs }) => {
            assert_eq!([channel, ours, theirs], ["number", "u32", "u64"]);
        }
        other => panic!("{other:?}"),
    }
}

fn was_launched_by_nobody(_: &[String]) {
    assert!(!IpcRenderer::was_launched());
    let refused = IpcRenderer::connect(tests::contract::CONTRACT).map(drop);
    assert!(matches!(refused, Err(ConnectError::NotLaunched)), "{refused:?}");
}

/// Has an endpoint, tells its name and waits to be killed.
fn binds(_: &[String]) {
    let stage = Stage::new();
    println!("{}", serde_json::json!({ "event": "bound", "endpoint": stage.name() }));
    stage.ipc.run().unwrap();
}
