//! Payloads longer than a ring carries: each way, each limit, some lies, and what stays behind.
//!
//! One test at a time, since they count what this process has mapped.

use std::{ops::Range, sync::Mutex};

use ringbridge::zerocopy::IntoBytes;
use rustix::io::pwrite;
use tests::{
    attacker::{session::seal, until, wire},
    prelude::*,
    siege::beside,
};

const MIB: usize = 1 << 20;
const LEN: usize = 16 * MIB;

/// Whether this process has no attachment any more.
fn is_clean() -> bool {
    attachments_of_this_process() == (0, 0)
}

/// A stage that notes the large messages and the numbers that come, in their order.
fn noting_stage(config: Config, len: usize) -> (Stage, Notes<String>) {
    let stage = Stage::with(config);
    let order = Notes::new();
    let notes = order.clone();
    stage.hear(BYTES, move |_, bytes| {
        let seed = notes.len() as u64 / 2;
        assert!(is_large(bytes, len, seed), "message {seed} of {} bytes", bytes.len());
        notes.add(format!("bytes {seed}"));
    });
    let notes = order.clone();
    stage.hear(NUMBER, move |_, number| notes.add(format!("number {number}")));
    (stage, order)
}

fn in_order(times: u64) -> Vec<String> {
    (0..times).flat_map(|seed| [format!("bytes {seed}"), format!("number {seed}")]).collect()
}

/// Pushes large messages, each with a number behind it, while the stage runs.
fn push_large(stage: &Stage, window: &WebContents, len: usize, seeds: Range<u64>) {
    let window = window.clone();
    // Not from the loop's thread, since there a send does not wait.
    let pushing = thread::spawn(move || {
        for seed in seeds {
            window.send(BLOB, &large(len, seed)).unwrap();
            window.send(TICK, &seed).unwrap();
        }
    });
    stage.run_until("all are pushed", || pushing.is_finished());
    pushing.join().unwrap();
}

// --- every pattern, both ways ----------------------------------------------------------------------

#[test]
fn large_messages_of_a_renderer_arrive_whole_and_in_order_with_small_ones() {
    let (stage, order) = noting_stage(config(), LEN);
    let window = stage.play_with(sends_large, &[&LEN.to_string(), "5"]);
    stage.run_to_the_end();
    assert_eq!(order.take(), in_order(5));
    let counters = window.counters();
    assert_eq!((counters.attachments_received, counters.attachments_refused), (5, 0));
    assert_eq!((counters.violations, counters.panics), (0, 0));
    assert!(is_clean(), "{:?}", attachments_of_this_process());
}

#[test]
fn large_messages_of_main_arrive_whole_and_in_order_with_small_ones() {
    let stage = Stage::new();
    let window = stage.play_with(hears_large, &[&LEN.to_string(), "5"]);
    // The first before anyone is there to read.
    window.send(BLOB, &large(LEN, 0)).unwrap();
    window.send(TICK, &0).unwrap();
    push_large(&stage, &window, LEN, 1..5);
    stage.run_until_reported("heard");
    stage.cue_to_the_end(&window);
    assert_eq!(window.counters().attachments_sent, 5);
    assert!(is_clean());
}

#[test]
fn a_buffer_that_was_read_is_used_again() {
    let stage = Stage::new();
    let answers = stage.notes(NUMBER);
    let window = stage.play_with(hears_large, &[&MIB.to_string(), "10"]);
    for seed in 0..10 {
        window.send(BLOB, &large(MIB, seed)).unwrap();
        window.send(TICK, &seed).unwrap();
        stage.run_until("it was read", || answers.len() as u64 == seed + 1);
    }
    assert_eq!(window.counters().attachment_buffers, 1, "one, ten times");
    stage.run_until_reported("heard");
    assert_eq!(stage.cue_to_the_end(&window)[1..], ["1 mapped"]);
}

#[test]
fn invokes_with_large_arguments_and_replies_work_in_every_way_of_waiting() {
    let stage = Stage::new();
    stage.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
    let window = stage.play(|ipc| {
        // The arguments and the reply; waited for, stored, and beside a driver.
        let len = LEN;
        let reply = ipc.invoke(ECHO, &large(len, 1)).unwrap().wait().unwrap();
        assert!(is_large(&reply, len, 1));
        let len = len / 8;
        // Two at once: the first reply that comes is stored until its turn.
        let [first, second] = [2, 3].map(|seed| ipc.invoke(ECHO, &large(len, seed)).unwrap());
        assert!(is_large(&second.wait().unwrap(), len, 3));
        assert!(is_large(&first.wait().unwrap(), len, 2));
        ipc.drive_in_background().unwrap();
        let reply = ipc.invoke(ECHO, &large(len, 4)).unwrap().wait().unwrap();
        assert!(is_large(&reply, len, 4));
        // A reply that nobody takes is let go.
        drop(ipc.invoke(ECHO, &large(len, 5)).unwrap());
        let reply = ipc.invoke(ECHO, &[1, 2, 3]).unwrap().wait();
        assert_eq!(reply, Ok(vec![1, 2, 3]));
    });
    stage.run_to_the_end();
    assert_eq!(window.counters().violations, 0);
    assert!(is_clean());
}

#[test]
fn main_may_invoke_with_large_arguments_and_get_large_replies() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        ipc.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
        ipc.report("ready");
        cues.wait();
    });
    stage.run_until_reported("ready");
    let reply = window.invoke(ECHO, &large(LEN, 1), LIMIT).unwrap().wait().unwrap();
    assert!(is_large(&reply, LEN, 1));
    let [first, second] = [2, 3].map(|seed| window.invoke(ECHO, &large(LEN, seed), LIMIT).unwrap());
    assert!(is_large(&second.wait().unwrap(), LEN, 3));
    assert!(is_large(&first.wait().unwrap(), LEN, 2), "it was kept in place until now");
    drop(window.invoke(ECHO, &large(LEN, 4), LIMIT).unwrap());
    stage.cue_to_the_end(&window);
    assert!(is_clean());
}

#[test]
fn a_listener_in_a_renderer_may_send_what_is_large() {
    let stage = Stage::new();
    let heard = stage.note(BYTES, move |_, bytes| is_large(bytes, LEN, 1));
    let window = stage.play(|ipc| {
        // There nobody else of this process reads for it.
        let cues = ipc.cues();
        let len = LEN;
        let sender = ipc.clone();
        ipc.hear(BLOB, move |_, bytes| {
            assert!(is_large(bytes, len, 1));
            sender.send(BYTES, bytes).unwrap();
            // Its own is not touched before this returns.
            assert!(is_large(bytes, len, 1));
        });
        ipc.report("ready");
        cues.wait();
    });
    stage.run_until_reported("ready");
    for _ in 0..3 {
        window.send(BLOB, &large(LEN, 1)).unwrap();
    }
    stage.run_until("all came back", || heard.len() == 3);
    stage.cue_to_the_end(&window);
    assert_eq!(heard.take(), [true; 3]);
}

#[test]
fn a_quarter_of_a_gibibyte_goes_both_ways() {
    const LEN: usize = 256 * MIB;
    let stage = Stage::new();
    let heard = stage.note(WIDE, move |_, wide| is_large(wide.as_bytes(), LEN, 1));
    stage.play(|ipc| {
        ipc.send(WIDE, &large_wide(LEN, 1)).unwrap();
        assert_eq!(attachments_of_this_process(), (0, 0));
    });
    stage.run_to_the_end();
    assert_eq!(heard.take(), [true]);

    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let (heard, len) = (Notes::new(), LEN);
        let notes = heard.clone();
        ipc.hear(PUSHED_WIDE, move |_, wide| notes.add(is_large(wide.as_bytes(), len, 1)));
        ipc.run_until("it", || !heard.is_empty());
        assert_eq!(heard.take(), [true]);
        ipc.report("heard");
        cues.wait();
        assert_eq!(attachments_of_this_process(), (0, 0), "main has let it go, and so has this");
    });
    window.send(PUSHED_WIDE, &large_wide(LEN, 1)).unwrap();
    stage.run_until_reported("heard");
    // It is beyond what is kept for reuse.
    stage.run_until("it is let go", is_clean);
    stage.cue_to_the_end(&window);
}

#[test]
fn several_threads_of_a_renderer_send_what_is_large_at_once() {
    let stage = Stage::new();
    let seeds = stage.note(BYTES, move |_, bytes| {
        let seed = seed_of(bytes);
        assert!(is_large(bytes, MIB + seed as usize, seed));
        seed
    });
    let window = stage.play_with(
        |ipc| {
            let [threads, len, times] = [0, 1, 2].map(|place| ipc.number(place));
            thread::scope(|scope| {
                for thread in 0..threads {
                    let ipc = &ipc;
                    scope.spawn(move || {
                        for turn in 0..times {
                            let seed = thread << 16 | turn;
                            ipc.send(BYTES, &large((len + seed) as usize, seed)).unwrap();
                        }
                    });
                }
            });
        },
        &["4", &MIB.to_string(), "30"],
    );
    stage.run_to_the_end();
    let seeds = seeds.take();
    for thread in 0..4 {
        let of_thread = seeds.iter().filter(|seed| *seed >> 16 == thread);
        assert!(of_thread.copied().eq((0..30).map(|turn| thread << 16 | turn)));
    }
    assert_eq!(window.counters().attachments_refused, 0, "it waits rather than ask for too much");
}

#[test]
fn several_threads_of_main_send_what_is_large_at_once() {
    let stage = Stage::new();
    let window = stage.play_with(
        |ipc| {
            // As they are sent by `sends-large-from-threads`.
            let [threads, len, times] = [0, 1, 2].map(|place| ipc.number(place));
            let seeds = ipc.note(BLOB, move |_, bytes| {
                let seed = seed_of(bytes);
                assert!(is_large(bytes, (len + seed) as usize, seed));
                seed
            });
            ipc.run_until("all messages", || seeds.len() as u64 == threads * times);
            let seeds = seeds.take();
            for thread in 0..threads {
                let of_thread = seeds.iter().copied().filter(|seed| seed >> 16 == thread);
                assert!(of_thread.eq((0..times).map(|turn| thread << 16 | turn)));
            }
        },
        &["4", &MIB.to_string(), "30"],
    );
    let pushing: Vec<_> = (0..4)
        .map(|thread| {
            let window = window.clone();
            thread::spawn(move || {
                for turn in 0..30 {
                    let seed: u64 = thread << 16 | turn;
                    window.send(BLOB, &large(MIB + seed as usize, seed)).unwrap();
                }
            })
        })
        .collect();
    stage.run_to_the_end();
    pushing.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(is_clean());
}

#[test]
fn a_loan_of_a_renderer_is_written_in_place_however_long_it_is() {
    let stage = Stage::new();
    let pictures = stage.note(PICTURE, move |_, picture| {
        assert!(picture[1..1023].as_flattened().iter().all(|pixel| *pixel == 0));
        (picture[0][1], picture[1023] == [picture[0][1]; 1024])
    });
    let window = stage.play(|ipc| {
        drop(ipc.loan(PICTURE).unwrap());
        for turn in 1..=3 {
            let mut picture = ipc.loan(PICTURE).unwrap();
            assert!(picture.as_flattened().iter().all(|pixel| *pixel == 0));
            picture[0][1] = turn;
            picture[1023] = [turn; 1024];
            let held = ipc.send(NUMBER, &1);
            assert_eq!(held, Err(SendError::LoanHeld { channel: "number" }));
            let held = ipc.send(BYTES, &large(1 << 20, 1));
            assert!(matches!(held, Err(SendError::LoanHeld { .. })), "{held:?}");
            picture.send();
        }
        assert_only_one_is_ahead();
        assert_eq!(ipc.counters().attachments_lost, 0);
    });
    stage.run_to_the_end();
    assert_eq!(pictures.take(), [(1, true), (2, true), (3, true)]);
    assert_eq!(window.counters().violations, 0);
    assert!(is_clean());
}

#[test]
fn a_loan_of_main_is_written_in_place_however_long_it_is() {
    let stage = Stage::new();
    let answers = stage.notes(NUMBER);
    let window = stage.play(|ipc| {
        let pictures = ipc.note(PUSHED_PICTURE, move |_, picture| {
            assert!(picture[1..1023].as_flattened().iter().all(|pixel| *pixel == 0));
            (picture[0][1], picture[1023] == [picture[0][1]; 1024])
        });
        let answering = ipc.clone();
        ipc.hear(TICK, move |_, number| answering.send(NUMBER, number).unwrap());
        ipc.run_until("three pictures", || pictures.len() == 3);
        assert_eq!(pictures.take(), [(1, true), (2, true), (3, true)]);
    });
    drop(window.loan(PUSHED_PICTURE).unwrap());
    for turn in 1..=3 {
        let mut picture = window.loan(PUSHED_PICTURE).unwrap();
        assert!(picture.as_flattened().iter().all(|pixel| *pixel == 0));
        picture[0][1] = turn;
        picture[1023] = [turn; 1024];
        let held = window.send(BLOB, &large(MIB, 1));
        assert_eq!(held, Err(SendError::LoanHeld { channel: "blob" }));
        picture.send();
        window.send(TICK, &0).unwrap();
        if turn < 3 {
            stage.run_until("it was read", || answers.len() == usize::from(turn));
        }
    }
    stage.run_to_the_end();
    assert_eq!(window.counters().attachment_buffers, 2, "one for the pictures, one for the blob");
    assert!(is_clean());
}

// --- limits ------------------------------------------------------------------------------------------

#[test]
fn beyond_the_longest_attachment_a_message_is_too_large() {
    let stage = Stage::with(Config { attachment_max: MIB, ..config() });
    let window = stage.play(stays);
    stage.run_until_reported("connected");
    assert_eq!(window.payload_max(), MIB);
    let (len, max) = (MIB + 1, MIB);
    let too_large = |channel| SendError::TooLarge { channel, len, max };
    let payload = large(len, 0);
    assert_eq!(window.send(BLOB, &payload), Err(too_large("blob")));
    let asked = window.invoke(ECHO, &payload, LIMIT).map(drop);
    assert_eq!(asked, Err(InvokeError::Send(too_large("echo"))));
    assert_eq!(window.send(BLOB, &payload[..MIB]), Ok(()));
    assert_eq!(window.counters().too_large, 2);
}

#[test]
fn what_a_renderer_may_have_on_its_way_is_its_policys_and_it_waits_for_room_in_it() {
    let stage = Stage::new();
    let (mut command, _sign) = with_input(renderer(meets_its_quota, &[&LEN.to_string()]));
    let (output, input) = std::io::pipe().unwrap();
    command.stdout(input);
    let window = stage.launch(command, allow_everything().attachment_bytes_max(LEN + LEN / 2));
    let lines = Mutex::new(Some(Lines::of(output)));
    let heard = Notes::new();
    let notes = heard.clone();
    stage.hear(BYTES, move |_, bytes| {
        // The first is being read until the second has timed out.
        if let Some(lines) = lines.lock().unwrap().take() {
            lines.next_of("timed-out");
        }
        notes.add(is_large(bytes, LEN, notes.len() as u64));
    });
    stage.run_to_the_end();
    assert_eq!(heard.take(), [true, true]);
    assert_eq!(window.counters().attachments_refused, 0);
}

#[test]
fn a_send_that_does_not_wait_finds_its_memory_the_next_time() {
    let stage = Stage::new();
    let heard = stage.note(BYTES, move |_, bytes| is_large(bytes, MIB, 0));
    let window = stage.play(|ipc| {
        // A call that does not wait fails until the memory has come.
        let payload = large(MIB, 0);
        let began = Instant::now();
        while let Err(error) = ipc.try_send(BYTES, &payload) {
            assert_eq!(error, SendError::Full { channel: "bytes" });
            assert!(began.elapsed() < LIMIT);
            thread::yield_now();
        }
    });
    stage.run_to_the_end();
    assert_eq!(heard.take(), [true]);
    assert_eq!(window.counters().attachment_buffers, 1, "it asked once");
}

#[test]
fn what_main_keeps_counts_and_the_refusal_names_the_limit() {
    let stage = Stage::new();
    let heard = stage.note(BYTES, move |_, bytes| is_large(bytes, LEN, 2));
    let policy = allow_everything().attachment_bytes_max(LEN + LEN / 2);
    let command = renderer(is_refused_for_what_main_keeps, &[&LEN.to_string()]);
    let window = stage.launch(command, policy);
    stage.run_until_reported("ready");
    let kept = window.invoke(ECHO, &[1], LIMIT).unwrap();
    stage.run_until("the reply is here", || window.counters().attachments_received == 1);
    window.send(CUE, "").unwrap();
    stage.run_until("it was refused", || stage.reports().len() == 2);
    assert!(
        stage.reports()[1].contains(&format!(
            "1 attachments of {LEN} bytes in all are in main already, where 32 and {} are the most",
            LEN + LEN / 2
        )),
        "{:?}",
        stage.reports()
    );
    stage.run_until("both were refused", || window.counters().attachments_refused == 2);
    assert!(is_large(&kept.wait().unwrap(), LEN, 1));
    stage.cue_to_the_end(&window);
    assert_eq!(heard.take(), [true]);
    assert!(is_clean());
}

#[test]
fn without_attachments_a_renderer_sends_what_its_ring_carries() {
    let stage = Stage::new();
    let window = stage.launch(
        renderer(sends_the_largest, &[&(128 * 1024 - 64 - 16).to_string()]),
        allow_everything().attachments_max(0),
    );
    stage.hear(BYTES, |_, _| ());
    stage.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
    stage.answer(ADD, |_, [left, right]| Ok(left + right));
    stage.run_to_the_end();
    assert_eq!(window.counters().attachments_received, 0);
}

// --- deaths ------------------------------------------------------------------------------------------

#[test]
fn a_renderer_that_is_killed_in_the_middle_leaves_nothing() {
    let len = (2 * MIB).to_string();
    for turn in 0..6 {
        let stage = Stage::new();
        let heard = stage.note(BYTES, move |_, bytes| bytes.len());
        let before = open_descriptors();
        let sender = stage.play_with(sends_large, &[&len, "100000"]);
        let (deaf, input) =
            stage.play_with_input(hears_large_late, &[&len, "1000"], allow_everything());
        stage.run_until_reported("connected");
        for seed in 0..3 {
            deaf.send(BLOB, &large(2 * MIB, seed)).unwrap();
        }
        stage.run_until("it sends", || heard.len() >= turn);
        for window in [&sender, &deaf] {
            let ending = stage.kill(window);
            assert_eq!(ending.details.reason, GoneReason::Killed);
        }
        assert!(is_clean(), "{:?}, although the handles live on", attachments_of_this_process());
        let gone = deaf.send(BLOB, &large(2 * MIB, 0)).unwrap_err();
        assert!(matches!(gone, SendError::Gone { .. }));
        assert!(is_clean());
        drop(input);
        assert_eq!(open_descriptors(), before);
    }
}

#[test]
fn a_stream_of_large_messages_does_not_keep_main_from_its_clock() {
    let (stage, order) = noting_stage(config(), MIB);
    let sender = stage.play_with(sends_large, &[&MIB.to_string(), "100000"]);
    let large_ones = || order.len().div_ceil(2);
    stage.run_until("it sends", || large_ones() > 1);
    for _ in 0..8 {
        let before = large_ones();
        stage.ipc.run_for(Duration::ZERO).unwrap();
        assert!(large_ones() - before <= 1, "time was over after the first");
    }
    stage.kill(&sender);
    assert!(is_clean());
}

#[test]
fn what_was_sent_before_a_death_is_delivered() {
    let (stage, order) = noting_stage(config(), MIB);
    let window = stage.play_with(sends_large, &[&MIB.to_string(), "3"]);
    // Its end and its last messages may be seen in one turn.
    stage.run_until_gone(&window);
    assert_eq!(order.take(), in_order(3));
}

#[test]
fn a_main_that_ends_leaves_a_renderer_that_sends_or_waits_for_memory_with_an_error() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let payload = large(MIB, 0);
        let error = (0..).find_map(|_: u64| ipc.send(BYTES, &payload).err());
        assert!(matches!(error, Some(SendError::Gone { .. })), "{error:?}");
        assert_eq!(attachments_of_this_process(), (0, 0));
    });
    stage.run_until("it sends", || window.counters().attachments_received > 2);
    stage.ipc.close().unwrap();
    let ending = stage.endings().remove(0);
    assert_eq!(ending.details.reason, GoneReason::Closed);
    assert_eq!(
        ending.details.exit_code,
        Some(0),
        "it has found what it looks for, and was not killed"
    );
    assert!(is_clean());
}

// --- lies (those that end a session are in the catalogue of attacks) ---------------------------------

#[test]
fn a_flood_of_requests_gets_its_quota_and_then_refusals_and_no_mapping() {
    let stage = Stage::new();
    let connected = stage.connected();
    beside(&stage, allow_everything(), |session| {
        for _ in 0..40 {
            assert!(session.number(wire::ASK, MIB as u64));
            until("an answer", || session.socket.descriptors().is_some());
        }
    });
    let counters = connected.take().remove(0).counters();
    assert_eq!((counters.attachment_buffers, counters.attachments_refused), (32, 8));
    stage.run_until("it is gone", || !stage.endings().is_empty());
    assert!(is_clean());
}

#[test]
fn a_lie_that_is_tolerated_is_counted_and_the_session_goes_on() {
    let (stage, order) = noting_stage(config(), MIB);
    let policy = allow_everything().on_violation(OnViolation::Tolerate(2));
    beside(&stage, policy, |session| {
        session.attached("bytes", 9, 100);
        let memory = session.borrow(MIB as u64);
        assert_eq!(pwrite(&memory, &large(MIB, 0), 0), Ok(MIB));
        seal(&memory).unwrap();
        session.attached("bytes", 1, MIB as u64);
    });
    stage.run_until("it is gone", || !stage.endings().is_empty());
    assert_eq!(order.take(), in_order(1)[..1]);
    let ending = stage.endings().remove(0);
    assert_eq!(ending.details.reason, GoneReason::Disconnected);
    assert_eq!(ending.counters.violations, 1);
    assert!(is_clean());
}

// --- renderers and main processes ---------------------------------------------------------------

/// With a number after each. Arguments: LEN TIMES.
fn sends_large(ipc: &Renderer) {
    let (len, times) = (ipc.number(0) as usize, ipc.number(1));
    for seed in 0..times {
        ipc.send(BYTES, &large(len, seed)).unwrap();
        ipc.send(NUMBER, &seed).unwrap();
    }
    let counters = ipc.counters();
    assert_eq!(counters.attachments_sent, times);
    assert_only_one_is_ahead();
}

/// What was sent is main's affair alone. Memory for one more may be here, and is not filled yet.
fn assert_only_one_is_ahead() {
    let (open, mapped) = attachments_of_this_process();
    assert!(open <= 1 && mapped == 0, "{open} open, {mapped} mapped");
}

/// With a tick after each. Arguments: LEN TIMES.
fn hears_large(ipc: &Renderer) {
    hears(ipc, ipc.number(0) as usize, ipc.number(1));
}

/// As `hears-large`, but it looks only after a sign.
fn hears_large_late(ipc: &Renderer) {
    ipc.report("connected");
    wait_for_input();
    hears(ipc, ipc.number(0) as usize, ipc.number(1));
}

fn hears(ipc: &Renderer, len: usize, times: u64) {
    let order = Notes::new();
    let cues = ipc.cues();
    let notes = order.clone();
    ipc.hear(BLOB, move |_, bytes| {
        let seed = notes.len() as u64 / 2;
        assert!(is_large(bytes, len, seed), "message {seed} of {} bytes", bytes.len());
        notes.add("blob");
    });
    let (notes, answering) = (order.clone(), ipc.clone());
    ipc.hear(TICK, move |_, number| {
        notes.add("tick");
        // By now what came before is read and let go.
        answering.send(NUMBER, number).unwrap();
    });
    ipc.run_until("all messages", || order.len() as u64 == 2 * times);
    assert_eq!(order.take(), ["blob", "tick"].repeat(times as usize));
    assert_eq!(ipc.counters().attachments_received, times);
    ipc.report("heard");
    cues.wait();
    let (open, mapped) = attachments_of_this_process();
    assert_eq!(open, 0, "descriptors are closed once they are mapped");
    ipc.report(format!("{mapped} mapped"));
}

/// Two of this length are more than it may have on their way, and main does not look until after
/// the sign that this gives. Arguments: LEN.
fn meets_its_quota(ipc: &Renderer) {
    let len = ipc.number(0) as usize;
    let max = len + len / 2;
    let too_large = ipc.send(BYTES, &large(max + 4096, 0));
    assert_eq!(
        too_large,
        Err(SendError::TooLarge { channel: "bytes", len: max + 4096, max }),
        "what can never be sent is refused with the limit"
    );
    assert_eq!(ipc.send(BYTES, &large(len, 0)), Ok(()));
    // Main works on the first for as long as it takes until this one has timed out.
    let (began, waited) = (Instant::now(), Duration::from_millis(50));
    let timed_out = ipc.send_timeout(BYTES, &large(len, 1), waited);
    assert_eq!(timed_out, Err(SendError::TimedOut { channel: "bytes", waited }));
    assert!(began.elapsed() >= waited);
    println!("{}", serde_json::json!({ "event": "timed-out" }));
    assert_eq!(ipc.send(BYTES, &large(len, 1)), Ok(()));
    assert_eq!(ipc.counters().attachments_sent, 2);
}

/// Replies that main's application has not taken yet. Arguments: LEN.
fn is_refused_for_what_main_keeps(ipc: &Renderer) {
    let cues = ipc.cues();
    let len = ipc.number(0) as usize;
    ipc.answer(ECHO, move |_, _| Ok(large(len, 1)));
    ipc.report("ready");
    cues.wait();
    let refused = ipc.send(BYTES, &large(len, 2)).unwrap_err();
    ipc.report(&refused);
    assert!(matches!(refused, SendError::AttachmentQuota { .. }));
    let refused = ipc.invoke(ECHO, &large(len, 2)).map(drop).unwrap_err();
    assert!(matches!(refused, InvokeError::Send(SendError::AttachmentQuota { .. })));
    cues.wait();
    ipc.send(BYTES, &large(len, 2)).expect("main has taken what it kept");
}
