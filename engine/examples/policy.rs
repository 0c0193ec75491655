//! What a renderer may not do: Electron's `contextBridge` and `validateSender`, enforced by main.
//!
//! ```text
//! cargo run --example policy
//! ```

use std::{env, fs, process::Command};

use ringbridge::{Contract, Event, Failure, IpcMain, IpcRenderer, Method, Policy};

const READ_FILE: Method<str, str> = Method::new("read-file");
const DELETE_FILE: Method<str, ()> = Method::new("delete-file");
const LOG_MESSAGE: Event<str> = Event::new("log-message");
const CONTRACT: Contract = &[&READ_FILE, &DELETE_FILE, &LOG_MESSAGE];

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-policy", CONTRACT)?;
    // Before any handler sees a path.
    ipc.validate(READ_FILE, |_event, path| match path {
        "/proc/sys/kernel/ostype" => Ok(()),
        _ => Err(format!("'{path}' is not among the files to be read")),
    })?;
    ipc.handle(READ_FILE, |_event, path| fs::read_to_string(path).map_err(Failure::new))?;
    ipc.handle(DELETE_FILE, |_event, path| fs::remove_file(path).map_err(Failure::new))?;
    ipc.on(LOG_MESSAGE, |event, message| println!("{}: {message}", event.sender()))?;

    let ended = ipc.clone();
    ipc.on_render_process_gone(move |window, _details| {
        println!("main: {} invoke was rejected by its validator", window.counters().rejected);
        ended.stop();
    });

    // What is not named is denied: this renderer deletes nothing, whatever its code says.
    let policy = Policy::deny_all().allow(READ_FILE).allow(LOG_MESSAGE).message_max(64);
    let program = env::current_exe().expect("this program has a path");
    ipc.launch(Command::new(program), policy)?;
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    let system = ipc.invoke(READ_FILE, "/proc/sys/kernel/ostype")?.wait()?;
    println!("renderer: allowed: {}", system.trim());

    if let Err(error) = ipc.invoke(READ_FILE, "/etc/shadow")?.wait() {
        println!("renderer: {error}");
    }
    if let Err(error) = ipc.invoke(DELETE_FILE, "/etc/shadow") {
        println!("renderer: {error}");
    }
    if let Err(error) = ipc.send(LOG_MESSAGE, &"x".repeat(65)) {
        println!("renderer: {error}");
    }
    Ok(ipc.send(LOG_MESSAGE, "that was all")?)
}
