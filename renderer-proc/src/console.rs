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

/// The lines that are held back, and the number of those that were dropped.
type Held = (VecDeque<String>, u64);

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
        let Some((lines, dropped)) = held.take() else { return };
        if dropped > 0 {
            self.write(&format!("... {dropped} earlier lines were not kept\n"));
        }
        lines.iter().for_each(|line| self.write(line));
    }

    /// Prints one line. It may be several lines for people.
    pub fn print(&self, line: &(impl Display + Serialize)) {
        let text = if self.json { serde_json::to_string(line) } else { Ok(line.to_string()) };
        let Ok(text) = text.map(|text| text + "\n") else { return self.ending.request() };
        match &mut *self.held.lock() {
            None => self.write(&text),
            Some((lines, dropped)) => {
                if lines.len() == HELD_MAX {
                    lines.pop_front();
                    *dropped += 1;
                }
                lines.push_back(text);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_lines_are_bounded_and_the_newest_are_kept() {
        let console = Console::new(false, Ending::new());
        console.hold();
        (0..HELD_MAX + 3).for_each(|_| console.print(&"old"));
        console.print(&"new");
        let (lines, dropped) = console.held.lock().take().unwrap();
        assert_eq!((lines.len(), dropped), (HELD_MAX, 4));
        assert_eq!(lines.back().map(String::as_str), Some("new\n"));
    }
}
