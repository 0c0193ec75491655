//! The parts of a command line that the commands share.

use std::{
    fmt::Display,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::Error;

/// Turns the result of `name` into its exit status; `Ok(false)` is a failure that was already reported.
pub(crate) fn exit(name: &str, result: Result<bool, Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn number_in<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("it must be a number from {} to {}", range.start(), range.end())),
    }
}

/// A progress bar on a terminal's standard error; nothing elsewhere.
pub(crate) fn progress(steps: usize, template: &str) -> Result<ProgressBar, Error> {
    let target = ProgressDrawTarget::stderr();
    let style = ProgressStyle::with_template(template)?;
    Ok(ProgressBar::with_draw_target(Some(steps as u64), target).with_style(style))
}

/// The files of a report, besides standard output.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Also write a self-contained HTML report with charts.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also write the percentile chart as an SVG picture.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

impl Output {
    /// Creates the files, so that an error shows before minutes of measuring.
    pub(crate) fn claim(&self) -> Result<(), Error> {
        [&self.html, &self.svg].into_iter().flatten().try_for_each(|file| write_file(file, ""))
    }

    pub(crate) fn write(
        &self,
        page: impl FnOnce() -> Result<String, Error>,
        picture: impl FnOnce() -> Result<String, Error>,
    ) -> Result<(), Error> {
        if let Some(file) = &self.html {
            write_file(file, &page()?)?;
        }
        self.svg.as_ref().map_or(Ok(()), |file| write_file(file, &picture()?))
    }
}

fn write_file(file: &Path, text: &str) -> Result<(), Error> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}
