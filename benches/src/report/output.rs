//! The files that a report is written to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// Where to write what, besides standard output.
#[derive(Debug, Default, clap::Args)]
pub struct Output {
    /// Write a report with charts as well, a page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the percentiles alone as a picture, for a page of another's.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl Output {
    /// Makes sure that the files can be written: now rather than after minutes of measuring.
    ///
    /// # Errors
    ///
    /// If one cannot.
    pub fn claim(&self) -> Result<(), Error> {
        [&self.html, &self.svg].into_iter().flatten().try_for_each(|file| write_file(file, ""))
    }
}

pub(crate) fn write_file(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}
