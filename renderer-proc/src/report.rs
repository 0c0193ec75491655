//! The lines that a renderer prints, each as JSON and for people.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use contract::{ReadFileError, Statistics, SystemInfo};
use ringbridge::Sandbox;
use serde::Serialize;

use crate::{
    console::two_digits,
    measurements::{LatencySummary, Sequence},
};

/// One line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    /// The session has begun.
    Connected { id: u32, pid: u32, allowed: Vec<&'a str> },
    /// What the renderer has given up.
    Sandbox(SandboxLine<'a>),
    /// Main has gone, and this renderer waits for it to come back.
    MainGone { id: u32 },
    /// What main said about the machine.
    SystemInfo(SystemInfoLine<'a>),
    /// What a push said.
    Statistics(StatisticsLine),
    /// A file that was asked for.
    File {
        id: u32,
        path: &'a str,
        len: usize,
        #[serde(skip)]
        bytes: &'a [u8],
    },
    /// A file that was asked for and not had.
    FileError { id: u32, path: &'a str, error: &'a str, message: String },
    /// Something that was asked of main and failed.
    InvokeError { id: u32, message: String },
    /// The last line.
    Summary(Summary),
}

/// How much of the sandbox there is around a renderer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SandboxState {
    /// All of it.
    Complete,
    /// What the kernel has.
    Partial,
    /// None was wanted.
    Off,
}

impl SandboxState {
    pub(crate) fn of(sandbox: Option<&Sandbox>) -> Self {
        match sandbox {
            Some(sandbox) if sandbox.is_complete() => Self::Complete,
            Some(_) => Self::Partial,
            None => Self::Off,
        }
    }

    /// Its name, in JSON too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Off => "off",
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SandboxLine<'a> {
    id: u32,
    pub(crate) state: SandboxState,
    enforced: Vec<&'static str>,
    missing: Vec<MissingLine<'a>>,
    #[serde(skip)]
    sandbox: Option<&'a Sandbox>,
}

#[derive(Serialize)]
struct MissingLine<'a> {
    part: &'static str,
    why: &'a str,
}

impl<'a> SandboxLine<'a> {
    pub(crate) fn new(id: u32, sandbox: Option<&'a Sandbox>) -> Self {
        let enforced = sandbox.map_or(&[][..], Sandbox::enforced);
        let missing = sandbox.map_or(&[][..], Sandbox::missing).iter();
        Self {
            id,
            state: SandboxState::of(sandbox),
            enforced: enforced.iter().map(|part| part.name()).collect(),
            missing: missing
                .map(|missing| MissingLine { part: missing.part.name(), why: &missing.why })
                .collect(),
            sandbox,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SystemInfoLine<'a> {
    pub(crate) id: u32,
    pub(crate) cpu_model: &'a str,
    pub(crate) cores: u32,
    pub(crate) total_memory: u64,
    pub(crate) os: &'a str,
    pub(crate) kernel: &'a str,
    pub(crate) host_name: &'a str,
    pub(crate) uptime_s: u64,
}

impl<'a> SystemInfoLine<'a> {
    pub(crate) fn new(id: u32, info: &'a SystemInfo) -> Self {
        Self {
            id,
            cpu_model: info.cpu_model.as_str(),
            cores: info.cores,
            total_memory: info.total_memory,
            os: info.os.as_str(),
            kernel: info.kernel.as_str(),
            host_name: info.host_name.as_str(),
            uptime_s: info.uptime_s,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct StatisticsLine {
    id: u32,
    sequence: u64,
    /// `None`: main's sampler is off, or has not looked twice yet.
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
    latency_ns: u64,
}

impl StatisticsLine {
    pub(crate) fn new(id: u32, statistics: &Statistics, latency_ns: u64) -> Self {
        let sampled = statistics.sampled_ns != 0;
        let figure = |value| two_digits(value).filter(|_| sampled);
        Self {
            id,
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
            latency_ns,
        }
    }
}

/// Why a renderer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// By Ctrl-C, SIGTERM, or because nobody reads its output.
    Asked,
    /// Its time was over.
    Duration,
    /// Main ended the session, or is gone.
    MainGone,
}

#[derive(Serialize)]
pub(crate) struct Summary {
    role: &'static str,
    id: u32,
    ended: Ended,
    sandbox: SandboxState,
    received: u64,
    lost: u64,
    out_of_order: u64,
    failed_invokes: u64,
    push_latency_ns: LatencySummary,
    invoke_rtt_ns: LatencySummary,
}

impl Summary {
    pub(crate) fn new(
        id: u32,
        ended: Ended,
        sandbox: SandboxState,
        sequence: Sequence,
        failed_invokes: u64,
        push_latency_ns: LatencySummary,
        invoke_rtt_ns: LatencySummary,
    ) -> Self {
        let Sequence { received, lost, out_of_order, .. } = sequence;
        Self {
            role: "renderer",
            id,
            ended,
            sandbox,
            received,
            lost,
            out_of_order,
            failed_invokes,
            push_latency_ns,
            invoke_rtt_ns,
        }
    }
}

impl Line<'_> {
    pub(crate) fn file_error<'a>(id: u32, path: &'a str, error: ReadFileError) -> Line<'a> {
        Line::FileError { id, path, error: error.name(), message: error.to_string() }
    }

    fn id(&self) -> u32 {
        match self {
            Self::Connected { id, .. }
            | Self::MainGone { id }
            | Self::File { id, .. }
            | Self::FileError { id, .. }
            | Self::InvokeError { id, .. } => *id,
            Self::Sandbox(line) => line.id,
            Self::SystemInfo(line) => line.id,
            Self::Statistics(line) => line.id,
            Self::Summary(line) => line.id,
        }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "renderer {}: ", self.id())?;
        match self {
            Self::Connected { pid, allowed, .. } => {
                write!(f, "connected (process {pid}); it may use ")?;
                f.write_str(&if allowed.is_empty() {
                    "nothing".to_owned()
                } else {
                    allowed.join(", ")
                })
            }
            Self::Sandbox(line) => line.fmt(f),
            Self::MainGone { .. } => f.write_str("main has gone; waiting for it to come back"),
            Self::SystemInfo(line) => line.fmt(f),
            Self::Statistics(line) => line.fmt(f),
            Self::File { path, len, .. } => write!(f, "{path:?} has {len} bytes"),
            Self::FileError { path, message, .. } => write!(f, "cannot read {path:?}: {message}"),
            Self::InvokeError { message, .. } => f.write_str(message),
            Self::Summary(line) => line.fmt(f),
        }
    }
}

impl Display for SandboxLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sandbox {
            Some(sandbox) => write!(f, "in the sandbox; {sandbox}"),
            None => f.write_str("not in the sandbox"),
        }
    }
}

impl Display for SystemInfoLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_model, cores, os, kernel, host_name, .. } = self;
        let uptime = humantime::format_duration(Duration::from_secs(self.uptime_s));
        write!(f, "{host_name} has {cores} cores of {cpu_model}, {} of memory, ", {
            Bytes(self.total_memory)
        })?;
        write!(f, "{os} with kernel {kernel}, and is up for {uptime}")
    }
}

impl Display for StatisticsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statistics {}: ", self.sequence)?;
        if let Some(cpu_usage) = self.cpu_usage {
            write!(f, "CPU {cpu_usage:.1} %, ")?;
        }
        if self.memory_total != 0 {
            write!(f, "memory {} of {}, ", Bytes(self.memory_used), Bytes(self.memory_total))?;
        }
        if let [Some(load), ..] = self.load {
            write!(f, "load {load:.2}, ")?;
        }
        write!(f, "{} on its way", Nanoseconds(self.latency_ns))
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.ended {
            Ended::Asked => "ended",
            Ended::Duration => "ended, its time is over",
            Ended::MainGone => "main has ended",
        };
        let Self { id, received, lost, out_of_order, failed_invokes, .. } = self;
        writeln!(f, "{why}: {received} received, {lost} lost, {out_of_order} out of order")?;
        writeln!(f, "renderer {id}: push    {}", self.push_latency_ns)?;
        write!(f, "renderer {id}: invoke  {}", self.invoke_rtt_ns)?;
        if *failed_invokes > 0 {
            write!(f, "; {failed_invokes} failed")?;
        }
        Ok(())
    }
}

impl Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(p50), Some(p99), Some(p999), Some(max)) =
            (self.p50, self.p99, self.p999, self.max)
        else {
            return f.write_str("not measured");
        };
        let [p50, p99, p999, max] = [p50, p99, p999, max].map(Nanoseconds);
        write!(f, "p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}, of {}", self.count)
    }
}

/// A size that people can read.
pub(crate) struct Bytes(pub(crate) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        match self.0 {
            bytes if bytes < GIB => write!(f, "{} MiB", bytes / MIB),
            bytes => write!(f, "{:.1} GiB", bytes as f64 / GIB as f64),
        }
    }
}

/// A time that people can read.
pub(crate) struct Nanoseconds(pub(crate) u64);

impl Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 1_000 => write!(f, "{ns} ns"),
            ns if ns < 1_000_000 => write!(f, "{:.1} µs", ns as f64 / 1e3),
            ns if ns < 1_000_000_000 => write!(f, "{:.1} ms", ns as f64 / 1e6),
            ns => write!(f, "{:.1} s", ns as f64 / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::zerocopy::FromZeros;

    use super::*;
    use crate::measurements::Latencies;

    fn json(line: &Line<'_>) -> serde_json::Value {
        serde_json::to_value(line).unwrap()
    }

    #[test]
    fn a_summary_has_the_keys_that_programs_look_for() {
        let mut latencies = Latencies::default();
        latencies.record(1000);
        let measured = latencies.summary();
        let nothing = Latencies::default().summary();
        let summary = json(&Line::Summary(Summary::new(
            7,
            Ended::MainGone,
            SandboxState::Off,
            Sequence::default(),
            0,
            measured,
            nothing,
        )));
        assert_eq!(summary["event"], "summary");
        assert_eq!(summary["role"], "renderer");
        assert_eq!(summary["id"], 7);
        assert_eq!(summary["ended"], "main-gone");
        assert_eq!(summary["sandbox"], "off");
        for key in ["received", "lost", "out_of_order"] {
            assert_eq!(summary[key], 0, "{key}");
        }
        for key in ["p50", "p99", "p999", "max"] {
            assert!(summary["push_latency_ns"][key].is_u64(), "{key}");
            assert!(summary["invoke_rtt_ns"][key].is_null(), "{key}");
        }
    }

    #[test]
    fn figures_are_null_where_the_sampler_is_off_or_does_not_know() {
        let mut statistics = Statistics::new_zeroed();
        statistics.core_count = 1;
        let cpu_usage = |statistics: &Statistics| {
            json(&Line::Statistics(StatisticsLine::new(1, statistics, 0)))["cpu_usage"].clone()
        };
        assert!(cpu_usage(&statistics).is_null());
        statistics.sampled_ns = 1;
        assert_eq!(cpu_usage(&statistics), 0.0);
        statistics.cpu_usage = f32::NAN;
        assert!(cpu_usage(&statistics).is_null());
    }

    #[test]
    fn times_and_sizes_are_shown_in_the_unit_that_fits() {
        let ns = |ns| Nanoseconds(ns).to_string();
        assert_eq!(
            [ns(999), ns(1500), ns(2_000_000), ns(3_100_000_000)],
            ["999 ns", "1.5 µs", "2.0 ms", "3.1 s"]
        );
        assert_eq!(Bytes(5 << 20).to_string(), "5 MiB");
        assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
    }
}
