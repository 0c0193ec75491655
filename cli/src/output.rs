//! Standard output, whose reader may go: `ringbridge list | head -1` is no error.

use std::{
    io::{self, ErrorKind, Write},
    process,
};

/// Prints a line, or ends well if nobody reads on.
pub(crate) fn line(text: &dyn std::fmt::Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        written => written,
    }
}
