//! Every attack of the catalogue, each with an honest renderer beside it.
//!
//! One at a time, since each measures main's memory and the bystander's latency before and after.

use std::{
    collections::BTreeSet,
    env, fs,
    panic::catch_unwind,
    path::Path,
    sync::{
        atomic::Ordering::{Relaxed, Release},
        mpsc,
    },
};

use rustix::{
    mm::ProtFlags,
    time::{ClockId, clock_gettime},
};
use tests::{
    attacker::{memory::Mapped, session::Session, until, wire},
    attacks::{self, Attack, CATALOGUE},
    prelude::*,
    siege::{Siege, attacker_command, beside, start_beside},
};

/// One test for each part of the catalogue, named by its heading.
macro_rules! parts {
    ($($test:ident = $heading:literal,)*) => {
        $(#[test]
        fn $test() {
            withstand($heading);
        })*

        const TESTED: &[&str] = &[$($heading),*];
    };
}

parts! {
    main_withstands_frames = "Frames",
    main_withstands_lies_in_the_control_page = "The control page",
    main_withstands_forged_requests = "Requests",
    main_withstands_floods = "Floods",
    main_withstands_lies_about_large_payloads = "Large payloads",
    main_withstands_strangers_at_its_socket = "The handshake and the socket",
    main_withstands_inspectors = "Inspectors",
    main_withstands_attacks_on_shared_memory = "Shared memory and its words",
    main_withstands_traps_in_its_folder = "The endpoint's place",
    main_withstands_processes_that_reach_for_it = "Other processes",
}

/// Runs every attack of a part, or the one that `RINGBRIDGE_ATTACK` names, and fails unless all come out as the catalogue
/// says.
fn withstand(heading: &str) {
    let part = CATALOGUE.iter().find(|(known, _)| *known == heading);
    let (_, attacks) = part.expect("the catalogue has this part");
    let only = env::var("RINGBRIDGE_ATTACK").ok();
    let is_wanted = |attack: &&Attack| only.as_ref().is_none_or(|only| only == attack.name);
    let succeeds = |attack: &&Attack| catch_unwind(|| Siege::new().withstand(attack)).is_err();
    let wanted = attacks.iter().filter(is_wanted);
    let succeeded: Vec<_> = wanted.filter(succeeds).map(|attack| attack.name).collect();
    assert!(succeeded.is_empty(), "not as the catalogue says: {succeeded:?}");
}

// --- the attacker's assumptions -----------------------------------------------------------

#[test]
fn the_layout_of_memory_is_as_it_is_written_down() {
    let stage = Stage::new();
    beside(&stage, allow_everything(), |session| {
        let page = session.inbox;
        assert_eq!(page.u64(0).load(Relaxed), wire::OUTBOX_MAGIC);
        assert_eq!(page.u32(wire::VERSION_AT).load(Relaxed), wire::LAYOUT_VERSION);
        assert_eq!(page.u64(wire::CAPACITY_AT).load(Relaxed), page.size() - wire::CONTROL);
        let topic = Mapped::new(&session.topics[0], ProtFlags::READ).unwrap();
        assert_eq!(topic.u64(0).load(Relaxed), wire::TOPIC_MAGIC);
        assert_eq!(topic.u64(wire::CAPACITY_AT).load(Relaxed), topic.size() - wire::CONTROL);
        // A renderer's outbox is all zeroes at first, its identity too, which main knows.
        assert!(session.outbox.read(0, wire::CONTROL).iter().all(|byte| *byte == 0));
        let named = [wire::VERSION_AT..24, wire::CONSUMED..136, wire::PARKED..272, wire::BELL..388];
        let mut rest = (24..wire::CONTROL).filter(|at| !named.iter().any(|part| part.contains(at)));
        assert!(rest.all(|at| page.u8(at).load(Relaxed) == 0), "there is something new");
    });
}

#[test]
fn frames_are_as_they_are_written_down_in_both_directions() {
    let stage = Stage::new();
    let numbers = stage.notes(NUMBER);
    stage.answer(ADD, |_, [left, right]| Ok(left + right));
    stage.ipc.on_did_connect(|window| window.send(TICK, &77).unwrap());
    beside(&stage, allow_everything(), |session| {
        let push = session.receive_of(wire::SEND);
        assert_eq!((push.channel, push.request), (wire::channel("tick"), 0));
        assert_eq!(push.payload, 77_u64.to_le_bytes());
        // Several laps, so that the bit of the odd ones matters.
        for number in 0..20_000_u64 {
            assert!(session.send("number", &number.to_le_bytes()));
        }
        let arguments = [2_u64, 3].map(u64::to_le_bytes).concat();
        assert!(session.invoke("add", wire::request(9, 4), &arguments));
        let reply = session.receive_of(wire::REPLY);
        assert_eq!(
            (reply.channel, reply.request, reply.flags),
            (wire::channel("add"), wire::request(9, 4), 0)
        );
        assert_eq!(reply.payload, 5_u64.to_le_bytes());
    });
    assert!(numbers.take().into_iter().eq(0..20_000));
}

#[test]
fn bells_and_sleeps_are_as_they_are_written_down() {
    let stage = Stage::new();
    stage.answer(ADD, |_, [left, right]| Ok(left + right));
    beside(&stage, allow_everything(), |session| {
        until("main sleeps", || session.inbox.u32(wire::PARKED).load(Relaxed) % 2 == 1);
        let before = session.inbox.u32(wire::BELL).load(Relaxed);
        session.outbox.u32(wire::PARKED).store(1, Release);
        assert!(session.invoke("add", wire::request(1, 0), &[0; 16]));
        session.receive_of(wire::REPLY);
        until("main has rung", || session.inbox.u32(wire::BELL).load(Relaxed) != before);
        until("main has read", || {
            session.inbox.u64(wire::CONSUMED).load(Relaxed) == session.position
        });

        // Main does not ring for a renderer that is about to wake up by itself, unless main is too late to see it.
        let mut generation = 1;
        until("main spares a ring", || {
            generation += 1;
            session.outbox.u64(wire::ALARM).store(wire::now_ns(), Relaxed);
            session.outbox.u32(wire::PARKED).store(generation * 2 + 1, Release);
            let before = session.inbox.u32(wire::BELL).load(Relaxed);
            assert!(session.invoke("add", wire::request(generation.into(), 0), &[0; 16]));
            session.receive_of(wire::REPLY);
            // By then it has rung, if it does.
            until("main sleeps", || session.inbox.u32(wire::PARKED).load(Relaxed) % 2 == 1);
            session.inbox.u32(wire::BELL).load(Relaxed) == before
        });
    });
}

#[test]
fn a_turn_takes_64_frames_of_a_window_whatever_they_are_and_no_more() {
    let stage = Stage::new();
    let mut counts = Vec::new();
    in_turns(
        &stage,
        |session| {
            for generation in 1..=200 {
                let (news, id) = (wire::channel("news"), wire::request(generation, 0));
                assert!(session.frame(wire::CANCEL, 0, 0, id, &[]));
                assert!(session.frame(wire::SUBSCRIBE, 0, news, 0, &[]));
                assert!(session.frame(wire::REPLY, 0, 0, id, &[7; 30]));
                assert!(session.send("bytes", &[7; 30]));
            }
        },
        |taken| counts.push(taken),
    );
    assert_eq!(counts[..12], [64; 12]);
    assert_eq!(counts[12..14], [32, 0]);
}

#[test]
fn a_turn_takes_no_more_of_long_frames_than_a_quarter_of_a_ring() {
    let stage = Stage::new();
    let mut counts = Vec::new();
    in_turns(
        &stage,
        // Eight of them are a quarter of 256 KiB.
        |session| (0..30).for_each(|_| assert!(session.send("bytes", &[7; 8192 - 16]))),
        |taken| counts.push(taken),
    );
    assert_eq!(counts[..5], [8, 8, 8, 6, 0]);
}

/// Has an attacker send while main's loop does not run, and then passes on what main takes in each of many turns.
fn in_turns(
    stage: &Stage,
    send: impl FnOnce(&mut Session) + Send + 'static,
    mut taken_in_turn: impl FnMut(u64),
) {
    let connected = stage.connected();
    let (sent, has_sent) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let attacker = start_beside(stage, allow_everything(), move |session| {
        may_go.recv().expect("the test says when");
        send(session);
        sent.send(()).expect("the test waits");
        may_go.recv().expect("the test says when");
    });
    stage.run_until("it is connected", || connected.len() == 1);
    let window = connected.take().remove(0);
    go.send(()).unwrap();
    has_sent.recv().unwrap();
    for _ in 0..20 {
        let before = window.counters().frames_received;
        stage.ipc.poll().unwrap();
        taken_in_turn(window.counters().frames_received - before);
    }
    go.send(()).unwrap();
    attacker.join().unwrap();
}

// --- what an attack costs ---------------------------------------------------------------------------

#[test]
fn a_storm_of_rings_costs_main_little_and_hides_no_message() {
    // There is no other renderer, so all of main's work is for the attacker.
    let stage = Stage::new();
    let (numbers, connected) = (stage.notes(NUMBER), stage.connected());
    let attack = attacks::find("rings-without-frames");
    let command = attacker_command(attack, &stage, std::process::id());
    let window = stage.launch(command, allow_everything());
    stage.run_until("it is connected", || connected.len() == 1);
    let (began, used) = (Instant::now(), time_of_this_thread());
    let ending = stage.run_until_gone(&window);
    let (took, used) = (began.elapsed(), time_of_this_thread() - used);
    println!("{used:.1?} of main's time in {took:.1?}; {} storms", ending.counters.storms);
    assert!(used < took / 2, "main worked {used:?} of {took:?}");
    assert!(ending.counters.storms > 0);
    assert_eq!(numbers.take(), [77]);
}

/// The processor time that this thread has used.
fn time_of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

// --- the catalogue itself ------------------------------------------------------------------------

#[test]
fn every_part_of_the_catalogue_has_a_test_and_every_attack_a_name_of_its_own() {
    assert!(CATALOGUE.iter().map(|(heading, _)| heading).eq(TESTED));
    let names: BTreeSet<_> = attacks::all().map(|attack| attack.name).collect();
    assert_eq!(names.len(), attacks::all().count());
    assert!(names.len() >= 142, "{} attacks", names.len());
}

#[test]
fn the_table_in_security_md_is_the_catalogue() {
    const HEADING: &str = "## The catalogue of attacks\n";
    const END: &str = "<!-- the end of the catalogue -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SECURITY.md");
    let text = fs::read_to_string(&path).expect("it is there");
    let (_, section) = text.split_once(HEADING).expect("it has the section");
    let (section, _) = section.split_once(END).expect("the section has an end");
    let (_, tables) = section.split_once("\n### ").expect("it has tables");
    let (tables, made) = (format!("### {tables}"), attacks::markdown());
    if tables != made && env::var_os("RINGBRIDGE_WRITE_CATALOGUE").is_some() {
        fs::write(&path, text.replacen(&tables, &made, 1)).expect("it can be written");
        return;
    }
    assert_eq!(tables, made, "make it anew with RINGBRIDGE_WRITE_CATALOGUE=1");
}

tests::scenes!(one at a time);
