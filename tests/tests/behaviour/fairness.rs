//! Who floods gets no more than its share of a turn, and nobody else less.

use std::{
    collections::BTreeMap,
    io::{self, Read, stdout},
};

use tests::prelude::*;

/// What a loop takes from one window in one turn.
const TURN: usize = 64;

/// A renderer that has committed so many messages, which main has not looked at.
struct Sender {
    window: WebContents,
    /// Dropped, it lets the renderer end.
    _sign: io::PipeWriter,
}

/// Launches renderers that have committed so many messages each when this returns, and lists whose
/// messages main takes from then on.
fn senders(stage: &Stage, counts: &[usize]) -> (Vec<Sender>, Notes<u32>) {
    let mut waiting = Vec::new();
    for count in counts {
        let (mut command, sign) = with_input(renderer(sends_at_a_sign, &[&count.to_string()]));
        let (told, tells) = io::pipe().unwrap();
        command.stdout(tells);
        waiting.push((stage.launch(command, allow_everything()), sign, told));
    }
    stage.run_until("all are ready", || stage.reports().len() == counts.len());

    let taken = stage.note(NUMBERED, move |event, _| event.sender_id());
    // The loop does not run while they send.
    let sent = waiting.into_iter().map(|(window, mut sign, mut told)| {
        sign.write_all(b".").unwrap();
        told.read_exact(&mut [0]).unwrap();
        Sender { window, _sign: sign }
    });
    (sent.collect(), taken)
}

/// How many were taken in one turn, by window.
fn turn(stage: &Stage, taken: &Notes<u32>) -> BTreeMap<u32, usize> {
    stage.ipc.poll().unwrap();
    let mut counts = BTreeMap::new();
    taken.take().into_iter().for_each(|window| *counts.entry(window).or_default() += 1);
    counts
}

#[test]
fn of_those_that_have_filled_their_rings_each_gets_as_much_of_a_turn() {
    let stage = Stage::new();
    let (senders, taken) = senders(&stage, &[30 * TURN; 8]);
    for number in 0..30 {
        let counts = turn(&stage, &taken);
        for Sender { window, .. } in &senders {
            assert_eq!(counts.get(&window.id()), Some(&TURN), "turn {number}: {counts:?}");
        }
    }
    assert_eq!(turn(&stage, &taken), BTreeMap::new());
}

#[test]
fn a_flood_is_held_to_its_quota_and_others_are_served_beside_it() {
    let stage = Stage::new();
    let (senders, taken) = senders(&stage, &[40 * TURN, 10, 3 * TURN + 1]);
    let [flood, few, some] = [0, 1, 2].map(|at| senders[at].window.id());
    let expected = [
        BTreeMap::from([(flood, TURN), (few, 10), (some, TURN)]),
        BTreeMap::from([(flood, TURN), (some, TURN)]),
        BTreeMap::from([(flood, TURN), (some, TURN)]),
        BTreeMap::from([(flood, TURN), (some, 1)]),
        BTreeMap::from([(flood, TURN)]),
    ];
    for (number, expected) in expected.into_iter().enumerate() {
        assert_eq!(turn(&stage, &taken), expected, "turn {number}");
    }
}

// --- renderers and main processes ---------------------------------------------------------------

/// Tells when it has, by its standard output, and stays until its input ends. Arguments: COUNT.
fn sends_at_a_sign(ipc: &Renderer) {
    ipc.report("ready");
    wait_for_input();
    for number in 0..ipc.number(0) {
        ipc.try_send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    }
    stdout().write_all(b".").unwrap();
    stdout().flush().unwrap();
    // Its end, not a sign.
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}
