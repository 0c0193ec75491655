//! Every attack of the catalogue, each with an honest renderer beside it.
//!
//! One at a time: each measures what main's memory and the bystander's latency are before and after.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
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
    attacks,
    prelude::*,
    siege::{Siege, attacker_command, beside, start_beside},
};

/// One test for each attack, by its name.
macro_rules! attacks {
    ($($name:ident,)*) => {
        $(#[test]
        fn $name() {
            withstand(&attack(stringify!($name)));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

attacks! {
    length_of_zero,
    length_of_less_than_a_header,
    length_of_more_than_a_frame,
    length_past_the_end,
    length_of_the_ring,
    length_of_all_ones,
    kind_that_is_none,
    kind_of_zero,
    word_of_the_other_lap,
    flags_where_none_belong,
    payload_where_none_belongs,
    channel_that_is_none,
    channel_that_is_forbidden,
    message_longer_than_its_policy_says,
    values_that_a_validator_refuses,
    value_that_a_validator_refuses_once,
    topic_that_is_forbidden,
    message_on_a_push_channel,
    message_on_a_topic,
    invoke_of_what_is_no_method,
    subscription_to_what_is_no_topic,
    pad_in_the_middle,
    pad_that_is_too_short,
    pad_behind_a_pad,
    garbage_everywhere,
    length_that_flips,
    channel_that_flips,
    request_id_that_flips,
    bool_that_flips,
    text_that_flips,
    bytes_that_flip_under_a_listener,
    frames_rewritten_behind_main,
    holes_in_its_own_ring,
    bool_of_two,
    value_nested_without_end,
    value_that_promises_billions,
    violations_that_are_tolerated,

    consumed_backwards,
    consumed_past_the_end,
    consumed_of_all_ones,
    consumed_between_cells,
    consumed_frozen,
    consumed_that_flips,
    parked_that_flips,
    asleep_for_ever,
    alarm_that_lies,
    bell_that_flips,
    crowd_on_its_bell,
    identity_of_something_else,
    rings_without_frames,
    bell_made_blocking_and_full,
    bell_drained,

    invoke_without_an_id,
    invoke_under_an_id_that_cannot_be,
    message_under_a_request_id,
    id_that_is_pending,
    id_of_a_request_that_was_answered,
    more_pending_than_its_quota,
    replies_that_it_does_not_take,
    invokes_and_cancels_by_the_thousand,
    replies_to_what_others_were_asked,
    cancels_of_what_others_asked,
    arguments_that_are_none,
    deadlines_of_nothing_and_for_ever,

    flood_of_messages,
    flood_of_the_longest,
    flood_beyond_its_quota_of_frames,
    flood_beyond_its_quota_of_bytes,
    flood_that_nobody_hears,
    flood_of_nonsense,
    flood_of_subscriptions,
    flood_of_invokes,
    child_that_writes_on,

    attachment_that_is_not_sealed,
    attachment_that_is_mapped_for_writing,
    attachment_that_is_sealed_elsewhere,
    attachment_with_holes,
    attachment_shorter_than_its_payload,
    attachment_of_all_ones,
    attachment_named_twice,
    attachment_of_others,
    attachment_given_back_and_named,
    attachment_given_back_twice,
    attachment_on_a_forbidden_channel,
    attachment_on_a_push_channel,
    attachment_of_a_cancel,
    attachment_frame_of_nonsense,
    memory_beyond_its_quota,
    memory_of_half_a_page,
    memory_again_and_again,
    memory_taken_and_given_back,
    answers_that_it_does_not_read,
    attachment_changed_after_the_seal,

    hello_in_another_tongue,
    hello_with_a_wrong_magic,
    hello_of_another_version,
    hello_with_a_wrong_fingerprint,
    hello_with_a_channel_of_no_kind,
    hello_with_too_many_channels,
    hello_with_a_name_too_long,
    hello_that_is_too_long,
    hello_that_goes_on,
    hello_with_descriptors,
    hello_with_all_the_descriptors_there_can_be,
    descriptors_without_a_message,
    packet_of_no_byte,
    ready_before_the_hello,
    hello_twice,
    says_nothing,
    is_never_ready,
    storm_of_connections,
    crowd_at_the_door,
    crowd_that_shakes_hands,
    packet_after_the_handshake,
    descriptor_after_the_handshake,
    half_of_a_hang_up,

    inspector_of_another_version,
    inspector_with_descriptors,
    inspector_that_speaks,
    crowd_of_inspectors,
    board_that_is_written,
    renderer_that_asks_to_watch,
    inspector_of_another_user,

    mains_memory_mapped_for_writing,
    mains_memory_made_writable,
    mains_memory_written_through_its_descriptor,
    memory_cut_off_or_grown,
    holes_in_mains_memory,
    memory_opened_again,
    seals_of_its_own,
    wakes_on_every_word,
    sleepers_moved_elsewhere,
    mains_waiting_thread_moved_elsewhere,

    folder_that_is_a_link,
    folder_that_is_open_to_others,
    folder_of_another_user,
    link_in_the_place_of_the_socket,
    folder_in_the_place_of_the_socket,
    link_in_the_place_of_the_lock,
    lock_that_is_held,
    listener_of_another_user,

    ptrace_of_main,
    mains_memory_read_from_outside,
    mains_memory_opened,
    descriptors_taken_from_main,
    signals_to_main,
    signals_by_way_of_a_socket,
    endpoint_of_another_user,
    endpoint_left_open_to_another_user,
}

/// The attack that a test is named after.
fn attack(test: &str) -> String {
    test.replace('_', "-")
}

fn withstand(name: &str) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    if let Some(outcome) = Siege::new().withstand(attacks::find(name)) {
        println!("{name} in {:.1?}: {outcome}", began.elapsed());
    }
}

// --- what the attacker takes for granted -----------------------------------------------------------

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
        // What a renderer writes is zeroes at first, its own identity too: main knows what it has made.
        assert!(session.outbox.read(0, wire::CONTROL).iter().all(|byte| *byte == 0));
        let named = [wire::VERSION_AT..24, wire::CONSUMED..136, wire::PARKED..272, wire::BELL..388];
        let rest = (24..wire::CONTROL).filter(|at| !named.iter().any(|part| part.contains(at)));
        assert!(
            rest.into_iter().all(|at| page.u8(at).load(Relaxed) == 0),
            "there is something new"
        );
    });
}

#[test]
fn frames_are_as_they_are_written_down_in_both_directions() {
    let stage = Stage::new();
    let numbers = Notes::new();
    let notes = numbers.clone();
    stage.ipc.on(NUMBER, move |_, number| notes.add(*number)).unwrap();
    stage.ipc.handle(ADD, |_, [left, right]| Ok(left + right)).unwrap();
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
    stage.ipc.handle(ADD, |_, [left, right]| Ok(left + right)).unwrap();
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

        // Who is about to wake up by itself is not rung; main may only be too late to see it so.
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

/// Has an attacker send while main does not look, and then says what main takes in each of many turns.
fn in_turns(
    stage: &Stage,
    send: impl FnOnce(&mut Session) + Send + 'static,
    mut taken_in_turn: impl FnMut(u64),
) {
    let connected = Notes::new();
    let notes = connected.clone();
    stage.ipc.on_did_connect(move |window| notes.add(window.clone()));
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
    // Nobody else is there, so that all that main does is for the attacker.
    let stage = Stage::new();
    let (numbers, connected) = (Notes::new(), Notes::new());
    let (notes, connections) = (numbers.clone(), connected.clone());
    stage.ipc.on(NUMBER, move |_, number| notes.add(*number)).unwrap();
    stage.ipc.on_did_connect(move |_| connections.add(()));
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
fn every_attack_of_the_catalogue_has_a_name_of_its_own_and_a_test() {
    let names: Vec<_> = attacks::all().map(|attack| attack.name.to_owned()).collect();
    let tested: BTreeSet<_> = TESTED.iter().map(|test| attack(test)).collect();
    assert_eq!(names.iter().cloned().collect::<BTreeSet<_>>(), tested);
    assert_eq!(names.len(), tested.len());
    assert!(names.len() >= 40, "{} attacks", names.len());
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
    if tables != made && std::env::var_os("RINGBRIDGE_WRITE_CATALOGUE").is_some() {
        fs::write(&path, text.replacen(&tables, &made, 1)).expect("it can be written");
        return;
    }
    assert_eq!(tables, made, "make it anew with RINGBRIDGE_WRITE_CATALOGUE=1");
}

tests::scenes!();
