//! A message between two processes that are awake costs no allocation and no system call.
//!
//! A process cannot count its own system calls. The tests count the reasons for them instead: waking the peer,
//! going to sleep, and, by the kernel itself, every time that the thread gave its processor up by itself.
//! (`strace -c -f` counts the rest, by hand.)

use tests::{allocations, prelude::*};

/// Exchanges before counting begins: buffers grow to their size in the first ones.
const WARM_UP: u64 = 1000;
/// Exchanges that are counted.
const COUNT: u64 = 3000;

/// What main has used up to a call.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// Before and after the look at the rest, which reads files.
    allocations: [u64; 2],
    switches: u64,
    wakes: u64,
    faults: u64,
}

/// Runs a scene with these arguments on a stage that answers each invoke after a push and a publish. Returns main's
/// notes at the beginning and at the end of the counting, the scene's report, and the window.
fn exchanges(
    config: Config,
    [warm_up, count]: [u64; 2],
    scene: ProcessScene,
) -> ([Used; 2], String, WebContents) {
    let prefault = config.prefault.to_string();
    let stage = Stage::with(config);
    let used = Notes::new();
    let note = used.adding();
    let publishing = stage.ipc.clone();
    let mut calls = 0;
    stage.answer(ADD, move |event, [left, right]| {
        let sender = event.sender();
        if calls == warm_up || calls == warm_up + count - 1 {
            let begun = allocations::on_this_thread();
            let (switches, faults) = (voluntary_switches(), page_faults());
            let wakes = sender.counters().wakes;
            let allocations = [begun, allocations::on_this_thread()];
            note(Used { allocations, switches, wakes, faults });
        }
        calls += 1;
        sender.send(TICK, left).unwrap();
        publishing.publish(NEWS, left).unwrap();
        Ok(left + right)
    });
    stage.hear(NUMBERED, |_, _| ());
    let window = stage.play_process(scene, &[&warm_up.to_string(), &count.to_string(), &prefault]);
    window.send(CUE, "").unwrap();
    let report = stage.run_to_the_end().remove(0);
    let used = used.take();
    ([used[0], used[1]], report, window)
}

#[test]
fn a_message_of_any_kind_allocates_nothing_in_either_process() {
    let scene: ProcessScene = |arguments| {
        let ipc = warmed_up(arguments, Config::default());
        let before = allocations::on_this_thread();
        (0..arguments.number(1)).for_each(|number| exchange(&ipc, number));
        ipc.report(allocations::on_this_thread() - before);
        let counters = ipc.counters();
        assert_eq!((counters.unheard, counters.topic_lost), (0, 0));
    };
    let ([before, after], allocations, window) = exchanges(config(), [WARM_UP, COUNT], scene);
    assert_eq!(allocations, "0");
    // The first note makes room for itself.
    assert_eq!(after.allocations[0] - before.allocations[1], 1, "in {COUNT} exchanges");
    assert_eq!(window.counters().panics, 0);
}

#[test]
fn while_both_sides_are_awake_neither_sleeps_nor_wakes_the_other() {
    let scene: ProcessScene = |arguments| {
        let ipc = warmed_up(arguments, Config { wait: WaitStrategy::Spin, ..Config::default() });
        let (counters, preempted, switches) = (ipc.counters(), preemptions(), voluntary_switches());
        (0..arguments.number(1)).for_each(|number| exchange(&ipc, number));
        let (switches, preempted) = (voluntary_switches() - switches, preemptions() - preempted);
        let now = ipc.counters();
        assert_eq!((now.parks - counters.parks, switches), (0, 0));
        // Main arms the bell of a renderer that is silent for long, as one is that has lost its
        // processor to others. Apart from that it needs no wake-up.
        let wakes = now.wakes - counters.wakes;
        assert!(wakes <= preempted + COUNT / 50, "{wakes} wakes, {preempted} preemptions");
        ipc.report("counted");
    };
    let config = Config { wait: WaitStrategy::Spin, ..config() };
    let ([before, after], ..) = exchanges(config, [WARM_UP, COUNT], scene);
    assert_eq!((after.wakes - before.wakes, after.switches - before.switches), (0, 0));
}

#[test]
fn no_message_takes_a_page_fault_of_a_ring() {
    let scene: ProcessScene = |arguments| {
        let prefault = arguments[2] == "true";
        let ipc = warmed_up(arguments, Config { prefault, ..Config::default() });
        let before = page_faults();
        (0..arguments.number(1)).for_each(|number| exchange(&ipc, number));
        ipc.report(page_faults() - before);
    };
    for prefault in [true, false] {
        // Code runs for the first time in the warm-up, which touches a tenth of the rings. An exchange is two
        // cells each way, and the rings have 4096.
        let config = Config { prefault, ..config() };
        let ([before, after], renderer, _) = exchanges(config, [200, 2500], scene);
        let faults = [after.faults - before.faults, renderer.parse().expect("a number")];
        // Each ring has 64 pages, and either process maps both.
        let as_expected = |faults: &u64| if prefault { *faults < 16 } else { *faults >= 48 };
        assert!(faults.iter().all(as_expected), "{faults:?} with prefault {prefault}");
    }
}

/// Connects, listens, and makes exchanges that are not counted. Arguments: WARM-UP.
fn warmed_up(arguments: &Arguments, config: Config) -> Renderer {
    let ipc = arguments.connect_with(config);
    let cues = ipc.cues();
    ipc.hear(TICK, |_, _| ());
    ipc.follow(NEWS, |_, _| ());
    // Main runs when this comes.
    cues.wait();
    (0..arguments.number(0)).for_each(|number| exchange(&ipc, number));
    ipc
}

/// A message of each kind, there and back: a send, and an invoke whose handler pushes and publishes.
fn exchange(ipc: &Renderer, number: u64) {
    ipc.send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    assert_eq!(ipc.ask(ADD, &[number, 1]), Ok(number + 1));
}
