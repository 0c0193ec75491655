//! A renderer over its quota is held: no message is lost, and main does not work for it.

use tests::prelude::*;

use super::lifecycle::crashes_after_sending;

const MS: Duration = Duration::from_millis(1);

/// Notes when each number came.
fn arrivals(stage: &Stage) -> Notes<(u64, Instant)> {
    stage.note(NUMBER, move |_, number| (*number, Instant::now()))
}

/// Plays a scene that sends at a sign, until all its messages have come.
fn play_at_a_sign(
    stage: &Stage,
    scene: RendererScene,
    arguments: &[&str],
    policy: Policy,
) -> Counters {
    let (window, mut sign) = stage.play_ready_with_input(scene, arguments, policy);
    sign.write_all(b".").unwrap();
    stage.run_until_reported("sent");
    let counters = window.counters();
    stage.close(&window);
    counters
}

#[test]
fn only_frames_beyond_the_quota_wait_and_all_arrive_in_order() {
    // In a ring that holds them all, in one in which their sender has to wait for room, and below the quota.
    for (renderer_capacity, burst) in [(256 << 10, 100), (4 << 10, 100), (256 << 10, 2000)] {
        let stage = Stage::with(Config { renderer_capacity, ..config() });
        let arrivals = arrivals(&stage);
        let policy = allow_everything()
            .frames_quota(Quota::per_second(1000).burst(burst))
            .bytes_quota(Quota::per_second(1 << 20));
        let counters = play_at_a_sign(&stage, sends_numbers_at_a_sign, &["600"], policy);
        let arrived = arrivals.take();
        assert!(arrived.iter().map(|(number, _)| *number).eq(0..600));
        let span = arrived[599].1 - arrived[0].1;
        let is_held = burst < 600;
        assert!(span >= 490 * MS || !is_held, "they took {span:?}");
        assert_eq!(counters.throttled > 0, is_held);
        assert_eq!((counters.violations, counters.unheard), (0, 0));
    }
}

#[test]
fn bytes_beyond_the_quota_wait_whether_in_many_messages_or_in_one() {
    let scene: RendererScene = |ipc| {
        ipc.report("ready");
        wait_for_input();
        let message = vec![7; ipc.number(1) as usize];
        (0..ipc.number(0)).for_each(|_| ipc.send(BYTES, &message).unwrap());
        ipc.report("sent");
        assert!(matches!(ipc.run(), Err(RunError::MainGone)));
    };
    let quota = Quota::per_second(1 << 20).burst(64 << 10);
    // In the ring, and in memory of their own. The last report waits until the overdraft is paid back.
    for (count, len) in [("400", "1000"), ("2", "400000")] {
        let stage = Stage::new();
        let bytes = stage.note(BYTES, move |_, bytes| bytes.len());
        let policy = allow_everything().bytes_quota(quota);
        let began = Instant::now();
        let counters = play_at_a_sign(&stage, scene, &[count, len], policy);
        let took = began.elapsed();
        assert_eq!(bytes.len().to_string(), count);
        assert!(took >= 300 * MS, "{count} of {len} bytes took {took:?}");
        assert!(counters.throttled > 0);
    }
}

#[test]
fn messages_committed_before_a_death_are_delivered_at_once_whatever_the_quota() {
    let stage = Stage::new();
    let arrivals = stage.notes(NUMBER);
    // At this rate they would take a minute.
    let policy = allow_everything().frames_quota(Quota::per_second(10).burst(0));
    let (window, mut sign) = stage.play_ready_with_input(crashes_after_sending, &["600"], policy);
    sign.write_all(b".").unwrap();
    let began = Instant::now();
    stage.run_until_gone(&window);
    assert!(arrivals.take().into_iter().eq(0..600));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_renderer_is_heard_again_after_it_was_held() {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    stage.answer_all();
    let policy = allow_everything().frames_quota(Quota::per_second(200).burst(0));
    // One at a time: main sleeps in between, and has to be woken by it.
    let window = stage.launch(renderer(asks_in_turn, &["60"]), policy);
    assert_eq!(stage.run_to_the_end(), ["answered"]);
    assert!(window.counters().parks > 0);
}

#[test]
fn beside_a_renderer_that_is_held_others_are_served_at_once() {
    let stage = Stage::new();
    let arrivals = arrivals(&stage);
    stage.answer_all();
    let policy = allow_everything().frames_quota(Quota::per_second(100));
    let flood = stage.launch(renderer(floods, &[]), policy);
    stage.run_until("it is held", || flood.counters().throttled > 0);
    let (began, before) = (Instant::now(), arrivals.len());
    stage.play_ready(asks_in_turn, &["2000"]);
    let allowed = 100.0 * began.elapsed().as_secs_f64() + 12.0;
    let taken = arrivals.len() - before;
    assert!(taken as f64 <= allowed, "{taken} frames of the flood, where {allowed} are allowed");
    stage.close(&flood);
}

#[test]
fn a_message_may_be_as_long_as_the_policy_says_and_its_sender_knows() {
    // Less than the ring carries, less than a cache line, and in memory of its own.
    for max in [1000_usize, 20, 300_000] {
        let stage = Stage::new();
        stage.answer_all();
        stage.hear(BYTES, |_, _| ());
        let policy = allow_everything().message_max(max);
        let window = stage.launch(renderer(sends_the_largest, &[&max.to_string()]), policy);
        stage.run_to_the_end();
        assert_eq!(window.counters().violations, 0);
    }
}

/// Arguments: COUNT.
fn asks_in_turn(ipc: &Renderer) {
    (0..ipc.number(0)).for_each(|number| assert_eq!(ipc.ask(ASK, &number), Ok(number)));
    ipc.report("answered");
}
