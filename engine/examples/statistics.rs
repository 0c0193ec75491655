//! Main to one renderer: `webContents.send` and `ipcRenderer.on`.
//!
//! ```text
//! cargo run --example statistics
//! ```

use std::{env, fs, process::Command, thread, time::Duration};

use ringbridge::{Contract, IpcMain, IpcRenderer, Policy, Push};

ringbridge::payload! {
    /// A fixed layout travels as its own bytes, and is read where it lies.
    struct Statistics {
        sequence: u64,
        /// In kilobytes.
        memory_available: u64,
        /// How many tasks wanted to run, in the last minute's mean.
        load: f64,
    }
}

const STATISTICS: Push<Statistics> = Push::new("statistics");
const CONTRACT: Contract = &[&STATISTICS];

const COUNT: u64 = 100;
const INTERVAL: Duration = Duration::from_millis(10);

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-statistics", CONTRACT)?;
    let ended = ipc.clone();
    ipc.on_render_process_gone(move |_window, _details| ended.stop());

    let program = env::current_exe().expect("this program has a path");
    let window = ipc.launch(Command::new(program), Policy::deny_all().allow(STATISTICS))?;

    // A window may be used by any thread; and before its renderer has connected, messages wait in its ring.
    thread::spawn(move || {
        for sequence in 1..=COUNT {
            if let Err(error) = window.send(STATISTICS, &sample(sequence)) {
                return eprintln!("main: {error}");
            }
            thread::sleep(INTERVAL);
        }
    });
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    let ended = ipc.clone();
    ipc.on(STATISTICS, move |_event, statistics| {
        let Statistics { sequence, memory_available, load } = statistics;
        if sequence % 25 == 0 {
            println!("renderer: {sequence}: load {load}, {memory_available} kB available");
        }
        if *sequence == COUNT {
            ended.stop();
        }
    })?;
    Ok(ipc.run()?)
}

fn sample(sequence: u64) -> Statistics {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = |text: &str| text.split_whitespace().next().map(str::to_owned);
    Statistics {
        sequence,
        memory_available: available.and_then(first).and_then(|kb| kb.parse().ok()).unwrap_or(0),
        load: first(&load).and_then(|load| load.parse().ok()).unwrap_or(0.0),
    }
}
