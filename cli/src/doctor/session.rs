//! A whole session: this program as main launches itself as a renderer and answers its invokes. Then the renderer enters
//! the sandbox and invokes again.

use std::{
    env,
    error::Error,
    process::{self, Command},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use contract::figures::nanoseconds;
use parking_lot::Mutex;
use ringbridge::{Contract, Event, IpcMain, IpcRenderer, Method, Policy};

use super::{Check, Found, Grade::*};

const PING: Method<u64, u64> = Method::new("ping");
/// The median of a round trip, in nanoseconds.
const ROUND_TRIP_NS: Event<u64> = Event::new("round-trip-ns");
const SANDBOX_LACKS: Event<str> = Event::new("sandbox-lacks");
const CONTRACT: Contract = &[&PING, &ROUND_TRIP_NS, &SANDBOX_LACKS];

const LIMIT: Duration = Duration::from_secs(10);
const PINGS: u64 = 1000;

pub(super) const CHECKS: &[Check] = &[
    Check("a session", Fail, session, "see the lines above: a session needs all of that"),
    Check(
        "the sandbox",
        Note,
        sandbox,
        "Linux 6.12 has all of it; on older kernels run renderers that are not trusted as another user",
    ),
];

/// The renderer's results.
#[derive(Clone, Default)]
struct Report {
    round_trip_ns: Option<u64>,
    sandbox_lacks: Option<String>,
    gone: Option<&'static str>,
}

/// The session runs once, for both checks.
static REPORT: LazyLock<Result<Report, String>> =
    LazyLock::new(|| run_main().map_err(|error| error.to_string()));

fn session() -> Found {
    let report = REPORT.as_ref().map_err(String::as_str)?;
    match report.round_trip_ns {
        Some(ns) => Ok(format!("an invoke and its reply in {} at p50", nanoseconds(ns))),
        None => Err(report.end().into()),
    }
}

fn sandbox() -> Found {
    let report = REPORT.as_ref().map_err(String::as_str)?;
    match report.sandbox_lacks.as_deref() {
        Some("") => Ok("complete, and a session works in it".to_owned()),
        Some(lacks) => Err(format!("not complete: {lacks}").into()),
        None => Err(format!("could not be entered: {}", report.end()).into()),
    }
}

impl Report {
    fn end(&self) -> String {
        match self.gone {
            Some(reason) => format!("the renderer is gone: {reason}"),
            None => "the renderer did not end".to_owned(),
        }
    }
}

fn run_main() -> Result<Report, Box<dyn Error>> {
    let ipc = IpcMain::bind(&format!("doctor-{}", process::id()), CONTRACT)?;
    let report = Arc::new(Mutex::new(Report::default()));
    ipc.handle(PING, |_event, number| Ok(*number))?;
    let noted = report.clone();
    ipc.on(ROUND_TRIP_NS, move |_event, ns| noted.lock().round_trip_ns = Some(*ns))?;
    let noted = report.clone();
    ipc.on(SANDBOX_LACKS, move |_event, text| noted.lock().sandbox_lacks = Some(text.to_owned()))?;
    let (noted, ended) = (report.clone(), ipc.clone());
    ipc.on_render_process_gone(move |_window, details| {
        noted.lock().gone = Some(details.reason.name());
        ended.stop();
    });
    let policy = Policy::deny_all().allow_all(CONTRACT);
    ipc.launch(Command::new(env::current_exe()?), policy)?;
    ipc.run_for(LIMIT)?;
    ipc.close()?;
    let report = report.lock().clone();
    Ok(report)
}

pub(crate) fn run_renderer() -> Result<(), Box<dyn Error>> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    let mut times = Vec::new();
    for number in 0..PINGS {
        let began = Instant::now();
        ipc.invoke(PING, &number)?.wait()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    ipc.send(ROUND_TRIP_NS, &(times[times.len() / 2].as_nanos() as u64))?;
    let sandbox = ipc.sandbox()?;
    ipc.invoke(PING, &0)?.wait()?;
    let missing = sandbox.missing().iter();
    let lacks: Vec<_> = missing.map(|part| format!("{}: {}", part.part, part.why)).collect();
    ipc.send(SANDBOX_LACKS, &lacks.join("; "))?;
    Ok(())
}
