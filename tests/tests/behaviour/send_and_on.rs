//! Messages from a renderer to main: `send` and `on`, by Electron's rules.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
    process,
};

use tests::prelude::*;

/// A listener that notes its name with each number that it hears.
fn noting(
    heard: &Notes<String>,
    name: &'static str,
) -> impl Fn(&IpcMainEvent<'_>, &u64) + Clone + Send + 'static {
    let note = heard.adding();
    move |_, number| note(format!("{name}{number}"))
}

/// The notes of listeners while a renderer sends numbers from 0, and the window's counters.
fn heard_of(count: u64, listen: impl FnOnce(&Stage, &Notes<String>)) -> (Vec<String>, Counters) {
    let (stage, heard) = (Stage::new(), Notes::new());
    listen(&stage, &heard);
    let window = stage.play_with(sends_numbers, &[&count.to_string()]);
    stage.run_to_the_end();
    (heard.take(), window.counters())
}

#[test]
fn listeners_run_in_the_order_of_their_registration_and_a_repeated_one_runs_twice() {
    let (heard, _) = heard_of(2, |stage, heard| {
        let twice = noting(heard, "a");
        stage.hear(NUMBER, twice.clone());
        stage.hear(NUMBER, noting(heard, "b"));
        stage.hear(NUMBER, twice);
    });
    assert_eq!(heard, ["a0", "b0", "a0", "a1", "b1", "a1"]);
}

#[test]
fn messages_of_a_batch_that_panics_halfway_wake_the_receiver() {
    const ROUNDS: u64 = 20;
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    let running = stage.ipc.clone();
    let heard = stage.note(NUMBER, move |_, number| {
        if *number == 1 {
            running.stop();
        }
        *number
    });
    let window = stage.play(|ipc| {
        // 0 and 1 for each cue, and then a panic in the same call.
        struct Fuse(u64);
        impl Borrow<u64> for Fuse {
            fn borrow(&self) -> &u64 {
                assert!(self.0 < 2, "the application's own code");
                &self.0
            }
        }
        let cues = ipc.cues();
        for _ in 0..ROUNDS {
            cues.wait();
            let batch = || ipc.send_all(NUMBER, &[Fuse(0), Fuse(1), Fuse(2), Fuse(3)]);
            assert!(panic::catch_unwind(AssertUnwindSafe(batch)).is_err());
        }
        // Its end would wake main as well.
        cues.wait();
    });
    for _ in 0..ROUNDS {
        window.send(CUE, "").unwrap();
        // Main sleeps until the renderer wakes it.
        stage.ipc.run_for(LIMIT).unwrap();
        assert_eq!(heard.take(), [0, 1]);
    }
    stage.cue_to_the_end(&window);
}

#[test]
fn a_batch_arrives_in_order_though_it_is_longer_than_the_ring() {
    const COUNT: u64 = 50_000;
    let stage = Stage::new();
    let (numbers, texts) = (stage.notes(NUMBER), stage.notes(TEXT));
    stage.play_to_the_end(|ipc| {
        let numbers: Vec<u64> = (0..COUNT).collect();
        ipc.send_all(NUMBER, &numbers).unwrap();
        ipc.send_all::<u64>(NUMBER, &[] as &[u64]).unwrap();
        ipc.send_all(TEXT, &["and", "texts"]).unwrap();
    });
    assert!(numbers.take().into_iter().eq(0..COUNT));
    assert_eq!(texts.take(), ["and", "texts"]);
}

#[test]
fn a_once_listener_hears_one_message_and_may_register_again_from_inside() {
    let (heard, _) = heard_of(3, |stage, heard| {
        let ipc = stage.ipc.clone();
        let (first, again) = (noting(heard, "first"), noting(heard, "again"));
        let once = stage.ipc.once(NUMBER, move |event, number| {
            first(event, number);
            ipc.once(NUMBER, again.clone()).unwrap();
        });
        once.unwrap();
        let removed = stage.ipc.once(NUMBER, noting(heard, "removed")).unwrap();
        assert!(stage.ipc.off(removed));
        stage.hear(NUMBER, noting(heard, "on"));
    });
    assert_eq!(heard, ["first0", "on0", "on1", "again1", "on2"]);
}

#[test]
fn a_listener_that_removes_itself_and_adds_another_does_not_disturb_the_message_under_way() {
    let (heard, _) = heard_of(2, |stage, heard| {
        let ipc = stage.ipc.clone();
        let own_id = Notes::new();
        let (id, first, added) = (own_id.clone(), noting(heard, "first"), noting(heard, "added"));
        own_id.add(stage.hear(NUMBER, move |event, number| {
            first(event, number);
            let own = id.take()[0];
            assert!(ipc.off(own) && !ipc.off(own));
            ipc.on(NUMBER, added.clone()).unwrap();
        }));
        stage.hear(NUMBER, noting(heard, "second"));
    });
    assert_eq!(heard, ["first0", "second0", "second1", "added1"]);
}

#[test]
fn remove_all_listeners_leaves_handlers_and_other_events_alone() {
    let (stage, heard) = (Stage::new(), Notes::new());
    stage.hear(NUMBER, noting(&heard, "a"));
    stage.hear(NUMBER, noting(&heard, "b"));
    let texts = stage.notes(TEXT);
    stage.answer_all();
    stage.ipc.remove_all_listeners_of(NUMBER);
    let scene: RendererScene = |ipc| {
        ipc.send(NUMBER, &1).unwrap();
        ipc.send(TEXT, "text").unwrap();
        assert_eq!(ipc.ask(ASK, &1), Ok(1));
    };
    let window = stage.play_to_the_end(scene);
    assert_eq!((texts.take(), window.counters().unheard), (vec!["text".to_owned()], 1));
    stage.ipc.remove_all_listeners();
    let window = stage.play_to_the_end(scene);
    assert_eq!((texts.len(), window.counters().unheard), (0, 2));
    assert!(heard.is_empty());
}

#[test]
fn a_listener_that_panics_is_counted_and_disturbs_neither_the_next_one_nor_the_next_message() {
    let (heard, counters) = heard_of(3, |stage, heard| {
        stage.hear(NUMBER, |_, number| assert_ne!(*number, 1, "this panic is part of the test"));
        stage.hear(NUMBER, noting(heard, "next"));
    });
    assert_eq!(heard, ["next0", "next1", "next2"]);
    assert_eq!(counters.panics, 1);
}

#[test]
fn every_kind_of_payload_arrives_as_it_was_sent() {
    let stage = Stage::new();
    let (nothings, texts, numbers) = (stage.notes(NOTHING), stage.notes(TEXT), stage.notes(NUMBER));
    let (singles, runs) = (stage.notes(READING), stage.notes(READINGS));
    let (bytes, maps) = (stage.notes(BYTES), stage.notes(SETTINGS));
    const TEXTS: [&str; 3] = ["", "plain", "grüße, 世界"];
    // Around the size of a cache line, around several of them, and long.
    const LENGTHS: [usize; 9] = [0, 1, 47, 48, 49, 112, 113, 1000, 65_536];
    let window = stage.play_to_the_end(|ipc| {
        ipc.send(NOTHING, &()).unwrap();
        TEXTS.iter().for_each(|text| ipc.send(TEXT, text).unwrap());
        ipc.send(NUMBER, &u64::MAX).unwrap();
        ipc.send(READING, &readings()[1]).unwrap();
        ipc.send(READINGS, &readings()).unwrap();
        ipc.send(READINGS, &[]).unwrap();
        LENGTHS.iter().for_each(|len| ipc.send(BYTES, &pattern(*len)).unwrap());
        ipc.send(SETTINGS, &settings()).unwrap();
        ipc.send(SETTINGS, &Dynamic::default()).unwrap();
    });
    assert_eq!((nothings.len(), numbers.take()), (1, vec![u64::MAX]));
    assert_eq!(texts.take(), TEXTS);
    assert_eq!(singles.take(), [readings()[1]]);
    assert_eq!(runs.take(), [readings().to_vec(), vec![]]);
    assert_eq!(bytes.take(), LENGTHS.map(pattern));
    assert_eq!(maps.take(), [settings(), Dynamic(BTreeMap::new())]);
    let counters = window.counters();
    assert_eq!((counters.panics, counters.bad_payloads, counters.unheard), (0, 0, 0));
}

#[test]
fn a_thousand_sends_and_invokes_mixed_at_random_arrive_in_the_order_of_the_calls() {
    for seed in ["1", "88172645463325252"] {
        let stage = Stage::new();
        let order = Notes::new();
        let (sent, invoked) = (order.adding(), order.adding());
        stage.hear(NUMBER, move |_, number| sent(*number));
        stage.answer(ADD, move |_, [number, one]| {
            invoked(*number);
            Ok(number + one)
        });
        let window = stage.play_with(mixes_sends_and_invokes, &["1000", seed]);
        stage.run_to_the_end();
        assert!(order.take().into_iter().eq(0..1000));
        let invokes = window.counters().invokes_received;
        assert!((1..1000).contains(&invokes), "{invokes} of 1000 are no mixture");
    }
}

#[test]
fn each_thread_of_a_renderer_keeps_its_own_order() {
    let stage = Stage::new();
    let numbers = stage.notes(NUMBERED);
    stage.play_to_the_end(|ipc| {
        thread::scope(|scope| {
            for sender in 0..4 {
                scope.spawn(move || {
                    (0..2000).for_each(|number| {
                        ipc.send(NUMBERED, &Numbered { sender, number }).unwrap();
                    });
                });
            }
        });
    });
    let numbers = numbers.take();
    assert_eq!(numbers.len(), 8000);
    for sender in 0..4 {
        let of_sender = numbers.iter().filter(|message| message.sender == sender);
        assert!(of_sender.map(|message| message.number).eq(0..2000));
    }
}

#[test]
fn main_knows_the_sender_by_its_connection_and_replies_to_that_one_only() {
    let stage = Stage::new();
    let senders = stage.note(NUMBER, move |event, process_id| {
        let sender = event.sender();
        assert_eq!(u64::from(sender.os_process_id()), *process_id);
        assert_eq!(sender.id(), event.sender_id());
        event.reply(TICK, &(1000 + u64::from(sender.id()))).unwrap();
        sender.id()
    });
    let windows = [(); 3].map(|()| {
        stage.play(|ipc| {
            let answers = ipc.notes(TICK);
            ipc.send(NUMBER, &u64::from(process::id())).unwrap();
            ipc.run_until("the answer", || !answers.is_empty());
            ipc.report(format!("window {}: {:?}", ipc.id(), answers.take()));
        })
    });
    stage.run_to_the_end();
    for window in &windows {
        let id = window.id();
        assert_eq!(stage.reports_of(window), [format!("window {id}: [{}]", 1000 + id)]);
        assert_eq!(window.counters().panics, 0);
    }
    let mut senders = senders.take();
    senders.sort_unstable();
    assert_eq!(senders, windows.map(|window| window.id()));
}

#[test]
fn a_loan_arrives_as_written_a_dropped_one_is_not_sent_and_a_held_one_blocks_only_its_thread() {
    let stage = Stage::new();
    let numbers = stage.note(NUMBERED, move |_, message| (message.sender, message.number));
    stage.play_to_the_end(lends_itself_room);
    assert_eq!(numbers.take(), [(1, 1), (1, 3), (2, 4), (1, 5)]);
}

/// Arguments: COUNT SEED.
fn mixes_sends_and_invokes(ipc: &Renderer) {
    let mut random = ipc.number(1);
    let mut invocations = Vec::new();
    let settle = |invocations: &mut Vec<(u64, Invocation<u64, Failure>)>| {
        for (number, invocation) in invocations.drain(..) {
            assert_eq!(invocation.wait(), Ok(number + 1));
        }
    };
    for number in 0..ipc.number(0) {
        // Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random.is_multiple_of(2) {
            ipc.send(NUMBER, &number).unwrap();
        } else {
            invocations.push((number, ipc.invoke(ADD, &[number, 1]).unwrap()));
        }
        if invocations.len() == 100 {
            settle(&mut invocations);
        }
    }
    settle(&mut invocations);
}

fn lends_itself_room(ipc: &Renderer) {
    let mut loan = ipc.loan(NUMBERED).unwrap();
    assert_eq!(*loan, Numbered { sender: 0, number: 0 }, "a loan starts as zeroes");
    *loan = Numbered { sender: 1, number: 1 };
    loan.send();

    let mut dropped = ipc.loan(NUMBERED).unwrap();
    dropped.number = 2;
    drop(dropped);

    let mut held = ipc.loan(NUMBERED).unwrap();
    let source = SendError::LoanHeld { channel: "numbered" };
    let refused = ipc.send(NUMBERED, &Numbered { sender: 1, number: 0 });
    assert_eq!(refused, Err(source.clone()));
    assert!(matches!(ipc.loan(NUMBERED).map(drop), Err(SendError::LoanHeld { .. })));
    let refused = ipc.send_all(NUMBERED, &[Numbered { sender: 1, number: 0 }]);
    assert_eq!(refused, Err(SendAllError { sent: 0, source }));
    assert!(ipc.invoke(ADD, &[1, 2]).is_err());
    *held = Numbered { sender: 1, number: 3 };
    thread::scope(|scope| {
        // Another thread waits for the loan's end, and then gets through.
        let other = scope.spawn(|| ipc.send(NUMBERED, &Numbered { sender: 2, number: 4 }));
        held.send();
        assert_eq!(other.join().unwrap(), Ok(()));
    });
    ipc.send(NUMBERED, &Numbered { sender: 1, number: 5 }).unwrap();
}
