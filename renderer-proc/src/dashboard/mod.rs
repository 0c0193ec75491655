//! The view for a terminal (`--view tui`): the machine's load, the latencies of messages, the renderer's policy, and
//! keys to try it.
//!
//! ```text
//!   the loop's thread               paints, 15 times a second           waits for keys
//!   -----------------               -------------------------           --------------
//!   push ──▶ measure ──▶ Board ──▶  Model ──▶ view ──▶ Screen  ◀─────── keys
//!   answers ───────────▶ Board        ▲ │
//!                                     │ └──▶ session: send, invoke
//!                                   keys
//! ```
//!
//! A frame takes a millisecond, on a slow terminal much longer. On the loop's thread it would delay the next push, and
//! so distort the latencies that it shows. So the loop only adds its measurements to the [`Board`]. Once a frame, the
//! painter exchanges them for an empty set. Reading keys has a third thread, since a read of half a keystroke waits for
//! the other half. Everything that needs the file system or new descriptors happens before the sandbox is entered.

mod board;
mod model;
mod painter;
mod screen;
mod view;

use std::{error::Error, time::Duration};

use ringbridge::IpcRenderer;
use rustix::process::set_parent_process_death_signal;

use crate::{
    context::Context,
    dashboard::{
        board::Board,
        painter::{Painter, open_keyboard},
        screen::Screen,
    },
    session::Session,
    terminal,
};

/// Runs a renderer with a dashboard. It prints its summary when the terminal is restored.
pub(crate) fn run(context: Context) -> Result<(), Box<dyn Error>> {
    if !terminal::is_ours() {
        return Err("--view tui needs a terminal for its input and output; use --view text".into());
    }
    let Some(ipc) = context.connect(Duration::ZERO)? else { return Ok(()) };
    if IpcRenderer::was_launched() {
        // The kernel would kill this process together with main, and leave the terminal as it is. Main's hang-up
        // reports its end as well.
        set_parent_process_death_signal(None)?;
    }
    let screen = Screen::enter()?;
    open_keyboard()?;
    let sandbox = context.enter_sandbox(&ipc)?;

    let session = Session::new(context, ipc, sandbox, Board::default());
    let painter = Painter::start(&session)?;
    let ended = session.run();
    let painted = painter.end();
    drop(screen);
    let ended = ended?;
    painted?;
    session.print_summary(ended);
    Ok(())
}
