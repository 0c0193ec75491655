//! The thread that paints, and passes the user's requests to the session. A second thread reads the keys.

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use contract::{LOG_MESSAGE, now_ns};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::event::{self, Event, KeyEvent},
};

use crate::{
    dashboard::{
        board::Board,
        model::{Model, Purpose, Request},
        screen::Frames,
        view,
    },
    ending::Ending,
    session::Session,
};

const FRAME: Duration = Duration::from_millis(1000 / 15);
/// The time limit for a log message to find space. The picture stands still meanwhile.
const SEND_MAX: Duration = Duration::from_millis(100);
/// The time limit of the last frame. A terminal that reads nothing blocks the painter for ever.
const LAST_FRAME_MAX: Duration = Duration::from_secs(1);

enum Instruction {
    Key(KeyEvent),
    End,
}

pub(super) struct Painter {
    thread: JoinHandle<io::Result<()>>,
    instructions: Sender<Instruction>,
    ended: Receiver<()>,
}

impl Painter {
    /// Starts both threads, after [`open_keyboard`]. The painter's end, by a panic too, ends the session.
    pub(super) fn start(session: &Arc<Session<Board>>) -> io::Result<Self> {
        let (instructions, received) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let keys = instructions.clone();
        let read = move || send_keys(&keys);
        thread::Builder::new().name("keyboard".to_owned()).spawn(read)?;
        let session = session.clone();
        let paint = move || {
            let _on_end = OnEnd { ending: session.context.ending.clone(), _ended: end };
            paint(&session, &received)
        };
        let thread = thread::Builder::new().name("painter".to_owned()).spawn(paint)?;
        Ok(Self { thread, instructions, ended })
    }

    pub(super) fn end(self) -> Result<(), Box<dyn Error>> {
        // It fails only if the thread has ended by itself.
        let _ = self.instructions.send(Instruction::End);
        if self.ended.recv_timeout(LAST_FRAME_MAX) == Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
        let painted = self.thread.join();
        Ok(painted.map_err(|_| "the thread that paints the dashboard has panicked")??)
    }
}

/// Opens the keyboard, which the sandbox would not allow. The terminal is in raw mode.
pub(super) fn open_keyboard() -> io::Result<()> {
    // The first poll creates the library's descriptors.
    event::poll(Duration::ZERO).map(drop)
}

/// Sends each key. Ends with the terminal or the process; nothing can wake it. The sandbox blocks the signal of a size
/// change, so the painter reads the size before each frame.
fn send_keys(keys: &Sender<Instruction>) {
    while let Ok(event) = event::read() {
        if let Event::Key(key) = event
            && keys.send(Instruction::Key(key)).is_err()
        {
            return;
        }
    }
}

/// Dropped at the painter's end, also by a panic.
struct OnEnd {
    ending: Arc<Ending>,
    _ended: Sender<()>,
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        self.ending.request();
    }
}

fn paint(session: &Arc<Session<Board>>, instructions: &Receiver<Instruction>) -> io::Result<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(Frames::default()))?;
    let mut model = Model::default();
    loop {
        let next_frame = Instant::now() + FRAME;
        model.absorb(&mut session.viewer.take(), now_ns());
        terminal.draw(|frame| view::draw(frame, &model))?;

        // A key is shown at once, and a burst of keys in one frame.
        let mut patience = next_frame.saturating_duration_since(Instant::now());
        loop {
            match instructions.recv_timeout(patience) {
                Ok(Instruction::Key(key)) => {
                    patience = Duration::ZERO;
                    match model.press(key) {
                        None => {}
                        Some(Request::Quit) => return Ok(()),
                        // The answers come with a later frame.
                        Some(Request::AskForSystemInfo) => session.ask_for_system_info(),
                        Some(Request::Line(Purpose::ReadFile, path)) => {
                            session.ask_for_files(vec![path].into_iter());
                        }
                        Some(Request::Line(Purpose::LogMessage, message)) => {
                            let ipc = session.ipc();
                            let sent = ipc.send_timeout(LOG_MESSAGE, &message, SEND_MAX);
                            model.logged(&message, sent);
                        }
                    }
                }
                Ok(Instruction::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
    }
}
