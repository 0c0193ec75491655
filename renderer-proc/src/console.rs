//! Standard output: lines for people, or one JSON object a line for programs.
//!
//! A line is a value with both forms: `Display` and `Serialize`. Each is written in one piece, because main and its
//! renderers share one output. While a renderer owns main's terminal, main's lines are held back.

use std::{
    collections::VecDeque,
    fmt::Display,
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::Serialize;

use crate::ending::Ending;

/// The maximum number of lines that are held back. The oldest are dropped.
const HELD_MAX: usize = 500;

/// The output of a process. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    json: bool,
    ending: Arc<Ending>,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Default)]
struct Held {
    lines: VecDeque<String>,
    dropped: u64,
}

impl Console {
    /// Creates an output that requests the end when nobody reads it any more (`| head`).
    pub fn new(json: bool, ending: Arc<Ending>) -> Self {
        Self { json, ending, held: Arc::default() }
    }

    /// Holds back all lines from now on.
    pub fn hold(&self) {
        self.held.lock().get_or_insert_default();
    }

    /// Prints the lines that were held back, and holds nothing back any more.
    pub fn release(&self) {
        // Locked, so that no line overtakes those before it.
        let mut held = self.held.lock();
        let Some(Held { lines, dropped }) = held.take() else { return };
        if dropped > 0 {
            self.write(&format!("... {dropped} earlier lines were not kept\n"));
        }
        lines.iter().for_each(|line| self.write(line));
    }

    /// Prints one line. It may be several lines for people.
    pub fn print(&self, line: &(impl Display + Serialize)) {
        let Ok(text) = line_text(line, self.json) else { return self.ending.request() };
        match &mut *self.held.lock() {
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

fn line_text(line: &(impl Display + Serialize), json: bool) -> serde_json::Result<String> {
    let text = if json { serde_json::to_string(line)? } else { line.to_string() };
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_lines_are_bounded_and_the_newest_are_kept() {
        let console = Console::new(false, Ending::new());
        console.hold();
        (0..HELD_MAX + 3).for_each(|_| console.print(&"old"));
        console.print(&"new");
        let held = console.held.lock().take().unwrap();
        assert_eq!((held.lines.len(), held.dropped), (HELD_MAX, 4));
        assert_eq!(held.lines.back().map(String::as_str), Some("new\n"));
    }
}
