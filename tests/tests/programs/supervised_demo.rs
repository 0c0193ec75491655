//! The demo's programs under policies that are written down, after crashes, and without a main for a while.

use tests::{
    demo::{Demo, run},
    prelude::*,
};

/// All that the demo does but for reading files, and slowly.
const POLICY: &str = r#"
[allow]
events = ["log-message"]
methods = ["get-system-info"]
pushes = ["statistics"]

[limits]
frames = { per-second = 1000 }
"#;

#[test]
fn a_policy_that_is_written_down_is_what_renderers_are_held_to() {
    let (demo, folder) = (Demo::new(), Folder::new("policy"));
    let policy = folder.with("policy.toml", POLICY);
    let arguments = ["--renderers", "0", "--files", ".", "--policy", &policy];
    let main = demo.start(&arguments);
    main.lines.next_of("listening");
    let arguments = ["--duration", "300ms", "--read-file", "Cargo.toml"];
    let mut renderer = demo.attach(&arguments);
    let lines = renderer.finish();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("system_info").len(), 1);
    let [refused] = of("invoke_error")[..] else { panic!("{lines:?}") };
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("does not allow the channel 'read-file'"), "{message}");
    let received = of("summary")[0]["received"].as_u64();
    assert!(received > Some(0), "{received:?}");
}

#[test]
fn a_mistake_in_a_policy_is_told_with_its_file_and_line_and_nothing_is_started() {
    let unknown_key = POLICY.replace("[limits]", "[limit]");
    let unknown_channel = POLICY.replace("log-message", "log-massage");
    let cases = [
        (unknown_key.as_str(), &["line 7:", "unknown field `limit`"][..]),
        (&unknown_channel, &["line 3:", "no event 'log-massage'", "'log-message'"]),
    ];
    for (text, expected) in cases {
        let (demo, folder) = (Demo::new(), Folder::new("policy"));
        let policy = folder.with("policy.toml", text);
        let (code, output, errors) = run(&mut demo.main(&["--policy", &policy]));
        assert_eq!((code, output.as_str()), (Some(1), ""));
        for part in expected.iter().chain([&policy.as_str()]) {
            assert!(errors.contains(part), "{part:?} is not in {errors:?}");
        }
    }
    let (code, _, errors) = run(&mut Demo::new().main(&["--policy", "/no/such/policy.toml"]));
    assert_eq!(code, Some(1));
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
    let restarted = main.lines.next_of("render_process_restarted");
    assert_eq!(restarted["renderer"], first["renderer"]);
    let second = main.lines.next_of("did_connect");
    assert_eq!(second["renderer"], restarted["successor"]);
    // Pushed to as the first was.
    main.lines.next_of("statistics");
    main.signal(Signal::INT);
    let lines = main.finish();
    assert_eq!(lines.last().unwrap()["renderers"], 2);
}

#[test]
fn a_renderer_that_never_works_is_given_up_and_main_says_so() {
    let (code, output, errors) =
        run(&mut Demo::new().main(&["--renderer", "/bin/false", "--restart", "on-crash"]));
    assert_eq!(code, Some(1), "{output}");
    assert_eq!(output.matches("render_process_restarted").count(), 5, "{output}");
    assert!(errors.contains("/bin/false ended before it connected"), "{errors}");
}

#[test]
fn a_renderer_that_waits_for_main_goes_on_with_the_next_one() {
    let demo = Demo::new();
    let start = || demo.serve(&[]);
    let mut main = start();
    let mut renderer = demo.attach(&["--reconnect", "20s"]);
    for round in 0..2 {
        renderer.lines.next_of("connected");
        renderer.lines.next_of("statistics");
        main.kill();
        renderer.lines.next_of("main_gone");
        if round == 0 {
            main = start();
        }
    }
    // It is asked to end while it waits.
    renderer.signal(Signal::INT);
    let lines = renderer.finish();
    let summary = lines.last().unwrap();
    let figures = ["event", "ended", "lost", "out_of_order"].map(|key| &summary[key]);
    assert_eq!(figures, [&json!("summary"), &json!("main-gone"), &json!(0), &json!(0)]);
}

#[test]
fn a_renderer_that_waits_in_vain_ends_as_one_that_does_not_wait() {
    let demo = Demo::new();
    let mut main = demo.serve(&[]);
    let mut renderer = demo.attach(&["--reconnect", "300ms"]);
    renderer.lines.next_of("connected");
    main.kill();
    let lines = renderer.finish();
    assert_eq!(lines.last().unwrap()["ended"], "main-gone");
}
