//! What a message costs while both sides are awake: no allocation and no system call.
//!
//! System calls cannot be counted from inside. What the library would call the system for is counted
//! instead: waking the peer, going to sleep, and, by the kernel itself, every time that the thread gave
//! its processor up of its own accord. (`strace -c -f` counts the rest, by hand.)

use tests::{allocations, prelude::*};

/// Exchanges before counting begins: buffers grow to their size in the first ones.
const WARM_UP: u64 = 1000;
/// Exchanges that are counted.
const COUNT: u64 = 3000;

/// What main has used up to a call.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// When the look at the rest, which reads files, begins and ends.
    allocations: [u64; 2],
    switches: u64,
    wakes: u64,
    faults: u64,
}

/// A stage that answers each invoke after a push and a publish, and notes what it has used when the
/// counting begins and when it ends.
fn counting_stage(wait: WaitStrategy) -> (Stage, Notes<Used>) {
    counting_stage_with(Config { wait, ..config() }, WARM_UP, COUNT)
}

fn counting_stage_with(config: Config, warm_up: u64, count: u64) -> (Stage, Notes<Used>) {
    let stage = Stage::with(config);
    let used = Notes::new();
    let notes = used.clone();
    let publishing = stage.ipc.clone();
    let mut calls = 0;
    stage.answer(ADD, move |event, [left, right]| {
        let sender = event.sender();
        if calls == warm_up || calls == warm_up + count - 1 {
            let begun = allocations::on_this_thread();
            let (switches, faults) = (voluntary_switches(), page_faults());
            let wakes = sender.counters().wakes;
            let allocations = [begun, allocations::on_this_thread()];
            notes.add(Used { allocations, switches, wakes, faults });
        }
        calls += 1;
        sender.send(TICK, left).unwrap();
        publishing.publish(NEWS, left).unwrap();
        Ok(left + right)
    });
    stage.hear(NUMBERED, |_, _| ());
    (stage, used)
}

fn play(stage: &Stage, scene: ProcessScene) -> WebContents {
    stage.play_process(scene, &[&WARM_UP.to_string(), &COUNT.to_string()])
}

#[test]
fn a_message_of_any_kind_allocates_nothing_in_either_process() {
    let (stage, used) = counting_stage(WaitStrategy::Adaptive);
    let window = play(&stage, works_without_allocating);
    assert_eq!(stage.run_to_the_end(), ["0 allocations"]);
    let [before, after] = used.take()[..] else { panic!("two notes") };
    // The first note makes room for itself.
    assert_eq!(after.allocations[0] - before.allocations[1], 1, "in {COUNT} exchanges");
    assert_eq!(window.counters().panics, 0);
}

#[test]
fn while_both_sides_are_awake_nobody_sleeps_and_nobody_has_to_be_woken() {
    let (stage, used) = counting_stage(WaitStrategy::Spin);
    let window = play(&stage, works_awake);
    window.send(CUE, "").unwrap();
    let reports = stage.run_to_the_end();
    let numbers: Vec<u64> = reports[0].split(' ').filter_map(|word| word.parse().ok()).collect();
    let [wakes, parks, switches, preemptions] = numbers[..] else { panic!("{reports:?}") };
    assert_eq!((parks, switches), (0, 0), "{reports:?}");
    // Main arms the bell of a renderer that is silent for long, which one is that has lost its
    // processor to others. Apart from that it never has to be rung.
    assert!(wakes <= preemptions + COUNT / 50, "{reports:?}");
    let [before, after] = used.take()[..] else { panic!("two notes") };
    assert_eq!((after.wakes - before.wakes, after.switches - before.switches), (0, 0));
}

/// The page faults of main and of the renderer while messages fill both rings for the first time.
fn faults_of_the_first_lap(prefault: bool) -> [u64; 2] {
    // Code runs for the first time in the warm-up, which touches a tenth of the rings. An exchange is two
    // cells each way, and the rings have 4096.
    let (warm_up, count) = (200, 2500);
    let (stage, used) = counting_stage_with(Config { prefault, ..config() }, warm_up, count);
    let how = if prefault { "prefault" } else { "lazy" };
    stage.play_process(
        |arguments| {
            let prefault = arguments[0] == "prefault";
            let ipc = arguments.connect_with(Config { prefault, ..Config::default() });
            listen(&ipc);
            (0..arguments.number(1)).for_each(|number| exchange(&ipc, number));
            let before = page_faults();
            (0..arguments.number(2)).for_each(|number| exchange(&ipc, number));
            let faults = page_faults() - before;
            ipc.report(faults);
        },
        &[how, &warm_up.to_string(), &count.to_string()],
    );
    let reports = stage.run_to_the_end();
    let [before, after] = used.take()[..] else { panic!("two notes") };
    [after.faults - before.faults, reports[0].parse().expect("a number")]
}

#[test]
fn no_message_takes_a_page_fault_of_a_ring() {
    // Each ring has 64 pages, and either process maps both.
    let [main, renderer] = faults_of_the_first_lap(true);
    assert!(main < 16 && renderer < 16, "{main} in main, {renderer} in the renderer");
    let [main, renderer] = faults_of_the_first_lap(false);
    assert!(main >= 48 && renderer >= 48, "{main} in main, {renderer} in the renderer");
}

// --- renderers and main processes ---------------------------------------------------------------

/// A message of each kind, there and back: a send, an invoke whose handler pushes and publishes.
fn exchange(ipc: &Renderer, number: u64) {
    ipc.send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    assert_eq!(ipc.invoke(ADD, &[number, 1]).unwrap().wait(), Ok(number + 1));
}

fn listen(ipc: &Renderer) -> Notes<()> {
    let begin = Notes::new();
    let notes = begin.clone();
    ipc.hear(TICK, |_, _| ());
    ipc.follow(NEWS, |_, _| ());
    ipc.hear(CUE, move |_, _| notes.add(()));
    begin
}

/// Arguments: WARM-UP COUNT.
fn works_without_allocating(arguments: &Arguments) {
    let ipc = arguments.connect_with(Config::default());
    listen(&ipc);
    (0..arguments.number(0)).for_each(|number| exchange(&ipc, number));
    let before = allocations::on_this_thread();
    (0..arguments.number(1)).for_each(|number| exchange(&ipc, number));
    let after = allocations::on_this_thread();
    ipc.report(format!("{} allocations", after - before));
    let counters = ipc.counters();
    assert_eq!((counters.unheard, counters.topic_lost), (0, 0));
}

/// Neither side ever sleeps. Arguments: WARM-UP COUNT.
fn works_awake(arguments: &Arguments) {
    let ipc = arguments.connect_with(Config { wait: WaitStrategy::Spin, ..Config::default() });
    let begin = listen(&ipc);
    ipc.run_until("main spins", || !begin.is_empty());
    (0..arguments.number(0)).for_each(|number| exchange(&ipc, number));
    let (counters, preempted, switches) = (ipc.counters(), preemptions(), voluntary_switches());
    (0..arguments.number(1)).for_each(|number| exchange(&ipc, number));
    let (switches, preempted) = (voluntary_switches() - switches, preemptions() - preempted);
    let now = ipc.counters();
    let (wakes, parks) = (now.wakes - counters.wakes, now.parks - counters.parks);
    let numbers =
        format!("{wakes} wakes, {parks} parks, {switches} switches, {preempted} preemptions");
    ipc.report(numbers);
}
