//! Pictures of the dashboard, compared with the files beside this one; and drawing in every size.

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};
use ringbridge::zerocopy::FromZeros;

use super::*;
use crate::dashboard::{
    board::Received,
    keys::Action,
    model::{Answer, Identity, Request},
};

const MS: u64 = 1_000_000;

fn model() -> Model {
    let mut model = Model::default();
    let identity = Identity {
        id: 7,
        pid: 4242,
        sandbox: "complete",
        allowed: ["log-message", "get-system-info", "statistics"].map(str::to_owned).into(),
        is_connected: true,
    };
    let answer = Answer::error(
        "read-file \"/etc/passwd\"",
        "the policy of this renderer does not allow the channel 'read-file'",
    );
    let mut received = Received { identity: Some(identity), ..Received::default() };
    received.answer = Some(answer);
    model.absorb(&mut received, 0);
    model
}

/// Absorbs seconds with a push every millisecond, one of each fifty late, in which two cores are busy in turn.
fn watch(model: &mut Model, seconds: u64) {
    let mut sequence = Sequence::default();
    for frame in 1..=seconds * 4 {
        let mut received = Received::default();
        for number in (frame - 1) * 250 + 1..=frame * 250 {
            sequence.record(number);
            let late_ns = 1000 * (10 + frame % 7);
            received.tally.push.record(if number % 50 == 0 { late_ns } else { 900 });
        }
        let mut statistics = Statistics::new_zeroed();
        (statistics.sampled_ns, statistics.sent_ns) = (1, (frame * 250 - 1) * MS);
        (statistics.memory_used, statistics.memory_total) = (3 << 30, 8 << 30);
        (statistics.main_memory, statistics.main_cpu_usage) = (10 << 20, 4.5);
        (statistics.load_1, statistics.load_5, statistics.load_15) = (0.5, 0.25, 0.125);
        statistics.core_count = 2;
        let up = (frame / 20 % 2) as f32;
        statistics.core_usage[..2].copy_from_slice(&[80.0 * up, 90.0 - 80.0 * up]);
        statistics.cpu_usage = 45.0;
        received.latest = Some((statistics, sequence));
        received.tally.round_trip.record(12_000);
        received.tally.last_round_trip_ns = Some(12_000 + 1000 * (frame % 8));
        model.absorb(&mut received, frame * 250 * MS);
    }
}

fn drawn(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let rows = buffer.content.chunks(width);
    let line = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    line.map(|line| line.trim_end().to_owned()).collect()
}

fn text(model: &Model, width: u16, height: u16) -> String {
    lines(&drawn(model, width, height)).join("\n") + "\n"
}

#[track_caller]
fn expect_picture(picture: &str, expected: &str) {
    assert!(picture == expected, "drawn:\n{picture}\nexpected:\n{expected}");
}

#[test]
fn before_anything_has_come_the_figures_are_dashes() {
    expect_picture(&text(&Model::default(), 80, 24), include_str!("empty.txt"));
}

#[test]
fn in_a_terminal_of_the_usual_size_everything_has_room() {
    let mut model = model();
    watch(&mut model, 40);
    expect_picture(&text(&model, 80, 24), include_str!("usual.txt"));
}

#[test]
fn in_a_small_terminal_the_most_important_figures_are_left() {
    let mut model = model();
    watch(&mut model, 40);
    model.apply(Action::Begin(Purpose::ReadFile));
    "poem".chars().for_each(|character| drop(model.apply(Action::Type(character))));
    expect_picture(&text(&model, 40, 10), include_str!("small.txt"));
}

#[test]
fn the_help_explains_every_key() {
    let mut model = model();
    model.apply(Action::Help);
    let text = text(&model, 80, 24);
    for (key, what) in KEYS {
        assert!(text.contains(key) && text.contains(what), "{what}\n{text}");
    }
}

#[test]
fn an_error_is_red_and_an_answer_is_not() {
    let is_red = |model: &Model, text: &str| {
        let buffer = drawn(model, 80, 24);
        let row = lines(&buffer).iter().position(|line| line.contains(text)).unwrap() as u16;
        (0..80).filter(|&column| buffer[(column, row)].fg == Color::Red).count() >= text.len()
    };
    let mut model = model();
    assert!(is_red(&model, "does not allow the channel"));
    model.logged("hello", Ok::<(), &str>(()));
    assert!(!is_red(&model, "hello"));
}

#[test]
fn it_says_whether_what_is_shown_is_live() {
    let mut model = model();
    let header = |model: &Model| lines(&drawn(model, 80, 24)).remove(0);
    assert!(header(&model).ends_with(" live"));
    model.apply(Action::Pause);
    assert!(header(&model).ends_with(" paused"));
    model.identity.is_connected = false;
    assert!(header(&model).ends_with(" waiting for main"));
}

#[test]
fn of_many_cores_as_many_are_named_as_fit() {
    let mut model = model();
    let mut statistics = Statistics::new_zeroed();
    (statistics.sampled_ns, statistics.core_count) = (1, 64);
    for step in 0..5 {
        let latest = Some((statistics, Sequence::default()));
        model.absorb(&mut Received { latest, ..Received::default() }, step * 250 * MS);
    }
    let text = text(&model, 80, 24);
    assert!(text.contains("2: 0.0 %") && text.contains("+61"), "{text}");
}

#[test]
fn no_size_is_too_small_to_draw_in_whatever_there_is_to_be_drawn() {
    let mut full = model();
    watch(&mut full, 2);
    let with = |actions: &[Action]| {
        let mut model = model();
        watch(&mut model, 2);
        let requests = actions.iter().filter_map(|action| model.apply(*action));
        assert_eq!(requests.collect::<Vec<Request>>(), []);
        model
    };
    let long = [Action::Begin(Purpose::LogMessage)].into_iter().chain([Action::Type('x'); 150]);
    let models = [Model::default(), full, with(&[Action::Help]), with(&long.collect::<Vec<_>>())];
    for width in (0..14).chain([30, 59, 60, 61, 80, 200]) {
        for height in (0..10).chain([15, 16, 17, 24, 60]) {
            models.iter().for_each(|model| drop(drawn(model, width, height)));
        }
    }
}
