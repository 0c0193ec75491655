//! What of a renderer's channels a page gets, and how it hears.

use ringbridge::Policy;
use tests::{
    contract::{ADD, ASK, CUE, REPORT, TICK},
    stage::{Stage, scene_command},
};

#[test]
fn a_page_gets_what_is_exposed_and_the_policy_allows_and_no_push_is_counted_twice() {
    let stage = Stage::new();
    stage.ipc.handle(ADD, |_, [left, right]| Ok(left + right)).unwrap();
    stage.ipc.handle(ASK, |_, number| Ok(*number)).unwrap();
    let policy = Policy::deny_all().allow(REPORT).allow(ADD).allow(ASK).allow(CUE).allow(TICK);
    let window = stage.launch(scene_command("exposes-channels-to-a-page", &[]), policy);
    stage.run_until_reported("ready for ticks");
    for tick in 1..=100 {
        window.send(TICK, &tick).unwrap();
    }
    stage.run_until_reported("the bridge is gone");
    window.send(TICK, &101).unwrap();
    stage.run_to_the_end();
    assert_eq!(window.counters().violations, 0);
}
