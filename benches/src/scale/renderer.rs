//! The renderer's half: obeys main's orders, and reports.

use std::{
    collections::VecDeque,
    env,
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use ringbridge::{Config, IpcRenderer, RunError};

use super::messages::{
    CONTRACT, ECHO, FAILED, MESSAGE, NEWS, ORDER, Order, REPORT, Report, Task, stamped,
};
use crate::{Error, cli::exit, stats::Distribution, system::now_ns};

/// The environment variable that tells a renderer the name to attach to.
const ENDPOINT_VARIABLE: &str = "RINGBRIDGE_SCALE";
/// Messages of a stream between two readings of the clock.
const STREAM_BATCH: u64 = 64;
/// The period in which a resting renderer checks whether main is alive.
const REST: Duration = Duration::from_millis(50);

/// Tells a renderer that is about to be launched the name to attach to.
pub(super) fn give_endpoint(command: &mut Command, name: &str) {
    command.env(ENDPOINT_VARIABLE, name);
}

/// Does the part of a renderer, if this process was launched as one, and returns its exit status.
pub(super) fn take_part() -> Option<ExitCode> {
    IpcRenderer::was_launched().then(|| exit("renderer", serve().map(|()| true)))
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
    ipc.send(REPORT, &Report::count(0))?;
    loop {
        match ipc.run() {
            Ok(()) => {}
            Err(RunError::MainGone) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        loop {
            // The lock is not held while the order is obeyed.
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
            Ok(Report::count(0))
        }
    }
}

/// Waits until main is gone without running the loop, so that main sees an awake renderer.
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
    Ok(Report::count(count))
}

fn pace(ipc: &IpcRenderer, order: Order) -> Result<Report, Error> {
    let began = now_ns();
    // Each renderer has its own phase, so that the messages do not come in bursts.
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
    Ok(Report::count(count))
}

fn invoke(ipc: &IpcRenderer, order: Order) -> Result<Report, Error> {
    let mut all = Distribution::default();
    let end = now_ns() + order.time_ns;
    let mut now = now_ns();
    while now < end {
        ipc.invoke(ECHO, &stamped(now))?.wait()?;
        let after = now_ns();
        all.add(after - now);
        now = after;
    }
    Ok(Report::of(&all))
}

fn attach(order: Order) -> Result<Report, Error> {
    let name = env::var(ENDPOINT_VARIABLE)?;
    let mut all = Distribution::default();
    for _ in 0..order.count {
        let before = now_ns();
        let session = IpcRenderer::attach(&name, CONTRACT)?;
        all.add(now_ns() - before);
        drop(session);
    }
    Ok(Report::of(&all))
}
