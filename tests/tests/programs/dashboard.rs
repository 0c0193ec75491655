//! The dashboard in a real terminal: what it shows, what its keys do, and that it leaves the terminal as it was.

use tests::{
    demo::{Demo, run},
    prelude::*,
    screen::Screen,
};

/// A dashboard that is there, and how its terminal was before.
struct Watched {
    terminal: Screen,
    before: String,
}

impl Watched {
    fn start(command: &mut Command) -> Self {
        Self::in_size(command, 80, 24)
    }

    fn in_size(command: &mut Command, columns: u16, rows: u16) -> Self {
        // How a new terminal is set, which a program that prints nothing leaves alone.
        let mut idle = Screen::start(&mut Command::new("/bin/true"), columns, rows);
        idle.end();
        let before = idle.modes();
        let terminal = Screen::start(command, columns, rows);
        terminal.expect("live");
        terminal.expect("cores of");
        assert!(terminal.is_taken_over() && terminal.hides_cursor());
        assert_ne!(terminal.modes(), before, "keys come one by one");
        Self { terminal, before }
    }

    /// Waits until main's renderer, which shows itself here, is known by its process id.
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
        let is_back = || {
            let Self { terminal, before } = self;
            !terminal.is_taken_over() && !terminal.hides_cursor() && terminal.modes() == *before
        };
        assert!(within(LIMIT, is_back), "{}\n{}", self.terminal.modes(), self.terminal.text());
    }

    /// Waits for an end without a fault, after which both summaries can be read.
    fn expect_good_end(mut self) -> String {
        assert!(self.terminal.end().success(), "{}", self.terminal.text());
        self.expect_terminal_as_before();
        self.terminal.expect("renderer 1: invoke");
        self.terminal.expect("main: ended: 1 renderers");
        self.terminal.text()
    }
}

// --- what it shows -----------------------------------------------------------------------------------

#[test]
fn main_in_a_terminal_shows_a_dashboard_whose_figures_move_and_whose_lines_come_after_it() {
    let demo = Demo::new();
    let watched = Watched::start(&mut demo.plain("main-proc", &[]));
    let terminal = &watched.terminal;
    for text in ["sandbox: complete", "✓ hear   statistics", "Pushes, one way", "p99.9", "Memory"]
    {
        terminal.expect(text);
    }
    terminal.expect("0: ");
    terminal.expect("/s ");
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
    let text = watched.expect_good_end();
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
fn keys_ask_main_and_show_what_it_says_errors_in_red() {
    let demo = Demo::new();
    let files = Folder::new("files");
    files.with("poem", "shall I compare thee\n");
    let watched = Watched::start(&mut demo.plain("main-proc", &["--files", files.text()]));
    let terminal = &watched.terminal;
    terminal.press("r/etc/passwd\r");
    terminal.expect("leads out of the folder");
    assert!(terminal.shows_in_red("the path is absolute"));
    terminal.press("rpoem\r");
    terminal.expect("shall I compare thee");
    assert!(!terminal.shows_in_red("shall I compare thee"));
    terminal.press("i");
    terminal.expect("cores of");
    terminal.press("lhello");
    terminal.expect("log message: hello");
    terminal.press(" frim\x7f\x7fom a key\r");
    terminal.expect("log-message: sent");
    terminal.press("?");
    terminal.expect("any key goes back");
    terminal.press(" q");
    let text = watched.expect_good_end();
    assert!(text.contains("main: renderer 1 says: hello from a key"), "{text}");
}

#[test]
fn a_paused_display_stands_still_and_counts() {
    let demo = Demo::new();
    let watched = Watched::start(&mut demo.plain("main-proc", &[]));
    let terminal = &watched.terminal;
    terminal.press("p");
    terminal.expect("paused");
    let paused = terminal.number_before(" received").unwrap();
    // Another dozen frames: what is typed can be read in each.
    for count in 1..12 {
        terminal.press(if count == 1 { "lx" } else { "x" });
        terminal.expect(&"x".repeat(count));
        assert_eq!(terminal.number_before(" received"), Some(paused));
    }
    terminal.press("\x1b");
    terminal.expect("q quit");
    terminal.press("p");
    terminal.expect("live");
    eventually("it has counted", || terminal.number_before(" received") > Some(paused));
    terminal.press("q");
    watched.expect_good_end();
}

#[test]
fn it_follows_the_terminals_size_down_to_nothing_and_back() {
    let demo = Demo::new();
    let watched = Watched::start(&mut demo.plain("main-proc", &[]));
    let terminal = &watched.terminal;
    let right_edge = |columns: usize| {
        let text = terminal.text();
        text.lines().next().is_some_and(|line| line.trim_end().chars().count() + 1 >= columns - 1)
    };
    for (columns, rows) in [(132, 43), (60, 16), (80, 24)] {
        terminal.resize(columns, rows);
        eventually("the first line is as long as the terminal is wide", || {
            right_edge(columns.into()) && terminal.text().contains("What main lets it do")
        });
    }
    terminal.resize(30, 8);
    terminal.expect("renderer 1");
    terminal.expect("push p50");
    for (columns, rows) in [(5, 3), (1, 1), (200, 2), (2, 50)] {
        terminal.resize(columns, rows);
    }
    terminal.resize(80, 24);
    terminal.expect("What main lets it do");
    terminal.press("q");
    watched.expect_good_end();
}

#[test]
fn where_several_share_a_terminal_or_there_is_none_there_are_lines() {
    let demo = Demo::new();
    let arguments = ["--renderers", "2", "--duration", "700ms"];
    let mut lines = Screen::start(&mut demo.plain("main-proc", &arguments), 100, 40);
    assert!(lines.end().success());
    lines.expect("main: ended: 2 renderers");
    assert!(lines.text().contains("renderer 2: connected"), "{}", lines.text());

    let (code, output, _) = run(&mut demo.plain("main-proc", &["--duration", "700ms"]));
    assert_eq!(code, Some(0));
    assert!(output.contains("renderer 1: connected") && !output.contains('\x1b'), "{output}");

    let (code, _, errors) = run(&mut demo.plain("renderer-proc", &["--view", "tui"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("needs a terminal"), "{errors}");
}

// --- the ways out ------------------------------------------------------------------------------------

#[test]
fn every_way_out_leaves_the_terminal_as_it_was_with_both_summaries() {
    type Way = fn(&Watched);
    let ways: [(&str, Way); 6] = [
        ("q", |watched| watched.terminal.press("q")),
        ("Ctrl-C", |watched| watched.terminal.press("\x03")),
        ("SIGTERM to main", |watched| signal(watched.terminal.id(), Signal::TERM)),
        ("SIGINT to main", |watched| signal(watched.terminal.id(), Signal::INT)),
        ("SIGTERM to the renderer", |watched| signal(watched.renderer(), Signal::TERM)),
        ("q while a line is typed", |watched| watched.terminal.press("lqqq\x1b?\x03")),
    ];
    for (way, leave) in ways {
        let demo = Demo::new();
        let watched = Watched::start(&mut demo.plain("main-proc", &[]));
        leave(&watched);
        println!("{way}:\n{}", watched.expect_good_end());
    }
    let demo = Demo::new();
    let watched = Watched::start(&mut demo.plain("main-proc", &["--duration", "3s"]));
    watched.expect_good_end();
}

#[test]
fn when_main_is_killed_the_renderer_leaves_the_terminal_as_it_was() {
    let demo = Demo::new();
    let mut watched = Watched::start(&mut demo.plain("main-proc", &[]));
    let renderer = watched.renderer();
    signal(watched.terminal.id(), Signal::KILL);
    assert!(!watched.terminal.end().success());
    // Its summary. (Why it has ended it may see in two ways: main leads this terminal's session, so that the kernel
    // sends SIGHUP as well.)
    watched.terminal.expect("renderer 1: invoke");
    watched.expect_terminal_as_before();
    eventually("the renderer ends too", || !is_alive(renderer));
}

#[test]
fn when_the_renderer_is_killed_main_puts_the_terminal_right_and_goes_on_by_lines() {
    let demo = Demo::new();
    let mut watched = Watched::start(&mut demo.plain("main-proc", &[]));
    signal(watched.renderer(), Signal::KILL);
    watched.terminal.expect("main: renderer 1 is gone: killed");
    watched.expect_terminal_as_before();
    watched.terminal.press("\x03");
    assert!(watched.terminal.end().success());
    watched.terminal.expect("main: ended: 1 renderers");
}

#[test]
fn a_dashboard_that_crashed_is_launched_again_into_the_same_terminal() {
    let demo = Demo::new();
    let watched = Watched::start(&mut demo.plain("main-proc", &["--restart", "on-crash"]));
    signal(watched.renderer(), Signal::KILL);
    watched.terminal.expect("renderer 2, process");
    watched.terminal.expect("live");
    assert!(watched.terminal.is_taken_over());
    let Watched { mut terminal, before } = watched;
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.expect("main: renderer 1 is launched again, as renderer 2");
    terminal.expect("main: ended: 2 renderers");
    Watched { terminal, before }.expect_terminal_as_before();
}

#[test]
fn a_renderer_that_attached_waits_for_main_or_ends_with_it_and_its_terminal_is_as_it_was() {
    let demo = Demo::new();
    let main = |arguments: &[&str]| {
        let main = demo.start(&[&["--renderers", "0"], arguments].concat());
        main.lines.next_of("listening");
        main
    };
    let mut first = main(&[]);
    let mut ends = Watched::start(&mut demo.plain("renderer-proc", &[]));
    let mut waits = Watched::start(&mut demo.plain("renderer-proc", &["--reconnect", "1m"]));
    waits.terminal.expect("sandbox: off");
    first.kill();
    assert!(ends.terminal.end().success());
    ends.terminal.expect("main has ended");
    ends.expect_terminal_as_before();

    waits.terminal.expect("waiting for main");
    let second = main(&[]);
    waits.terminal.expect("live");
    waits.terminal.press("q");
    assert!(waits.terminal.end().success());
    waits.expect_terminal_as_before();
    // Only a dashboard of main's own ends main.
    assert!(is_alive(second.id()));
}
