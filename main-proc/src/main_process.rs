//! The main process, from its endpoint to its summary.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::{CONTRACT, GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, SystemInfo};
use renderer_proc::{console::Console, ending::Ending, options::View, pinning};
use ringbridge::{
    BindError, Config, GoneReason, IpcMain, LaunchOptions, Policy, PolicyFile, SweptEndpoint,
    WebContents,
};
use serde::Serialize;
use tracing_subscriber::{fmt::layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    dashboard::Dashboard,
    exporter,
    files::{Folder, Reader},
    options::{Options, WINDOWS_MAX},
    pusher::{Audience, Change, Pusher},
    report::Line,
    sampler::{self, Sampler},
};

/// The maximum delay of main's own signal after a renderer's death by Ctrl-C.
const SIGNAL_DELAY_MAX: Duration = Duration::from_millis(100);

#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) renderers: AtomicU64,
    pub(crate) pushed: AtomicU64,
    pub(crate) invokes: AtomicU64,
    pub(crate) logs: AtomicU64,
    /// Pushes for which there was no space.
    pub(crate) dropped: AtomicU64,
    /// System calls that woke a renderer that slept. Known at the end.
    pub(crate) wakes: AtomicU64,
    /// Intervals without a push, since the pusher or the machine was too slow. Known at the end.
    pub(crate) skipped: AtomicU64,
}

/// The state that the listeners share.
struct MainProcess {
    console: Console,
    ending: Arc<Ending>,
    counts: Arc<Counts>,
    audience: Option<Audience>,
    program: PathBuf,
    /// The error of a program that is no renderer.
    failure: OnceLock<String>,
    dashboard: OnceLock<Dashboard>,
}

/// Serves until the time is over or the end is requested. The summary is the last line, after those of the renderers
/// that were launched here.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if let Some(filter) = &options.log {
        // Lines escape control characters, which a terminal would obey.
        let lines = layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        tracing_subscriber::registry().with(lines).with(filter.clone()).try_init()?;
    }
    let renderers_processors = if options.pin { pin()? } else { Vec::new() };
    let ending = Ending::new();
    ending.listen_to_signals()?;
    let console = Console::new(options.view() == View::Json, ending.clone());
    if options.sweep {
        for SweptEndpoint { name, segments, bytes, .. } in ringbridge::sweep_endpoints()? {
            console.print(&Line::Swept { endpoint: &name, segments, bytes });
        }
        return Ok(());
    }
    let folder = options.files.as_deref().map(Folder::open).transpose()?;
    let policy = policy(options)?;

    let ipc = bind(options)?;
    let stopped = ipc.clone();
    ending.on_request(move || stopped.stop());
    let (endpoint, pid) = (&options.common.endpoint, std::process::id());
    console.print(&Line::Listening { role: "main", endpoint, pid });
    if let Some(address) = options.metrics {
        let address = exporter::start(address, &ipc)?;
        console.print(&Line::Metrics { url: format!("http://{address}/metrics") });
    }

    let counts = Arc::new(Counts::default());
    let pusher = start_pusher(options, &counts)?;
    let process = Arc::new(MainProcess {
        console,
        ending,
        counts,
        audience: pusher.as_ref().map(|pusher| pusher.audience.clone()),
        // By default this program, which notices that it was launched.
        program: options.renderer.clone().map_or_else(env::current_exe, Ok)?,
        failure: OnceLock::new(),
        dashboard: OnceLock::new(),
    });
    process.answer(&ipc, Reader::start(folder)?)?;
    process.watch_windows(&ipc);
    // The library refuses other users first.
    let attached = policy.clone();
    ipc.on_attach(move |_candidate| Ok(attached.clone()));

    if options.has_dashboard() {
        let _ = process.dashboard.set(Dashboard::lend_terminal(&process.console)?);
    }
    let served = process.launch(&ipc, options, &policy, &renderers_processors).and_then(|()| {
        match options.common.duration {
            Some(duration) => ipc.run_for(duration)?,
            None => ipc.run()?,
        }
        Ok(())
    });
    // Pushing ends before the sessions do, so that renderers receive every push.
    if let Some(pusher) = pusher {
        pusher.end();
    }
    let closed = ipc.close();
    if let Some(dashboard) = process.dashboard.get() {
        dashboard.take_back(&process.console);
    }
    closed?;
    process.console.print(&Line::Summary { role: "main", counts: &process.counts });
    served?;
    match process.failure.get() {
        // Ctrl-C may have ended the renderer before it could connect.
        Some(failure) if !process.ending.is_signalled_within(SIGNAL_DELAY_MAX) => {
            Err(failure.as_str().into())
        }
        _ => Ok(()),
    }
}

/// Returns the policy of the file, or the demo's own.
fn policy(options: &Options) -> Result<Policy, String> {
    let Some(path) = &options.policy else { return Ok(contract::policy()) };
    PolicyFile::read(path)
        .and_then(|file| file.policy(CONTRACT))
        .map_err(|error| format!("cannot use the policy {}: {error}", path.display()))
}

/// Pins main to the first of its processors. Returns the others, for the renderers.
fn pin() -> Result<Vec<usize>, Box<dyn Error>> {
    let mut allowed = pinning::allowed()?;
    if allowed.len() < 2 {
        return Err("--pin needs two processors, and this process may use only one".into());
    }
    pinning::pin(allowed.remove(0))?;
    Ok(allowed)
}

fn bind(options: &Options) -> Result<IpcMain, Box<dyn Error>> {
    let config = Config {
        backend: options.common.backend.into(),
        wait: options.common.wait.into(),
        windows_max: usize::from(WINDOWS_MAX),
        ..Config::default()
    };
    let bound = IpcMain::bind_with(&options.common.endpoint, CONTRACT, config);
    bound.map_err(|error| match error {
        BindError::NameInUse { .. } => format!("{error} with --endpoint NAME").into(),
        error => error.into(),
    })
}

fn start_pusher(options: &Options, counts: &Arc<Counts>) -> Result<Option<Pusher>, Box<dyn Error>> {
    let Some(push_interval) = options.push_interval else { return Ok(None) };
    let sampler = options.sample_interval.map(Sampler::start).transpose()?;
    Pusher::start(push_interval, sampler, counts.clone()).map(Some)
}

impl MainProcess {
    fn answer(self: &Arc<Self>, ipc: &IpcMain, reader: Reader) -> Result<(), Box<dyn Error>> {
        let process = self.clone();
        ipc.on(LOG_MESSAGE, move |event, message| {
            process.counts.logs.fetch_add(1, Ordering::Relaxed);
            process.console.print(&Line::log_message(event.sender_id(), message));
        })?;

        let process = self.clone();
        let system_info = sampler::system_info();
        ipc.handle(GET_SYSTEM_INFO, move |_event, ()| {
            process.counts.invokes.fetch_add(1, Ordering::Relaxed);
            Ok(SystemInfo { uptime_s: sampler::uptime_s(), ..system_info })
        })?;

        let process = self.clone();
        ipc.handle_deferred(READ_FILE, move |_event, path, responder| {
            process.counts.invokes.fetch_add(1, Ordering::Relaxed);
            reader.read(path, responder);
        })?;
        Ok(())
    }

    /// Reports windows that come and go to the console and the pusher.
    fn watch_windows(self: &Arc<Self>, ipc: &IpcMain) {
        let process = self.clone();
        ipc.on_did_connect(move |window| {
            process.counts.renderers.fetch_add(1, Ordering::Relaxed);
            let (renderer, pid) = (window.id(), window.os_process_id());
            process.console.print(&Line::DidConnect { renderer, pid });
            process.change_audience(Change::Add(window.clone()));
        });

        let process = self.clone();
        ipc.on_render_process_restarted(move |old, new| {
            let renderer = old.id();
            process.console.print(&match new {
                Ok(new) => Line::RenderProcessRestarted { renderer, successor: new.id() },
                Err(error) => Line::RestartFailed { renderer, why: error.to_string() },
            });
            if let (Some(dashboard), Ok(new)) = (process.dashboard_of(old), new) {
                process.console.hold();
                dashboard.set_owner(new);
            }
        });

        let process = self.clone();
        ipc.on_render_process_gone(move |window, details| {
            process.counts.wakes.fetch_add(window.counters().wakes, Ordering::Relaxed);
            process.console.print(&Line::RenderProcessGone {
                renderer: window.id(),
                reason: details.reason.name(),
                exit_code: details.exit_code,
            });
            process.change_audience(Change::Remove(window.clone()));
            if let Some(dashboard) = process.dashboard_of(window) {
                dashboard.take_back(&process.console);
                if details.reason == GoneReason::CleanExit {
                    process.ending.request();
                }
            }
            // Only a process that was launched here has an exit code. One that will be restarted has another chance.
            if window.restarts_in().is_none()
                && let (GoneReason::LaunchFailed, Some(code)) = (&details.reason, details.exit_code)
                && !process.ending.is_requested()
            {
                let program = process.program.display();
                let why =
                    format!("the renderer {program} ended before it connected, with status {code}");
                let _ = process.failure.set(why);
                process.ending.request();
            }
        });
    }

    fn change_audience(&self, change: Change) {
        // It fails only if the thread has ended.
        let _ = self.audience.as_ref().map(|audience| audience.send(Some(change)));
    }

    fn dashboard_of(&self, window: &WebContents) -> Option<&Dashboard> {
        self.dashboard.get().filter(|dashboard| dashboard.is_owner(window))
    }

    fn launch(
        &self,
        ipc: &IpcMain,
        options: &Options,
        policy: &Policy,
        processors: &[usize],
    ) -> Result<(), Box<dyn Error>> {
        let mut processors = processors.iter().cycle();
        for _ in 0..options.renderers {
            let mut command = Command::new(&self.program);
            command.args(options.common.renderer_arguments(options.view()));
            command.args(processors.next().map(|number| format!("--pin={number}")));
            let restart = options.restart.into();
            let how = LaunchOptions { restart, ..LaunchOptions::default() };
            let window = ipc.launch_with(command, policy.clone(), how)?;
            if let Some(dashboard) = self.dashboard.get() {
                dashboard.set_owner(&window);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_policy_is_the_demos_own() {
        let written = PolicyFile::parse(include_str!("../policy.toml")).unwrap();
        let (written, own) = (written.policy(CONTRACT).unwrap(), contract::policy());
        assert_eq!(format!("{written:?}"), format!("{own:?}"));
    }
}
