//! Main's metrics as Prometheus fetches them, and its log as an operator reads it.

use std::{io::Read, net::TcpStream, process::Stdio};

use tests::{
    demo::{Demo, run},
    prelude::*,
};

/// What a server answers: its status, and the rest.
fn fetch(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is text");
    let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer)
}

fn get(address: &str, path: &str, host: &str) -> (u16, String) {
    fetch(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// The number behind a name, labels and all.
fn value(page: &str, name: &str) -> Option<u64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Where this main serves its metrics.
fn address(main: &Program) -> String {
    let line = main.lines.next_of("metrics");
    let url = line["url"].as_str().expect("it says where").to_owned();
    url.strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"))
        .expect("a page")
        .to_owned()
}

#[test]
fn prometheus_fetches_what_main_counts_of_each_window_that_is_there() {
    let demo = Demo::new();
    let mut main = demo.start(&["--metrics", "0"]);
    let address = address(&main);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let renderer = main.lines.next_of("did_connect")["pid"].as_u64().unwrap() as u32;
    let labels = format!("{{window=\"1\",pid=\"{renderer}\"}}");
    let page = || {
        let (status, page) = get(&address, "/metrics", &address);
        assert_eq!(status, 200, "{page}");
        page
    };
    let invokes = format!("ringbridge_window_invokes_received_total{labels}");
    eventually("it has asked several times", || value(&page(), &invokes) >= Some(3));
    signal(renderer, Signal::STOP);
    eventually("it has stopped", || is_stopped(renderer));
    let first = page();
    assert!(first.contains("content-type: application/openmetrics-text"), "{first}");
    for line in [
        "# HELP ringbridge_main_windows Windows whose session is not over.",
        "# TYPE ringbridge_main_windows gauge",
        "# TYPE ringbridge_window_frames_sent counter",
        "# EOF",
    ] {
        assert!(first.contains(line), "no '{line}' in {first}");
    }
    assert_eq!(value(&first, "ringbridge_main_windows"), Some(1));
    assert_eq!(
        value(&first, &format!("ringbridge_window_outbox_capacity_bytes{labels}")),
        Some(256 << 10)
    );
    let sent = format!("ringbridge_window_frames_sent_total{labels}");
    eventually("what is pushed is counted", || value(&page(), &sent) > value(&first, &sent));

    let counted = value(&page(), &invokes).unwrap();
    main.signal(Signal::TERM);
    let summary = main.lines.next_of("summary");
    let last = main.lines.rest().pop().unwrap_or(summary);
    assert!(main.end().success());
    assert_eq!(last["invokes"], json!(counted));
}

#[test]
fn a_window_that_is_gone_is_fetched_no_more() {
    let demo = Demo::new();
    let main = demo.start(&["--metrics", "0", "--renderers", "0"]);
    let address = address(&main);
    let mut renderer = demo.attach(&[]);
    main.lines.next_of("did_connect");
    let windows = || {
        let (_, page) = get(&address, "/metrics", &address);
        (value(&page, "ringbridge_main_windows"), page.contains("window=\""))
    };
    assert_eq!(windows(), (Some(1), true));
    renderer.kill();
    main.lines.next_of("render_process_gone");
    assert_eq!(windows(), (Some(0), false));
}

#[test]
fn whoever_asks_for_anything_else_gets_nothing_and_main_goes_on() {
    let demo = Demo::new();
    let main = demo.start(&["--metrics", "0", "--renderers", "0"]);
    let address = address(&main);
    assert_eq!(get(&address, "/metrics", "example.org").0, 403);
    assert_eq!(get(&address, "/", &address).0, 404);
    assert_eq!(
        fetch(
            &address,
            &format!("POST /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        )
        .0,
        405
    );
    // Connections that say nothing keep nobody else waiting.
    let idle: Vec<_> = (0..50).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "/metrics", &address).0, 200);
    drop(idle);
}

#[test]
fn an_address_that_is_taken_is_an_error_of_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let demo = Demo::new();
    let (code, _, errors) = run(&mut demo.main(&["--metrics", &port]));
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("main-proc: cannot serve metrics at 127.0.0.1:"), "{errors}");
    assert_eq!(errors.lines().count(), 1);
}

#[test]
fn mains_log_tells_of_sessions_and_is_silent_unless_it_is_asked_for() {
    for (flags, told) in [(&["--log", "info"][..], true), (&[], false)] {
        let demo = Demo::new();
        let mut main = demo.main(&["--duration", "500ms"]);
        let (code, _, log) = run(main.args(flags).stderr(Stdio::piped()));
        assert_eq!(code, Some(0));
        assert_eq!(log.contains("ringbridge: renderer connected window=1"), told, "{log}");
        assert_eq!(
            log.contains("ringbridge: session ended window=1 reason=\"closed\""),
            told,
            "{log}"
        );
        assert!(!log.contains("session opened"), "that is for debug: {log}");
    }
}
