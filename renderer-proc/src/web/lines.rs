//! What only this view prints.

use std::fmt::{self, Display};

use serde::Serialize;

use super::counts::Counts;

/// One line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum PageLine<'a> {
    /// Where the page is, for a browser.
    Page { url: &'a str },
    /// There is no main yet, and this renderer waits for one.
    NoMain { endpoint: &'a str },
    /// What pages did.
    Pages(&'a Counts),
}

impl Display for PageLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("renderer: ")?;
        match self {
            Self::Page { url } => write!(f, "the page is at {url}"),
            Self::NoMain { endpoint } => {
                write!(f, "there is no main process at '{endpoint}' yet; waiting for it")
            }
            Self::Pages(counts) => counts.fmt(f),
        }
    }
}
