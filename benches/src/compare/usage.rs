//! What processes use of the machine, from the kernel's books.

use std::{fs, io, ops::Sub};

use rustix::time::{ClockId, clock_gettime};

/// The CPU time of this process so far, all its threads.
pub(crate) fn process_cpu_ns() -> u64 {
    read(ClockId::ProcessCPUTime)
}

/// The CPU time of the calling thread so far.
#[cfg(any(test, feature = "peers"))]
pub(crate) fn thread_cpu_ns() -> u64 {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither part of a CPU time is negative.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The processors' time so far that was not idle, in nanoseconds. Counted by the kernel in ticks of
/// 10 ms, so only differences over many slices mean anything.
pub(crate) fn machine_busy_ns() -> Result<u64, io::Error> {
    const TICK_NS: u64 = 10_000_000;
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is in the first two already.
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return Err(io::Error::other("/proc/stat does not begin with the processors' ticks"));
    };
    Ok((user + nice + system + irq + softirq) * TICK_NS)
}

/// What a process has used so far, seen from outside: reading it does not wake the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    /// How often one of its threads went to sleep.
    pub(crate) switches: u64,
}

impl Usage {
    /// Looks at all threads of a process.
    pub(crate) fn of(process: u32) -> Result<Self, io::Error> {
        let mut usage = Self::default();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?.path();
            usage.cpu_ns += first_number(&fs::read_to_string(thread.join("schedstat"))?);
            let status = fs::read_to_string(thread.join("status"))?;
            let mut lines = status.lines();
            usage.switches += lines
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
                .map_or(0, first_number);
        }
        Ok(usage)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        // A thread that ended takes its part with it.
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::*;

    /// It sleeps until there is a line, and then works for a moment.
    const WORKER: &str =
        "while read line; do i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; echo done; done";

    #[test]
    fn a_sleep_is_a_switch_and_work_is_time() {
        let mut child = Command::new("sh")
            .args(["-c", WORKER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        let before = Usage::of(child.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            to.write_all(b"work\n").unwrap();
            from.read_line(&mut String::new()).unwrap();
            let used = Usage::of(child.id()).unwrap() - before;
            if used.switches >= 3 && used.cpu_ns >= 3_000_000 {
                break;
            }
            assert!(Instant::now() < deadline, "{used:?}");
        }
        drop(to);
        child.wait().unwrap();
    }

    #[test]
    fn our_own_time_is_in_the_books() {
        let (cpu, busy) = (thread_cpu_ns(), machine_busy_ns().unwrap());
        while thread_cpu_ns() - cpu < 30_000_000 {}
        assert!(process_cpu_ns() >= 30_000_000);
        assert!(machine_busy_ns().unwrap() > busy);
    }
}
