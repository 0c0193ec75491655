//! The machine, and the versions of what was measured.

use std::{env, fs};

use serde::Serialize;

use crate::{peers, pins::Pins};

/// The versions that this program was built with.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// What a report says about its circumstances.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) kind: &'static str,
    pub(super) cpu: String,
    pub(super) processors: usize,
    /// The two that were used: main's, the renderer's.
    pub(super) pins: [usize; 2],
    pub(super) kernel: String,
    /// Whether a hypervisor is below.
    pub(super) virtual_machine: bool,
    /// Package and version.
    pub(super) versions: Vec<(&'static str, String)>,
    /// What is left out for want of the feature.
    pub(super) left_out: &'static [&'static str],
    /// How to measure this again.
    pub(super) command: String,
}

impl Machine {
    pub(super) fn look(pins: Pins) -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let value = |key: &str| {
            let mut lines = cpu_info.lines().filter(|line| line.starts_with(key));
            lines.find_map(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut packages: Vec<&'static str> =
            peers::SUBJECTS.iter().filter_map(|subject| subject.package()).collect();
        packages.dedup();
        if cfg!(feature = "peers") {
            packages.extend(["zmq", "shared_memory"]);
        }
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
            left_out: peers::LEFT_OUT,
            command: command_line(env::args().skip(1)),
        }
    }
}

/// The version of a package in this build.
pub(super) fn version_of(package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let features = if cfg!(feature = "peers") { " --features peers" } else { "" };
    let mut line = format!("cargo run --release -p benches --bin compare{features}");
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
        let line = command_line(["--only", "pipe"].into_iter().map(str::to_owned));
        assert!(line.starts_with("cargo run --release -p benches --bin compare"));
        assert!(line.ends_with(" -- --only pipe"));
    }
}
