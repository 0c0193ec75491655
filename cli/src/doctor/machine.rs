//! Limits of this user, and how fast two processors talk.

use std::{
    fs,
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::{
    process::{Resource, getrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::Finding;

pub(super) const CHECKS: &[fn() -> Vec<Finding>] =
    &[|| vec![endpoints()], || vec![descriptors()], || vec![mappings()], || vec![locked()], cores];

/// So many windows are allowed unless an application says otherwise.
const WINDOWS: u64 = 1024;
/// What each takes of main.
const DESCRIPTORS_EACH: u64 = 3;
const MAPPINGS_EACH: u64 = 2;

fn endpoints() -> Finding {
    const NAME: &str = "endpoints' folder";
    match ringbridge::endpoints() {
        Ok(endpoints) => {
            let stale = endpoints.iter().filter(|endpoint| !endpoint.alive).count();
            let found = format!("{} endpoints, {stale} of them stale", endpoints.len());
            match stale {
                0 => Finding::good(NAME, found),
                _ => Finding::note(NAME, found, "remove what killed ones left: ringbridge sweep"),
            }
        }
        Err(error) => Finding::fail(
            NAME,
            error.to_string(),
            "make it this user's alone, or set XDG_RUNTIME_DIR to a folder that is",
        ),
    }
}

fn descriptors() -> Finding {
    const NAME: &str = "descriptors";
    let limit = getrlimit(Resource::Nofile);
    // Main raises the soft limit to the hard one by itself.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let windows = hard / DESCRIPTORS_EACH;
    let found = format!("up to {hard}: {windows} windows");
    if windows >= WINDOWS {
        Finding::good(NAME, found)
    } else {
        Finding::note(NAME, found, "for more, raise the hard limit of open files (ulimit -Hn)")
    }
}

fn mappings() -> Finding {
    const NAME: &str = "mappings";
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    match text.trim().parse::<u64>() {
        Ok(max) if max / MAPPINGS_EACH >= WINDOWS => {
            Finding::good(NAME, format!("up to {max}: {} windows", max / MAPPINGS_EACH))
        }
        Ok(max) => Finding::note(NAME, format!("up to {max}"), "raise vm.max_map_count"),
        Err(_) => Finding::note(NAME, "vm.max_map_count cannot be read", "mount /proc"),
    }
}

fn locked() -> Finding {
    const NAME: &str = "locked memory";
    // Nothing is locked by the library: a number for those who lock pages themselves.
    let limit = getrlimit(Resource::Memlock).current;
    let limit = limit.map_or("any amount".to_owned(), crate::figures::bytes);
    Finding::good(NAME, format!("{limit} (Ringbridge locks none)"))
}

/// How many there are, and how long two of them take to bounce a line: what an invoke is measured in.
fn cores() -> Vec<Finding> {
    const CORES: &str = "cores";
    const FLOOR: &str = "floor";
    let Ok(allowed) = sched_getaffinity(None) else {
        return vec![Finding::note(CORES, "cannot be asked for", "allow sched_getaffinity")];
    };
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    let [one, other, ..] = cores[..] else {
        let remedy =
            "give main and a renderer a core each: on one, every message is a switch of processes";
        return vec![Finding::note(CORES, "1", remedy)];
    };
    let counted = Finding::good(CORES, cores.len().to_string());
    let floor = match bounce(one, other) {
        Some(times) => {
            // The least that it takes; on a busy machine the rest is the scheduler's.
            let [least, half] = [0.1, 0.5].map(|part| times.value_at_quantile(part));
            let found = format!(
                "{least} ns for a cache line from core {one} to {other} and back (half of them: {half} ns)"
            );
            match least {
                0..=1000 => Finding::good(FLOOR, found),
                _ => Finding::note(
                    FLOOR,
                    found,
                    "keep main and its renderers to cores that share a cache; a busy or virtual machine does that too",
                ),
            }
        }
        None => Finding::note(FLOOR, "could not be measured", "leave two cores free for a moment"),
    };
    vec![counted, floor]
}

/// For how long lines are bounced.
const MEASURED: Duration = Duration::from_millis(100);

#[repr(align(128))]
struct Line(AtomicU64);

/// Round trips of a line that two threads write in turn, in nanoseconds.
fn bounce(one: usize, other: usize) -> Option<Histogram<u64>> {
    const END: u64 = u64::MAX;
    let line = Line(AtomicU64::new(0));
    let mut times = Histogram::new(3).ok()?;
    thread::scope(|scope| {
        scope.spawn(|| {
            keep_to(other);
            let mut seen = 0;
            while seen != END {
                let now = line.0.load(Ordering::Acquire);
                if now != seen && now % 2 == 1 {
                    // Unless the end has been said meanwhile.
                    let answered = now.wrapping_add(1);
                    let _ =
                        line.0.compare_exchange(now, answered, Ordering::AcqRel, Ordering::Acquire);
                    seen = if now == END { END } else { answered };
                } else {
                    spin_loop();
                }
            }
        });
        let before = sched_getaffinity(None);
        keep_to(one);
        let began = Instant::now();
        let mut turn = 1;
        while began.elapsed() < MEASURED {
            let sent = Instant::now();
            line.0.store(turn, Ordering::Release);
            while line.0.load(Ordering::Acquire) == turn && began.elapsed() < 2 * MEASURED {
                spin_loop();
            }
            let _ = times.record(sent.elapsed().as_nanos() as u64);
            turn += 2;
        }
        line.0.store(END, Ordering::Release);
        if let Ok(before) = before {
            let _ = sched_setaffinity(None, &before);
        }
    });
    (!times.is_empty()).then_some(times)
}

fn keep_to(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    // Where it is refused, the system keeps them apart as it sees fit.
    let _ = sched_setaffinity(None, &cores);
}
