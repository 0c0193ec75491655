//! The page of `renderer-proc --view web`, in a real browser and against forged clients.

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

/// A folder with a file that main may serve.
const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

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
        let main = demo.serve(main_arguments);
        let renderer = Program::start(&mut demo.page(&[]));
        let url = url(&renderer);
        Self { demo, main, renderer, url }
    }

    /// The same, with its page open in a browser; `None` if there is no browser.
    fn in_browser(main_arguments: &[&str]) -> Option<(Self, Browser)> {
        let browser = Browser::start(Scheme::Light)?;
        let served = Self::start(main_arguments);
        served.show_in(&browser);
        Some((served, browser))
    }

    fn show_in(&self, browser: &Browser) {
        browser.open(&self.url);
        browser.shows("#link", "live");
    }

    /// `127.0.0.1:PORT`.
    fn host(&self) -> &str {
        let (host, _) = self.url["http://".len()..].split_once('/').expect("an address has a path");
        host
    }

    fn token(&self) -> &str {
        self.url.rsplit_once('#').expect("the token is the fragment").1
    }

    /// The next line that a renderer logged.
    fn next_log(&self) -> Value {
        self.main.lines.next_of("log_message")["message"].clone()
    }

    /// Ends the renderer, and returns the last lines that it printed.
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        self.renderer.signal(Signal::TERM);
        let lines = std::iter::from_fn(|| self.renderer.lines.next_text()).collect();
        (self.renderer.end(), lines)
    }
}

/// The address that the renderer prints.
fn url(renderer: &Program) -> String {
    let mut lines = std::iter::from_fn(|| renderer.lines.next_text());
    lines.find_map(|line| Some(line[line.find("http://")?..].to_owned())).expect("an address")
}

#[test]
fn page_code_written_for_electron_runs_unchanged() {
    let Some((served, browser)) = Served::in_browser(&["--files", FOLDER]) else { return };
    assert_eq!(browser.run("return location.hash"), "", "the token is not in sight");

    // Statistics move, by Electron's names.
    browser.see_statistics(20);
    let [first, last] = ["0", "window.seen.length - 1"]
        .map(|at| browser.run(&format!("return window.seen[{at}].sequence")).as_u64().unwrap());
    assert!(last >= first + 19, "each is newer than the one before: {first}, {last}");
    browser.eventually(
        "the machine has been sampled",
        "const stats = window.seen.at(-1); return stats.cpuUsage >= 0 && stats.cpuUsage !== null \
         && stats.coreUsage.length > 0 && stats.memoryUsed > 0",
    );

    browser.run("window.electron.send('log-message', 'User clicked a button!')");
    assert_eq!(served.next_log(), "User clicked a button!");
    let info = browser.promise("window.electron.invoke('get-system-info')");
    assert!(is_processors_model(info["cpuModel"].as_str().unwrap()), "{info}");
    let text = browser.promise("electron.invoke('read-file', 'Cargo.toml')");
    assert_eq!(text, fs::read_to_string(format!("{FOLDER}/Cargo.toml")).unwrap());

    // Refusals are in Electron's words.
    for (arguments, method, why) in [
        (
            "'read-file', '/etc/passwd'",
            "read-file",
            "the path is absolute or leads out of the folder that main serves",
        ),
        (
            "'format-disk'",
            "format-disk",
            "Error: the channel 'format-disk' is not exposed to this page for 'invoke'",
        ),
        (
            "'get-system-info', { all: true }",
            "get-system-info",
            "Error: bad value for 'get-system-info': expected no argument, got an object",
        ),
    ] {
        let expected = format!("Error invoking remote method '{method}': {why}");
        assert_eq!(browser.invoke_error(arguments), expected);
    }
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
    assert_eq!(calls["after"], calls["always"], "a listener that throws disturbs no other");
    browser.run("electron.removeAllListeners('statistics'); window.left = calls.always");
    browser.promise("electron.invoke('get-system-info')");
    assert_eq!(browser.run("return calls.always - left"), 0);
}

#[test]
fn the_dashboard_shows_the_machine_and_answers_clicks_and_keys() {
    let Some((served, browser)) = Served::in_browser(&["--files", FOLDER]) else { return };
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

    // The keyboard does the same as the pointer.
    browser.type_into("#log", " Twice.\u{e007}");
    assert_eq!(served.next_log(), "User clicked a button! Twice.");
    browser.click("#info");
    browser.mentions("#output", "cpuModel");
    browser.run("document.querySelector('#file').value = 'no-such-file'");
    browser.click("#file-read");
    browser.mentions("#output .error", "there is no such file");

    browser.click("#pause");
    assert_eq!(browser.run("return document.querySelector('#pause').ariaPressed"), "true");
    browser.shows("#updates", "0/s");
    browser.type_into("#pause", " ");
    let goes_on = "return Number.parseInt(document.querySelector('#updates').textContent) > 0";
    browser.eventually("it goes on", goes_on);
}

#[test]
fn the_page_says_that_main_is_gone_and_goes_on_when_it_is_back() {
    let Some((mut served, browser)) = Served::in_browser(&[]) else { return };
    browser.see_statistics(1);
    // This invoke is pending when main dies.
    served.main.signal(Signal::STOP);
    browser.run(
        "window.asked = null; electron.invoke('get-system-info') \
         .then(() => { asked = 'answered'; }, (error) => { asked = error.message; });",
    );
    assert_eq!(browser.run("return window.asked"), Value::Null);
    served.main.kill();
    browser.eventually("it is settled", "return window.asked !== null");
    let asked = browser.run("return window.asked").as_str().unwrap().to_owned();
    assert!(asked.starts_with("Error invoking remote method 'get-system-info': "), "{asked}");
    assert!(asked.contains("gone"), "{asked}");
    browser.shows("#link", "main gone");
    browser.eventually("a banner", "return !document.querySelector('#banner').hidden");
    assert_eq!(
        browser.invoke_error("'get-system-info'"),
        "Error invoking remote method 'get-system-info': Error: the main process is gone"
    );

    served.main = served.demo.serve(&[]);
    browser.shows("#link", "live");
    browser.see_more_statistics(1);
    assert!(browser.promise("electron.invoke('get-system-info')")["cpuModel"].is_string());
    assert_eq!(browser.run("return document.querySelector('#banner').hidden"), true);
}

#[test]
fn a_renderer_can_be_there_before_main_and_its_page_waits() {
    let demo = Demo::new();
    let renderer = Program::start(&mut demo.page(&[]));
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    browser.open(&url(&renderer));
    browser.shows("#link", "main gone");
    let _main = demo.serve(&[]);
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
    let Some((served, browser)) = Served::in_browser(&[]) else { return };
    let [first, second] = browser.open_tab(&served.url);
    browser.shows("#link", "live");
    browser.see_statistics(10);
    browser.switch_to(&first);
    browser.see_statistics(10);
    browser.run("electron.send('log-message', 'one'); electron.removeAllListeners();");
    assert_eq!(served.next_log(), "one");
    browser.switch_to(&second);
    browser.see_more_statistics(10);
    assert!(browser.promise("electron.invoke('get-system-info')")["cpuModel"].is_string());
}

#[test]
fn a_tab_keeps_its_token_and_a_page_without_one_says_what_to_do() {
    let served = Served::start(&[]);
    let Some(browser) = Browser::start(Scheme::Light) else { return };
    browser.open(&format!("http://{}/", served.host()));
    browser.mentions("#banner", "the address that renderer-proc printed");
    served.show_in(&browser);
    browser.reload();
    browser.shows("#link", "live");
}

#[test]
fn the_page_shows_and_refuses_channels_that_the_policy_denies() {
    let folder = Folder::new("policy");
    let policy = folder
        .with("policy.toml", "[allow]\nevents = [\"log-message\"]\npushes = [\"statistics\"]\n");
    let Some((_served, browser)) = Served::in_browser(&["--policy", &policy]) else { return };
    let shown = browser.text("#policy");
    assert_eq!(shown.matches("denied").count(), 2, "{shown}");
    assert_eq!(shown.matches("allowed").count(), 2, "{shown}");
    assert_eq!(
        browser.invoke_error("'read-file', 'x'"),
        "Error invoking remote method 'read-file': Error: the channel 'read-file' is not exposed to this page for \
         'invoke'"
    );
}

/// Keeps pictures for people: `target/ci/page-light.png` and `page-dark.png`.
#[test]
fn the_page_looks_the_same_in_light_and_dark() {
    let served = Served::start(&["--files", FOLDER]);
    for (scheme, name, ground) in [
        (Scheme::Light, "page-light.png", "rgb(244, 245, 247)"),
        (Scheme::Dark, "page-dark.png", "rgb(14, 17, 23)"),
    ] {
        let Some(browser) = Browser::start(scheme) else { return };
        served.show_in(&browser);
        let dark = browser.run("return matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(dark, matches!(scheme, Scheme::Dark));
        ["#log-send", "#file-read", "#info"].iter().for_each(|button| browser.click(button));
        let readings = "return /^[0-9]/.test(document.querySelector('#trip-page').textContent) \
                        && document.querySelector('#cores').children.length > 0";
        browser.eventually("there is something to see", readings);
        let fits = browser.run("return document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(fits, true, "the page is not wider than its window");
        let picture = browser.keep_picture(name);
        assert!(fs::metadata(picture).unwrap().len() > 20_000, "there is something in it");
        let shown = browser.run("return getComputedStyle(document.body).backgroundColor");
        assert_eq!(shown, json!(ground));
    }
}
