//! The demo's two programs as users run them: flags, lines of JSON, Ctrl-C, and death.

use std::path::Path;

use rustix::process::{Pid, kill_process_group};
use tests::{
    demo::{Demo, demo_program, run},
    prelude::*,
};

/// The time in which a process sees the death of another one, on any machine.
const PROMPTLY: Duration = Duration::from_secs(5);

fn all_of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// The summary of main, which must be the last line, and those of the renderers.
fn summaries(lines: &[Value]) -> (&Value, Vec<&Value>) {
    let mut summaries = all_of(lines, "summary");
    let main = summaries.pop().expect("main prints a summary");
    assert_eq!(main["role"], "main", "{lines:?}");
    assert_eq!(Some(main), lines.last(), "main's summary is the last line");
    assert!(summaries.iter().all(|summary| summary["role"] == "renderer"));
    (main, summaries)
}

/// Checks that these renderers, which were served till the end, received all that main has pushed.
fn assert_nothing_was_lost(main: &Value, renderers: &[&Value]) {
    renderers.iter().for_each(|renderer| assert_complete(renderer));
    let received = renderers.iter().map(|summary| summary["received"].as_u64().unwrap());
    assert_eq!(main["pushed"], received.sum::<u64>());
}

fn assert_complete(renderer: &Value) {
    assert_eq!((&renderer["lost"], &renderer["out_of_order"]), (&json!(0), &json!(0)));
    for measured in ["push_latency_ns", "invoke_rtt_ns"] {
        let figures = ["p50", "p99", "p999", "max"].map(|key| renderer[measured][key].as_u64());
        assert!(figures[0] > Some(0) && figures.is_sorted(), "{renderer}");
    }
}

fn assert_nothing_is_left(demo: &Demo, processes: &[u32]) {
    assert!(!processes.iter().any(|id| is_alive(*id)), "a process is left");
    assert_eq!(endpoint_files(demo.endpoint()), Vec::<&Path>::new());
    assert_eq!(demo.new_segments(), Vec::<&Path>::new());
}

fn process_id(line: &Value) -> u32 {
    line["pid"].as_u64().expect("a process id") as u32
}

/// The process ids of the renderers that have connected.
fn renderers(lines: &[Value]) -> Vec<u32> {
    all_of(lines, "did_connect").into_iter().map(process_id).collect()
}

/// Starts main and waits until so many renderers have connected and one reports statistics, so that it is in
/// the middle of its work. Returns the renderers' process ids too.
fn start_busy(demo: &Demo, renderers: usize) -> (Program, Vec<u32>) {
    let main = demo.start(&["--renderers", &renderers.to_string()]);
    let connected = (0..renderers).map(|_| process_id(&main.lines.next_of("did_connect")));
    let connected = connected.collect();
    main.lines.next_of("statistics");
    (main, connected)
}

#[test]
fn main_launches_a_renderer_that_gets_everything_and_the_facts_of_this_machine() {
    let demo = Demo::new();
    let lines = demo.start(&["--duration", "2500ms"]).finish();

    let (main, renderer) = summaries(&lines);
    assert_eq!((&main["renderers"], &main["dropped"], renderer.len()), (&json!(1), &json!(0), 1));
    assert_nothing_was_lost(main, &renderer);
    assert!(renderer[0]["received"].as_u64() >= Some(500), "{renderer:?}");
    assert!(main["invokes"].as_u64() >= Some(2), "{main}");
    assert!(main["logs"].as_u64() >= Some(1), "{main}");

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
    assert_eq!(all_of(&lines, "log_message")[0]["message"], "User clicked a button!");
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
fn main_launches_another_program_as_its_renderer_and_spins() {
    let demo = Demo::new();
    let program = demo_program("renderer-proc");
    let arguments = ["--renderer", program.to_str().unwrap(), "--wait", "spin"];
    let how = ["--duration", "700ms", "--push-interval", "200us"];
    let mut main = demo.start(&[arguments, how].concat());
    let id = process_id(&main.lines.next_of("did_connect"));
    assert_eq!(executable(id), Some(program));
    let lines = main.finish();
    let (main, renderers) = summaries(&lines);
    assert_nothing_was_lost(main, &renderers);
    assert_nothing_is_left(&demo, &[id]);
}

#[test]
fn main_serves_several_renderers_and_ends_after_all_of_them() {
    let demo = Demo::new();
    let lines = demo.start(&["--duration", "1s", "--renderers", "3", "--wait", "park"]).finish();
    let (main, summaries) = summaries(&lines);
    assert_eq!(main["renderers"], 3);
    let ids = summaries.iter().map(|summary| summary["id"].as_u64().unwrap());
    assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 3, "each has its own number");
    assert_nothing_was_lost(main, &summaries);
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
        let lines = demo.attach(&["--duration", "500ms"]).finish();
        let summary = lines.last().unwrap();
        assert_eq!((&summary["role"], &summary["ended"]), (&json!("renderer"), &json!("duration")));
        assert!(summary["received"].as_u64() >= Some(50), "{summary}");
        assert_complete(summary);
        let gone = main.lines.next_of("render_process_gone");
        assert_eq!(gone["renderer"], round);
        assert_eq!((&gone["reason"], &gone["exit_code"]), (&json!("disconnected"), &Value::Null));
    }
    main.signal(Signal::TERM);
    assert_eq!(summaries(&main.finish()).0["renderers"], 2);
    assert_nothing_is_left(&demo, &[main.id()]);
}

#[test]
fn a_file_below_the_folder_is_read_and_an_error_has_a_name() {
    let (demo, folder) = (Demo::new(), Folder::new("files"));
    folder.with("longest", vec![b'x'; 1 << 20]);
    folder.with("too-long", vec![b'x'; (1 << 20) + 1]);
    let _main = demo.serve(&["--files", folder.text()]);
    let cases = [
        ("longest", "file", "len", json!(1 << 20)),
        ("too-long", "file_error", "error", json!("too-large")),
        ("no-such-file", "file_error", "error", json!("not-found")),
        ("/etc/passwd", "file_error", "error", json!("outside")),
    ];
    let mut command = demo.renderer(&["--duration", "1s"]);
    cases.iter().for_each(|(path, ..)| _ = command.args(["--read-file", path]));
    let lines = Program::start(&mut command).finish();
    for (path, event, key, value) in cases {
        let line = lines.iter().find(|line| line["path"] == path);
        let line = line.unwrap_or_else(|| panic!("nothing about {path}: {lines:?}"));
        assert_eq!((&line["event"], &line[key]), (&json!(event), &value), "{path}");
    }
}

#[test]
fn without_json_the_lines_are_for_people() {
    let demo = Demo::new();
    let (code, output, errors) = run(&mut demo.plain("main-proc", &["--duration", "500ms"]));
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(output.contains(demo.endpoint()) && output.contains("User clicked a button!"));
    assert!(output.lines().last().unwrap().starts_with("main: ended: 1 renderers"), "{output}");
    assert!(output.contains("renderer 1: connected"), "{output}");
    assert!(output.contains(" 0 lost, 0 out of order"), "{output}");
    assert!(!output.contains(['{', '\x1b']), "{output}");
}

#[test]
fn an_idle_demo_uses_no_processor() {
    let demo = Demo::new();
    let main = demo.start(&["--push-interval", "off", "--sample-interval", "off"]);
    let renderer = process_id(&main.lines.next_of("did_connect"));
    // The two have said all that they say at first when both have slept for a moment.
    let used = || processor_time(main.id()) + processor_time(renderer);
    eventually("both have come to rest", || {
        let before = used();
        thread::sleep(Duration::from_millis(100));
        used() == before
    });
    let before = used();
    thread::sleep(Duration::from_secs(3));
    let idle = used() - before;
    assert!(idle < Duration::from_millis(10), "{idle:?} in three seconds");
}

/// Sends a signal as a terminal does: to the whole group.
fn signal_group(main: &Program, signal: Signal) {
    kill_process_group(Pid::from_raw(main.id() as i32).unwrap(), signal).unwrap();
}

#[test]
fn a_signal_ends_main_and_its_renderers_cleanly() {
    for (to_all, kind) in [(true, Signal::INT), (false, Signal::INT), (false, Signal::TERM)] {
        let demo = Demo::new();
        let (mut main, ids) = start_busy(&demo, 2);
        if to_all {
            signal_group(&main, kind)
        } else {
            main.signal(kind)
        }
        let lines = main.finish();
        let (main, renderers) = summaries(&lines);
        assert_eq!((&main["renderers"], renderers.len()), (&json!(2), 2));
        assert!(renderers.iter().all(|summary| summary["lost"] == 0));
        if !to_all {
            assert!(renderers.iter().all(|summary| summary["ended"] == "main-gone"));
            assert_nothing_was_lost(main, &renderers);
        }
        assert_nothing_is_left(&demo, &ids);
    }
}

#[test]
fn when_main_is_killed_its_renderers_end_at_once_and_attached_ones_say_why() {
    let demo = Demo::new();
    let (mut main, ids) = start_busy(&demo, 2);
    let mut attached = demo.attach(&[]);
    attached.lines.next_of("statistics");
    let killed = Instant::now();
    main.kill();
    let summary = attached.finish().pop().expect("it has printed a summary");
    assert!(killed.elapsed() < PROMPTLY);
    assert_eq!((&summary["event"], &summary["ended"]), (&json!("summary"), &json!("main-gone")));
    assert_complete(&summary);
    assert!(within(PROMPTLY, || !ids.iter().any(|id| is_alive(*id))));

    // The next one under this name cleans up after it.
    let lines = demo.start(&["--duration", "300ms"]).finish();
    assert_eq!(summaries(&lines).0["renderers"], 1);
    assert_nothing_is_left(&demo, &ids);
}

#[test]
fn an_end_while_renderers_are_still_starting_is_clean_too() {
    let demo = Demo::new();
    let mut main = demo.start(&["--renderers", "4"]);
    main.lines.next_of("listening");
    signal_group(&main, Signal::INT);
    let lines = main.finish();
    assert_eq!(lines.last().unwrap()["role"], "main");
    assert_nothing_is_left(&demo, &renderers(&lines));
}

#[test]
fn arguments_that_make_no_sense_are_refused_by_name() {
    let demo = Demo::new();
    for (mut command, named) in [
        (demo.main(&["--push-interval", "0s"]), "--push-interval"),
        (demo.main(&["--wait", "never"]), "spin"),
        (demo.renderer(&["--renderers", "1"]), "--renderers"),
    ] {
        let (code, output, errors) = run(&mut command);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{command:?}");
        assert!(errors.contains(named), "{errors}");
    }
}

#[test]
fn a_name_in_use_is_an_error_that_names_it_and_disturbs_neither_main_nor_renderers() {
    let demo = Demo::new();
    let (mut first, ids) = start_busy(&demo, 1);
    let errors = error_of(&mut demo.main(&["--duration", "1s"]));
    assert!(errors.contains(demo.endpoint()) && errors.contains("in use"), "{errors}");
    first.lines.next_of("statistics");
    first.signal(Signal::INT);
    assert!(first.end().success());
    assert_nothing_is_left(&demo, &ids);
}

#[test]
fn a_renderer_without_its_main_and_a_main_without_its_renderer_name_the_missing_one() {
    let demo = Demo::new();
    let errors = error_of(&mut demo.renderer(&[]));
    assert!(errors.contains(demo.endpoint()), "{errors}");
    for program in ["/no/such/program", "/bin/true"] {
        let errors = error_of(&mut demo.main(&["--renderer", program]));
        assert!(errors.contains(program), "{errors}");
        assert_nothing_is_left(&demo, &[]);
    }
}

#[test]
fn a_main_whose_output_has_no_reader_any_more_ends() {
    let demo = Demo::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = Killed(demo.main(&[]).stdout(writer).spawn().unwrap());
    drop(reader);
    child.end();
    assert_nothing_is_left(&demo, &[]);
}
