//! The lines that a renderer prints, each as JSON and for people.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use contract::{
    ReadFileError, Statistics, SystemInfo,
    figures::{bytes, bytes_of, duration, nanoseconds, percent, two_digits},
};
use ringbridge::Sandbox;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

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
    Sandbox(#[serde(serialize_with = "serialize_sandbox")] Option<&'a Sandbox>),
    /// Main is gone, and the renderer waits for another one.
    MainGone,
    SystemInfo(&'a SystemInfo),
    Statistics {
        #[serde(flatten, serialize_with = "serialize_figures")]
        statistics: &'a Statistics,
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

/// Returns the figures of a push for JSON. Whatever is unknown or not sampled is null.
pub(crate) fn figures(statistics: &Statistics) -> Value {
    let figure = |value| two_digits(value).filter(|_| statistics.is_sampled());
    let load = [statistics.load_1, statistics.load_5, statistics.load_15].map(figure);
    json!({
        "sequence": statistics.sequence,
        "cpu_usage": figure(statistics.cpu_usage),
        "core_usage": statistics.cores().iter().copied().map(figure).collect::<Vec<_>>(),
        "memory_used": statistics.memory_used,
        "memory_available": statistics.memory_available,
        "memory_total": statistics.memory_total,
        "swap_used": statistics.swap_used,
        "swap_total": statistics.swap_total,
        "load": load,
        "main_cpu_usage": figure(statistics.main_cpu_usage),
        "main_memory": statistics.main_memory,
    })
}

fn serialize_figures<S: Serializer>(statistics: &Statistics, into: S) -> Result<S::Ok, S::Error> {
    figures(statistics).serialize(into)
}

#[allow(clippy::ref_option, reason = "serde passes a reference to the field")]
fn serialize_sandbox<S: Serializer>(
    sandbox: &Option<&Sandbox>,
    into: S,
) -> Result<S::Ok, S::Error> {
    let enforced = sandbox.map_or(&[][..], Sandbox::enforced).iter().map(|part| part.name());
    let missing = sandbox.map_or(&[][..], Sandbox::missing).iter();
    let missing = missing.map(|missing| json!({ "part": missing.part.name(), "why": missing.why }));
    json!({
        "state": sandbox_state(*sandbox),
        "enforced": enforced.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
    })
    .serialize(into)
}

/// The reason for a renderer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// By Ctrl-C, by SIGTERM, or because nobody reads its output.
    Asked,
    /// Its time was over.
    Duration,
    /// Main ended the session, or is gone.
    MainGone,
}

/// Describes the machine, in three lines.
pub(crate) fn system_info(info: &SystemInfo) -> [String; 3] {
    let SystemInfo { cores, cpu_model, os, kernel, host_name, .. } = info;
    let uptime = duration(Duration::from_secs(info.uptime_s));
    [
        format!("{host_name}: {cores} cores of {cpu_model}"),
        format!("{} of memory, up for {uptime}", bytes(info.total_memory)),
        format!("{os} with kernel {kernel}"),
    ]
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

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = self.id.map_or("renderer".to_owned(), |id| format!("renderer {id}"));
        write!(f, "{renderer}: ")?;
        match &self.event {
            Event::Page { url } => write!(f, "the page is at {url}"),
            Event::NoMain { endpoint } => {
                write!(f, "there is no main process at '{endpoint}' yet; waiting for it")
            }
            Event::Connected { pid, allowed } => {
                let allowed = if allowed.is_empty() { "nothing" } else { &allowed.join(", ") };
                write!(f, "connected (process {pid}); it may use {allowed}")
            }
            Event::Sandbox(Some(sandbox)) => write!(f, "in the sandbox; {sandbox}"),
            Event::Sandbox(None) => f.write_str("not in the sandbox"),
            Event::MainGone => f.write_str("main is gone; waiting for it to come back"),
            Event::SystemInfo(info) => f.write_str(&system_info(info).join("; ")),
            Event::Statistics { statistics, latency_ns } => {
                write!(f, "statistics {}: ", statistics.sequence)?;
                if statistics.is_sampled() {
                    let memory = bytes_of(statistics.memory_used, statistics.memory_total);
                    let (cpu_usage, load) = (statistics.cpu_usage.into(), statistics.load_1);
                    write!(f, "CPU {}, memory {memory}, load {load:.2}, ", percent(cpu_usage))?;
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
    use serde_json::to_value;

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
}
