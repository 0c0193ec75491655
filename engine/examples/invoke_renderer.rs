//! Main to a renderer and back, which Electron does not have: `WebContents::invoke`.
//!
//! ```text
//! cargo run --example invoke_renderer
//! ```

use std::{env, process::Command, time::Duration};

use ringbridge::{Contract, Failure, InvokeError, IpcMain, IpcRenderer, Method, Policy, RunError};

/// A measurement that the renderer makes for main.
const WIDTH_OF: Method<str, u32> = Method::new("width-of");
/// One that takes too long.
const THINK: Method<(), ()> = Method::new("think");
const CONTRACT: Contract = &[&WIDTH_OF, &THINK];

/// A renderer is not trusted to answer, so main always says how long it waits.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-invoke-renderer", CONTRACT)?;
    let program = env::current_exe().expect("this program has a path");
    let policy = Policy::deny_all().allow(WIDTH_OF).allow(THINK);
    let window = ipc.launch(Command::new(program), policy)?;

    // Waiting drives main's loop: its listeners and handlers run meanwhile.
    let width = window.invoke(WIDTH_OF, "Hello", PATIENCE)?.wait()?;
    println!("main: the text is {width} pixels wide");

    // A handler's error comes back as the value that it is.
    match window.invoke(WIDTH_OF, "", PATIENCE)?.wait() {
        Err(InvokeError::Handler { error, .. }) => println!("main: refused: {}", error.message()),
        other => println!("main: {other:?}"),
    }

    let deadline = Duration::from_millis(100);
    if let Err(error) = window.invoke(THINK, &(), deadline)?.wait() {
        println!("main: {error}");
    }
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    ipc.handle(WIDTH_OF, |_event, text| match text.len() as u32 {
        0 => Err(Failure::new("there is no text")),
        letters => Ok(9 * letters),
    })?;
    // It keeps the means to answer, and never does.
    let mut unanswered = Vec::new();
    ipc.handle_deferred(THINK, move |_event, (), responder| unanswered.push(responder))?;
    match ipc.run() {
        // Main had all that it wanted.
        Err(RunError::MainGone) => Ok(()),
        ended => Ok(ended?),
    }
}
