//! Who sends more than it may is held to its quota: nothing is lost, and main does not work for it.

use tests::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Notes when each number came.
fn arrivals(stage: &Stage) -> Notes<(u64, Instant)> {
    stage.note(NUMBER, move |_, number| (*number, Instant::now()))
}

/// Plays a scene that sends at a sign until all of it has come.
fn play_at_a_sign(
    stage: &Stage,
    scene: RendererScene,
    arguments: &[&str],
    policy: Policy,
) -> Counters {
    let (window, mut sign) = stage.play_with_input(scene, arguments, policy);
    stage.run_until_reported("ready");
    sign.write_all(b".").unwrap();
    stage.run_until_reported("sent");
    let counters = window.counters();
    stage.close(&window);
    counters
}

/// From the first arrival to the last.
fn span(arrivals: &[(u64, Instant)]) -> Duration {
    let times = || arrivals.iter().map(|(_, at)| *at);
    times().max().unwrap() - times().min().unwrap()
}

#[test]
fn frames_beyond_the_quota_wait_in_order_and_none_is_lost() {
    // In a ring that holds them all, and in one in which their sender has to wait for room.
    for renderer_capacity in [256 << 10, 4 << 10] {
        let stage = Stage::with(Config { renderer_capacity, ..config() });
        let arrivals = arrivals(&stage);
        let policy = allow_everything().frames_quota(Quota::per_second(1000).burst(100));
        let counters = play_at_a_sign(&stage, sends_numbers_at_a_sign, &["600"], policy);
        let arrived = arrivals.take();
        assert!(arrived.iter().map(|(number, _)| *number).eq(0..600));
        assert!(span(&arrived) >= 490 * MS, "they took {:?}", span(&arrived));
        assert!(counters.throttled > 0);
        assert_eq!((counters.violations, counters.unheard), (0, 0));
    }
}

#[test]
fn who_stays_below_its_quota_is_never_held() {
    let stage = Stage::new();
    let arrivals = arrivals(&stage);
    let policy = allow_everything()
        .frames_quota(Quota::per_second(1000).burst(2000))
        .bytes_quota(Quota::per_second(1 << 20));
    let counters = play_at_a_sign(&stage, sends_numbers_at_a_sign, &["600"], policy);
    assert_eq!((arrivals.len(), counters.throttled), (600, 0));
}

#[test]
fn bytes_beyond_the_quota_wait_whether_in_many_messages_or_in_one() {
    let quota = Quota::per_second(1 << 20).burst(64 << 10);
    // In the ring, and in memory of their own. The last report waits for what is owed.
    for (count, len) in [("400", "1000"), ("2", "400000")] {
        let stage = Stage::new();
        let bytes = stage.note(BYTES, move |_, bytes| bytes.len());
        let policy = allow_everything().bytes_quota(quota);
        let began = Instant::now();
        let counters = play_at_a_sign(&stage, sends_bytes_at_a_sign, &[count, len], policy);
        let took = began.elapsed();
        assert_eq!(bytes.len().to_string(), count);
        assert!(took >= 300 * MS, "{count} of {len} bytes took {took:?}");
        assert!(counters.throttled > 0);
    }
}

#[test]
fn what_was_committed_before_a_death_is_delivered_at_once_whatever_the_quota() {
    let stage = Stage::new();
    let arrivals = arrivals(&stage);
    // At this rate they would take a minute.
    let policy = allow_everything().frames_quota(Quota::per_second(10).burst(0));
    let (window, mut sign) = stage.play_with_input(
        |ipc| {
            ipc.report("ready");
            wait_for_input();
            for number in 0..ipc.number(0) {
                ipc.send(NUMBER, &number).unwrap();
            }
            std::process::abort();
        },
        &["600"],
        policy,
    );
    stage.run_until_reported("ready");
    sign.write_all(b".").unwrap();
    let began = Instant::now();
    stage.run_until_gone(&window);
    assert!(arrivals.take().into_iter().map(|(number, _)| number).eq(0..600));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_renderer_is_heard_again_after_it_was_held() {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    stage.answer(ASK, |_, number| Ok(*number));
    let policy = allow_everything().frames_quota(Quota::per_second(200).burst(0));
    // One at a time: main sleeps in between, and has to be woken by it.
    let window = stage.launch(renderer(asks_in_turn, &["60"]), policy);
    assert_eq!(stage.run_to_the_end(), ["asks", "answered"]);
    assert!(window.counters().parks > 0);
}

#[test]
fn beside_one_that_is_held_others_are_served_at_once() {
    let stage = Stage::new();
    let arrivals = arrivals(&stage);
    stage.answer(ASK, |_, number| Ok(*number));
    let policy = allow_everything().frames_quota(Quota::per_second(100));
    let flood = stage.launch(renderer(floods, &[]), policy);
    stage.run_until("it is held", || flood.counters().throttled > 0);
    let (began, before) = (Instant::now(), arrivals.len());
    let asking: WebContents = stage.play_with(asks_in_turn, &["2000"]);
    stage.run_until("all is answered", || {
        stage.reports_of(&asking).iter().any(|report| report == "answered")
    });
    let allowed = 100.0 * began.elapsed().as_secs_f64() + 12.0;
    let taken = arrivals.len() - before;
    assert!(taken as f64 <= allowed, "{taken} frames of the flood, where {allowed} are allowed");
    stage.close(&flood);
}

#[test]
fn a_message_may_be_as_long_as_the_policy_says_and_its_sender_knows() {
    // Less than the ring carries, less than a cache line, and in memory of its own.
    for max in [1000, 20, 300_000] {
        let stage = Stage::new();
        stage.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
        stage.hear(BYTES, |_, _| ());
        let policy = allow_everything().message_max(max);
        let command = renderer(sends_longer_messages, &[&max.to_string()]);
        let window = stage.launch(command, policy);
        stage.run_to_the_end();
        assert_eq!(window.counters().violations, 0);
    }
}

// --- renderers and main processes ---------------------------------------------------------------

/// Arguments: COUNT LENGTH.
fn sends_bytes_at_a_sign(ipc: &Renderer) {
    ipc.report("ready");
    wait_for_input();
    let message = vec![7; ipc.number(1) as usize];
    for _ in 0..ipc.number(0) {
        ipc.send(BYTES, &message).unwrap();
    }
    ipc.report("sent");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// Arguments: COUNT.
fn asks_in_turn(ipc: &Renderer) {
    ipc.report("asks");
    for number in 0..ipc.number(0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    ipc.report("answered");
}

/// What may be so long and no longer. Arguments: MAX.
fn sends_longer_messages(ipc: &Renderer) {
    let max = ipc.number(0) as usize;
    let (longest, longer) = (vec![1; max], vec![1; max + 1]);
    ipc.send(BYTES, &longest).unwrap();
    assert_eq!(ipc.invoke(ECHO, &longest).unwrap().wait(), Ok(longest));
    let too_large = |channel| SendError::TooLarge { channel, len: max + 1, max };
    assert_eq!(ipc.send(BYTES, &longer), Err(too_large("bytes")));
    assert_eq!(ipc.try_send(BYTES, &longer), Err(too_large("bytes")));
    let text = "x".repeat(max + 1);
    assert_eq!(ipc.send_all(TEXT, &[text.as_str()]).unwrap_err().source, too_large("text"));
    let asked = ipc.invoke(ECHO, &longer).map(drop);
    assert_eq!(asked, Err(InvokeError::Send(too_large("echo"))));
}
