//! The dashboard in a real terminal: its figures and keys, and the terminal's state after its end.

use tests::{demo::Demo, prelude::*, screen::Screen};

/// A dashboard on the screen, and the modes of its terminal before.
struct Watched {
    terminal: Screen,
    before: String,
}

impl Watched {
    /// Starts main with the dashboard of its renderer.
    fn main(demo: &Demo, arguments: &[&str]) -> Self {
        Self::start(&mut demo.plain("main-proc", arguments))
    }

    fn start(command: &mut Command) -> Self {
        // A program that prints nothing leaves a new terminal's modes alone.
        let mut idle = Screen::start(&mut Command::new("/bin/true"), 80, 24);
        idle.end();
        let before = idle.modes();
        let terminal = Screen::start(command, 80, 24);
        terminal.expect("live");
        terminal.expect("cores of");
        assert!(terminal.is_taken_over() && terminal.hides_cursor());
        assert_ne!(terminal.modes(), before, "keys come one by one");
        Self { terminal, before }
    }

    /// Waits until the screen shows the process id of main's renderer, and returns it.
    fn renderer(&self) -> u32 {
        let process = || {
            let text = self.terminal.text();
            let rest = text.split("process ").nth(1)?;
            rest.split(',').next()?.parse::<u32>().ok()
        };
        eventually("its process id can be read", || process().is_some_and(|process| process > 0));
        process().unwrap()
    }

    fn expect_terminal_as_before(&self) {
        let Self { terminal, before } = self;
        let is_back =
            || !terminal.is_taken_over() && !terminal.hides_cursor() && terminal.modes() == *before;
        assert!(within(LIMIT, is_back), "{}\n{}", terminal.modes(), terminal.text());
    }

    /// Waits for the program's success, after which the terminal must be as before and show this. Returns its text.
    fn expect_end(&mut self, texts: &[&str]) -> String {
        assert!(self.terminal.end().success(), "{}", self.terminal.text());
        self.expect_terminal_as_before();
        texts.iter().for_each(|text| self.terminal.expect(text));
        self.terminal.text()
    }

    /// Waits for main's success, after which both summaries can be read.
    fn expect_summaries(&mut self) -> String {
        self.expect_end(&["renderer 1: invoke", "main: ended: 1 renderers"])
    }
}

#[test]
fn main_in_a_terminal_shows_a_dashboard_whose_figures_move_and_whose_lines_come_after_it() {
    let demo = Demo::new();
    let mut watched = Watched::main(&demo, &[]);
    let terminal = &watched.terminal;
    for text in [
        "sandbox: complete",
        "✓ hear   statistics",
        "Pushes, one way",
        "p99.9",
        "Memory",
        "0: ",
        "/s ",
    ] {
        terminal.expect(text);
    }
    for word in [" received", " measured"] {
        let mut first = None;
        eventually("a figure grows", || {
            let number = terminal.number_before(word);
            first = first.or(number);
            number > first
        });
    }
    assert!(!terminal.text().contains("main: "), "{}", terminal.text());
    terminal.press("q");
    let text = watched.expect_summaries();
    let line = |start: &str| text.find(start).unwrap_or_else(|| panic!("no '{start}' in\n{text}"));
    let order = [
        "main: serving",
        "renderer 1: ended: ",
        "main: renderer 1 has connected",
        "main: renderer 1 is gone: clean-exit (0)",
        "main: ended",
    ];
    assert!(order.map(line).is_sorted(), "{text}");
}

#[test]
fn keys_ask_main_and_show_its_answers_with_errors_in_red() {
    let (demo, files) = (Demo::new(), Folder::new("files"));
    files.with("poem", "shall I compare thee\n");
    let mut watched = Watched::main(&demo, &["--files", files.text()]);
    let terminal = &watched.terminal;
    for (keys, text) in [
        ("r/etc/passwd\r", "leads out of the folder"),
        ("rpoem\r", "shall I compare thee"),
        ("i", "cores of"),
        ("lhello", "log message: hello"),
        (" frim\x7f\x7fom a key\r", "log-message: sent"),
        ("?", "any key goes back"),
    ] {
        terminal.press(keys);
        terminal.expect(text);
        assert_eq!(terminal.shows_in_red("the path is absolute"), keys == "r/etc/passwd\r");
    }
    assert!(!terminal.shows_in_red("shall I compare thee"));
    terminal.press(" q");
    let text = watched.expect_summaries();
    assert!(text.contains("main: renderer 1 says: hello from a key"), "{text}");
}

#[test]
fn it_follows_the_terminals_size_down_to_nothing_and_back() {
    let demo = Demo::new();
    let mut watched = Watched::main(&demo, &[]);
    let terminal = &watched.terminal;
    for (columns, rows) in [(132, 43), (60, 16), (80, 24)] {
        terminal.resize(columns, rows);
        eventually("the first line is as long as the terminal is wide", || {
            let text = terminal.text();
            let width = text.lines().next().map_or(0, |line| line.trim_end().chars().count());
            width + 2 >= columns.into() && text.contains("What main lets it do")
        });
    }
    terminal.resize(30, 8);
    terminal.expect("renderer 1");
    terminal.expect("push p50");
    for (columns, rows) in [(5, 3), (1, 1), (200, 2), (2, 50), (80, 24)] {
        terminal.resize(columns, rows);
    }
    terminal.expect("What main lets it do");
    terminal.press("q");
    watched.expect_summaries();
}

#[test]
fn two_renderers_in_one_terminal_print_lines_and_a_dashboard_needs_a_terminal() {
    let demo = Demo::new();
    let arguments = ["--renderers", "2", "--duration", "700ms"];
    let mut lines = Screen::start(&mut demo.plain("main-proc", &arguments), 100, 40);
    assert!(lines.end().success());
    lines.expect("main: ended: 2 renderers");
    assert!(lines.text().contains("renderer 2: connected"), "{}", lines.text());

    let errors = error_of(&mut demo.plain("renderer-proc", &["--view", "tui"]));
    assert!(errors.contains("needs a terminal"), "{errors}");
}

#[test]
fn every_way_out_leaves_the_terminal_as_it_was_with_both_summaries() {
    type Way = fn(&Watched);
    let ways: [(&str, Way); 7] = [
        ("q", |watched| watched.terminal.press("q")),
        ("Ctrl-C", |watched| watched.terminal.press("\x03")),
        ("SIGTERM to main", |watched| signal(watched.terminal.id(), Signal::TERM)),
        ("SIGINT to main", |watched| signal(watched.terminal.id(), Signal::INT)),
        ("SIGTERM to the renderer", |watched| signal(watched.renderer(), Signal::TERM)),
        ("q while a line is typed", |watched| watched.terminal.press("lqqq\x1b?\x03")),
        ("duration", |_| ()),
    ];
    for (way, leave) in ways {
        let demo = Demo::new();
        let duration = if way == "duration" { &["--duration", "3s"][..] } else { &[] };
        let mut watched = Watched::main(&demo, duration);
        leave(&watched);
        println!("{way}:\n{}", watched.expect_summaries());
    }
}

#[test]
fn when_main_is_killed_the_renderer_leaves_the_terminal_as_it_was() {
    let demo = Demo::new();
    let mut watched = Watched::main(&demo, &[]);
    let renderer = watched.renderer();
    signal(watched.terminal.id(), Signal::KILL);
    assert!(!watched.terminal.end().success());
    // The summary's reason may be SIGHUP as well: main leads this terminal's session.
    watched.terminal.expect("renderer 1: invoke");
    watched.expect_terminal_as_before();
    eventually("the renderer ends too", || !is_alive(renderer));
}

#[test]
fn when_the_renderer_is_killed_main_resets_the_terminal_and_goes_on_with_lines() {
    let demo = Demo::new();
    let mut watched = Watched::main(&demo, &[]);
    signal(watched.renderer(), Signal::KILL);
    watched.terminal.expect("main: renderer 1 is gone: killed");
    watched.expect_terminal_as_before();
    watched.terminal.press("\x03");
    watched.expect_end(&["main: ended: 1 renderers"]);
}

#[test]
fn a_dashboard_that_crashed_is_launched_again_into_the_same_terminal() {
    let demo = Demo::new();
    let mut watched = Watched::main(&demo, &["--restart", "on-crash"]);
    signal(watched.renderer(), Signal::KILL);
    watched.terminal.expect("renderer 2, process");
    watched.terminal.expect("live");
    assert!(watched.terminal.is_taken_over());
    watched.terminal.press("q");
    watched.expect_end(&[
        "main: renderer 1 is launched again, as renderer 2",
        "main: ended: 2 renderers",
    ]);
}

#[test]
fn an_attached_renderer_waits_for_main_or_ends_with_it_and_its_terminal_is_as_it_was() {
    let demo = Demo::new();
    let mut first = demo.serve(&[]);
    let mut ends = Watched::start(&mut demo.plain("renderer-proc", &[]));
    let mut waits = Watched::start(&mut demo.plain("renderer-proc", &["--reconnect", "1m"]));
    waits.terminal.expect("sandbox: off");
    first.kill();
    ends.expect_end(&["main has ended"]);

    waits.terminal.expect("waiting for main");
    let second = demo.serve(&[]);
    waits.terminal.expect("live");
    waits.terminal.press("q");
    waits.expect_end(&[]);
    assert!(is_alive(second.id()), "only a dashboard that main has launched ends main");
}
