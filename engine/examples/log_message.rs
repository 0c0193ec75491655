//! Renderer to main, one way: `ipcRenderer.send` and `ipcMain.on`.
//!
//! ```text
//! cargo run --example log_message
//! ```

use std::{env, process::Command};

use ringbridge::{Contract, Event, IpcMain, IpcRenderer, Policy};

const LOG_MESSAGE: Event<str> = Event::new("log-message");
const CONTRACT: Contract = &[&LOG_MESSAGE];

fn main() -> Result<(), ringbridge::Error> {
    // One program, two processes: main launches it once more.
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-log-message", CONTRACT)?;
    ipc.on(LOG_MESSAGE, |event, message| println!("{}: {message}", event.sender()))?;

    let ended = ipc.clone();
    ipc.on_render_process_gone(move |window, details| {
        println!("{window} is gone: {}", details.reason);
        ended.stop();
    });

    let program = env::current_exe().expect("this program has a path");
    ipc.launch(Command::new(program), Policy::deny_all().allow(LOG_MESSAGE))?;
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    ipc.send(LOG_MESSAGE, "User clicked a button!")?;
    // What was sent arrives, although this process ends now.
    Ok(ipc.send(LOG_MESSAGE, "User closed the window.")?)
}
