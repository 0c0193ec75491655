//! Payloads longer than a ring carries: each way, each limit, some lies, and the memory afterwards.
//!
//! One test at a time, since they count what this process has mapped.

use std::sync::Mutex;

use ringbridge::zerocopy::IntoBytes;
use rustix::io::pwrite;
use tests::{attacker::session::seal, prelude::*, siege::beside};

const MIB: usize = 1 << 20;
const LEN: usize = 16 * MIB;

/// Checks that this process has no attachment any more.
#[track_caller]
fn assert_clean() {
    assert_eq!(attachments_of_this_process(), (0, 0));
}

/// A stage that notes the large messages and the numbers that come, in their order.
fn noting_stage(len: usize) -> (Stage, Notes<String>) {
    let stage = Stage::new();
    let order = Notes::new();
    let notes = order.clone();
    stage.hear(BYTES, move |_, bytes| {
        let seed = notes.len() as u64 / 2;
        assert!(is_large(bytes, len, seed), "message {seed} of {} bytes", bytes.len());
        notes.add(format!("bytes {seed}"));
    });
    let note = order.adding();
    stage.hear(NUMBER, move |_, number| note(format!("number {number}")));
    (stage, order)
}

fn in_order(times: u64) -> Vec<String> {
    (0..times).flat_map(|seed| [format!("bytes {seed}"), format!("number {seed}")]).collect()
}

/// Sends four series of large messages, each from a thread of its own.
fn send_in_threads(send: impl Fn(&[u8]) + Sync) {
    thread::scope(|scope| {
        for thread in 0..4 {
            let send = &send;
            scope.spawn(move || {
                for seed in (0..30).map(|turn: u64| thread << 16 | turn) {
                    send(&large(MIB + seed as usize, seed));
                }
            });
        }
    });
}

/// Checks such a message and returns its seed.
fn seed_in_threads(bytes: &[u8]) -> u64 {
    let seed = seed_of(bytes);
    assert!(is_large(bytes, MIB + seed as usize, seed));
    seed
}

/// Checks that the series of each thread has come in order.
fn check_threads(seeds: &[u64]) {
    for thread in 0..4 {
        let of_thread = seeds.iter().copied().filter(|seed| seed >> 16 == thread);
        assert!(of_thread.eq((0..30).map(|turn| thread << 16 | turn)));
    }
}

/// Draws a picture in its first and last row.
fn draw(picture: &mut Picture, pixel: u8) {
    assert!(picture.as_flattened().iter().all(|pixel| *pixel == 0));
    picture[0][1] = pixel;
    picture[1023] = [pixel; 1024];
}

/// The pixel with which a picture was drawn.
fn drawn(picture: &Picture) -> u8 {
    let pixel = picture[0][1];
    assert!(picture[1..1023].as_flattened().iter().all(|pixel| *pixel == 0));
    assert_eq!(picture[1023], [pixel; 1024]);
    pixel
}

#[test]
fn large_messages_of_a_renderer_that_ends_arrive_whole_and_in_order_with_small_ones() {
    let (stage, order) = noting_stage(LEN);
    let window = stage.play_with(sends_large, &[&LEN.to_string(), "5"]);
    stage.run_to_the_end();
    assert_eq!(order.take(), in_order(5));
    let counters = window.counters();
    assert_eq!((counters.attachments_received, counters.attachments_refused), (5, 0));
    assert_eq!((counters.violations, counters.panics), (0, 0));
    assert_clean();
}

#[test]
fn large_messages_of_main_arrive_whole_and_in_order_with_small_ones() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let order = Notes::new();
        let (notes, ticks) = (order.clone(), order.adding());
        ipc.hear(BLOB, move |_, bytes| {
            let seed = notes.len() as u64 / 2;
            assert!(is_large(bytes, LEN, seed), "message {seed} of {} bytes", bytes.len());
            notes.add(format!("bytes {seed}"));
        });
        ipc.hear(TICK, move |_, number| ticks(format!("number {number}")));
        ipc.run_until("all messages", || order.len() == 10);
        assert_eq!(order.take(), in_order(5));
        assert_eq!(ipc.counters().attachments_received, 5);
        cues.wait();
        assert_eq!(attachments_of_this_process().0, 0, "descriptors of mapped memory are closed");
    });
    let push = |window: &WebContents, seed| {
        window.send(BLOB, &large(LEN, seed)).unwrap();
        window.send(TICK, &seed).unwrap();
    };
    // The first before the renderer is there to read.
    push(&window, 0);
    // Not from the loop's thread, since there a send does not wait.
    let pushing = thread::spawn({
        let window = window.clone();
        move || (1..5).for_each(|seed| push(&window, seed))
    });
    stage.run_until("all are pushed", || pushing.is_finished());
    pushing.join().unwrap();
    stage.cue_to_the_end(&window);
    assert_eq!(window.counters().attachments_sent, 5);
    assert_clean();
}

/// Invokes with large arguments that come back as replies.
fn check_echoes(invoke: impl Fn(u64) -> Invocation<[u8], Failure>) {
    assert!(is_large(&invoke(1).wait().unwrap(), LEN, 1));
    // Two at once: the first reply that comes is kept until its turn.
    let [first, second] = [2, 3].map(&invoke);
    assert!(is_large(&second.wait().unwrap(), LEN, 3));
    assert!(is_large(&first.wait().unwrap(), LEN, 2));
    // The memory of a reply that the caller does not take is freed.
    drop(invoke(4));
}

#[test]
fn large_arguments_and_replies_work_in_both_directions_and_beside_a_driver() {
    let stage = Stage::new();
    stage.answer_all();
    let window = stage.play(|ipc| {
        ipc.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
        check_echoes(|seed| ipc.invoke(ECHO, &large(LEN, seed)).unwrap());
        ipc.wait_for_cue("ready");
        ipc.drive_in_background().unwrap();
        assert!(is_large(&ipc.ask(ECHO, &large(LEN, 5)).unwrap(), LEN, 5));
    });
    stage.run_until_reported("ready");
    check_echoes(|seed| window.invoke(ECHO, &large(LEN, seed), LIMIT).unwrap());
    stage.cue_to_the_end(&window);
    assert_eq!(window.counters().violations, 0);
    assert_clean();
}

#[test]
fn a_listener_in_a_renderer_may_send_large_messages() {
    let stage = Stage::new();
    let heard = stage.note(BYTES, move |_, bytes| is_large(bytes, LEN, 1));
    let scene: RendererScene = |ipc| {
        // Inside a listener no other thread of this process takes main's answers for it.
        let sender = ipc.clone();
        ipc.hear(BLOB, move |_, bytes| {
            assert!(is_large(bytes, LEN, 1));
            sender.send(BYTES, bytes).unwrap();
            assert!(is_large(bytes, LEN, 1), "its own memory stays untouched until it returns");
        });
        ipc.wait_for_cue("ready");
    };
    let window = stage.play_ready(scene, &[]);
    (0..3).for_each(|_| window.send(BLOB, &large(LEN, 1)).unwrap());
    stage.run_until("all came back", || heard.len() == 3);
    stage.cue_to_the_end(&window);
    assert_eq!(heard.take(), [true; 3]);
}

#[test]
fn a_quarter_of_a_gibibyte_goes_both_ways() {
    const LEN: usize = 256 * MIB;
    let stage = Stage::new();
    let heard = stage.note(WIDE, move |_, wide| is_large(wide.as_bytes(), LEN, 1));
    stage.play_to_the_end(|ipc| {
        ipc.send(WIDE, &large_wide(LEN, 1)).unwrap();
        assert_clean();
    });
    assert_eq!(heard.take(), [true]);

    let window = stage.play(|ipc| {
        let heard = ipc.note(PUSHED_WIDE, |_, wide| is_large(wide.as_bytes(), LEN, 1));
        ipc.run_until("it", || !heard.is_empty());
        assert_eq!(heard.take(), [true]);
        ipc.wait_for_cue("heard");
        assert_clean();
    });
    window.send(PUSHED_WIDE, &large_wide(LEN, 1)).unwrap();
    stage.run_until_reported("heard");
    // It is longer than the memory that is kept for reuse.
    stage.run_until("it is unmapped", || attachments_of_this_process() == (0, 0));
    stage.cue_to_the_end(&window);
}

#[test]
fn several_threads_of_a_renderer_send_large_messages_at_once() {
    let stage = Stage::new();
    let seeds = stage.note(BYTES, |_, bytes| seed_in_threads(bytes));
    let window = stage.play(|ipc| send_in_threads(|bytes| ipc.send(BYTES, bytes).unwrap()));
    stage.run_to_the_end();
    check_threads(&seeds.take());
    assert_eq!(window.counters().attachments_refused, 0, "it waits rather than ask for too much");
}

#[test]
fn several_threads_of_main_send_large_messages_at_once() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let seeds = ipc.note(BLOB, |_, bytes| seed_in_threads(bytes));
        ipc.run_until("all messages", || seeds.len() == 120);
        check_threads(&seeds.take());
    });
    let pushing = thread::spawn(move || send_in_threads(|bytes| window.send(BLOB, bytes).unwrap()));
    stage.run_to_the_end();
    pushing.join().unwrap();
    assert_clean();
}

#[test]
fn a_loan_of_a_renderer_is_written_in_place_however_long_it_is() {
    let stage = Stage::new();
    let pictures = stage.note(PICTURE, |_, picture| drawn(picture));
    let window = stage.play_to_the_end(|ipc| {
        drop(ipc.loan(PICTURE).unwrap());
        for turn in 1..=3 {
            let mut picture = ipc.loan(PICTURE).unwrap();
            draw(&mut picture, turn);
            let held = ipc.send(NUMBER, &1);
            assert_eq!(held, Err(SendError::LoanHeld { channel: "number" }));
            let held = ipc.send(BYTES, &large(MIB, 1));
            assert!(matches!(held, Err(SendError::LoanHeld { .. })), "{held:?}");
            picture.send();
        }
        assert_only_one_is_ahead();
        assert_eq!(ipc.counters().attachments_lost, 0);
    });
    assert_eq!(pictures.take(), [1, 2, 3]);
    assert_eq!(window.counters().violations, 0);
    assert_clean();
}

#[test]
fn a_loan_of_main_is_written_in_place_and_its_memory_is_used_again() {
    let stage = Stage::new();
    let answers = stage.notes(NUMBER);
    let window = stage.play(|ipc| {
        let pictures = ipc.note(PUSHED_PICTURE, |_, picture| drawn(picture));
        let answering = ipc.clone();
        ipc.hear(TICK, move |_, number| answering.send(NUMBER, number).unwrap());
        ipc.run_until("three pictures", || pictures.len() == 3);
        assert_eq!(pictures.take(), [1, 2, 3]);
        assert_eq!(attachments_of_this_process(), (0, 1), "one buffer is mapped for all of them");
    });
    drop(window.loan(PUSHED_PICTURE).unwrap());
    for turn in 1..=3 {
        let mut picture = window.loan(PUSHED_PICTURE).unwrap();
        draw(&mut picture, turn);
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
    assert_clean();
}

#[test]
fn beyond_the_longest_attachment_a_message_is_too_large() {
    let stage = Stage::with(Config { attachment_max: MIB, ..config() });
    let window = stage.play_ready(stays, &[]);
    assert_eq!(window.payload_max(), MIB);
    let too_large = |channel| SendError::TooLarge { channel, len: MIB + 1, max: MIB };
    let payload = large(MIB + 1, 0);
    assert_eq!(window.send(BLOB, &payload), Err(too_large("blob")));
    let asked = window.invoke(ECHO, &payload, LIMIT).map(drop);
    assert_eq!(asked, Err(InvokeError::Send(too_large("echo"))));
    assert_eq!(window.send(BLOB, &payload[..MIB]), Ok(()));
    assert_eq!(window.counters().too_large, 2);
}

#[test]
fn a_renderer_waits_for_room_in_its_policys_quota_of_attachments() {
    let stage = Stage::new();
    let (mut command, _sign) = with_input(renderer(meets_its_quota, &[]));
    let (output, input) = std::io::pipe().unwrap();
    command.stdout(input);
    let window = stage.launch(command, allow_everything().attachment_bytes_max(LEN + LEN / 2));
    let lines = Mutex::new(Some(Lines::of(output)));
    let mut seeds = 0..;
    let heard = stage.note(BYTES, move |_, bytes| {
        // The first is being read until the second has timed out.
        if let Some(lines) = lines.lock().unwrap().take() {
            lines.next_of("timed-out");
        }
        is_large(bytes, LEN, seeds.next().unwrap())
    });
    stage.run_to_the_end();
    assert_eq!(heard.take(), [true, true]);
    assert_eq!(window.counters().attachments_refused, 0);
}

#[test]
fn replies_that_main_keeps_count_and_the_refusal_names_the_limit() {
    let stage = Stage::new();
    let heard = stage.note(BYTES, move |_, bytes| is_large(bytes, LEN, 2));
    let policy = allow_everything().attachment_bytes_max(LEN + LEN / 2);
    let window = stage.launch(renderer(is_refused_for_kept_replies, &[]), policy);
    stage.run_until_reported("ready");
    let kept = window.invoke(ECHO, &[1], LIMIT).unwrap();
    stage.run_until("the reply is here", || window.counters().attachments_received == 1);
    window.send(CUE, "").unwrap();
    stage.run_until("both were refused", || {
        stage.reports().len() == 2 && window.counters().attachments_refused == 2
    });
    let (refusal, max) = (stage.reports().remove(1), LEN + LEN / 2);
    let held = format!("1 attachments of {LEN} bytes in all are in main already");
    assert!(refusal.contains(&format!("{held}, where 32 and {max} are the most")), "{refusal}");
    assert!(is_large(&kept.wait().unwrap(), LEN, 1));
    stage.cue_to_the_end(&window);
    assert_eq!(heard.take(), [true]);
    assert_clean();
}

#[test]
fn without_attachments_a_renderer_is_limited_to_its_ring() {
    let stage = Stage::new();
    stage.answer_all();
    stage.hear(BYTES, |_, _| ());
    let command = renderer(sends_the_largest, &[&(128 * 1024 - 64 - 16).to_string()]);
    let window = stage.launch(command, allow_everything().attachments_max(0));
    stage.run_to_the_end();
    assert_eq!(window.counters().attachments_received, 0);
}

#[test]
fn a_renderer_that_is_killed_in_the_middle_leaves_no_memory() {
    let len = (2 * MIB).to_string();
    for turn in 0..6 {
        let stage = Stage::new();
        let heard = stage.note(BYTES, move |_, bytes| bytes.len());
        let before = open_descriptors();
        let sender = stage.play_with(sends_large, &[&len, "100000"]);
        // It reads nothing.
        let (deaf, input) =
            stage.play_ready_with_input(does_not_notice_the_end, &[], allow_everything());
        (0..3).for_each(|seed| deaf.send(BLOB, &large(2 * MIB, seed)).unwrap());
        stage.run_until("it sends", || heard.len() >= turn);
        for window in [&sender, &deaf] {
            assert_eq!(stage.kill(window).details.reason, GoneReason::Killed);
        }
        // Although the handles live on.
        assert_clean();
        let gone = deaf.send(BLOB, &large(2 * MIB, 0)).unwrap_err();
        assert!(matches!(gone, SendError::Gone { .. }));
        assert_clean();
        drop(input);
        assert_eq!(open_descriptors(), before);
    }
}

#[test]
fn a_stream_of_large_messages_does_not_keep_main_from_its_clock() {
    let (stage, order) = noting_stage(MIB);
    let sender = stage.play_with(sends_large, &[&MIB.to_string(), "100000"]);
    let large_ones = || order.len().div_ceil(2);
    stage.run_until("it sends", || large_ones() > 1);
    for _ in 0..8 {
        let before = large_ones();
        stage.ipc.run_for(Duration::ZERO).unwrap();
        assert!(large_ones() - before <= 1, "time was over after the first");
    }
    stage.kill(&sender);
    assert_clean();
}

#[test]
fn a_main_that_ends_leaves_a_renderer_that_sends_or_waits_for_memory_with_an_error() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let payload = large(MIB, 0);
        let error = (0..).find_map(|_: u64| ipc.send(BYTES, &payload).err());
        assert!(matches!(error, Some(SendError::Gone { .. })), "{error:?}");
        assert_clean();
    });
    stage.run_until("it sends", || window.counters().attachments_received > 2);
    stage.ipc.close().unwrap();
    // Its own asserts hold, and it was not killed.
    let details = RenderProcessGone { reason: GoneReason::Closed, exit_code: Some(0) };
    assert_eq!(stage.endings()[0].details, details);
    assert_clean();
}

/// Lies that end a session are in the catalogue of attacks.
#[test]
fn a_lie_that_is_tolerated_is_counted_and_the_session_goes_on() {
    let (stage, order) = noting_stage(MIB);
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
    assert_clean();
}

/// Sends large messages with a number after each. Arguments: LEN TIMES.
fn sends_large(ipc: &Renderer) {
    let (len, times) = (ipc.number(0) as usize, ipc.number(1));
    for seed in 0..times {
        ipc.send(BYTES, &large(len, seed)).unwrap();
        ipc.send(NUMBER, &seed).unwrap();
    }
    assert_eq!(ipc.counters().attachments_sent, times);
    assert_only_one_is_ahead();
}

/// Memory that was sent is in main only. Memory for one more may be here, and is not filled yet.
fn assert_only_one_is_ahead() {
    let (open, mapped) = attachments_of_this_process();
    assert!(open <= 1 && mapped == 0, "{open} open, {mapped} mapped");
}

/// Its quota is less than two large messages, and main reads the first until the line that this prints.
fn meets_its_quota(ipc: &Renderer) {
    let (max, len) = (LEN + LEN / 2, LEN + LEN / 2 + 4096);
    let too_large = ipc.send(BYTES, &large(len, 0));
    assert_eq!(too_large, Err(SendError::TooLarge { channel: "bytes", len, max }));
    assert_eq!(ipc.send(BYTES, &large(LEN, 0)), Ok(()));
    let (began, waited) = (Instant::now(), Duration::from_millis(50));
    let timed_out = ipc.send_timeout(BYTES, &large(LEN, 1), waited);
    assert_eq!(timed_out, Err(SendError::TimedOut { channel: "bytes", waited }));
    assert!(began.elapsed() >= waited);
    println!("{}", json!({ "event": "timed-out" }));
    assert_eq!(ipc.send(BYTES, &large(LEN, 1)), Ok(()));
    assert_eq!(ipc.counters().attachments_sent, 2);
}

/// Main's application has not taken its reply yet.
fn is_refused_for_kept_replies(ipc: &Renderer) {
    let cues = ipc.cues();
    ipc.answer(ECHO, |_, _| Ok(large(LEN, 1)));
    ipc.report("ready");
    cues.wait();
    let refused = ipc.send(BYTES, &large(LEN, 2)).unwrap_err();
    ipc.report(&refused);
    assert!(matches!(refused, SendError::AttachmentQuota { .. }));
    let refused = ipc.invoke(ECHO, &large(LEN, 2)).map(drop).unwrap_err();
    assert!(matches!(refused, InvokeError::Send(SendError::AttachmentQuota { .. })));
    cues.wait();
    ipc.send(BYTES, &large(LEN, 2)).expect("main has taken the reply");
}
