//! Renderer to main and back: `ipcRenderer.invoke` and `ipcMain.handle`.
//!
//! ```text
//! cargo run --example get_system_info
//! ```

use std::{env, fs, process::Command, thread};

use ringbridge::{Contract, Dynamic, IpcMain, IpcRenderer, Method, Policy};
use serde::{Deserialize, Serialize};

/// Text of any length, so no fixed layout: any serde type travels in a [`Dynamic`].
#[derive(Debug, Serialize, Deserialize)]
struct SystemInfo {
    host_name: String,
    cpu_model: String,
    cores: usize,
}

const GET_SYSTEM_INFO: Method<(), Dynamic<SystemInfo>> = Method::new("get-system-info");
const CONTRACT: Contract = &[&GET_SYSTEM_INFO];

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-get-system-info", CONTRACT)?;
    ipc.handle(GET_SYSTEM_INFO, |event, ()| {
        println!("main: {} asks", event.sender());
        Ok(Dynamic(system_info()))
    })?;

    let ended = ipc.clone();
    ipc.on_render_process_gone(move |_window, _details| ended.stop());

    let program = env::current_exe().expect("this program has a path");
    ipc.launch(Command::new(program), Policy::deny_all().allow(GET_SYSTEM_INFO))?;
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    // Or `.await`, with `ipc.drive_in_background()`.
    let Dynamic(info) = ipc.invoke(GET_SYSTEM_INFO, &())?.wait()?;
    println!("renderer: {} has {} cores: {}", info.host_name, info.cores, info.cpu_model);
    Ok(())
}

/// What the renderer could not find out by itself in its sandbox.
fn system_info() -> SystemInfo {
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    SystemInfo {
        host_name: host_name.trim().to_owned(),
        cpu_model: model.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned(),
        cores: thread::available_parallelism().map_or(1, usize::from),
    }
}
