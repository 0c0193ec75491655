//! What is measured of one crowd, in turn.

use std::{
    process::id,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{
    crowd::{Crowd, Interruption},
    messages::{Order, Task},
    proc,
    report::{Paced, Row},
};
use crate::Error;

/// How a crowd is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long each of the timed parts takes.
    pub time: Duration,
}

/// From an order until everyone is at it, and from then until the figures are taken.
const SETTLING: Duration = Duration::from_millis(500);
/// Sessions that are begun beside the crowd.
const ATTACHES: u32 = 20;
/// How often each renderer sends that keeps a pace.
const PACE: Duration = Duration::from_millis(10);

/// Launches so many renderers, measures what they cost, and ends them. Calls `advanced` with what comes
/// next.
///
/// # Errors
///
/// If a renderer cannot be launched, fails, or ends; or if it is interrupted.
pub fn measure(
    renderers: usize,
    plan: &Plan,
    interruption: &Interruption,
    mut advanced: impl FnMut(&str),
) -> Result<Row, Error> {
    let mut crowd = Crowd::gather(renderers, interruption)?;
    let before = Usage::now()?;
    crowd.launch(|connected| advanced(&format!("{connected} of {renderers} connected")))?;
    let connected = Usage::now()?;
    advanced("attaching");
    let attach_p50_ns = attach(&crowd)?;
    advanced("all send");
    let load = load(&crowd, plan)?;
    let lapped = Usage::now()?;
    let renderer_memory_kib =
        mean(crowd.windows.iter().map(|window| proc::memory_kib(window.os_process_id())))?;
    advanced("all keep a pace");
    let paced = pace(&crowd, plan, false)?;
    advanced("one floods, the others keep a pace");
    let flooded = if renderers > 1 { Some(pace(&crowd, plan, true)?) } else { None };
    advanced("one invokes, the others are quiet");
    let (invoke_p50_ns, invoke_p99_ns) = invoke(&crowd, plan)?;
    advanced("all are idle");
    let idle = idle(&crowd, plan)?;

    let each = |after: u64, before: u64| (after.saturating_sub(before)) as f64 / renderers as f64;
    let mut connecting = crowd.connecting.clone();
    connecting.sort();
    let row = Row {
        renderers,
        launch_p50_ns: connecting[connecting.len() / 2].as_nanos() as u64,
        attach_p50_ns,
        main_memory_kib: each(connected.memory_kib, before.memory_kib),
        main_memory_lapped_kib: each(lapped.memory_kib, before.memory_kib),
        renderer_memory_kib,
        main_descriptors: each(connected.descriptors, before.descriptors),
        messages_per_second: load.messages_per_second,
        main_ns_per_message: load.main_ns_per_message,
        least_share: load.least_share,
        greatest_share: load.greatest_share,
        paced,
        flooded,
        invoke_p50_ns,
        invoke_p99_ns,
        idle_switches: idle.switches,
        idle_processor_ns: idle.processor_ns,
    };
    crowd.dismiss()?;
    Ok(row)
}

/// What main has.
struct Usage {
    memory_kib: u64,
    descriptors: u64,
}

impl Usage {
    fn now() -> Result<Self, Error> {
        Ok(Self { memory_kib: proc::memory_kib(id())?, descriptors: proc::open_descriptors()? })
    }
}

fn mean(values: impl ExactSizeIterator<Item = std::io::Result<u64>>) -> Result<f64, Error> {
    let count = values.len();
    let sum: u64 = values.sum::<std::io::Result<u64>>()?;
    Ok(sum as f64 / count as f64)
}

pub(super) fn order(task: Task, time: Duration) -> Order {
    Order { task, count: 0, time_ns: time.as_nanos() as u64, interval_ns: 0 }
}

/// One renderer begins more sessions, one after the other.
fn attach(crowd: &Crowd) -> Result<u64, Error> {
    let order = Order { count: ATTACHES, ..order(Task::Attach, Duration::ZERO) };
    crowd.order(&crowd.windows[..1], order)?;
    let reports = crowd.reports(1)?;
    Ok(reports[0].1.p50_ns)
}

struct Load {
    messages_per_second: f64,
    main_ns_per_message: f64,
    least_share: f64,
    greatest_share: f64,
}

/// All renderers send as fast as main takes it.
fn load(crowd: &Crowd, plan: &Plan) -> Result<Load, Error> {
    crowd.order(&crowd.windows, order(Task::Stream, plan.time + 2 * SETTLING))?;
    crowd.run_for(SETTLING)?;
    let (counts, processor, began) = (crowd.counts(), proc::own_processor_ns(), Instant::now());
    crowd.run_for(plan.time)?;
    let elapsed = began.elapsed().as_secs_f64();
    let processor = (proc::own_processor_ns() - processor) as f64;
    let taken: Vec<u64> =
        crowd.counts().iter().zip(&counts).map(|(after, before)| after - before).collect();
    crowd.reports(crowd.windows.len())?;

    let all = taken.iter().sum::<u64>().max(1) as f64;
    let fair = all / taken.len() as f64;
    let share = |count: Option<&u64>| count.map_or(0.0, |count| *count as f64 / fair);
    Ok(Load {
        messages_per_second: all / elapsed,
        main_ns_per_message: processor / all,
        least_share: share(taken.iter().min()),
        greatest_share: share(taken.iter().max()),
    })
}

/// All renderers but the first send at a modest pace; that one floods, or rests.
fn pace(crowd: &Crowd, plan: &Plan, floods: bool) -> Result<Paced, Error> {
    // A single renderer keeps the pace itself.
    let first_paced = usize::from(crowd.windows.len() > 1);
    let paced = &crowd.windows[first_paced..];
    let before = crowd.counts();
    let mut expected = paced.len();
    if floods {
        crowd.order(&crowd.windows[..1], order(Task::Stream, plan.time))?;
        expected += 1;
    }
    let interval_ns = PACE.as_nanos() as u64;
    crowd.order(paced, Order { interval_ns, ..order(Task::Pace, plan.time) })?;
    crowd.take_latencies();
    let (processor, began) = (proc::own_processor_ns(), Instant::now());
    crowd.reports(expected)?;
    let processor = (proc::own_processor_ns() - processor) as f64;
    let elapsed = began.elapsed().as_nanos() as f64;
    let latencies = crowd.take_latencies();

    let taken: Vec<u64> =
        crowd.counts().iter().zip(&before).map(|(after, before)| after - before).collect();
    let due = (plan.time.as_nanos() / PACE.as_nanos()) as f64;
    Ok(Paced {
        main_processor_share: processor / elapsed,
        least_kept: taken[first_paced..].iter().min().map_or(0.0, |least| *least as f64 / due),
        p50_ns: latencies.value_at_quantile(0.5),
        p99_ns: latencies.value_at_quantile(0.99),
        flood_per_second: floods.then(|| taken[0] as f64 / plan.time.as_secs_f64()),
    })
}

/// One renderer invokes; main looks after the others meanwhile.
fn invoke(crowd: &Crowd, plan: &Plan) -> Result<(u64, u64), Error> {
    crowd.order(&crowd.windows[..1], order(Task::Invoke, plan.time))?;
    let report = crowd.reports(1)?[0].1;
    Ok((report.p50_ns, report.p99_ns))
}

struct Idle {
    switches: u64,
    processor_ns: u64,
}

/// Nobody says anything. Another thread looks at all processes, except at itself.
fn idle(crowd: &Crowd, plan: &Plan) -> Result<Idle, Error> {
    let processes: Vec<u32> = crowd.windows.iter().map(|window| window.os_process_id()).collect();
    let (running, time) = (crowd.ipc.clone(), plan.time);
    let (sender, receiver) = mpsc::channel();
    let looking = thread::spawn(move || {
        let me = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let look = || -> std::io::Result<Idle> {
            let mut found = Idle { switches: 0, processor_ns: 0 };
            for &process in processes.iter().chain([&id()]) {
                found.switches += proc::voluntary_switches(process, Some(me))?;
                found.processor_ns += proc::processor_ns(process, Some(me))?;
            }
            Ok(found)
        };
        thread::sleep(SETTLING);
        let before = look();
        thread::sleep(time);
        let after = look();
        // Nobody has stopped listening: the receiver is taken below.
        let _ = sender.send((before, after));
        running.stop();
    });
    // Without a deadline, for which it would wake up.
    crowd.ipc.run()?;
    looking.join().map_err(|_| "looking at the processes panicked")?;
    let (before, after) = receiver.recv()?;
    let (before, after) = (before?, after?);
    Ok(Idle {
        switches: after.switches - before.switches,
        processor_ns: after.processor_ns - before.processor_ns,
    })
}
