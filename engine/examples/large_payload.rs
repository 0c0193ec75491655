//! Payloads that no ring carries: they travel in memory of their own, and are read where they lie.
//!
//! ```text
//! cargo run --example large_payload
//! ```

use std::{env, process::Command};

use ringbridge::{Contract, IpcMain, IpcRenderer, Method, Policy};

/// A picture's bytes go to main, and inverted ones come back.
const INVERT: Method<[u8], [u8]> = Method::new("invert");
const CONTRACT: Contract = &[&INVERT];

/// A ring holds 256 KiB unless `Config` says otherwise.
const LEN: usize = 8 << 20;

fn main() -> Result<(), ringbridge::Error> {
    if IpcRenderer::was_launched() { renderer() } else { main_process() }
}

fn main_process() -> Result<(), ringbridge::Error> {
    let ipc = IpcMain::bind("example-large-payload", CONTRACT)?;
    ipc.handle(INVERT, |event, picture| {
        // Not a copy: the renderer's own pages, which the kernel lets nobody change any more.
        println!("main: {} MiB from {}", picture.len() >> 20, event.sender());
        Ok(picture.iter().map(|byte| !byte).collect())
    })?;

    let ended = ipc.clone();
    ipc.on_render_process_gone(move |window, _details| {
        let counters = window.counters();
        println!(
            "main: {} attachment received, {} sent",
            counters.attachments_received, counters.attachments_sent
        );
        ended.stop();
    });

    // How much of such memory main holds for this renderer at once.
    let policy = Policy::deny_all().allow(INVERT).attachment_bytes_max(LEN);
    let program = env::current_exe().expect("this program has a path");
    ipc.launch(Command::new(program), policy)?;
    ipc.run()?;
    Ok(ipc.close()?)
}

fn renderer() -> Result<(), ringbridge::Error> {
    let ipc = IpcRenderer::connect(CONTRACT)?;
    let picture: Vec<u8> = (0..LEN).map(|at| at as u8).collect();
    let inverted = ipc.invoke(INVERT, &picture)?.wait()?;
    assert!(inverted.iter().zip(&picture).all(|(after, before)| *after == !before));
    println!("renderer: {} MiB came back, each byte as it should be", inverted.len() >> 20);

    // One byte more than the policy lets main hold is an error before anything is sent.
    if let Err(error) = ipc.invoke(INVERT, &vec![0; LEN + 1]) {
        println!("renderer: {error}");
    }
    Ok(())
}
