//! Pictures of the dashboard, compared with the files beside this one; and drawing in every size.

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use ringbridge::zerocopy::FromZeros;

use super::*;
use crate::dashboard::{
    board::Received,
    model::{Answer, Identity},
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

/// A model after seconds with a push every millisecond, one of each fifty late, in which two cores are busy in turn.
fn watched(seconds: u64) -> Model {
    let mut model = model();
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
    model
}

fn drawn(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(model: &Model, width: u16, height: u16) -> String {
    let buffer = drawn(model, width, height);
    let rows = buffer.content.chunks(usize::from(width).max(1));
    let line = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    line.map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn typed(mut model: Model, keys: &str) -> Model {
    for key in keys.chars() {
        let request = model.press(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
        assert_eq!(request, None);
    }
    model
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
fn in_a_terminal_of_the_usual_size_everything_has_space() {
    expect_picture(&text(&watched(40), 80, 24), include_str!("usual.txt"));
}

#[test]
fn in_a_small_terminal_the_most_important_figures_are_left() {
    let model = typed(watched(40), "rpoem");
    expect_picture(&text(&model, 40, 10), include_str!("small.txt"));
}

#[test]
fn the_help_explains_every_key() {
    let text = text(&typed(model(), "?"), 80, 24);
    for (key, meaning) in KEYS {
        assert!(text.contains(key) && text.contains(meaning), "{meaning}\n{text}");
    }
}

#[test]
fn of_many_cores_those_that_fit_are_named() {
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
fn no_size_is_too_small_to_draw_anything() {
    let long = "l".to_owned() + &"x".repeat(150);
    let models = [Model::default(), watched(2), typed(watched(2), "?"), typed(watched(2), &long)];
    for width in (0..14).chain([30, 59, 60, 61, 80, 200]) {
        for height in (0..10).chain([15, 16, 17, 24, 60]) {
            models.iter().for_each(|model| drop(drawn(model, width, height)));
        }
    }
}
