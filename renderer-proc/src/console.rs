//! Standard output: lines for people, or one JSON object a line for programs.
//!
//! A line is a value that can be shown both ways: by `Display` and by `Serialize`. Each is written in
//! one piece, because main and its renderers share one output.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::Arc,
};

use serde::Serialize;

use crate::ending::Ending;

/// Where the lines go. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    json: bool,
    ending: Arc<Ending>,
}

impl Console {
    /// When nobody reads the output any more (`| head`), `ending` is asked for.
    pub fn new(json: bool, ending: Arc<Ending>) -> Self {
        Self { json, ending }
    }

    /// Prints one line, which may be several if it is for people.
    pub fn print(&self, line: &(impl Display + Serialize)) {
        let printed = line_text(line, self.json).and_then(|text| {
            let mut output = io::stdout().lock();
            output.write_all(text.as_bytes())?;
            output.flush()
        });
        if printed.is_err() {
            self.ending.request();
        }
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
    fn what_is_not_known_is_no_number() {
        assert_eq!(two_digits(12.345_678), Some(12.35));
        assert_eq!(two_digits(f32::NAN), None);
    }
}
