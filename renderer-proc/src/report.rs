//! The lines that a renderer prints, each as JSON and for people.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use contract::{
    ReadFileError, Statistics, SystemInfo,
    figures::{bytes, duration, nanoseconds, percent, two_digits},
};
use ringbridge::Sandbox;
use serde::Serialize;

use crate::{
    measurements::{LatencySummary, Sequence},
    web::Counts,
};

/// An event, and the number of the renderer that it happened to. A renderer has none before it is connected.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    #[serde(flatten)]
    pub(crate) event: Event<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u32>,
}

/// Something that happened to a renderer.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    Page {
        url: &'a str,
    },
    /// The renderer waits for a first main process.
    NoMain {
        endpoint: &'a str,
    },
    Connected {
        pid: u32,
        allowed: Vec<&'a str>,
    },
    /// The rights that the renderer has given up.
    Sandbox {
        state: &'static str,
        enforced: Vec<&'static str>,
        missing: Vec<MissingPart<'a>>,
        #[serde(skip)]
        sandbox: Option<&'a Sandbox>,
    },
    /// Main is gone, and the renderer waits for another one.
    MainGone,
    SystemInfo(&'a SystemInfo),
    Statistics {
        #[serde(flatten)]
        figures: Figures,
        latency_ns: u64,
    },
    /// A file that main has sent.
    File {
        path: &'a str,
        len: usize,
        #[serde(skip)]
        bytes: &'a [u8],
    },
    /// A file that main did not send.
    FileError {
        path: &'a str,
        error: ReadFileError,
        message: String,
    },
    /// An invoke that failed for another reason.
    InvokeError {
        message: String,
    },
    Pages(&'a Counts),
    Summary {
        role: &'static str,
        ended: Ended,
        sandbox: &'static str,
        #[serde(flatten)]
        sequence: Sequence,
        failed_invokes: u64,
        push_latency_ns: LatencySummary,
        invoke_rtt_ns: LatencySummary,
    },
}

#[derive(Serialize)]
pub(crate) struct MissingPart<'a> {
    part: &'static str,
    why: &'a str,
}

/// The figures of a push for JSON. Whatever is unknown or not sampled is `None`.
#[derive(Serialize)]
pub(crate) struct Figures {
    sequence: u64,
    cpu_usage: Option<f64>,
    core_usage: Vec<Option<f64>>,
    memory_used: u64,
    memory_available: u64,
    memory_total: u64,
    swap_used: u64,
    swap_total: u64,
    load: [Option<f64>; 3],
    main_cpu_usage: Option<f64>,
    main_memory: u64,
}

impl From<&Statistics> for Figures {
    fn from(statistics: &Statistics) -> Self {
        let figure = |value| two_digits(value).filter(|_| statistics.is_sampled());
        Self {
            sequence: statistics.sequence,
            cpu_usage: figure(statistics.cpu_usage),
            core_usage: statistics.cores().iter().copied().map(figure).collect(),
            memory_used: statistics.memory_used,
            memory_available: statistics.memory_available,
            memory_total: statistics.memory_total,
            swap_used: statistics.swap_used,
            swap_total: statistics.swap_total,
            load: [statistics.load_1, statistics.load_5, statistics.load_15].map(figure),
            main_cpu_usage: figure(statistics.main_cpu_usage),
            main_memory: statistics.main_memory,
        }
    }
}

/// Why a renderer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// By Ctrl-C, by SIGTERM, or because nobody reads its output.
    Asked,
    Duration,
    /// Main ended the session, or is gone.
    MainGone,
}

/// Returns how much of the sandbox is in force.
pub(crate) fn sandbox_state(sandbox: Option<&Sandbox>) -> &'static str {
    match sandbox {
        Some(sandbox) if sandbox.is_complete() => "complete",
        Some(_) => "partial",
        None => "off",
    }
}

impl<'a> Line<'a> {
    pub(crate) fn new(id: Option<u32>, event: Event<'a>) -> Self {
        Self { event, id }
    }
}

impl<'a> Event<'a> {
    pub(crate) fn sandbox(sandbox: Option<&'a Sandbox>) -> Self {
        let enforced = sandbox.map_or(&[][..], Sandbox::enforced).iter();
        let missing = sandbox.map_or(&[][..], Sandbox::missing).iter();
        Self::Sandbox {
            state: sandbox_state(sandbox),
            enforced: enforced.map(|part| part.name()).collect(),
            missing: missing
                .map(|missing| MissingPart { part: missing.part.name(), why: &missing.why })
                .collect(),
            sandbox,
        }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = match self.id {
            Some(id) => format!("renderer {id}"),
            None => "renderer".to_owned(),
        };
        write!(f, "{renderer}: ")?;
        match &self.event {
            Event::Page { url } => write!(f, "the page is at {url}"),
            Event::NoMain { endpoint } => {
                write!(f, "there is no main process at '{endpoint}' yet; waiting for it")
            }
            Event::Connected { pid, allowed } if allowed.is_empty() => {
                write!(f, "connected (process {pid}); it may use nothing")
            }
            Event::Connected { pid, allowed } => {
                write!(f, "connected (process {pid}); it may use {}", allowed.join(", "))
            }
            Event::Sandbox { sandbox: Some(sandbox), .. } => {
                write!(f, "in the sandbox; {sandbox}")
            }
            Event::Sandbox { .. } => f.write_str("not in the sandbox"),
            Event::MainGone => f.write_str("main is gone; waiting for it to come back"),
            Event::SystemInfo(info) => {
                let SystemInfo { cores, cpu_model, os, kernel, host_name, .. } = info;
                let memory = bytes(info.total_memory);
                let uptime = duration(Duration::from_secs(info.uptime_s));
                write!(f, "{host_name} has {cores} cores of {cpu_model}, {memory} of memory, ")?;
                write!(f, "{os} with kernel {kernel}, and is up for {uptime}")
            }
            Event::Statistics { figures, latency_ns } => {
                write!(f, "statistics {}: ", figures.sequence)?;
                if let Some(cpu_usage) = figures.cpu_usage {
                    write!(f, "CPU {}, ", percent(cpu_usage))?;
                }
                if figures.memory_total != 0 {
                    let [used, total] = [figures.memory_used, figures.memory_total].map(bytes);
                    write!(f, "memory {used} of {total}, ")?;
                }
                if let [Some(load), ..] = figures.load {
                    write!(f, "load {load:.2}, ")?;
                }
                write!(f, "latency {}", nanoseconds(*latency_ns))
            }
            Event::File { path, len, .. } => write!(f, "{path:?} has {len} bytes"),
            Event::FileError { path, message, .. } => write!(f, "cannot read {path:?}: {message}"),
            Event::InvokeError { message } => f.write_str(message),
            Event::Pages(counts) => counts.fmt(f),
            Event::Summary {
                ended,
                sequence,
                failed_invokes,
                push_latency_ns,
                invoke_rtt_ns,
                ..
            } => {
                let why = match ended {
                    Ended::Asked => "ended",
                    Ended::Duration => "ended, its time is over",
                    Ended::MainGone => "main has ended",
                };
                let Sequence { received, lost, out_of_order, .. } = sequence;
                writeln!(
                    f,
                    "{why}: {received} received, {lost} lost, {out_of_order} out of order"
                )?;
                writeln!(f, "{renderer}: push    {push_latency_ns}")?;
                write!(f, "{renderer}: invoke  {invoke_rtt_ns}")?;
                match failed_invokes {
                    0 => Ok(()),
                    failed => write!(f, "; {failed} failed"),
                }
            }
        }
    }
}

impl Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, p50: Some(p50), p99: Some(p99), p999: Some(p999), max: Some(max) } =
            *self
        else {
            return f.write_str("not measured");
        };
        let [p50, p99, p999, max] = [p50, p99, p999, max].map(nanoseconds);
        write!(f, "p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}, of {count}")
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::zerocopy::FromZeros;
    use serde_json::{Value, json, to_value};

    use super::*;
    use crate::measurements::Latencies;

    #[test]
    fn a_summary_has_the_keys_that_programs_look_for() {
        let mut measured = Latencies::default();
        measured.record(1000);
        let event = Event::Summary {
            role: "renderer",
            ended: Ended::MainGone,
            sandbox: sandbox_state(None),
            sequence: Sequence::default(),
            failed_invokes: 0,
            push_latency_ns: measured.summary(),
            invoke_rtt_ns: LatencySummary::default(),
        };
        let nothing = json!({ "count": 0, "p50": null, "p99": null, "p999": null, "max": null });
        let once = json!({ "count": 1, "p50": 1000, "p99": 1000, "p999": 1000, "max": 1000 });
        let expected = json!({
            "event": "summary", "id": 7, "role": "renderer", "ended": "main-gone", "sandbox": "off",
            "received": 0, "lost": 0, "out_of_order": 0, "failed_invokes": 0,
            "push_latency_ns": once, "invoke_rtt_ns": nothing,
        });
        assert_eq!(to_value(Line::new(Some(7), event)).unwrap(), expected);
    }

    #[test]
    fn figures_are_null_where_the_sampler_is_off_or_does_not_know() {
        let mut statistics = Statistics::new_zeroed();
        let cpu_usage = |statistics: &Statistics| {
            let event = Event::Statistics { figures: statistics.into(), latency_ns: 0 };
            to_value(Line::new(Some(1), event)).unwrap()["cpu_usage"].clone()
        };
        assert_eq!(cpu_usage(&statistics), Value::Null);
        statistics.sampled_ns = 1;
        assert_eq!(cpu_usage(&statistics), 0.0);
        statistics.cpu_usage = f32::NAN;
        assert_eq!(cpu_usage(&statistics), Value::Null);
    }
}
