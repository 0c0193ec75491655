//! The main process, from its endpoint to its summary.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::{CONTRACT, GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, SystemInfo};
use renderer_proc::{
    console::Console,
    ending::Ending,
    options::{Interval, View},
};
use ringbridge::{
    BindError, Config, GoneReason, IpcMain, LaunchOptions, Policy, PolicyFile, WebContents,
};

use crate::{
    dashboard::Dashboard,
    files::{Folder, Reader},
    options::{Options, WINDOWS_MAX},
    pusher::{Audience, PushCounts, Pusher},
    report::Line,
    sampler::Sampler,
    system_info,
};

/// How long after a renderer's death by Ctrl-C main may notice its own.
const SIGNAL_DELAY_MAX: Duration = Duration::from_millis(100);

/// What happened, for the summary.
#[derive(Debug, Default)]
struct Counts {
    renderers: AtomicU64,
    invokes: AtomicU64,
    logs: AtomicU64,
}

/// Serves until the time is over or somebody asks for the end. The summary is the last thing printed,
/// after those of the renderers that were launched here.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let ending = Ending::new();
    ending.listen_to_signals()?;
    let console = Console::new(options.view() == View::Json, ending.clone());
    let folder = options.files.as_deref().map(open_folder).transpose()?;
    let system_info = system_info::collect();
    let program = renderer_program(options)?;
    let policy = policy(options)?;

    let ipc = bind(options)?;
    let stopped = ipc.clone();
    ending.on_request(move || stopped.stop());
    console.print(&Line::Listening {
        role: "main",
        endpoint: &options.endpoint,
        pid: std::process::id(),
    });

    let counts = Arc::new(Counts::default());
    let push_counts = Arc::new(PushCounts::default());
    let pusher = start_pusher(options, &push_counts)?;
    let failure = Arc::new(OnceLock::new());
    answer(&ipc, &console, &counts, system_info, folder)?;
    // Other users are refused before they are asked about.
    let attached = policy.clone();
    ipc.on_attach(move |_candidate| Ok(attached.clone()));
    watch_windows(
        &ipc,
        &console,
        &counts,
        pusher.as_ref().map(Pusher::audience),
        &ending,
        &program,
        &failure,
    );

    let dashboard = if options.has_dashboard() {
        let dashboard = Dashboard::lend_terminal(&console)?;
        dashboard.watch(&ipc, &ending);
        Some(dashboard)
    } else {
        None
    };
    let served = launch(&ipc, options, &program, &policy).and_then(|windows| {
        if let (Some(dashboard), Some(window)) = (&dashboard, windows.first()) {
            dashboard.is_shown_by(window);
        }
        match options.duration {
            Some(duration) => ipc.run_for(duration)?,
            None => ipc.run()?,
        }
        Ok(())
    });
    // First nothing more is pushed, then the renderers are told: so they get all that was pushed.
    if let Some(pusher) = pusher {
        pusher.end();
    }
    let closed = ipc.close();
    if let Some(dashboard) = dashboard {
        dashboard.take_back();
    }
    closed?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    console.print(&Line::Summary {
        role: "main",
        renderers: count(&counts.renderers),
        pushed: count(&push_counts.pushed),
        invokes: count(&counts.invokes),
        logs: count(&counts.logs),
        dropped: count(&push_counts.dropped),
    });
    served?;
    match failure.get() {
        // A renderer that Ctrl-C ended before it could connect is no failure.
        Some(failure) if !ending.is_signalled_within(SIGNAL_DELAY_MAX) => {
            Err(String::clone(failure).into())
        }
        _ => Ok(()),
    }
}

fn open_folder(path: &Path) -> Result<Folder, String> {
    Folder::open(path)
        .map_err(|error| format!("cannot serve the folder {}: {error}", path.display()))
}

/// By default this program itself, which notices how it was started.
fn renderer_program(options: &Options) -> Result<PathBuf, String> {
    match &options.renderer {
        Some(program) => Ok(program.clone()),
        None => env::current_exe().map_err(|error| format!("cannot find this program: {error}")),
    }
}

/// The demo's own policy, unless another one is written down.
fn policy(options: &Options) -> Result<Policy, String> {
    let Some(path) = &options.policy else { return Ok(contract::policy()) };
    PolicyFile::read(path)
        .and_then(|file| file.policy(CONTRACT))
        .map_err(|error| format!("cannot use the policy {}: {error}", path.display()))
}

fn bind(options: &Options) -> Result<IpcMain, Box<dyn Error>> {
    let config = Config {
        wait: options.wait.into(),
        windows_max: usize::from(WINDOWS_MAX),
        ..Config::default()
    };
    IpcMain::bind_with(&options.endpoint, CONTRACT, config).map_err(|error| match error {
        BindError::NameInUse { .. } => format!("{error} with --endpoint NAME").into(),
        error => error.into(),
    })
}

fn start_pusher(
    options: &Options,
    counts: &Arc<PushCounts>,
) -> Result<Option<Pusher>, Box<dyn Error>> {
    let Interval(Some(push_interval)) = options.push_interval else { return Ok(None) };
    let sampler = match options.sample_interval {
        Interval(Some(interval)) => Some(Sampler::start(interval)?),
        Interval(None) => None,
    };
    Pusher::start(push_interval, sampler, counts.clone()).map(Some)
}

/// Listens and handles: what renderers may ask of main.
fn answer(
    ipc: &IpcMain,
    console: &Console,
    counts: &Arc<Counts>,
    system_info: SystemInfo,
    folder: Option<Folder>,
) -> Result<(), Box<dyn Error>> {
    let (printed, counted) = (console.clone(), counts.clone());
    ipc.on(LOG_MESSAGE, move |event, message| {
        counted.logs.fetch_add(1, Ordering::Relaxed);
        printed.print(&Line::log_message(event.sender_id(), message));
    })?;

    let counted = counts.clone();
    ipc.handle(GET_SYSTEM_INFO, move |_event, ()| {
        counted.invokes.fetch_add(1, Ordering::Relaxed);
        Ok(SystemInfo { uptime_s: system_info::uptime_s(), ..system_info })
    })?;

    let counted = counts.clone();
    let reader = Reader::start(folder)?;
    ipc.handle_deferred(READ_FILE, move |_event, path, responder| {
        counted.invokes.fetch_add(1, Ordering::Relaxed);
        reader.read(path, responder);
    })?;

    Ok(())
}

/// Prints who comes and goes, tells the pusher, and ends everything if a launched program is no renderer.
fn watch_windows(
    ipc: &IpcMain,
    console: &Console,
    counts: &Arc<Counts>,
    audience: Option<Audience>,
    ending: &Arc<Ending>,
    program: &Path,
    failure: &Arc<OnceLock<String>>,
) {
    let (printed, counted, told) = (console.clone(), counts.clone(), audience.clone());
    ipc.on_did_connect(move |window| {
        counted.renderers.fetch_add(1, Ordering::Relaxed);
        printed.print(&Line::DidConnect { renderer: window.id(), pid: window.os_process_id() });
        if let Some(audience) = &told {
            audience.add(window);
        }
    });

    let printed = console.clone();
    ipc.on_render_process_restarted(move |old, new| match new {
        Ok(new) => {
            printed.print(&Line::RenderProcessRestarted { renderer: old.id(), successor: new.id() })
        }
        Err(error) => {
            printed.print(&Line::RestartFailed { renderer: old.id(), why: error.to_string() });
        }
    });

    let (printed, told) = (console.clone(), audience);
    let (ending, failure, program) = (ending.clone(), failure.clone(), program.to_owned());
    ipc.on_render_process_gone(move |window, details| {
        printed.print(&Line::RenderProcessGone {
            renderer: window.id(),
            reason: details.reason.name(),
            exit_code: details.exit_code,
        });
        if let Some(audience) = &told {
            audience.remove(window);
        }
        // Only what was launched here has an exit code; and what is launched again has another chance.
        if window.restarts_in().is_none()
            && let (GoneReason::LaunchFailed, Some(code)) = (&details.reason, details.exit_code)
            && !ending.is_requested()
        {
            let program = program.display();
            let _ = failure.set(format!(
                "the renderer {program} ended before it connected, with status {code}"
            ));
            ending.request();
        }
    });
}

fn launch(
    ipc: &IpcMain,
    options: &Options,
    program: &Path,
    policy: &Policy,
) -> Result<Vec<WebContents>, Box<dyn Error>> {
    let mut windows = Vec::new();
    for _ in 0..options.renderers {
        let mut command = Command::new(program);
        command.args(["--wait", options.wait.name(), "--view", options.view().name()]);
        command.args(options.sandbox.arguments());
        let restart = options.restart.into();
        let how = LaunchOptions { restart, ..LaunchOptions::default() };
        windows.push(ipc.launch_with(command, policy.clone(), how)?);
    }
    Ok(windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_that_is_written_down_as_an_example_is_the_demos_own() {
        let written = PolicyFile::parse(include_str!("../policy.toml")).unwrap();
        let (written, own) = (written.policy(CONTRACT).unwrap(), contract::policy());
        assert_eq!(format!("{written:?}"), format!("{own:?}"));
    }
}
