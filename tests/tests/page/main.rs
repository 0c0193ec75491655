//! The page of `renderer-proc --view web`, in a real browser and against what only looks like one.

mod browser;
mod door;
mod endurance;

use std::{fs, os::unix::process::CommandExt, process::ExitStatus};

use browser::{Browser, Scheme};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    demo::Demo,
    proc::{host_name, is_processors_model},
    processes::{Folder, Program},
};

/// A main process, and a renderer whose user interface is a page.
struct Served {
    demo: Demo,
    main: Program,
    renderer: Program,
    url: String,
}

impl Served {
    fn start(main_arguments: &[&str]) -> Self {
        let demo = Demo::new();
        let main = start_main(&demo, main_arguments);
        let renderer = Program::start(&mut demo.page(&[]));
        let url = url(&renderer);
        Self { demo, main, renderer, url }
    }

    /// The same, with its page open in a browser; `None` if there is no browser, which was said.
    fn in_browser(main_arguments: &[&str]) -> Option<(Self, Browser)> {
        let browser = Browser::start(Scheme::Light)?;
        let served = Self::start(main_arguments);
        browser.open(&served.url);
        browser.shows("#link", "live");
        Some((served, browser))
    }

    /// `127.0.0.1:PORT`.
    fn host(&self) -> &str {
        let (host, _) = self.url["http://".len()..].split_once('/').expect("an address has a path");
        host
    }

    fn token(&self) -> &str {
        self.url.rsplit_once('#').expect("the token is the fragment").1
    }

    /// Ends the renderer, and returns the last lines that it printed.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        self.renderer.signal(Signal::TERM);
        let lines = std::iter::from_fn(|| self.renderer.lines.next_text()).collect();
        (self.renderer.end(), lines)
    }
}

fn start_main(demo: &Demo, arguments: &[&str]) -> Program {
    let main = demo.start(&[&["--renderers", "0"], arguments].concat());
    main.lines.next_of("listening");
    main
}

/// The address that the renderer prints.
fn url(renderer: &Program) -> String {
    let line = std::iter::from_fn(|| renderer.lines.next_text())
        .find(|line| line.contains("http://"))
        .expect("it says where the page is");
    line[line.find("http://").expect("it was found")..].to_owned()
}

/// The next line that a renderer logged, other than those of other sessions.
fn next_log(main: &Program) -> Value {
    main.lines.next_of("log_message")["message"].clone()
}

/// Counts what comes on `statistics`, and keeps the newest.
const COUNT_STATISTICS: &str =
    "window.seen = []; electron.on('statistics', stats => window.seen.push(stats));";

// --- in a browser --------------------------------------------------------------------------------

#[test]
fn page_code_written_for_electron_runs_as_it_stands() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let Some((served, browser)) = Served::in_browser(&["--files", folder]) else { return };
    assert_eq!(browser.run("return location.hash"), "", "the token is not in sight");

    // Statistics move, by Electron's names.
    browser.run(COUNT_STATISTICS);
    browser.eventually("statistics come", "return window.seen.length >= 20");
    let [first, last] = ["0", "window.seen.length - 1"]
        .map(|at| browser.run(&format!("return window.seen[{at}].sequence")).as_u64().unwrap());
    assert!(last > first + 19, "each is newer than the one before: {first}, {last}");
    browser.eventually(
        "the machine has been sampled",
        "const stats = window.seen.at(-1); \
         return stats.cpuUsage >= 0 && stats.cpuUsage !== null && stats.coreUsage.length > 0 && stats.memoryUsed > 0",
    );

    // Main answers.
    browser.run("window.electron.send('log-message', 'User clicked a button!')");
    assert_eq!(next_log(&served.main), "User clicked a button!");
    let info = browser.promise("window.electron.invoke('get-system-info')");
    assert!(is_processors_model(info["cpuModel"].as_str().unwrap()), "{info}");
    let text = browser.promise("electron.invoke('read-file', 'Cargo.toml')");
    assert_eq!(text, fs::read_to_string(format!("{folder}/Cargo.toml")).unwrap());

    // And refuses, in Electron's words.
    let error =
        |expression: &str| browser.promise(expression)["error"].as_str().unwrap().to_owned();
    assert_eq!(
        error("electron.invoke('read-file', '/etc/passwd')"),
        "Error invoking remote method 'read-file': the path is absolute or leads out of the folder that main \
         serves"
    );
    assert_eq!(
        error("electron.invoke('format-disk')"),
        "Error invoking remote method 'format-disk': Error: the channel 'format-disk' is not exposed to this page \
         for 'invoke'"
    );
    assert_eq!(
        error("electron.invoke('get-system-info', { all: true })"),
        "Error invoking remote method 'get-system-info': Error: bad value for 'get-system-info': expected no \
         argument, got an object"
    );
}

#[test]
fn listeners_come_and_go_as_in_electron() {
    let Some((_served, browser)) = Served::in_browser(&[]) else { return };
    browser.run(
        "window.calls = { always: 0, once: 0, removed: 0, unsubscribed: 0, after: 0 }; \
         electron.on('statistics', () => { calls.always += 1; }); \
         electron.once('statistics', () => { calls.once += 1; }); \
         const removed = () => { calls.removed += 1; electron.removeListener('statistics', removed); }; \
         electron.on('statistics', removed); \
         const unsubscribe = electron.on('statistics', () => { calls.unsubscribed += 1; unsubscribe(); }); \
         electron.on('statistics', () => { throw new Error('on purpose'); }); \
         electron.on('statistics', () => { calls.after += 1; });",
    );
    browser.eventually("many frames have come", "return calls.always >= 10");
    let calls = browser.run("return calls");
    assert_eq!([&calls["once"], &calls["removed"], &calls["unsubscribed"]], [1, 1, 1], "{calls}");
    assert_eq!(calls["after"], calls["always"], "one that throws is no matter to the others");
    browser.run("electron.removeAllListeners('statistics'); window.left = calls.always");
    browser.promise("electron.invoke('get-system-info')");
    assert_eq!(browser.run("return calls.always - left"), 0);
}

#[test]
fn the_dashboard_shows_the_machine_and_answers_clicks_and_keys() {
    let Some((served, browser)) = Served::in_browser(&["--files", env!("CARGO_MANIFEST_DIR")])
    else {
        return;
    };
    for figure in ["cpu", "memory", "rate", "latency", "trip", "lost", "updates", "load"] {
        let known =
            format!("return /^[0-9]/.test(document.querySelector('#{figure}').textContent)");
        browser.eventually(&format!("the page shows '{figure}'"), &known);
    }
    assert_eq!(browser.text("#lost"), "0");
    let policy = browser.text("#policy");
    for channel in ["log-message", "get-system-info", "read-file", "statistics"] {
        assert!(policy.contains(channel), "{policy}");
    }
    let machine = browser.text("#machine");
    assert!(machine.starts_with(&host_name()), "{machine}");

    // The keyboard does what the pointer does.
    browser.type_into("#log", " Twice.\u{e007}");
    assert_eq!(next_log(&served.main), "User clicked a button! Twice.");
    browser.click("#info");
    browser.mentions("#output", "cpuModel");
    browser.run("document.querySelector('#file').value = 'no-such-file'");
    browser.click("#file-read");
    browser.mentions("#output .error", "there is no such file");

    browser.click("#pause");
    assert_eq!(browser.run("return document.querySelector('#pause').ariaPressed"), "true");
    browser.shows("#updates", "0/s");
    browser.type_into("#pause", " ");
    browser.eventually(
        "it goes on",
        "return Number.parseInt(document.querySelector('#updates').textContent) > 0",
    );
}

#[test]
fn the_page_says_that_main_is_gone_and_goes_on_when_it_is_back() {
    let Some((mut served, browser)) = Served::in_browser(&[]) else { return };
    browser.run(COUNT_STATISTICS);
    browser.eventually("statistics come", "return window.seen.length > 0");

    served.main.signal(Signal::KILL);
    served.main.end();
    browser.eventually(
        "the page says so",
        "return document.querySelector('#link').textContent === 'main gone' \
         && !document.querySelector('#banner').hidden",
    );
    let error = browser.promise("electron.invoke('get-system-info')")["error"].clone();
    assert_eq!(
        error,
        "Error invoking remote method 'get-system-info': Error: the main process is gone"
    );

    served.main = start_main(&served.demo, &[]);
    browser.shows("#link", "live");
    browser.run("window.seen = []");
    browser.eventually("what it listened to comes again", "return window.seen.length > 0");
    assert!(browser.promise("electron.invoke('get-system-info')")["cpuModel"].is_string());
    assert_eq!(browser.run("return document.querySelector('#banner').hidden"), true);
}

#[test]
fn what_a_page_has_asked_fails_when_main_dies() {
    let Some((mut served, browser)) = Served::in_browser(&["--files", env!("CARGO_MANIFEST_DIR")])
    else {
        return;
    };
    served.main.signal(Signal::STOP);
    browser.run(
        "window.asked = null; \
         electron.invoke('get-system-info').then(() => { asked = 'answered'; }, (error) => { asked = error.message; });",
    );
    assert_eq!(browser.run("return window.asked"), Value::Null);
    served.main.signal(Signal::KILL);
    served.main.end();
    browser.eventually("it is settled", "return window.asked !== null");
    let asked = browser.run("return window.asked");
    let asked = asked.as_str().unwrap();
    assert!(asked.starts_with("Error invoking remote method 'get-system-info': "), "{asked}");
    assert!(asked.contains("gone"), "{asked}");
}

#[test]
fn a_renderer_can_be_there_before_main_and_its_page_waits() {
    let demo = Demo::new();
    let renderer = Program::start(&mut demo.page(&[]));
    let url = url(&renderer);
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    browser.open(&url);
    browser.shows("#link", "main gone");
    let _main = start_main(&demo, &[]);
    browser.shows("#link", "live");
}

#[test]
fn main_launches_a_renderer_with_a_page_which_ends_with_it() {
    let demo = Demo::new();
    let mut main = Program::start(demo.plain("main-proc", &["--view", "web"]).process_group(0));
    let url = url(&main);
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    browser.open(&url);
    browser.shows("#link", "live");
    main.signal(Signal::TERM);
    let lines: Vec<_> = std::iter::from_fn(|| main.lines.next_text()).collect();
    assert!(main.end().success());
    assert!(lines.iter().any(|line| line.contains("pages said")), "it sums up: {lines:?}");
    browser.shows("#link", "renderer gone");
}

#[test]
fn two_pages_of_one_renderer_have_sessions_of_their_own() {
    let served = Served::start(&[]);
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    browser.open(&served.url);
    browser.shows("#link", "live");
    let [first, second] = browser.open_tab(&served.url);
    browser.shows("#link", "live");
    browser.run(COUNT_STATISTICS);
    browser.eventually("statistics come to the second", "return window.seen.length > 10");

    browser.switch_to(&first);
    browser.run(COUNT_STATISTICS);
    browser.eventually("statistics come to the first", "return window.seen.length > 10");
    browser.run("electron.send('log-message', 'one'); electron.removeAllListeners();");
    assert_eq!(next_log(&served.main), "one");

    browser.switch_to(&second);
    browser.run("window.seen = []");
    browser.eventually("they still come to the second", "return window.seen.length > 10");
    assert!(browser.promise("electron.invoke('get-system-info')")["cpuModel"].is_string());
}

#[test]
fn a_tab_keeps_its_token_and_a_page_without_one_says_what_to_do() {
    let served = Served::start(&[]);
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    browser.open(&format!("http://{}/", served.host()));
    browser.mentions("#banner", "the address that renderer-proc printed");
    browser.open(&served.url);
    browser.shows("#link", "live");
    browser.reload();
    browser.shows("#link", "live");
}

#[test]
fn what_the_policy_denies_is_shown_and_refused() {
    let folder = Folder::new("policy");
    let policy = folder
        .with("policy.toml", "[allow]\nevents = [\"log-message\"]\npushes = [\"statistics\"]\n");
    let Some((_served, browser)) = Served::in_browser(&["--policy", &policy]) else {
        return;
    };
    let shown = browser.text("#policy");
    assert_eq!(shown.matches("denied").count(), 2, "{shown}");
    assert_eq!(shown.matches("allowed").count(), 2, "{shown}");
    let error = browser.promise("electron.invoke('read-file', 'x')")["error"].clone();
    assert_eq!(
        error,
        "Error invoking remote method 'read-file': Error: the channel 'read-file' is not exposed to this page for \
         'invoke'"
    );
}

/// Pictures for people: `target/ci/page-light.png` and `page-dark.png`.
#[test]
fn the_page_looks_the_same_in_light_and_dark() {
    let served = Served::start(&["--files", env!("CARGO_MANIFEST_DIR")]);
    for (scheme, name, is_dark) in
        [(Scheme::Light, "page-light.png", false), (Scheme::Dark, "page-dark.png", true)]
    {
        let Some(browser) = Browser::start(scheme) else { return };
        browser.open(&served.url);
        browser.shows("#link", "live");
        let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(dark, is_dark);
        browser.click("#log-send");
        browser.click("#file-read");
        browser.click("#info");
        let readings = "return /^[0-9]/.test(document.querySelector('#trip-page').textContent) \
                        && document.querySelector('#cores').children.length > 0";
        browser.eventually("there is something to see", readings);
        assert!(
            browser
                .run("return document.documentElement.scrollWidth <= innerWidth")
                .as_bool()
                .unwrap(),
            "nothing sticks out"
        );
        let picture = browser.keep_picture(name);
        assert!(fs::metadata(picture).unwrap().len() > 20_000, "there is something in it");
        let grounds = browser.run("return getComputedStyle(document.body).backgroundColor");
        assert_eq!(grounds, json!(if is_dark { "rgb(14, 17, 23)" } else { "rgb(244, 245, 247)" }));
    }
}
