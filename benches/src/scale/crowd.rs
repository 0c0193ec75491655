//! Main's half: launches a crowd of renderers, gives them orders, and counts their messages.

use std::{
    env,
    process::{self, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ringbridge::{Config, IpcMain, Policy, WebContents};

use super::renderer::{
    CONTRACT, ECHO, ENDPOINT_VARIABLE, FAILED, MESSAGE, ORDER, Order, REPORT, Report,
};
use crate::{Error, lock, pair::side::stamp, stats::Distribution, system::now_ns};

/// The time that an untimed step may take on a busy machine.
const GRACE: Duration = Duration::from_secs(60);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Requests the end of the run. The crowd is dismissed first, so that its files are removed.
pub(super) fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// A main process, which is this process, and its renderers. Dropping it ends them.
pub(super) struct Crowd {
    pub(super) ipc: IpcMain,
    name: String,
    pub(super) windows: Vec<WebContents>,
    arrivals: Arc<Arrivals>,
}

#[derive(Default)]
struct Arrivals {
    /// The messages of each window; window ids begin at 1. Only the loop's thread adds.
    counts: Vec<AtomicU64>,
    connected: AtomicU32,
    latencies: Mutex<Distribution>,
    reports: Mutex<Vec<(u32, Report)>>,
    ended: Mutex<Option<String>>,
}

impl Crowd {
    /// Binds an endpoint for this number of renderers, and launches none yet.
    pub(super) fn gather(renderers: usize) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("scale-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Attached sessions come on top. `/proc` has to stay readable.
        let config = Config {
            windows_max: renderers + 64,
            protect_memory: false,
            // Most renderers of a crowd are silent.
            prefault: false,
            ..Config::default()
        };
        let ipc = IpcMain::bind_with(&name, CONTRACT, config)?;
        let counts = (0..renderers).map(|_| AtomicU64::new(0)).collect();
        let arrivals = Arc::new(Arrivals { counts, ..Arrivals::default() });
        arrivals.listen(&ipc)?;
        ipc.on_attach(|_candidate| Ok(policy()));
        Ok(Self { ipc, name, windows: Vec::with_capacity(renderers), arrivals })
    }

    /// Launches this program once for each policy, one after the other. Returns the times from `launch` to the
    /// end of the handshake, and calls `launched` with their number so far.
    pub(super) fn launch(
        &mut self,
        policies: impl Iterator<Item = Policy>,
        mut launched: impl FnMut(usize),
    ) -> Result<Vec<Duration>, Error> {
        let mut times = Vec::new();
        let program = env::current_exe()?;
        let renderers = self.arrivals.counts.len();
        for (number, policy) in (1..=renderers).zip(policies) {
            let mut command = Command::new(&program);
            command.env(ENDPOINT_VARIABLE, &self.name);
            let began = Instant::now();
            self.windows.push(self.ipc.launch(command, policy)?);
            self.run_until("a renderer connects", || {
                self.arrivals.connected.load(Ordering::Relaxed) as usize >= number
            })?;
            times.push(began.elapsed());
            launched(number);
        }
        // Each renderer reports once when it listens.
        self.reports(renderers)?;
        Ok(times)
    }

    pub(super) fn order(&self, windows: &[WebContents], order: Order) -> Result<(), Error> {
        for window in windows {
            window.send(ORDER, &order)?;
        }
        Ok(())
    }

    /// Runs the loop until `count` renderers have reported.
    pub(super) fn reports(&self, count: usize) -> Result<Vec<(u32, Report)>, Error> {
        self.run_until("all renderers report", || lock(&self.arrivals.reports).len() >= count)?;
        Ok(std::mem::take(&mut *lock(&self.arrivals.reports)))
    }

    pub(super) fn run_for(&self, time: Duration) -> Result<(), Error> {
        self.run(time, || false).map(|_| ())
    }

    fn run_until(&self, what: &str, done: impl Fn() -> bool) -> Result<(), Error> {
        let error = || format!("not within {GRACE:?}: {what}").into();
        self.run(GRACE, done)?.then_some(()).ok_or_else(error)
    }

    /// Runs the loop until `done` or the end of the time. Listeners stop the loop when they change something.
    fn run(&self, time: Duration, done: impl Fn() -> bool) -> Result<bool, Error> {
        let deadline = Instant::now() + time;
        loop {
            if done() {
                return Ok(true);
            }
            if let Some(reason) = lock(&self.arrivals.ended).clone() {
                return Err(reason.into());
            }
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(false);
            }
            // In steps, so that an interruption is noticed.
            self.ipc.run_for(rest.min(Duration::from_millis(500)))?;
        }
    }

    pub(super) fn counts(&self) -> Vec<u64> {
        self.arrivals.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    pub(super) fn taken_since(&self, before: &[u64]) -> Vec<u64> {
        self.counts().iter().zip(before).map(|(after, before)| after - before).collect()
    }

    pub(super) fn take_latencies(&self) -> Distribution {
        std::mem::take(&mut *lock(&self.arrivals.latencies))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // The listeners keep the endpoint, so that it would not close by itself.
        let _ = self.ipc.close();
    }
}

impl Arrivals {
    fn listen(self: &Arc<Self>, ipc: &IpcMain) -> Result<(), Error> {
        ipc.handle(ECHO, |_event, message| Ok(*message))?;
        let at = self.clone();
        ipc.on(MESSAGE, move |event, message| {
            let stamp = stamp(message);
            if stamp != 0 {
                lock(&at.latencies).add(now_ns().saturating_sub(stamp));
            }
            if let Some(count) = at.counts.get(event.sender_id() as usize - 1) {
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        })?;
        let (at, running) = (self.clone(), ipc.clone());
        ipc.on(REPORT, move |event, report| {
            lock(&at.reports).push((event.sender_id(), *report));
            running.stop();
        })?;
        let (at, running) = (self.clone(), ipc.clone());
        ipc.on(FAILED, move |event, reason| {
            lock(&at.ended).get_or_insert(format!("{} failed: {reason}", event.sender()));
            running.stop();
        })?;
        let (at, running) = (self.clone(), ipc.clone());
        ipc.on_did_connect(move |_window| {
            at.connected.fetch_add(1, Ordering::Relaxed);
            running.stop();
        });
        let at = self.clone();
        ipc.on_render_process_gone(move |window, details| {
            // Only launched renderers have an exit code; attached sessions come and go.
            if let Some(code) = details.exit_code {
                let reason = format!("{window} ended early ({}, {code})", details.reason);
                lock(&at.ended).get_or_insert(reason);
            }
        });
        Ok(())
    }
}

pub(super) fn policy() -> Policy {
    Policy::deny_all().allow_all(CONTRACT)
}
