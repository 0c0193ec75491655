//! The machine, and the versions of the measured packages.

use std::{env, fs};

use procfs::{CpuInfo, Current};
use serde::Serialize;

use crate::system::Pins;

/// The versions that this program was built from.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// The circumstances of a report.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kind: &'static str,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) pins: [usize; 2],
    pub(crate) kernel: String,
    /// Whether the processor reports a hypervisor.
    pub(crate) virtual_machine: bool,
    pub(crate) versions: Vec<(&'static str, String)>,
    /// The subjects that are not compiled in.
    pub(crate) left_out: &'static [&'static str],
    /// The command that repeats the run.
    pub(crate) command: String,
}

impl Machine {
    /// Describes this machine. `program` is the running binary, as cargo selects it.
    pub(crate) fn look(
        pins: Pins,
        program: &str,
        packages: impl IntoIterator<Item = &'static str>,
        left_out: &'static [&'static str],
    ) -> Self {
        let cpu_info = CpuInfo::current().ok();
        let info = cpu_info.as_ref();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let versions = packages.into_iter().filter_map(|name| Some((name, version_of(name)?)));
        Self {
            kind: "machine",
            cpu: info.and_then(|cpu| cpu.model_name(0)).unwrap_or(env::consts::ARCH).to_owned(),
            processors: info.map_or(0, CpuInfo::num_cores),
            pins: [pins.main, pins.renderer],
            kernel: format!("Linux {}", kernel.trim()),
            virtual_machine: info
                .and_then(|cpu| cpu.flags(0))
                .is_some_and(|flags| flags.contains(&"hypervisor")),
            versions: versions.collect(),
            left_out,
            command: command_line(program, env::args().skip(1)),
        }
    }

    pub(crate) fn processor(&self) -> String {
        format!("{}{}", self.cpu, if self.virtual_machine { ", virtual" } else { "" })
    }

    /// Returns the names and values for a page. `places` says where the two processes ran.
    pub(crate) fn facts(
        &self,
        places: String,
    ) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let left_out = (!self.left_out.is_empty()).then(|| self.left_out.join(", "));
        [
            ("Processor", Some(self.processor())),
            ("Processors", Some(format!("{}; {places}", self.processors))),
            ("Kernel", Some(self.kernel.clone())),
            ("Versions", Some(versions.join(", "))),
            ("Not compiled in", left_out),
            ("To measure it again", Some(self.command.clone())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "by percentile; {}, {} processors, {}",
            self.processor(),
            self.processors,
            self.kernel
        )
    }
}

pub(crate) fn version_of(package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

fn command_line(program: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut line = format!("cargo run --release -p benches --bin {program}");
    for (number, argument) in arguments.enumerate() {
        line.push_str(if number == 0 { " -- " } else { " " });
        line.push_str(&argument);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_can_be_repeated() {
        let line = command_line("compare", ["--only", "pipe"].into_iter().map(str::to_owned));
        assert_eq!(line, "cargo run --release -p benches --bin compare -- --only pipe");
    }
}
