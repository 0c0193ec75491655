//! A renderer's half: does what main orders, and reports.

use std::{
    collections::VecDeque,
    env,
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;
use ringbridge::{Config, IpcRenderer, RunError};

use super::messages::{
    CONTRACT, ECHO, FAILED, MESSAGE, NEWS, ORDER, Order, REPORT, Report, Task, stamped,
};
use crate::{Error, clock::now_ns};

/// The environment variable by which a renderer learns the name to attach to.
const ENDPOINT_VARIABLE: &str = "RINGBRIDGE_SCALE";
/// Messages of a stream between two looks at the clock.
const STREAM_BATCH: u64 = 64;
/// How often a renderer that does nothing looks whether main is there.
const REST: Duration = Duration::from_millis(50);
/// A longer sample counts as this long.
const SAMPLE_MAX_NS: u64 = 60_000_000_000;

/// Tells a renderer that is about to be launched what it needs to know.
pub(super) fn give_endpoint(command: &mut Command, name: &str) {
    command.env(ENDPOINT_VARIABLE, name);
}

/// The whole life of a renderer.
pub fn renderer_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("renderer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let config = Config { prefault: false, ..Config::default() };
    let ipc = IpcRenderer::connect_with(CONTRACT, config)?;
    let orders = Arc::new(Mutex::new(VecDeque::new()));
    let (ordered, running) = (orders.clone(), ipc.clone());
    ipc.on(ORDER, move |_event, order| {
        ordered.lock().unwrap_or_else(PoisonError::into_inner).push_back(*order);
        running.stop();
    })?;
    ipc.send(REPORT, &Report { count: 0, p50_ns: 0, p99_ns: 0 })?;
    loop {
        match ipc.run() {
            Ok(()) => {}
            Err(RunError::MainGone) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        loop {
            // The lock is not held while the order is carried out.
            let order = orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(order) = order else { break };
            match obey(&ipc, order) {
                Ok(report) => ipc.send(REPORT, &report)?,
                Err(_) if !ipc.is_connected() => return Ok(()),
                Err(error) => {
                    ipc.send(FAILED, &error.to_string())?;
                    return Ok(());
                }
            }
            if order.task == Task::Subscribe {
                rest(&ipc);
                return Ok(());
            }
        }
    }
}

fn obey(ipc: &IpcRenderer, order: Order) -> Result<Report, Error> {
    match order.task {
        Task::Stream => stream(ipc, order),
        Task::Pace => pace(ipc, order),
        Task::Invoke => invoke(ipc, order),
        Task::Attach => attach(order),
        Task::Subscribe => {
            ipc.subscribe(NEWS, |_event, _message| ())?;
            Ok(Report { count: 0, p50_ns: 0, p99_ns: 0 })
        }
    }
}

/// Does not run the loop, and so never says that it sleeps, until main is gone.
fn rest(ipc: &IpcRenderer) {
    while ipc.is_connected() {
        thread::sleep(REST);
    }
}

fn stream(ipc: &IpcRenderer, order: Order) -> Result<Report, Error> {
    let end = now_ns() + order.time_ns;
    let message = stamped(0);
    let mut count = 0;
    while now_ns() < end {
        for _ in 0..STREAM_BATCH {
            ipc.send(MESSAGE, &message)?;
        }
        count += STREAM_BATCH;
    }
    Ok(Report { count, p50_ns: 0, p99_ns: 0 })
}

fn pace(ipc: &IpcRenderer, order: Order) -> Result<Report, Error> {
    let began = now_ns();
    // Each at a phase of its own, so that they do not come in bursts.
    let mut due = began + order.interval_ns * (u64::from(ipc.id()) * 618 % 1000) / 1000;
    let mut count = 0;
    while due < began + order.time_ns {
        let now = now_ns();
        if let Some(ahead) = due.checked_sub(now).filter(|ahead| *ahead > 0) {
            thread::sleep(Duration::from_nanos(ahead));
        }
        ipc.send(MESSAGE, &stamped(now_ns()))?;
        count += 1;
        due += order.interval_ns;
    }
    Ok(Report { count, p50_ns: 0, p99_ns: 0 })
}

fn invoke(ipc: &IpcRenderer, order: Order) -> Result<Report, Error> {
    let mut histogram = Histogram::new_with_bounds(1, SAMPLE_MAX_NS, 3)?;
    let end = now_ns() + order.time_ns;
    let mut now = now_ns();
    while now < end {
        ipc.invoke(ECHO, &stamped(now))?.wait()?;
        let after = now_ns();
        histogram.saturating_record(after - now);
        now = after;
    }
    Ok(report_of(&histogram))
}

fn attach(order: Order) -> Result<Report, Error> {
    let name = env::var(ENDPOINT_VARIABLE)?;
    let mut histogram = Histogram::new_with_bounds(1, SAMPLE_MAX_NS, 3)?;
    for _ in 0..order.count {
        let before = now_ns();
        let session = IpcRenderer::attach(&name, CONTRACT)?;
        histogram.saturating_record(now_ns() - before);
        drop(session);
    }
    Ok(report_of(&histogram))
}

fn report_of(histogram: &Histogram<u64>) -> Report {
    Report {
        count: histogram.len(),
        p50_ns: histogram.value_at_quantile(0.5),
        p99_ns: histogram.value_at_quantile(0.99),
    }
}
