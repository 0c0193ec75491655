//! Standard output: lines for people, or one JSON object a line for programs.
//!
//! A line is a value that can be shown both ways: by `Display` and by `Serialize`. Each is written in
//! one piece, because main and its renderers share one output.
//!
//! While a renderer of main's has the terminal for itself, main's lines are held back, and come when it has given
//! the terminal back.

use std::{
    collections::VecDeque,
    fmt::Display,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::ending::Ending;

/// How many lines are held back at the most; of more the oldest are dropped.
const HELD_MAX: usize = 500;

/// Where the lines go. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    json: bool,
    ending: Arc<Ending>,
    held: Arc<Mutex<Option<Held>>>,
}

/// Lines that are held back.
#[derive(Default)]
struct Held {
    lines: VecDeque<String>,
    dropped: u64,
}

impl Console {
    /// When nobody reads the output any more (`| head`), `ending` is asked for.
    pub fn new(json: bool, ending: Arc<Ending>) -> Self {
        Self { json, ending, held: Arc::default() }
    }

    /// Holds back what is printed from now on.
    pub fn hold(&self) {
        self.held().get_or_insert_default();
    }

    /// Prints what was held back, and holds nothing back any more.
    pub fn release(&self) {
        // Locked, so that no line overtakes those before it.
        let mut held = self.held();
        let Some(Held { lines, dropped }) = held.take() else { return };
        if dropped > 0 {
            self.write(&format!("... {dropped} earlier lines were not kept\n"));
        }
        lines.iter().for_each(|line| self.write(line));
    }

    /// Prints one line, which may be several if it is for people.
    pub fn print(&self, line: &(impl Display + Serialize)) {
        let Ok(text) = line_text(line, self.json) else { return self.ending.request() };
        match &mut *self.held() {
            Some(held) => held.add(text),
            None => self.write(&text),
        }
    }

    fn write(&self, text: &str) {
        let mut output = io::stdout().lock();
        let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        if written.is_err() {
            self.ending.request();
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn add(&mut self, line: String) {
        if self.lines.len() == HELD_MAX {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }
}

fn line_text(line: &(impl Display + Serialize), json: bool) -> io::Result<String> {
    let mut text = if json { serde_json::to_string(line)? } else { line.to_string() };
    text.push('\n');
    Ok(text)
}

/// A number for people and for JSON: two digits after the point; `None` if it is not known (NaN).
pub fn two_digits(value: f32) -> Option<f64> {
    value.is_finite().then(|| (f64::from(value) * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Serialize)]
    #[serde(tag = "event", rename = "greeting")]
    struct Greeting {
        to: &'static str,
    }

    impl Display for Greeting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "Hello {}", self.to)
        }
    }

    #[test]
    fn a_line_is_shown_as_text_or_as_one_object_that_names_its_event() {
        let line = Greeting { to: "you" };
        assert_eq!(line_text(&line, false).unwrap(), "Hello you\n");
        assert_eq!(line_text(&line, true).unwrap(), "{\"event\":\"greeting\",\"to\":\"you\"}\n");
    }

    #[test]
    fn what_is_held_back_is_bounded_and_the_newest_is_kept_and_the_rest_counted() {
        let console = Console::new(false, Ending::new());
        console.hold();
        (0..HELD_MAX + 3).for_each(|_| console.print(&Greeting { to: "you" }));
        console.print(&Greeting { to: "me" });
        let held = console.held().take().unwrap();
        assert_eq!((held.lines.len(), held.dropped), (HELD_MAX, 4));
        assert_eq!(held.lines.back().map(String::as_str), Some("Hello me\n"));
    }

    #[test]
    fn what_is_not_known_is_no_number() {
        assert_eq!(two_digits(12.345_678), Some(12.35));
        assert_eq!(two_digits(f32::NAN), None);
    }
}
