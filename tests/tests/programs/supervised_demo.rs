//! The demo's programs with a policy file, after crashes, and without a main for a while.

use tests::{
    demo::{Demo, run},
    prelude::*,
};

/// Allows all that the demo does except reading files, at a limited rate.
const POLICY: &str = r#"
[allow]
events = ["log-message"]
methods = ["get-system-info"]
pushes = ["statistics"]

[limits]
frames = { per-second = 1000 }
"#;

#[test]
fn a_policy_file_is_enforced_on_renderers() {
    let (demo, folder) = (Demo::new(), Folder::new("policy"));
    let policy = folder.with("policy.toml", POLICY);
    let _main = demo.serve(&["--files", ".", "--policy", &policy]);
    let lines = demo.attach(&["--duration", "300ms", "--read-file", "Cargo.toml"]).finish();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("system_info").len(), 1);
    let [refused] = of("invoke_error")[..] else { panic!("{lines:?}") };
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("does not allow the channel 'read-file'"), "{message}");
    assert!(of("summary")[0]["received"].as_u64() > Some(0), "{lines:?}");
}

#[test]
fn a_mistake_in_a_policy_is_reported_with_its_file_and_line_and_nothing_is_started() {
    let (demo, folder) = (Demo::new(), Folder::new("policy"));
    let policy = folder.with("policy.toml", POLICY.replace("log-message", "log-massage"));
    let (code, output, errors) = run(&mut demo.main(&["--policy", &policy]));
    assert_eq!((code, output.as_str()), (Some(1), ""));
    for part in [&policy, "line 3:", "no event 'log-massage'", "'log-message'"] {
        assert!(errors.contains(part), "{part:?} is not in {errors:?}");
    }
    let errors = error_of(&mut demo.main(&["--policy", "/no/such/policy.toml"]));
    assert!(errors.contains("/no/such/policy.toml: cannot read it"), "{errors}");
}

#[test]
fn a_renderer_that_is_killed_is_launched_again_and_served_like_the_first() {
    let demo = Demo::new();
    let mut main = demo.start(&["--restart", "on-crash"]);
    let first = main.lines.next_of("did_connect");
    main.lines.next_of("statistics");
    signal(first["pid"].as_u64().unwrap() as u32, Signal::KILL);
    let gone = main.lines.next_of("render_process_gone");
    assert_eq!((&gone["renderer"], &gone["reason"]), (&first["renderer"], &json!("killed")));
    assert_eq!(gone["exit_code"], 9);
    let restarted = main.lines.next_of("render_process_restarted");
    assert_eq!(restarted["renderer"], first["renderer"]);
    assert_eq!(main.lines.next_of("did_connect")["renderer"], restarted["successor"]);
    main.lines.next_of("statistics");
    main.signal(Signal::INT);
    assert_eq!(main.finish().last().unwrap()["renderers"], 2);
}

#[test]
fn main_gives_up_a_renderer_that_never_works_and_says_so() {
    let demo = Demo::new();
    let mut command = demo.main(&["--renderer", "/bin/false", "--restart", "on-crash"]);
    let (code, output, errors) = run(&mut command);
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(output.matches("render_process_restarted").count(), 5, "{output}");
    assert!(errors.contains("/bin/false ended before it connected"), "{errors}");
}

#[test]
fn a_renderer_that_waits_for_main_goes_on_with_the_next_one_or_gives_up_in_time() {
    let demo = Demo::new();
    let mut main = demo.serve(&[]);
    let mut patient = demo.attach(&["--reconnect", "20s"]);
    let mut impatient = demo.attach(&["--reconnect", "300ms"]);
    impatient.lines.next_of("connected");
    for round in 0..2 {
        patient.lines.next_of("connected");
        patient.lines.next_of("statistics");
        main.kill();
        patient.lines.next_of("main_gone");
        if round == 0 {
            assert_eq!(impatient.finish().last().unwrap()["ended"], "main-gone");
            main = demo.serve(&[]);
        }
    }
    // It is asked to end while it waits.
    patient.signal(Signal::INT);
    let lines = patient.finish();
    let summary = lines.last().unwrap();
    let figures = ["event", "ended", "lost", "out_of_order"].map(|key| &summary[key]);
    assert_eq!(figures, [&json!("summary"), &json!("main-gone"), &json!(0), &json!(0)]);
}
