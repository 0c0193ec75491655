//! The measurements of one crowd, in turn.

use std::{
    process::id,
    thread,
    time::{Duration, Instant},
};

use procfs::{ProcError, ProcResult};

use super::{
    crowd::{Crowd, Interruption},
    messages::{Order, Task},
    report::{Paced, Row},
};
use crate::{
    Error,
    system::{Usage, memory_kib, open_descriptors, thread_cpu_ns},
};

/// The time from an order until all renderers obey it.
const SETTLING: Duration = Duration::from_millis(500);
/// Sessions that one renderer attaches beside the crowd.
const ATTACHES: u32 = 20;
/// The period of a renderer that sends at a pace.
const PACE: Duration = Duration::from_millis(10);

/// Launches renderers, measures their cost, and ends them. Each timed part takes `time`. Calls `advanced` with
/// the name of the next part.
///
/// # Errors
///
/// If a renderer cannot be launched, fails, or ends; or if it is interrupted.
pub fn measure(
    renderers: usize,
    time: Duration,
    interruption: &Interruption,
    mut advanced: impl FnMut(&str),
) -> Result<Row, Error> {
    let mut crowd = Crowd::gather(renderers, interruption)?;
    let before = Resources::now()?;
    crowd.launch(|connected| advanced(&format!("{connected} of {renderers} connected")))?;
    let connected = Resources::now()?;
    advanced("attaching");
    let attach_p50_ns = attach(&crowd)?;
    advanced("all send");
    let load = load(&crowd, time)?;
    let lapped = Resources::now()?;
    let memory = crowd.windows.iter().map(|window| memory_kib(window.os_process_id()));
    let renderer_memory_kib = memory.sum::<ProcResult<u64>>()? as f64 / renderers as f64;
    advanced("all keep a pace");
    let paced = pace(&crowd, time, false)?;
    advanced("one floods, the others keep a pace");
    let flooded = if renderers > 1 { Some(pace(&crowd, time, true)?) } else { None };
    advanced("one invokes, the others are quiet");
    let (invoke_p50_ns, invoke_p99_ns) = invoke(&crowd, time)?;
    advanced("all are idle");
    let idle = idle(&crowd, time)?;

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
        idle_processor_ns: idle.cpu_ns,
    };
    crowd.dismiss()?;
    Ok(row)
}

/// Main's resources.
struct Resources {
    memory_kib: u64,
    descriptors: u64,
}

impl Resources {
    fn now() -> Result<Self, Error> {
        Ok(Self { memory_kib: memory_kib(id())?, descriptors: open_descriptors()? })
    }
}

/// Lets one renderer attach more sessions, one after the other.
fn attach(crowd: &Crowd) -> Result<u64, Error> {
    let order = Order { count: ATTACHES, ..Order::timed(Task::Attach, Duration::ZERO) };
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

/// Lets all renderers send as fast as main takes it.
fn load(crowd: &Crowd, time: Duration) -> Result<Load, Error> {
    crowd.order(&crowd.windows, Order::timed(Task::Stream, time + 2 * SETTLING))?;
    crowd.run_for(SETTLING)?;
    let (counts, processor, began) = (crowd.counts(), thread_cpu_ns(), Instant::now());
    crowd.run_for(time)?;
    let elapsed = began.elapsed().as_secs_f64();
    let processor = (thread_cpu_ns() - processor) as f64;
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

/// Lets all renderers but the first send at a modest pace. The first one floods or rests.
fn pace(crowd: &Crowd, time: Duration, floods: bool) -> Result<Paced, Error> {
    // A single renderer keeps the pace itself.
    let first_paced = usize::from(crowd.windows.len() > 1);
    let paced = &crowd.windows[first_paced..];
    let before = crowd.counts();
    let mut expected = paced.len();
    if floods {
        crowd.order(&crowd.windows[..1], Order::timed(Task::Stream, time))?;
        expected += 1;
    }
    let interval_ns = PACE.as_nanos() as u64;
    crowd.order(paced, Order { interval_ns, ..Order::timed(Task::Pace, time) })?;
    crowd.take_latencies();
    let (processor, began) = (thread_cpu_ns(), Instant::now());
    crowd.reports(expected)?;
    let processor = (thread_cpu_ns() - processor) as f64;
    let elapsed = began.elapsed().as_nanos() as f64;
    let latencies = crowd.take_latencies();

    let taken: Vec<u64> =
        crowd.counts().iter().zip(&before).map(|(after, before)| after - before).collect();
    let due = (time.as_nanos() / PACE.as_nanos()) as f64;
    Ok(Paced {
        main_processor_share: processor / elapsed,
        least_kept: taken[first_paced..].iter().min().map_or(0.0, |least| *least as f64 / due),
        p50_ns: latencies.at(0.5),
        p99_ns: latencies.at(0.99),
        flood_per_second: floods.then(|| taken[0] as f64 / time.as_secs_f64()),
    })
}

/// Lets one renderer invoke while the others are quiet.
fn invoke(crowd: &Crowd, time: Duration) -> Result<(u64, u64), Error> {
    crowd.order(&crowd.windows[..1], Order::timed(Task::Invoke, time))?;
    let report = crowd.reports(1)?[0].1;
    Ok((report.p50_ns, report.p99_ns))
}

/// Measures all processes while none sends anything. Another thread reads the figures, except its own.
fn idle(crowd: &Crowd, time: Duration) -> Result<Usage, Error> {
    let processes: Vec<u32> = crowd.windows.iter().map(|window| window.os_process_id()).collect();
    let running = crowd.ipc.clone();
    let looking = thread::spawn(move || {
        let me = rustix::thread::gettid().as_raw_nonzero().get();
        let look = || -> ProcResult<Usage> {
            processes
                .iter()
                .chain([&id()])
                .try_fold(Usage::default(), |sum, &process| Ok(sum + Usage::of(process, Some(me))?))
        };
        thread::sleep(SETTLING);
        let before = look();
        thread::sleep(time);
        let after = look();
        running.stop();
        Ok::<_, ProcError>(after? - before?)
    });
    // Without a deadline, for which the loop would wake up.
    crowd.ipc.run()?;
    Ok(looking.join().map_err(|_| "looking at the processes panicked")??)
}
