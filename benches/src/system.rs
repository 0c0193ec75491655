//! Clocks, processors, and the kernel's figures of a process.

use procfs::{
    CurrentSI, KernelStats, ProcError, ProcResult,
    process::{Process, Task},
};
use rustix::{
    io::{self, Errno},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Nanoseconds on a clock that all processes share. A reading costs about 25 ns.
#[inline]
pub(crate) fn now_ns() -> u64 {
    read(ClockId::Monotonic)
}

pub(crate) fn process_cpu_ns() -> u64 {
    read(ClockId::ProcessCPUTime)
}

pub(crate) fn thread_cpu_ns() -> u64 {
    read(ClockId::ThreadCPUTime)
}

#[inline]
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // None of these clocks is ever negative.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// One processor for each process of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins {
    pub(crate) main: usize,
    pub(crate) renderer: usize,
}

impl Pins {
    /// Chooses the first two processors that this process may use. Call it before pinning the process.
    pub(crate) fn choose() -> Result<Self, Error> {
        match allowed()?[..] {
            [main, renderer, ..] => Ok(Self { main, renderer }),
            _ => Err("two processors are needed, and this process may use only one".into()),
        }
    }
}

fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect())
}

/// Pins the calling thread, and the threads that it starts, to these processors.
pub(crate) fn keep_to(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|&processor| set.set(processor));
    sched_setaffinity(None, &set)
}

/// Runs `work` on one processor, and restores the affinity.
pub(crate) fn on_one<R>(processor: usize, work: impl FnOnce() -> R) -> io::Result<R> {
    let before = allowed()?;
    keep_to(&[processor])?;
    let result = work();
    keep_to(&before)?;
    Ok(result)
}

/// Returns the time in which the processors were not idle. The kernel counts in ticks of 10 ms, so only
/// sums over many slices are exact.
pub(crate) fn machine_busy_ns() -> ProcResult<u64> {
    const TICK_NS: u64 = 10_000_000;
    let total = KernelStats::current()?.total;
    let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
    Ok((total.user + total.nice + total.system + interrupts) * TICK_NS)
}

/// The CPU time and sleeps of processes, read from outside so that they do not wake up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) switches: u64,
}

impl Usage {
    /// Sums the threads of the processes, except `but_for`.
    pub(crate) fn of(processes: &[u32], but_for: Option<i32>) -> ProcResult<Self> {
        let mut usage = Self::default();
        for &process in processes {
            for task in Process::new(process as i32)?.tasks()? {
                let task = task?;
                if Some(task.tid) != but_for {
                    match usage.add_thread(&task) {
                        // The thread has ended since it was listed.
                        Err(ProcError::NotFound(_)) => {}
                        Err(ProcError::Io(error, _))
                            if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                        thread => thread?,
                    }
                }
            }
        }
        Ok(usage)
    }

    fn add_thread(&mut self, task: &Task) -> ProcResult<()> {
        let switches = task.status()?.voluntary_ctxt_switches.unwrap_or(0);
        self.cpu_ns += task.schedstat()?.sum_exec_runtime;
        self.switches += switches;
        Ok(())
    }

    /// Returns the difference. A thread that ended in between is missing in the later figures.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

/// Returns a process's private and shared memory without file pages. The kernel divides shared pages among
/// the processes that map them, so the figures of several processes add up.
pub(crate) fn memory_kib(process: u32) -> ProcResult<u64> {
    let rollup = Process::new(process as i32)?.smaps_rollup()?.memory_map_rollup;
    let sizes = |key| rollup.iter().filter_map(move |map| map.extension.map.get(key)).sum::<u64>();
    Ok((sizes("Pss_Anon") + sizes("Pss_Shmem")) / 1024)
}

pub(crate) fn open_descriptors() -> ProcResult<u64> {
    Ok(Process::myself()?.fd_count()? as u64)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Command, Stdio, id},
        time::{Duration, Instant},
    };

    use super::*;

    /// Sleeps until a line arrives, and then works for a moment.
    const WORKER: &str =
        "while read line; do i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; echo done; done";

    // In a process of its own: the threads of other tests end and take their figures with them.
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
        let before = Usage::of(&[child.id()], None).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            to.write_all(b"work\n").unwrap();
            from.read_line(&mut String::new()).unwrap();
            let used = Usage::of(&[child.id()], None).unwrap().since(before);
            if used.switches >= 3 && used.cpu_ns >= 3_000_000 {
                break;
            }
            assert!(Instant::now() < deadline, "{used:?}");
        }
        // Its one thread is left out.
        assert_eq!(Usage::of(&[child.id()], Some(child.id() as i32)).unwrap().cpu_ns, 0);
        drop(to);
        child.wait().unwrap();
    }

    #[test]
    fn our_own_time_is_counted() {
        let (cpu, busy) = (thread_cpu_ns(), machine_busy_ns().unwrap());
        while thread_cpu_ns() - cpu < 30_000_000 {}
        assert!(process_cpu_ns() >= 30_000_000);
        assert!(machine_busy_ns().unwrap() > busy);
    }

    #[test]
    fn a_process_has_memory_and_descriptors() {
        assert!(memory_kib(id()).unwrap() > 10);
        assert!(open_descriptors().unwrap() >= 3);
    }
}
