//! What the library tells of sessions, and what a renderer cannot have it say.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tests::{attacks, prelude::*, siege::attacker_command};
use tracing_subscriber::{filter::LevelFilter, util::SubscriberInitExt};

/// Everything that is told on a test's thread, as it would be logged.
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
    /// Begins one. It goes on until the second value is dropped.
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

    /// Each of these is told, in this order.
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
fn a_sessions_life_is_told_from_its_beginning_to_its_end() {
    let (log, _until_the_end) = Log::begin();
    let stage = Stage::new();
    let window = stage.launch(renderer(stays, &[]), Policy::deny_all().allow_all(CONTRACT));
    stage.run_until_reported("connected");
    let (id, pid) = (window.id(), window.os_process_id());
    signal(pid, Signal::KILL);
    stage.run_until_gone(&window);
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

#[test]
fn a_violation_is_told_with_its_name_and_whether_it_is_tolerated() {
    let (log, _until_the_end) = Log::begin();
    for (attack, violation, tolerated) in [
        ("kind-that-is-none", "unknown-kind", false),
        ("violations-that-are-tolerated", "", true),
        ("packet-after-the-handshake", "unexpected-packet", false),
    ] {
        let stage = Stage::new();
        let attack = attacks::find(attack);
        let command = attacker_command(attack, &stage, std::process::id());
        let window = stage.launch(command, (attack.policy)(allow_everything()));
        stage.run_until_gone(&window);
        let (id, pid) = (window.id(), window.os_process_id());
        let told = format!(
            "WARN ringbridge: protocol violation window={id} pid={pid} violation=\"{violation}"
        );
        log.assert_told(&[&told, &format!("tolerated={tolerated}")]);
    }
}

#[test]
fn who_is_not_let_in_is_told_with_why_and_without_what_it_said() {
    let (log, _until_the_end) = Log::begin();
    let stage = Stage::new();
    stage.ipc.on_attach(|_| Err("not\u{1b}[31m today\nERROR ringbridge: all is lost".to_owned()));
    let name = stage.name().to_owned();
    let attaching = thread::spawn(move || IpcRenderer::attach(&name, CONTRACT).map(drop));
    stage.run_until("it is refused", || attaching.is_finished());
    assert!(attaching.join().unwrap().is_err());
    let log = log.text();
    let line = log.lines().find(|line| line.contains("connection refused")).expect("it is told");
    let pid = std::process::id();
    assert!(
        line.starts_with(&format!(" WARN ringbridge: connection refused pid={pid} why=\"not")),
        "{line}"
    );
    // Whatever a hook quotes, no line is forged and no terminal obeys.
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("ERROR")), "{log}");
}

#[test]
fn who_is_held_for_its_quota_and_who_rings_in_a_storm_is_told() {
    let (log, _until_the_end) = Log::begin();
    let stage = Stage::new();
    stage.hear(NUMBER, |_, _| ());
    let policy = allow_everything().frames_quota(Quota::per_second(1000).burst(20));
    let (window, mut sign) = stage.play_with_input(sends_numbers_at_a_sign, &["100"], policy);
    stage.run_until_reported("ready");
    sign.write_all(b".").unwrap();
    stage.run_until_reported("sent");
    let id = window.id();
    log.assert_told(&[
        &format!("DEBUG ringbridge: over its quota: held window={id}"),
        &format!("DEBUG ringbridge: looked at again window={id}"),
    ]);
    stage.close(&window);

    let attack = attacks::find("rings-without-frames");
    let window =
        stage.launch(attacker_command(attack, &stage, std::process::id()), allow_everything());
    stage.run_until_gone(&window);
    log.assert_told(&[&format!(
        "WARN ringbridge: rings without sending, too often: not heard for a while window={}",
        window.id()
    )]);
}
