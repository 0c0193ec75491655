//! Main's half: launches a crowd of renderers, gives them orders, and counts what comes.

use std::{
    env,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use ringbridge::{Config, IpcMain, Policy, WebContents};

use super::{
    messages::{CONTRACT, ECHO, FAILED, MESSAGE, ORDER, Order, REPORT, Report, stamp_of},
    renderer::give_endpoint,
};
use crate::{Error, clock::now_ns};

/// How long anything may take that is not timed itself, on a machine that is busy.
const GRACE: Duration = Duration::from_secs(60);
/// A longer sample counts as this long.
const SAMPLE_MAX_NS: u64 = 60_000_000_000;

/// Whether somebody asked for the end. The crowd that is there then is dismissed in an orderly way.
#[derive(Clone, Default)]
pub struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Asks for the end, within moments.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A main process, which is this one, and its renderers. Its end is theirs.
pub(super) struct Crowd {
    pub(super) ipc: IpcMain,
    name: String,
    pub(super) windows: Vec<WebContents>,
    /// From the call of `launch` until the handshake was done, one renderer after the other.
    pub(super) connecting: Vec<Duration>,
    arrivals: Arc<Arrivals>,
    interruption: Interruption,
}

/// What the listeners leave.
struct Arrivals {
    /// By window: they count from 1. Only the loop's thread adds.
    counts: Vec<AtomicU64>,
    connected: AtomicU32,
    latencies: Mutex<Histogram<u64>>,
    reports: Mutex<Vec<(u32, Report)>>,
    ended: Mutex<Option<String>>,
}

impl Crowd {
    /// An endpoint for so many renderers, without any yet.
    pub(super) fn gather(renderers: usize, interruption: &Interruption) -> Result<Self, Error> {
        let name = endpoint_name();
        // Attached sessions come on top. What is measured here is looked at from `/proc`.
        let config = Config {
            windows_max: renderers + 64,
            protect_memory: false,
            // As a crowd should be, most of which is silent.
            prefault: false,
            ..Config::default()
        };
        let ipc = IpcMain::bind_with(&name, CONTRACT, config)?;
        let arrivals = Arc::new(Arrivals::new(renderers)?);
        arrivals.listen(&ipc)?;
        ipc.on_attach(|_candidate| Ok(policy()));
        Ok(Self {
            ipc,
            name,
            windows: Vec::with_capacity(renderers),
            connecting: Vec::with_capacity(renderers),
            arrivals,
            interruption: interruption.clone(),
        })
    }

    /// Launches this program once for each renderer; its `main` must call
    /// [`renderer_main`](super::renderer_main) if it was launched.
    pub(super) fn launch(&mut self, launched: impl FnMut(usize)) -> Result<(), Error> {
        self.launch_under(std::iter::repeat_with(policy), launched)
    }

    /// As [`launch`](Self::launch), each under a policy of its own.
    pub(super) fn launch_under(
        &mut self,
        policies: impl IntoIterator<Item = Policy>,
        mut launched: impl FnMut(usize),
    ) -> Result<(), Error> {
        let program = env::current_exe()?;
        let renderers = self.arrivals.counts.len();
        for (number, policy) in (1..=renderers).zip(policies) {
            let mut command = Command::new(&program);
            give_endpoint(&mut command, &self.name);
            let began = Instant::now();
            self.windows.push(self.ipc.launch(command, policy)?);
            self.run_until("a renderer connects", || {
                self.arrivals.connected.load(Ordering::Relaxed) as usize >= number
            })?;
            self.connecting.push(began.elapsed());
            launched(number);
        }
        // Each says so when it listens.
        self.reports(renderers)?;
        Ok(())
    }

    /// Gives an order to some of the renderers.
    pub(super) fn order(&self, windows: &[WebContents], order: Order) -> Result<(), Error> {
        for window in windows {
            window.send(ORDER, &order)?;
        }
        Ok(())
    }

    /// Runs the loop until so many have reported.
    pub(super) fn reports(&self, count: usize) -> Result<Vec<(u32, Report)>, Error> {
        self.run_until("all renderers report", || self.arrivals.reports().len() >= count)?;
        Ok(std::mem::take(&mut *self.arrivals.reports()))
    }

    /// Runs the loop for so long.
    pub(super) fn run_for(&self, time: Duration) -> Result<(), Error> {
        self.run(time, || false).map(|_| ())
    }

    fn run_until(&self, what: &str, done: impl Fn() -> bool) -> Result<(), Error> {
        if self.run(GRACE, done)? {
            Ok(())
        } else {
            Err(format!("not within {GRACE:?}: {what}").into())
        }
    }

    /// Runs the loop until it is done or the time is over. Listeners stop the loop when there may be
    /// something to look at.
    fn run(&self, time: Duration, done: impl Fn() -> bool) -> Result<bool, Error> {
        let deadline = Instant::now() + time;
        loop {
            if done() {
                return Ok(true);
            }
            if let Some(reason) = self.arrivals.ended().clone() {
                return Err(reason.into());
            }
            if self.interruption.requested() {
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

    /// How many messages have come from each renderer.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.arrivals.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The latencies of paced messages since the last look.
    pub(super) fn take_latencies(&self) -> Histogram<u64> {
        let mut latencies = self.arrivals.latencies();
        let taken = latencies.clone();
        latencies.reset();
        taken
    }

    /// Ends all of them.
    pub(super) fn dismiss(self) -> Result<(), Error> {
        // Their ends are no failures any more, and dropping it is no way to hear of errors.
        Ok(self.ipc.close()?)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // The listeners keep the endpoint, so that it would not close by itself.
        let _ = self.ipc.close();
    }
}

impl Arrivals {
    fn new(renderers: usize) -> Result<Self, Error> {
        Ok(Self {
            counts: (0..renderers).map(|_| AtomicU64::new(0)).collect(),
            connected: AtomicU32::new(0),
            latencies: Mutex::new(Histogram::new_with_bounds(1, SAMPLE_MAX_NS, 3)?),
            reports: Mutex::new(Vec::new()),
            ended: Mutex::new(None),
        })
    }

    fn listen(self: &Arc<Self>, ipc: &IpcMain) -> Result<(), Error> {
        ipc.handle(ECHO, |_event, message| Ok(*message))?;
        let at = self.clone();
        ipc.on(MESSAGE, move |event, message| {
            let stamp = stamp_of(message);
            if stamp != 0 {
                at.latencies().saturating_record(now_ns().saturating_sub(stamp));
            }
            if let Some(count) = at.counts.get(event.sender_id() as usize - 1) {
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        })?;
        let (at, running) = (self.clone(), ipc.clone());
        ipc.on(REPORT, move |event, report| {
            at.reports().push((event.sender_id(), *report));
            running.stop();
        })?;
        let (at, running) = (self.clone(), ipc.clone());
        ipc.on(FAILED, move |event, reason| {
            at.ended().get_or_insert(format!("{} failed: {reason}", event.sender()));
            running.stop();
        })?;
        let (at, running) = (self.clone(), ipc.clone());
        ipc.on_did_connect(move |_window| {
            at.connected.fetch_add(1, Ordering::Relaxed);
            running.stop();
        });
        let at = self.clone();
        ipc.on_render_process_gone(move |window, details| {
            // Only those that were launched have an exit code; the others come and go.
            if let Some(code) = details.exit_code {
                let reason = format!("{window} ended early ({}, {code})", details.reason);
                at.ended().get_or_insert(reason);
            }
        });
        Ok(())
    }

    fn latencies(&self) -> MutexGuard<'_, Histogram<u64>> {
        lock(&self.latencies)
    }

    fn reports(&self) -> MutexGuard<'_, Vec<(u32, Report)>> {
        lock(&self.reports)
    }

    fn ended(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.ended)
    }
}

/// What these locks guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn policy() -> Policy {
    Policy::deny_all().allow_all(CONTRACT)
}

/// A name of its own for each crowd of this process.
fn endpoint_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("scale-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
