//! Renderers whose messages main looks at before anyone hears them.

use std::time::Duration;

use ringbridge::{InvokeError, IpcRenderer};
use tests::contract::{ADD, NUMBER, READ};

use crate::{Scene, connect, number, report};

pub(crate) const SCENES: &[(&str, Scene)] =
    &[("sends-numbers-and-asks", sends_numbers_and_asks), ("insists", insists)];

fn read(ipc: &IpcRenderer, path: &str) -> Result<String, InvokeError> {
    ipc.invoke(READ, path).unwrap().wait()
}

/// What main refuses, and what it does not.
fn sends_numbers_and_asks(_: &[String]) {
    let ipc = connect();
    for number in [1, 13, 2, 13, 3] {
        ipc.send(NUMBER, &number).unwrap();
    }
    let refused = read(&ipc, "../secret").unwrap_err();
    let why = "it leads upwards".to_owned();
    assert_eq!(refused, InvokeError::Rejected { channel: "read", why });
    assert_eq!(
        refused.to_string(),
        "Error invoking remote method 'read': rejected: it leads upwards"
    );
    assert_eq!(read(&ipc, "file"), Ok("contents of file".to_owned()));
    let panicked = ipc.invoke(ADD, &[1, 2]).unwrap().wait().unwrap_err();
    assert!(matches!(&panicked, InvokeError::Rejected { why, .. } if why.contains("panicked")));
    report(&ipc, "done");
}

/// `insists COUNT`: on what main refuses, each time.
fn insists(arguments: &[String]) {
    let ipc = connect();
    for _ in 0..number(arguments, 0) {
        let _ = ipc.send(NUMBER, &13);
    }
    let _ = ipc.run_for(Duration::from_secs(60));
}
