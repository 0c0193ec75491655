//! Main to every renderer that listens, one write for all: `publish` and `subscribe`.
//!
//! ```text
//! cargo run --example topic
//! ```

use std::{
    env,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use ringbridge::{Contract, Event, IpcMain, IpcRenderer, Policy, Topic};

ringbridge::payload! {
    struct Quote {
        sequence: u64,
        price: f64,
    }
}

const QUOTES: Topic<Quote> = Topic::new("quotes");
/// From a renderer that has subscribed.
const READY: Event<()> = Event::new("ready");
const CONTRACT: Contract = &[&QUOTES, &READY];

const RENDERERS: u32 = 3;
const COUNT: u64 = 500;

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-topic", CONTRACT)?;

    let (publisher, ready) = (ipc.clone(), AtomicU32::new(0));
    ipc.on(READY, move |_event, ()| {
        if ready.fetch_add(1, Ordering::Relaxed) + 1 < RENDERERS {
            return;
        }
        for sequence in 1..=COUNT {
            let quote = Quote { sequence, price: 100.0 + (sequence as f64).sin() };
            publisher.publish(QUOTES, &quote).expect("the topic is in the contract");
        }
        println!("main: published {COUNT} quotes, once each for {RENDERERS} renderers");
    })?;

    let (ended, gone) = (ipc.clone(), AtomicU32::new(0));
    ipc.on_render_process_gone(move |_window, _details| {
        if gone.fetch_add(1, Ordering::Relaxed) + 1 == RENDERERS {
            ended.stop();
        }
    });

    let program = env::current_exe().expect("this program has a path");
    for _ in 0..RENDERERS {
        ipc.launch(Command::new(&program), Policy::deny_all().allow(QUOTES).allow(READY))?;
    }
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    let (ended, id) = (ipc.clone(), ipc.id());
    let (mut received, mut lost) = (0, 0);
    ipc.subscribe(QUOTES, move |event, quote| {
        received += 1;
        // A reader that is too slow is lapped by the writer, and told how many it missed.
        lost += event.lost();
        if quote.sequence == COUNT {
            println!(
                "renderer {id}: {received} received, {lost} lost, the last at {}",
                quote.price
            );
            ended.stop();
        }
    })?;
    ipc.send(READY, &())?;
    Ok(ipc.run()?)
}
