//! The thread that paints, and does what keys ask for.

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
use ratatui::{Terminal, backend::CrosstermBackend, crossterm::event::KeyEvent};

use crate::{
    dashboard::{
        keys::{Keyboard, action},
        model::{Model, Request},
        screen::Frames,
        tally::{Board, Tally},
        view,
    },
    ending::Ending,
    session::Session,
};

/// Between two frames.
const FRAME: Duration = Duration::from_millis(1000 / 15);
/// How long a log message may wait for room, and so the picture stand still.
const SEND_MAX: Duration = Duration::from_millis(100);
/// How long the last frame may take. A terminal that takes nothing has the painter wait for ever.
const LAST_FRAME_MAX: Duration = Duration::from_secs(1);

/// What the painter is told.
enum Told {
    Key(KeyEvent),
    End,
}

impl From<KeyEvent> for Told {
    fn from(key: KeyEvent) -> Self {
        Self::Key(key)
    }
}

/// The handle of the thread.
pub(super) struct Painter {
    thread: JoinHandle<io::Result<()>>,
    tell: Sender<Told>,
    ended: Receiver<()>,
}

impl Painter {
    /// Starts it. When it ends, for whatever reason, so shall the session.
    pub(super) fn start(
        session: &Arc<Session<Board>>,
        keyboard: Keyboard,
        ending: &Arc<Ending>,
    ) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        keyboard.send_to(tell.clone())?;
        let session = session.clone();
        let on_end = OnEnd { ending: ending.clone(), _ended: end };
        let paint = move || {
            let _on_end = on_end;
            paint(&session, &told)
        };
        let thread = thread::Builder::new().name("painter".to_owned()).spawn(paint)?;
        Ok(Self { thread, tell, ended })
    }

    /// Has it end, and says what went wrong, if something did.
    pub(super) fn end(self) -> Result<(), Box<dyn Error>> {
        // Each fails only if the thread has ended by itself.
        let _ = self.tell.send(Told::End);
        match self.ended.recv_timeout(LAST_FRAME_MAX) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => match self.thread.join() {
                Ok(painted) => Ok(painted?),
                Err(_) => Err("the dashboard cannot be painted any more".into()),
            },
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

/// Until somebody wants the end.
fn paint(session: &Arc<Session<Board>>, told: &Receiver<Told>) -> io::Result<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(Frames::default()))?;
    let mut model = Model::default();
    let mut tally = Box::<Tally>::default();
    loop {
        let next_frame = Instant::now() + FRAME;
        session.viewer().take(&mut tally);
        model.absorb(&mut tally, now_ns());
        terminal.draw(|frame| view::draw(frame, &model))?;

        // A key is seen at once; a burst of them in one frame.
        let mut patience = next_frame.saturating_duration_since(Instant::now());
        loop {
            match told.recv_timeout(patience) {
                Ok(Told::Key(key)) => {
                    let request =
                        action(model.keymap(), key).and_then(|action| model.apply(action));
                    match request {
                        Some(Request::Quit) => return Ok(()),
                        Some(request) => ask(session, &mut model, request),
                        None => {}
                    }
                    patience = Duration::ZERO;
                }
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
    }
}

/// Has the session do what a key asked for. The answer comes with a later frame.
fn ask(session: &Arc<Session<Board>>, model: &mut Model, request: Request) {
    match request {
        Request::Quit => {}
        Request::Log(message) => {
            let sent = session.ipc().send_timeout(LOG_MESSAGE, &message, SEND_MAX);
            model.logged(&message, sent);
        }
        Request::AskForSystemInfo => session.ask_for_system_info(),
        Request::ReadFile(path) => session.ask_for_files(vec![path].into_iter()),
    }
}
