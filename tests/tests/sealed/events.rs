//! The library's events: their order and content, and that no renderer can forge one.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tests::{attacks, prelude::*, siege::attacker_command};
use tracing_subscriber::{filter::LevelFilter, util::SubscriberInitExt};

/// The events of a test's thread, as they would be logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins a log, which ends when the second value is dropped.
    fn begin() -> (Self, impl Sized) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone());
        (log, subscriber.set_default())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("it is text")
    }

    /// Checks that it has these texts in this order.
    fn assert_told(&self, lines: &[&str]) {
        let log = self.text();
        let mut rest = log.as_str();
        for line in lines {
            let at = rest.find(line).unwrap_or_else(|| panic!("no '{line}' in order in:\n{log}"));
            rest = &rest[at + line.len()..];
        }
    }
}

#[test]
fn a_session_is_logged_from_its_beginning_to_its_end() {
    let (log, _until_the_end) = Log::begin();
    let stage = Stage::new();
    let window = stage.play_ready(stays, &[]);
    let (id, pid) = (window.id(), window.os_process_id());
    stage.kill(&window);
    let name = stage.name().to_owned();
    drop(stage);
    log.assert_told(&[
        &format!("INFO ringbridge: endpoint opened endpoint=\"{name}\""),
        &format!("DEBUG ringbridge: session opened window={id} policy=\"report, "),
        &format!("INFO ringbridge: renderer connected window={id} pid={pid}"),
        &format!("INFO ringbridge: session ended window={id} reason=\"killed\""),
        &format!("DEBUG ringbridge: renderer's process ended window={id} exit_code=9"),
        &format!("INFO ringbridge: endpoint closed endpoint=\"{name}\""),
    ]);
}

/// Launches an attacker and runs until it is gone.
fn attack(stage: &Stage, name: &str) -> WebContents {
    let attack = attacks::find(name);
    let command = attacker_command(attack, stage, std::process::id());
    let window = stage.launch(command, (attack.policy)(allow_everything()));
    stage.run_until_gone(&window);
    window
}

#[test]
fn a_violation_is_logged_with_its_name_and_whether_it_is_tolerated() {
    let (log, _until_the_end) = Log::begin();
    for (name, violation, tolerated) in [
        ("kind-that-is-none", "unknown-kind", false),
        ("violations-that-are-tolerated", "", true),
        ("packet-after-the-handshake", "unexpected-packet", false),
    ] {
        let window = attack(&Stage::new(), name);
        let (id, pid) = (window.id(), window.os_process_id());
        log.assert_told(&[
            &format!("WARN ringbridge: protocol violation window={id} pid={pid}"),
            &format!("violation=\"{violation}"),
            &format!("tolerated={tolerated}"),
        ]);
    }
}

#[test]
fn a_refused_connection_is_logged_with_its_reason_and_forges_no_line() {
    let (log, _until_the_end) = Log::begin();
    let stage = Stage::new();
    stage.ipc.on_attach(|_| Err("not\u{1b}[31m today\nERROR ringbridge: all is lost".to_owned()));
    assert!(stage.attach(CONTRACT).is_err());
    let log = log.text();
    let start =
        format!(" WARN ringbridge: connection refused pid={} why=\"not", std::process::id());
    assert!(log.lines().any(|line| line.starts_with(&start)), "{log}");
    // Whatever a hook quotes, it adds no line and no escape sequence.
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("ERROR")), "{log}");
}

#[test]
fn a_renderer_over_its_quota_and_one_that_rings_without_end_are_logged() {
    let (log, _until_the_end) = Log::begin();
    let stage = Stage::new();
    stage.hear(NUMBER, |_, _| ());
    let policy = allow_everything().frames_quota(Quota::per_second(1000).burst(20));
    let (window, mut sign) = stage.play_ready_with_input(sends_numbers_at_a_sign, &["100"], policy);
    sign.write_all(b".").unwrap();
    stage.run_until_reported("sent");
    let id = window.id();
    log.assert_told(&[
        &format!("DEBUG ringbridge: over its quota: held window={id}"),
        &format!("DEBUG ringbridge: looked at again window={id}"),
    ]);
    stage.close(&window);

    let id = attack(&stage, "rings-without-frames").id();
    let rings = "rings without sending, too often: not heard for a while";
    log.assert_told(&[&format!("WARN ringbridge: {rings} window={id}")]);
}
