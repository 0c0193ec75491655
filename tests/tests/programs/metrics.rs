//! Main's metrics as Prometheus fetches them, and its log as an operator reads it.

use std::{io::Read, net::TcpStream};

use tests::{
    demo::{Demo, run},
    prelude::*,
};

/// A main process that serves its metrics.
struct Served {
    main: Program,
    /// `127.0.0.1:PORT`.
    address: String,
}

impl Served {
    fn start(demo: &Demo, arguments: &[&str]) -> Self {
        let main = demo.start(&[&["--metrics", "0"], arguments].concat());
        let line = main.lines.next_of("metrics");
        let address = line["url"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address = address.and_then(|rest| rest.strip_suffix("/metrics")).expect("a page");
        Self { address: address.to_owned(), main }
    }

    /// The status and the text of an answer.
    fn ask(&self, method: &str, path: &str, host: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("main listens");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is text");
        let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer)
    }

    fn page(&self) -> String {
        let (status, page) = self.ask("GET", "/metrics", &self.address);
        assert_eq!(status, 200, "{page}");
        page
    }
}

/// The number behind a name, labels and all.
fn value(page: &str, name: &str) -> Option<u64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[test]
fn prometheus_fetches_what_main_counts_of_each_window_that_is_there() {
    let demo = Demo::new();
    let mut served = Served::start(&demo, &[]);
    assert!(served.address.starts_with("127.0.0.1:"), "{}", served.address);
    let renderer = served.main.lines.next_of("did_connect")["pid"].as_u64().unwrap() as u32;
    let name =
        |metric: &str| format!("ringbridge_window_{metric}{{window=\"1\",pid=\"{renderer}\"}}");
    let invokes = name("invokes_received_total");
    eventually("it has asked several times", || value(&served.page(), &invokes) >= Some(3));
    stop_process(renderer);
    let first = served.page();
    for line in [
        "content-type: application/openmetrics-text",
        "# HELP ringbridge_main_windows Windows whose session is not over.",
        "# TYPE ringbridge_main_windows gauge",
        "# TYPE ringbridge_window_frames_sent counter",
        "# EOF",
    ] {
        assert!(first.contains(line), "no '{line}' in {first}");
    }
    assert_eq!(value(&first, "ringbridge_main_windows"), Some(1));
    assert_eq!(value(&first, &name("outbox_capacity_bytes")), Some(256 << 10));
    let sent = name("frames_sent_total");
    eventually("pushes are counted", || value(&served.page(), &sent) > value(&first, &sent));

    let counted = value(&served.page(), &invokes).unwrap();
    served.main.signal(Signal::TERM);
    assert_eq!(served.main.finish().last().unwrap()["invokes"], counted);
}

#[test]
fn a_window_that_is_gone_is_not_on_the_page() {
    let demo = Demo::new();
    let served = Served::start(&demo, &["--renderers", "0"]);
    let mut renderer = demo.attach(&[]);
    served.main.lines.next_of("did_connect");
    let windows = || {
        let page = served.page();
        (value(&page, "ringbridge_main_windows"), page.contains("window=\""))
    };
    assert_eq!(windows(), (Some(1), true));
    renderer.kill();
    served.main.lines.next_of("render_process_gone");
    assert_eq!(windows(), (Some(0), false));
}

#[test]
fn other_requests_are_refused_and_silent_connections_disturb_no_other() {
    let served = Served::start(&Demo::new(), &["--renderers", "0"]);
    let address = &served.address;
    assert_eq!(served.ask("GET", "/metrics", "example.org").0, 403);
    assert_eq!(served.ask("GET", "/", address).0, 404);
    assert_eq!(served.ask("POST", "/metrics", address).0, 405);
    let _idle: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    served.page();
}

#[test]
fn an_address_that_is_taken_is_an_error_of_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let errors = error_of(&mut Demo::new().main(&["--metrics", &port]));
    assert!(errors.starts_with("main-proc: cannot serve metrics at 127.0.0.1:"), "{errors}");
    assert_eq!(errors.lines().count(), 1);
}

#[test]
fn mains_log_has_sessions_and_is_silent_without_its_flag() {
    for (flags, logged) in [(&["--log", "info"][..], true), (&[], false)] {
        let demo = Demo::new();
        let (code, _, log) = run(demo.main(&["--duration", "500ms"]).args(flags));
        assert_eq!(code, Some(0));
        for line in ["renderer connected window=1", "session ended window=1 reason=\"closed\""] {
            assert_eq!(log.contains(&format!("ringbridge: {line}")), logged, "{log}");
        }
        assert!(!log.contains("session opened"), "that is for debug: {log}");
    }
}
