//! The demo's two programs as users run them: flags, lines of JSON, Ctrl-C, and death.

use std::{fs, path::Path};

use rustix::process::{Pid, kill_process_group};
use tests::{
    demo::{Demo, demo_program, run},
    prelude::*,
};

/// What a process sees at once when another one dies, on any machine.
const PROMPTLY: Duration = Duration::from_secs(5);

fn all_of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// The one summary of main, which must be the last line, and those of the renderers.
fn summaries(lines: &[Value]) -> (&Value, Vec<&Value>) {
    let mut summaries = all_of(lines, "summary");
    let main = summaries.pop().expect("somebody has printed a summary");
    assert_eq!(main["role"], "main", "{lines:?}");
    assert_eq!(Some(main), lines.last(), "main's summary is the last line");
    assert!(summaries.iter().all(|summary| summary["role"] == "renderer"));
    (main, summaries)
}

/// What must hold of every renderer that was served till the end.
fn assert_nothing_was_lost(renderer: &Value) {
    assert_eq!((&renderer["lost"], &renderer["out_of_order"]), (&json!(0), &json!(0)));
    for measured in ["push_latency_ns", "invoke_rtt_ns"] {
        let figures = ["p50", "p99", "p999", "max"].map(|key| renderer[measured][key].as_u64());
        let figures = figures.map(|figure| figure.unwrap_or_else(|| panic!("{renderer}")));
        assert!(figures[0] > 0 && figures.is_sorted(), "{renderer}");
    }
}

fn assert_nothing_is_left(demo: &Demo, processes: &[u32]) {
    assert!(!processes.iter().any(|id| is_alive(*id)), "a process is left");
    assert_eq!(endpoint_files(demo.endpoint()), Vec::<&Path>::new());
    assert_eq!(demo.new_segments(), Vec::<&Path>::new());
}

/// The process ids of the renderers that have connected.
fn renderers(lines: &[Value]) -> Vec<u32> {
    let connected = all_of(lines, "did_connect").into_iter();
    connected.map(|line| line["pid"].as_u64().expect("a process id") as u32).collect()
}

/// Waits until so many renderers have connected, and returns their process ids.
fn connected(main: &Program, count: usize) -> Vec<u32> {
    let lines: Vec<_> = (0..count).map(|_| main.lines.next_of("did_connect")).collect();
    renderers(&lines)
}

/// Waits until every renderer has reported a push: by then it is in the middle of its work.
fn statistics_flow(main: &Program) {
    main.lines.next_of("statistics");
}

// --- ordinary runs -------------------------------------------------------------------------------

#[test]
fn by_itself_main_launches_a_renderer_that_gets_everything_and_says_what_machine_this_is() {
    let demo = Demo::new();
    let mut main = demo.start(&["--duration", "2500ms"]);
    let lines = main.finish();

    let (main_summary, renderer_summaries) = summaries(&lines);
    let [renderer] = renderer_summaries[..] else { panic!("{renderer_summaries:?}") };
    assert_eq!((&main_summary["renderers"], &main_summary["dropped"]), (&json!(1), &json!(0)));
    assert_eq!(main_summary["pushed"], renderer["received"], "all that was pushed came");
    assert!(renderer["received"].as_u64() >= Some(500), "{renderer}");
    assert!(main_summary["invokes"].as_u64() >= Some(2), "{main_summary}");
    assert!(main_summary["logs"].as_u64() >= Some(1), "{main_summary}");
    assert_nothing_was_lost(renderer);

    let [info] = all_of(&lines, "system_info")[..] else { panic!("{lines:?}") };
    assert_eq!(info["total_memory"], total_memory());
    assert!(is_processors_model(info["cpu_model"].as_str().unwrap()), "{info}");
    let cores = thread::available_parallelism().unwrap().get() as u64;
    assert!(info["cores"].as_u64() >= Some(cores));
    assert_eq!(info["host_name"], host_name());

    let statistics = all_of(&lines, "statistics");
    assert!((1..=3).contains(&statistics.len()), "about once a second: {statistics:?}");
    let last = statistics.last().unwrap();
    assert!(last["cpu_usage"].as_f64().is_some_and(|usage| (0.0..=100.0).contains(&usage)));
    assert_eq!(last["memory_total"], total_memory());
    let [log, ..] = all_of(&lines, "log_message")[..] else { panic!("{lines:?}") };
    assert_eq!(log["message"], "User clicked a button!");
    assert_nothing_is_left(&demo, &renderers(&lines));
}

/// By default no process is pinned, so the scheduler may place the renderer beside main.
#[test]
fn as_it_starts_by_default_few_pushes_have_to_wake_the_renderer() {
    // Other processes may take the processors away at any moment, but not always.
    let shares = (0..10).map(|_| {
        let lines = Demo::new().start(&["--duration", "1s"]).finish();
        let (main, _) = summaries(&lines);
        let [pushed, wakes] = ["pushed", "wakes"].map(|name| main[name].as_f64().unwrap());
        wakes / pushed
    });
    let mut shares = shares.inspect(|share| println!("{share:.3} of the pushes had to wake"));
    assert!(shares.any(|share| share < 0.3));
}

#[test]
fn main_launches_another_program_as_its_renderer() {
    let demo = Demo::new();
    let program = demo_program("renderer-proc");
    let arguments = ["--duration", "700ms", "--renderer", program.to_str().unwrap()];
    let mut main = demo.start(&arguments);
    let id = connected(&main, 1)[0];
    assert_eq!(executable(id), Some(program));
    let lines = main.finish();
    let (main_summary, renderers) = summaries(&lines);
    assert_eq!(main_summary["pushed"], renderers[0]["received"]);
    assert_nothing_was_lost(renderers[0]);
    assert_nothing_is_left(&demo, &[id]);
}

#[test]
fn main_serves_several_renderers_and_ends_after_all_of_them() {
    let demo = Demo::new();
    let mut main = demo.start(&["--duration", "1s", "--renderers", "3", "--wait", "park"]);
    let lines = main.finish();
    let (main_summary, renderer_summaries) = summaries(&lines);
    assert_eq!(main_summary["renderers"], 3);
    let mut ids: Vec<_> =
        renderer_summaries.iter().map(|summary| summary["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has a number of its own");
    let received = renderer_summaries.iter().map(|summary| summary["received"].as_u64().unwrap());
    assert_eq!(main_summary["pushed"], received.sum::<u64>());
    renderer_summaries.into_iter().for_each(assert_nothing_was_lost);
    let gone = all_of(&lines, "render_process_gone");
    assert_eq!(gone.len(), 3);
    assert!(gone.iter().all(|line| line["reason"] == "closed" && line["exit_code"] == 0));
    assert_nothing_is_left(&demo, &renderers(&lines));
}

#[test]
fn renderers_that_main_did_not_launch_attach_by_its_name_and_leave_when_they_like() {
    let demo = Demo::new();
    let mut main = demo.start(&["--renderers", "0"]);
    assert_eq!(main.lines.next_of("listening")["endpoint"], demo.endpoint());
    for round in 1..=2 {
        let mut renderer = demo.attach(&["--duration", "500ms"]);
        let lines = renderer.finish();
        let summary = lines.last().unwrap();
        assert_eq!((&summary["role"], &summary["ended"]), (&json!("renderer"), &json!("duration")));
        assert!(summary["received"].as_u64() >= Some(50), "{summary}");
        assert_nothing_was_lost(summary);
        let gone = main.lines.next_of("render_process_gone");
        assert_eq!(gone["renderer"], round);
        assert_eq!((&gone["reason"], &gone["exit_code"]), (&json!("disconnected"), &Value::Null));
    }
    main.signal(Signal::TERM);
    let lines = main.finish();
    assert_eq!(summaries(&lines).0["renderers"], 2);
    assert_nothing_is_left(&demo, &[main.id()]);
}

#[test]
fn a_file_below_the_folder_is_read_and_everything_else_is_an_error_with_a_name() {
    let folder = Folder::new("files");
    fs::create_dir(folder.join("inner")).unwrap();
    folder.with("short", "some text");
    folder.with("inner/longest", vec![b'x'; 1 << 20]);
    folder.with("too-long", vec![b'x'; (1 << 20) + 1]);
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();

    let demo = Demo::new();
    let arguments = ["--renderers", "0", "--files", folder.text()];
    let main = demo.start(&arguments);
    main.lines.next_of("listening");
    let cases = [
        ("short", Ok(9)),
        ("inner/longest", Ok(1 << 20)),
        ("too-long", Err("too-large")),
        ("no-such-file", Err("not-found")),
        ("inner", Err("not-a-file")),
        ("/etc/passwd", Err("outside")),
        ("inner/../../x", Err("outside")),
        ("link", Err("outside")),
    ];
    let mut command = demo.renderer(&["--duration", "1s"]);
    cases.iter().for_each(|(path, _)| _ = command.args(["--read-file", path]));
    let lines = Program::start(&mut command).lines.rest();
    for (path, expected) in cases {
        let line = lines.iter().find(|line| line["path"] == path);
        let line = line.unwrap_or_else(|| panic!("nothing about {path}: {lines:?}"));
        match expected {
            Ok(len) => assert_eq!((&line["event"], &line["len"]), (&json!("file"), &json!(len))),
            Err(error) => {
                assert_eq!((&line["event"], &line["error"]), (&json!("file_error"), &json!(error)));
            }
        }
    }
}

#[test]
fn every_way_of_waiting_delivers_everything() {
    for wait in ["spin", "adaptive", "park"] {
        let demo = Demo::new();
        let arguments = ["--duration", "400ms", "--push-interval", "200us", "--wait", wait];
        let mut main = demo.start(&arguments);
        let lines = main.finish();
        let (main_summary, renderers) = summaries(&lines);
        assert_eq!(main_summary["pushed"], renderers[0]["received"], "{wait}");
        assert_nothing_was_lost(renderers[0]);
    }
}

#[test]
fn without_json_the_lines_are_for_people() {
    let demo = Demo::new();
    let mut command = Command::new(demo_program("main-proc"));
    command.args(["--endpoint", demo.endpoint(), "--duration", "500ms"]);
    let (code, output, errors) = run(&mut command);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(output.contains(demo.endpoint()) && output.contains("User clicked a button!"));
    assert!(output.lines().last().unwrap().starts_with("main: ended: 1 renderers"), "{output}");
    assert!(output.contains(" 0 lost, 0 out of order"), "{output}");
    assert!(!output.contains('{'), "{output}");
}

#[test]
fn a_demo_with_nothing_to_do_uses_no_processor() {
    let demo = Demo::new();
    let arguments = ["--push-interval", "off", "--sample-interval", "off"];
    let main = demo.start(&arguments);
    let renderer = connected(&main, 1)[0];
    // All that the two have to say to each other at first is said when both have slept for a moment.
    let used = || processor_time(main.id()) + processor_time(renderer);
    eventually("both have come to rest", || {
        let before = used();
        thread::sleep(Duration::from_millis(100));
        used() == before
    });
    let before = used();
    // A time is measured here, nothing is waited for.
    thread::sleep(Duration::from_secs(3));
    let idle = used() - before;
    assert!(idle < Duration::from_millis(10), "{idle:?} in three seconds");
}

// --- ends ----------------------------------------------------------------------------------------

#[test]
fn ctrl_c_ends_main_and_its_renderers_cleanly() {
    let demo = Demo::new();
    let mut main = demo.start(&["--renderers", "2"]);
    let ids = connected(&main, 2);
    statistics_flow(&main);
    // A terminal sends it to the whole group.
    let group = Pid::from_raw(main.id() as i32).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let lines = main.finish();
    let (main_summary, renderers) = summaries(&lines);
    assert_eq!((&main_summary["renderers"], renderers.len()), (&json!(2), 2));
    assert!(renderers.iter().all(|summary| summary["lost"] == 0));
    assert_nothing_is_left(&demo, &ids);
}

#[test]
fn a_signal_to_main_alone_ends_everything_cleanly() {
    for kind in [Signal::INT, Signal::TERM] {
        let demo = Demo::new();
        let mut main = demo.start(&[]);
        let ids = connected(&main, 1);
        statistics_flow(&main);
        main.signal(kind);
        let lines = main.finish();
        let (main_summary, renderers) = summaries(&lines);
        assert_eq!(main_summary["pushed"], renderers[0]["received"]);
        assert_eq!(renderers[0]["ended"], "main-gone");
        assert_nothing_was_lost(renderers[0]);
        assert_nothing_is_left(&demo, &ids);
    }
}

#[test]
fn main_survives_a_renderer_that_is_killed_and_says_how_it_went() {
    let demo = Demo::new();
    let mut main = demo.start(&["--renderers", "2"]);
    let ids = connected(&main, 2);
    statistics_flow(&main);
    signal(ids[0], Signal::KILL);
    let gone = main.lines.next_of("render_process_gone");
    assert_eq!((&gone["reason"], &gone["exit_code"]), (&json!("killed"), &json!(9)));
    assert!(!exists(ids[0]), "it is no zombie");
    // The other one is served as before.
    statistics_flow(&main);
    main.signal(Signal::TERM);
    let lines = main.finish();
    let (main_summary, renderers) = summaries(&lines);
    assert_eq!((&main_summary["renderers"], renderers.len()), (&json!(2), 1));
    assert_nothing_was_lost(renderers[0]);
    assert_nothing_is_left(&demo, &ids);
}

#[test]
fn when_main_is_killed_its_renderers_end_at_once_and_attached_ones_say_why() {
    let demo = Demo::new();
    let mut main = demo.start(&["--renderers", "2"]);
    let ids = connected(&main, 2);
    let mut attached = demo.attach(&[]);
    attached.lines.next_of("statistics");
    let killed = Instant::now();
    main.kill();
    let summary = attached.lines.rest().pop().expect("it has printed a summary");
    assert!(killed.elapsed() < PROMPTLY);
    assert_eq!((&summary["event"], &summary["ended"]), (&json!("summary"), &json!("main-gone")));
    assert_nothing_was_lost(&summary);
    assert_eq!(attached.end().code(), Some(0));
    assert!(within(PROMPTLY, || !ids.iter().any(|id| is_alive(*id))));

    // The next one under this name cleans up after it.
    let mut successor = demo.start(&["--duration", "300ms"]);
    let lines = successor.finish();
    assert_eq!(summaries(&lines).0["renderers"], 1);
    assert_nothing_is_left(&demo, &ids);
}

#[test]
fn an_end_while_renderers_are_still_starting_is_clean_too() {
    let demo = Demo::new();
    let mut main = demo.start(&["--renderers", "4"]);
    main.lines.next_of("listening");
    let group = Pid::from_raw(main.id() as i32).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let lines = main.finish();
    assert_eq!(lines.last().unwrap()["role"], "main");
    assert_nothing_is_left(&demo, &renderers(&lines));
}

// --- mistakes ------------------------------------------------------------------------------------

#[test]
fn arguments_that_make_no_sense_are_refused_by_name() {
    let demo = Demo::new();
    let cases: [(Command, &str); 8] = [
        (demo.main(&["--push-interval", "0s"]), "--push-interval"),
        (demo.main(&["--sample-interval", "fast"]), "--sample-interval"),
        (demo.main(&["--renderers", "-1"]), "-1"),
        (demo.main(&["--wait", "never"]), "spin"),
        (demo.main(&["--duration", "5"]), "--duration"),
        (demo.main(&["--no-such-flag"]), "--no-such-flag"),
        (demo.renderer(&["--duration", "abc"]), "--duration"),
        (demo.renderer(&["--renderers", "1"]), "--renderers"),
    ];
    for (mut command, named) in cases {
        let (code, output, errors) = run(&mut command);
        assert_eq!(code, Some(2), "{command:?}");
        assert!(errors.contains(named) && output.is_empty(), "{errors}");
    }
}

#[test]
fn a_name_in_use_is_an_error_that_says_so_and_disturbs_nobody() {
    let demo = Demo::new();
    let mut first = demo.start(&[]);
    let ids = connected(&first, 1);
    let (code, _, errors) = run(&mut demo.main(&["--duration", "1s"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains(demo.endpoint()) && errors.contains("in use"), "{errors}");
    statistics_flow(&first);
    first.signal(Signal::INT);
    assert!(first.end().success());
    assert_nothing_is_left(&demo, &ids);
}

#[test]
fn a_renderer_without_its_main_says_which_name_it_looked_for() {
    let demo = Demo::new();
    let (code, _, errors) = run(&mut demo.renderer(&[]));
    assert_eq!(code, Some(1));
    assert!(errors.contains(demo.endpoint()), "{errors}");
}

#[test]
fn a_renderers_program_that_is_none_is_an_error_that_names_it() {
    for program in ["/no/such/program", "/bin/true"] {
        let demo = Demo::new();
        let (code, output, errors) = run(&mut demo.main(&["--renderer", program]));
        assert_eq!(code, Some(1), "{output}");
        assert!(errors.contains(program), "{errors}");
        assert_nothing_is_left(&demo, &[]);
    }
}

#[test]
fn a_main_whose_output_nobody_reads_any_more_ends() {
    let demo = Demo::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = demo.main(&[]).stdout(writer).spawn().unwrap();
    drop(reader);
    let ended = within(PROMPTLY, || child.try_wait().unwrap().is_some());
    let _ = child.kill();
    let _ = child.wait();
    assert!(ended);
    assert_nothing_is_left(&demo, &[]);
}
