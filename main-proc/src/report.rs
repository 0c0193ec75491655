//! The lines that the main process prints, each as JSON and for people.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::main_process::Counts;

/// The maximum length of a log message that is printed, in bytes. Even if every byte is escaped, the line is short
/// enough for a pipe to take in one piece.
const MESSAGE_LEN_MAX: usize = 512;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    Listening {
        role: &'static str,
        endpoint: &'a str,
        pid: u32,
    },
    Metrics {
        url: String,
    },
    DidConnect {
        renderer: u32,
        pid: u32,
    },
    RenderProcessGone {
        renderer: u32,
        reason: &'a str,
        exit_code: Option<i32>,
    },
    /// A renderer that crashed was launched again, in another window.
    RenderProcessRestarted {
        renderer: u32,
        successor: u32,
    },
    /// A renderer that crashed could not be launched again.
    RestartFailed {
        renderer: u32,
        why: String,
    },
    LogMessage {
        renderer: u32,
        message: &'a str,
    },
    /// The leftovers of a killed main process were removed.
    Swept {
        endpoint: &'a str,
        segments: usize,
        bytes: u64,
    },
    /// The last line.
    Summary {
        role: &'static str,
        #[serde(flatten)]
        counts: &'a Counts,
    },
}

impl<'a> Line<'a> {
    /// Creates the line of a log message, which is cut to the maximum length.
    pub(crate) fn log_message(renderer: u32, message: &'a str) -> Self {
        let end = message.floor_char_boundary(MESSAGE_LEN_MAX);
        Self::LogMessage { renderer, message: &message[..end] }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("main: ")?;
        match self {
            Self::Listening { endpoint, pid, .. } => {
                write!(f, "serving '{endpoint}' (process {pid})")
            }
            Self::Metrics { url } => write!(f, "metrics at {url}"),
            Self::DidConnect { renderer, pid } => {
                write!(f, "renderer {renderer} has connected (process {pid})")
            }
            Self::RenderProcessGone { renderer, reason, exit_code } => {
                let code = exit_code.map(|code| format!(" ({code})")).unwrap_or_default();
                write!(f, "renderer {renderer} is gone: {reason}{code}")
            }
            Self::RenderProcessRestarted { renderer, successor } => {
                write!(f, "renderer {renderer} is launched again, as renderer {successor}")
            }
            Self::RestartFailed { renderer, why } => {
                write!(f, "renderer {renderer} could not be launched again: {why}")
            }
            Self::LogMessage { renderer, message } => {
                // So a renderer cannot move the cursor or forge another line.
                let harmless = message.chars().map(|character| match character.is_control() {
                    true => character.escape_default().to_string(),
                    false => character.to_string(),
                });
                write!(f, "renderer {renderer} says: {}", harmless.collect::<String>())
            }
            Self::Swept { endpoint, segments: 0, .. } => {
                write!(f, "swept the endpoint '{endpoint}'")
            }
            Self::Swept { endpoint, segments, bytes } => write!(
                f,
                "swept the endpoint '{endpoint}': {segments} segments of {bytes} bytes in all"
            ),
            Self::Summary { counts, .. } => {
                let Counts { renderers, pushed, invokes, logs, dropped, wakes, skipped } = counts;
                // Debug prints an atomic's value.
                write!(
                    f,
                    "ended: {renderers:?} renderers, {pushed:?} pushed, {dropped:?} dropped, \
                     {skipped:?} skipped, {wakes:?} wake-ups, {invokes:?} invokes, {logs:?} log messages"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_message_is_one_short_line_without_control_characters() {
        let line = Line::log_message(1, "red \u{1b}[31m\nmain: ended").to_string();
        assert_eq!(line, "main: renderer 1 says: red \\u{1b}[31m\\nmain: ended");
        let message = "\0".repeat(100_000);
        let line = serde_json::to_string(&Line::log_message(u32::MAX, &message)).unwrap();
        assert!(line.len() < 4096, "{}", line.len());
    }
}
