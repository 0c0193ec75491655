//! A renderer that floods main gets no more than its share of a turn, and the others get theirs.

use std::{
    collections::BTreeMap,
    io::{self, Read, stdout},
};

use tests::prelude::*;

/// The messages that a loop takes from one window in one turn.
const TURN: usize = 64;

#[test]
fn each_turn_takes_as_much_from_a_flood_as_from_others_that_have_enough() {
    let stage = Stage::new();
    let mut launched = Vec::new();
    for count in [40 * TURN, 10, 3 * TURN + 1, 40 * TURN] {
        let (mut command, sign) = with_input(renderer(sends_at_a_sign, &[&count.to_string()]));
        let (told, tells) = io::pipe().unwrap();
        command.stdout(tells);
        launched.push((stage.launch(command, allow_everything()).id(), sign, told));
    }
    stage.run_until("all are ready", || stage.reports().len() == 4);
    let taken = stage.note(NUMBERED, move |event, _| event.sender_id());
    // The loop does not run while they send.
    for (_, sign, told) in &mut launched {
        sign.write_all(b".").unwrap();
        told.read_exact(&mut [0]).unwrap();
    }
    let [flood, few, some, many] = [0, 1, 2, 3].map(|at: usize| launched[at].0);
    for turn in 0..40 {
        stage.ipc.poll().unwrap();
        let mut counts = BTreeMap::new();
        taken.take().into_iter().for_each(|window| *counts.entry(window).or_default() += 1);
        let mut expected = BTreeMap::from([(flood, TURN), (many, TURN)]);
        match turn {
            0 => expected.extend([(few, 10), (some, TURN)]),
            1 | 2 => expected.extend([(some, TURN)]),
            3 => expected.extend([(some, 1)]),
            _ => {}
        }
        assert_eq!(counts, expected, "turn {turn}");
    }
}

/// Sends at a sign and prints one byte then, and stays until its input ends. Arguments: COUNT.
fn sends_at_a_sign(ipc: &Renderer) {
    ipc.report("ready");
    wait_for_input();
    for number in 0..ipc.number(0) {
        ipc.try_send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    }
    stdout().write_all(b".").unwrap();
    stdout().flush().unwrap();
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}
