//! Renderers that send while main does not look.

use std::io::{Write, stdout};

use tests::contract::{NUMBERED, Numbered};

use crate::{Scene, connect, number, report, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[("sends-at-a-sign", sends_at_a_sign)];

/// `sends-at-a-sign COUNT`: tells when it has, by its standard output, and stays until its input ends.
fn sends_at_a_sign(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "ready");
    wait_for_input();
    for number in 0..number(arguments, 0) {
        ipc.try_send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    }
    stdout().write_all(b".").unwrap();
    stdout().flush().unwrap();
    // Its end, not a sign.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
