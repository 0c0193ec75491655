//! A renderer that crashes: `render-process-gone`, what becomes of pending calls, and a restart.
//!
//! ```text
//! cargo run --example crash
//! ```

use std::{
    env,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ringbridge::{
    Contract, Event, Failure, IpcMain, IpcRenderer, LaunchOptions, Method, Policy, RestartPolicy,
    Restarts,
};

const NEXT_TASK: Method<(), u32> = Method::new("next-task");
const DONE: Event<u32> = Event::new("done");
const PROGRESS: Method<(), f32> = Method::new("progress");
const CONTRACT: Contract = &[&NEXT_TASK, &DONE, &PROGRESS];

const TASKS: u32 = 3;
/// The task that nobody survives.
const DEADLY: u32 = 2;

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-crash", CONTRACT)?;
    let tasks = AtomicU32::new(0);
    ipc.handle(NEXT_TASK, move |event, ()| {
        let task = tasks.fetch_add(1, Ordering::Relaxed) + 1;
        if task == DEADLY {
            // It will not live to answer: a pending call ends with its process, long before its deadline.
            let call = event.sender().invoke(PROGRESS, &(), Duration::from_secs(60));
            call.map_err(Failure::new)?.then(|ended| {
                if let Err(error) = ended {
                    println!("main: {error}");
                }
            });
        }
        Ok(task)
    })?;

    ipc.on(DONE, |event, task| println!("main: {} has done task {task}", event.sender()))?;
    let ended = ipc.clone();
    ipc.on_render_process_gone(move |window, details| {
        println!("main: {window} is gone: {}", details.reason);
        match window.restarts_in() {
            Some(pause) => println!("main: another one is launched in {pause:?}"),
            None => ended.stop(),
        }
    });
    ipc.on_render_process_restarted(|old, new| match new {
        Ok(new) => println!("main: {new} takes the place of {old}"),
        Err(error) => println!("main: {old} is not replaced: {error}"),
    });

    // At most three times in a row; and twice as long after each crash as after the last.
    let restarts = Restarts { max: 3, backoff: Duration::from_millis(50), ..Restarts::default() };
    let options =
        LaunchOptions { restart: RestartPolicy::OnCrash(restarts), ..LaunchOptions::default() };
    let policy = Policy::deny_all().allow_all(CONTRACT);
    let program = env::current_exe().expect("this program has a path");
    ipc.launch_with(Command::new(program), policy, options)?;
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    // It answers when it has the time, which it never has.
    let mut unanswered = Vec::new();
    ipc.handle_deferred(PROGRESS, move |_event, (), responder| unanswered.push(responder))?;
    loop {
        let task = ipc.invoke(NEXT_TASK, &())?.wait()?;
        if task == DEADLY {
            process::abort();
        }
        // What was sent is delivered, whatever the next task does to this process.
        ipc.send(DONE, &task)?;
        if task == TASKS {
            return Ok(());
        }
    }
}
