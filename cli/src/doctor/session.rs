//! A whole session, tried out: this program as main launches itself as a renderer, asks it in and lets it ask;
//! then the renderer goes into the sandbox and asks again.

use std::{
    env,
    error::Error,
    process::{self, Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ringbridge::{Contract, Event, IpcMain, IpcRenderer, Method, Policy};

use super::Finding;

const PING: Method<u64, u64> = Method::new("ping");
/// What the renderer found: how long a round trip took, in nanoseconds, and what the sandbox lacks.
const ROUND_TRIP_NS: Event<u64> = Event::new("round-trip-ns");
const SANDBOX_LACKS: Event<str> = Event::new("sandbox-lacks");
const CONTRACT: Contract = &[&PING, &ROUND_TRIP_NS, &SANDBOX_LACKS];

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(10);
const PINGS: u64 = 1000;

pub(super) const CHECKS: &[fn() -> Vec<Finding>] = &[run];

#[derive(Default)]
struct Heard {
    round_trip_ns: Option<u64>,
    sandbox_lacks: Option<String>,
    gone: Option<String>,
}

fn run() -> Vec<Finding> {
    const SESSION: &str = "a session";
    const SANDBOX: &str = "the sandbox";
    let heard = match try_out() {
        Ok(heard) => heard,
        Err(error) => {
            let remedy = "see the lines above: a session needs all of that";
            return vec![Finding::fail(SESSION, error.to_string(), remedy)];
        }
    };
    let Heard { round_trip_ns, sandbox_lacks, gone } = heard;
    let gone = gone.unwrap_or_else(|| "the renderer did not end".to_owned());
    let session = match round_trip_ns {
        Some(ns) => Finding::good(
            SESSION,
            format!(
                "an invoke and its reply in {} at p50",
                crate::figures::span(Duration::from_nanos(ns))
            ),
        ),
        None => {
            Finding::fail(SESSION, gone.clone(), "see the lines above: a session needs all of that")
        }
    };
    let sandbox = match sandbox_lacks {
        Some(lacks) if lacks.is_empty() => {
            Finding::good(SANDBOX, "complete, and a session works in it")
        }
        Some(lacks) => Finding::note(
            SANDBOX,
            format!("not complete: {lacks}"),
            "Linux 6.12 has all of it; till then run renderers that are not trusted as another user",
        ),
        None => Finding::note(
            SANDBOX,
            format!("could not be entered: {gone}"),
            "run renderers that are not trusted as another user",
        ),
    };
    vec![session, sandbox]
}

/// Main's part.
fn try_out() -> Result<Heard, Box<dyn Error>> {
    let ipc = IpcMain::bind(&format!("doctor-{}", process::id()), CONTRACT)?;
    let heard = Arc::new(Mutex::new(Heard::default()));
    let note = |change: fn(&mut Heard, String)| {
        let heard = heard.clone();
        move |text: String| change(&mut heard.lock().unwrap_or_else(PoisonError::into_inner), text)
    };
    let (lacks, gone, noted) = (
        note(|heard, text| heard.sandbox_lacks = Some(text)),
        note(|heard, text| heard.gone = Some(text)),
        heard.clone(),
    );
    ipc.handle(PING, |_event, number| Ok(*number))?;
    ipc.on(ROUND_TRIP_NS, move |_event, ns| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).round_trip_ns = Some(*ns);
    })?;
    ipc.on(SANDBOX_LACKS, move |_event, text| lacks(text.to_owned()))?;
    let ended = ipc.clone();
    ipc.on_render_process_gone(move |_window, details| {
        gone(format!("the renderer went: {}", details.reason.name()));
        ended.stop();
    });
    let policy = Policy::deny_all().allow_all(CONTRACT);
    ipc.launch(Command::new(env::current_exe()?), policy)?;
    ipc.run_for(LIMIT)?;
    ipc.close()?;
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *heard))
}

/// The renderer's part.
pub(crate) fn renderer() -> ExitCode {
    match ask() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringbridge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask() -> Result<(), ringbridge::Error> {
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
    let lacks =
        sandbox.missing().iter().map(|missing| format!("{}: {}", missing.part, missing.why));
    ipc.send(SANDBOX_LACKS, lacks.collect::<Vec<_>>().join("; ").as_str())?;
    Ok(())
}
