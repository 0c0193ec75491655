//! The messages between a crowd and its main process, and the renderer's half: it obeys main's orders, and
//! reports.

use std::{
    collections::VecDeque,
    env,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use ringbridge::{Config, Contract, Event, IpcRenderer, Method, Push, RunError, Topic};

use crate::{Error, cli::exit, lock, pair::side::set_stamp, stats::Distribution, system::now_ns};

ringbridge::payload! {
    /// The next task of a renderer.
    pub(super) enum Task: u32 {
        /// Send as fast as main takes it.
        Stream = 0,
        Pace = 1,
        Invoke = 2,
        /// Connect by name `count` times, each session beside this one.
        Attach = 3,
        /// Subscribe to the topic, and never read it. Main sees an awake renderer.
        Subscribe = 4,
    }
}

ringbridge::payload! {
    /// From main: an order with a time or a count.
    pub(super) struct Order {
        pub(super) task: Task,
        pub(super) count: u32,
        pub(super) time_ns: u64,
        pub(super) interval_ns: u64,
    }
}

ringbridge::payload! {
    /// From a renderer: an order is done. The first report says that the renderer listens.
    pub(super) struct Report {
        pub(super) count: u64,
        pub(super) p50_ns: u64,
        pub(super) p99_ns: u64,
    }
}

/// A message that shares a cache line with its header. The stamp is the time of a paced message, or 0.
pub(super) type Message = [u8; 48];

pub(super) const ORDER: Push<Order> = Push::new("order");
pub(super) const REPORT: Event<Report> = Event::new("report");
pub(super) const FAILED: Event<str> = Event::new("failed");
pub(super) const MESSAGE: Event<Message> = Event::new("message");
pub(super) const ECHO: Method<Message, Message> = Method::new("echo");
pub(super) const PUSH: Push<Message> = Push::new("push");
pub(super) const NEWS: Topic<Message> = Topic::new("news");

pub(super) const CONTRACT: Contract = &[&ORDER, &REPORT, &FAILED, &MESSAGE, &ECHO, &PUSH, &NEWS];

pub(super) fn stamped(stamp: u64) -> Message {
    let mut message = [0; size_of::<Message>()];
    set_stamp(&mut message, stamp);
    message
}

impl Order {
    pub(super) fn timed(task: Task, time: Duration) -> Self {
        Self { task, count: 0, time_ns: time.as_nanos() as u64, interval_ns: 0 }
    }
}

impl Report {
    fn count(count: u64) -> Self {
        Self { count, p50_ns: 0, p99_ns: 0 }
    }

    fn of(all: &Distribution) -> Self {
        Self { count: all.count(), p50_ns: all.at(0.5), p99_ns: all.at(0.99) }
    }
}

pub(super) const ENDPOINT_VARIABLE: &str = "RINGBRIDGE_SCALE";
/// Messages of a stream between two readings of the clock.
const STREAM_BATCH: u64 = 64;
/// The period in which a resting renderer checks whether main is alive.
const REST: Duration = Duration::from_millis(50);

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
        lock(&ordered).push_back(*order);
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
            let order = lock(&orders).pop_front();
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
                // Without running the loop, so that main sees an awake renderer.
                while ipc.is_connected() {
                    thread::sleep(REST);
                }
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
