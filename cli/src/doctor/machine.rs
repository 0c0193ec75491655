//! The limits of this user, and the time of a message between two cores.

use std::{
    fs,
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use contract::figures::bytes;
use hdrhistogram::Histogram;
use rustix::{
    process::{Resource, getrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::{Check, Found, Grade::*};

pub(super) const CHECKS: &[Check] = &[
    Check(
        "endpoints' folder",
        Fail,
        || Ok(format!("{} endpoints", ringbridge::endpoints()?.len())),
        "make it this user's alone, or set XDG_RUNTIME_DIR to a folder that is",
    ),
    Check("stale endpoints", Note, stale, "remove what killed ones left: ringbridge sweep"),
    Check(
        "descriptors",
        Note,
        descriptors,
        "for more, raise the hard limit of open files (ulimit -Hn)",
    ),
    Check("mappings", Note, mappings, "raise vm.max_map_count; it needs /proc to be mounted"),
    Check("locked memory", Note, locked, ""),
    Check(
        "cores",
        Note,
        || cores().map(|cores| cores.len().to_string()),
        "give main and a renderer a core each: on one core, every message needs a context switch",
    ),
    Check(
        "floor",
        Note,
        floor,
        "keep main and its renderers on cores that share a cache; a busy or virtual machine is slow too",
    ),
];

const WINDOWS: u64 = 1024;
const DESCRIPTORS_EACH: u64 = 3;
const MAPPINGS_EACH: u64 = 2;

fn stale() -> Found {
    let endpoints = ringbridge::endpoints()?;
    match endpoints.iter().filter(|endpoint| !endpoint.alive).count() {
        0 => Ok("none".to_owned()),
        stale => Err(format!("{stale} of {}", endpoints.len()).into()),
    }
}

/// Returns the number of windows for which a resource suffices. It should be the default limit.
fn windows(resource: u64, each: u64) -> Found {
    let found = format!("up to {resource}: {} windows", resource / each);
    if resource / each >= WINDOWS { Ok(found) } else { Err(found.into()) }
}

fn descriptors() -> Found {
    // Main raises the soft limit to the hard one by itself.
    windows(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX), DESCRIPTORS_EACH)
}

fn mappings() -> Found {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count")?;
    windows(limit.trim().parse()?, MAPPINGS_EACH)
}

/// Returns the limit for applications that lock pages themselves.
fn locked() -> Found {
    let limit = getrlimit(Resource::Memlock).current.map_or("any amount".to_owned(), bytes);
    Ok(format!("{limit} (Ringbridge locks none)"))
}

/// Returns the cores of this process, of which there should be two.
fn cores() -> Result<Vec<usize>, Box<dyn std::error::Error>> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    if cores.len() > 1 { Ok(cores) } else { Err("1".into()) }
}

/// Measures the round trip of a cache line between two cores. It is the least time of an invoke.
fn floor() -> Found {
    let cores = cores().map_err(|_| "not measured: it needs two cores")?;
    let (one, other) = (cores[0], cores[1]);
    let times = bounce(one, other).ok_or("not measured: two cores must be free for a moment")?;
    // On a busy machine the rest is the scheduler's.
    let [least, half] = [0.1, 0.5].map(|part| times.value_at_quantile(part));
    let found = format!(
        "{least} ns for a cache line from core {one} to {other} and back (half of them: {half} ns)"
    );
    if least <= 1000 { Ok(found) } else { Err(found.into()) }
}

const MEASURED: Duration = Duration::from_millis(100);

#[repr(align(128))]
struct Line(AtomicU64);

/// Measures the round trips of a line that two threads write in turn, in nanoseconds.
fn bounce(one: usize, other: usize) -> Option<Histogram<u64>> {
    let (line, is_over) = (Line(AtomicU64::new(0)), AtomicBool::new(false));
    let mut times = Histogram::new(3).ok()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            keep_to(other);
            while !is_over.load(Ordering::Relaxed) {
                match line.0.load(Ordering::Acquire) {
                    turn if turn % 2 == 1 => line.0.store(turn + 1, Ordering::Release),
                    _ => spin_loop(),
                }
            }
        });
        let before = sched_getaffinity(None);
        keep_to(one);
        let began = Instant::now();
        for turn in (1..).step_by(2).take_while(|_| began.elapsed() < MEASURED) {
            let sent = Instant::now();
            line.0.store(turn, Ordering::Release);
            while line.0.load(Ordering::Acquire) == turn && began.elapsed() < 2 * MEASURED {
                spin_loop();
            }
            let _ = times.record(sent.elapsed().as_nanos() as u64);
        }
        is_over.store(true, Ordering::Relaxed);
        if let Ok(before) = before {
            let _ = sched_setaffinity(None, &before);
        }
    });
    (!times.is_empty()).then_some(times)
}

fn keep_to(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    // If it is refused, the scheduler chooses the cores.
    let _ = sched_setaffinity(None, &cores);
}
