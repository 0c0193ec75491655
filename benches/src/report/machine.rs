//! The machine, and the versions of what was measured.

use std::{env, fs};

use serde::Serialize;

use crate::pins::Pins;

/// The versions that this program was built with.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// What a report says about its circumstances.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kind: &'static str,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    /// The two that were used: main's, the renderer's.
    pub(crate) pins: [usize; 2],
    pub(crate) kernel: String,
    /// Whether a hypervisor is below.
    pub(crate) virtual_machine: bool,
    /// Package and version.
    pub(crate) versions: Vec<(&'static str, String)>,
    /// What is left out for want of the feature.
    pub(crate) left_out: &'static [&'static str],
    /// How to measure this again.
    pub(crate) command: String,
}

impl Machine {
    /// As it is now. `program` is the one that runs, as cargo selects it; `packages` are those whose versions matter.
    pub(crate) fn look(
        pins: Pins,
        program: &str,
        packages: impl IntoIterator<Item = &'static str>,
        left_out: &'static [&'static str],
    ) -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let value = |key: &str| {
            let mut lines = cpu_info.lines().filter(|line| line.starts_with(key));
            lines.find_map(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let versions = packages.into_iter().filter_map(|name| Some((name, version_of(name)?)));
        Self {
            kind: "machine",
            cpu: value("model name").unwrap_or_else(|| env::consts::ARCH.to_owned()),
            processors: cpu_info.lines().filter(|line| line.starts_with("processor")).count(),
            pins: [pins.main, pins.renderer],
            kernel: format!("Linux {}", kernel.trim()),
            virtual_machine: value("flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            versions: versions.collect(),
            left_out,
            command: command_line(program, env::args().skip(1)),
        }
    }

    /// The processor, and whether it is a virtual one.
    pub(crate) fn processor(&self) -> String {
        format!("{}{}", self.cpu, if self.virtual_machine { ", virtual" } else { "" })
    }

    /// Names and values for a page. `places` says where the two processes ran.
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

    /// In one line, for a picture.
    pub(crate) fn summary(&self) -> String {
        format!(
            "by percentile; {}, {} processors, {}",
            self.processor(),
            self.processors,
            self.kernel
        )
    }
}

/// The version of a package in this build.
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
    use crate::peers;

    #[test]
    fn every_package_that_is_measured_has_a_version() {
        for subject in peers::SUBJECTS {
            if let Some(package) = subject.package() {
                let version = version_of(package).expect(package);
                assert!(version.split('.').count() >= 3, "{package} {version}");
            }
        }
        assert_eq!(version_of("no-such-package"), None);
    }

    #[test]
    fn the_command_line_can_be_repeated() {
        let line = command_line("compare", ["--only", "pipe"].into_iter().map(str::to_owned));
        assert_eq!(line, "cargo run --release -p benches --bin compare -- --only pipe");
    }
}
