//! The view for a terminal (`--view tui`): how busy the machine is, how messages travel, what this renderer may do,
//! and keys to try it.
//!
//! ```text
//!   receives, as ever               paints, 15 times a second           waits for keys
//!   -----------------               -------------------------           --------------
//!   push ──▶ measure ──▶ Tally ──▶  Model ──▶ view ──▶ Screen  ◀─────── keystrokes
//!   answers ───────────▶ Tally        ▲ │
//!                                     │ └──▶ session: send, invoke
//!                                   keys
//! ```
//!
//! **Painting has a thread of its own.** A frame takes a millisecond, and a terminal that is slow, or far away, any
//! time; between two pushes of the receiving thread it would delay the next, and be seen in the very figures that it
//! shows. So the receiver measures as in every view, adds what it has measured to a [`Tally`], and goes on; the
//! painter exchanges that for an empty one, once a frame, and so conflates whatever came meanwhile. The lock between
//! them is held for an exchange of two pointers.
//!
//! Reading keys has a third one, since a read of half a keystroke waits for the other half.
//!
//! Whatever needs the file system or new descriptors happens before the sandbox is entered. Inside it the terminal's
//! size and modes can be had and set, and nothing else of it.

mod keys;
mod model;
mod painter;
mod screen;
mod tally;
mod view;

use std::{error::Error, sync::Arc};

use ringbridge::IpcRenderer;
use rustix::process::set_parent_process_death_signal;

use crate::{
    connection::{connect, enter_sandbox},
    console::Console,
    dashboard::{keys::Keyboard, painter::Painter, screen::Screen, tally::Board},
    ending::Ending,
    options::Options,
    session::Session,
    terminal,
};

/// Runs a renderer that shows itself in a terminal. Its summary is printed once that shows again what it did before.
pub(crate) fn run(
    options: &Options,
    ending: &Arc<Ending>,
    console: &Console,
) -> Result<(), Box<dyn Error>> {
    if !terminal::is_ours() {
        return Err(
            "--view tui needs a terminal for its input and output; --view text does not".into()
        );
    }
    let Some(ipc) = connect(options, ending)? else { return Ok(()) };
    if IpcRenderer::was_launched() {
        // The kernel would kill this process with main, and leave the terminal as it is. Main's end is seen by its
        // hanging up.
        set_parent_process_death_signal(None)?;
    }
    let screen = Screen::enter()?;
    let keyboard = Keyboard::open()?;
    let sandbox = enter_sandbox(&ipc, options)?;

    let session = Session::new(ipc, sandbox, Board::default());
    let painter = Painter::start(&session, keyboard, ending)?;
    let ended = session.run(options, ending);
    let painted = painter.end();
    drop(screen);
    let ended = ended?;
    painted?;
    console.print(&session.end(ended));
    Ok(())
}
