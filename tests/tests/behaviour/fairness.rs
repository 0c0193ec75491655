//! A renderer that floods main gets no more than its share of a turn, and the others get theirs.

use std::{
    collections::BTreeMap,
    io::{self, Read, stdout},
};

use tests::prelude::*;

/// The messages that a loop takes from one window in one turn.
const TURN: usize = 64;

/// Renderers that have committed messages which main has not looked at.
struct Senders {
    windows: Vec<u32>,
    taken: Notes<u32>,
    /// Dropped, they let the renderers end.
    _signs: Vec<io::PipeWriter>,
}

impl Senders {
    /// Launches a renderer for each of these numbers of messages.
    fn launch(stage: &Stage, counts: &[usize]) -> Self {
        let mut launched = Vec::new();
        for count in counts {
            let (mut command, sign) = with_input(renderer(sends_at_a_sign, &[&count.to_string()]));
            let (told, tells) = io::pipe().unwrap();
            command.stdout(tells);
            launched.push((stage.launch(command, allow_everything()).id(), sign, told));
        }
        stage.run_until("all are ready", || stage.reports().len() == counts.len());
        let taken = stage.note(NUMBERED, move |event, _| event.sender_id());
        // The loop does not run while they send.
        let sent = launched.into_iter().map(|(window, mut sign, mut told)| {
            sign.write_all(b".").unwrap();
            told.read_exact(&mut [0]).unwrap();
            (window, sign)
        });
        let (windows, signs) = sent.unzip();
        Self { windows, taken, _signs: signs }
    }

    /// The numbers of messages that main takes in one turn, by window.
    fn turn(&self, stage: &Stage) -> BTreeMap<u32, usize> {
        stage.ipc.poll().unwrap();
        let mut counts = BTreeMap::new();
        self.taken.take().into_iter().for_each(|window| *counts.entry(window).or_default() += 1);
        counts
    }
}

#[test]
fn renderers_with_full_rings_get_equal_shares_of_each_turn() {
    let stage = Stage::new();
    let senders = Senders::launch(&stage, &[30 * TURN; 8]);
    let expected = senders.windows.iter().map(|window| (*window, TURN)).collect();
    for number in 0..30 {
        assert_eq!(senders.turn(&stage), expected, "turn {number}");
    }
    assert_eq!(senders.turn(&stage), BTreeMap::new());
}

#[test]
fn a_flood_is_held_to_its_share_and_others_are_served_beside_it() {
    let stage = Stage::new();
    let senders = Senders::launch(&stage, &[40 * TURN, 10, 3 * TURN + 1]);
    let [flood, few, some] = senders.windows[..] else { panic!("three windows") };
    let expected = [
        BTreeMap::from([(flood, TURN), (few, 10), (some, TURN)]),
        BTreeMap::from([(flood, TURN), (some, TURN)]),
        BTreeMap::from([(flood, TURN), (some, TURN)]),
        BTreeMap::from([(flood, TURN), (some, 1)]),
        BTreeMap::from([(flood, TURN)]),
    ];
    for (number, expected) in expected.into_iter().enumerate() {
        assert_eq!(senders.turn(&stage), expected, "turn {number}");
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
