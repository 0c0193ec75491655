//! Where a test plays the main process.

use std::{
    io::PipeWriter,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use ringbridge::{
    Config, ConnectError, Contract, Counters, GoneReason, IpcMain, IpcRenderer, LaunchOptions,
    Policy, RenderProcessGone, WebContents,
};
use rustix::process::Signal;

use crate::{
    backend::backend,
    contract::{ADD, ASK, CONTRACT, CUE, REPORT},
    processes::{LIMIT, signal, unique_name},
    scene::{ProcessScene, RendererScene, process, renderer, with_input},
    scenes::asks,
};

/// How long the loop runs between two looks at what a test waits for.
const SLICE: Duration = Duration::from_millis(2);

/// A main process with an endpoint of its own, which notes what its renderers report and how they end.
/// Closed when dropped.
pub struct Stage {
    pub ipc: IpcMain,
    name: String,
    reports: Arc<Mutex<Vec<(u32, String)>>>,
    endings: Arc<Mutex<Vec<Ending>>>,
    launched: Mutex<Vec<u32>>,
}

/// How a renderer ended.
#[derive(Clone, Debug)]
pub struct Ending {
    pub window: u32,
    /// What `render-process-gone` said.
    pub details: RenderProcessGone,
    /// The window's counters at that moment.
    pub counters: Counters,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of a stage, to change some of them.
pub fn config() -> Config {
    // The tests of one file are one process, which must be able to look at itself.
    Config { protect_memory: false, backend: backend(), ..Config::default() }
}

/// A policy that allows every channel of the contract.
pub fn allow_everything() -> Policy {
    Policy::deny_all().allow_all(CONTRACT)
}

impl Stage {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        let name = unique_name("stage");
        let ipc = IpcMain::bind_with(&name, CONTRACT, config).expect("the name is new");
        let reports = Arc::new(Mutex::new(Vec::new()));
        let endings = Arc::new(Mutex::new(Vec::new()));
        let (reported, ended) = (reports.clone(), endings.clone());
        ipc.on(REPORT, move |event, text| {
            reported.lock().unwrap().push((event.sender_id(), text.to_owned()));
        })
        .expect("the contract has it");
        ipc.on_render_process_gone(move |window, details| {
            ended.lock().unwrap().push(Ending {
                window: window.id(),
                details: details.clone(),
                counters: window.counters(),
            });
        });
        Self { ipc, name, reports, endings, launched: Mutex::new(Vec::new()) }
    }

    /// A stage that admits everyone and answers.
    pub fn open() -> Self {
        let stage = Self::new();
        stage.ipc.on_attach(|_| Ok(allow_everything()));
        stage.ipc.handle(ADD, |_, [left, right]| Ok(left + right)).expect("the contract has it");
        stage.ipc.handle(ASK, |_, number| Ok(*number)).expect("the contract has it");
        stage
    }

    /// Attaches from another thread, while the stage answers.
    pub fn attach(&self, contract: Contract) -> Result<IpcRenderer, ConnectError> {
        let name = self.name.clone();
        let attaching = thread::spawn(move || IpcRenderer::attach_with(&name, contract, config()));
        self.run_until("the handshake is over", || attaching.is_finished());
        attaching.join().expect("it does not panic")
    }

    /// Launches an honest renderer, and sees it served by an [open](Self::open) stage.
    pub fn serves_others(&self) {
        let window = self.play_with(asks, &["20"]);
        self.run_until_gone(&window);
        let expected = (0..20).map(|number| number.to_string());
        assert!(self.reports_of(&window).into_iter().eq(expected));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Launches a renderer, to which every channel is allowed.
    pub fn play(&self, scene: RendererScene) -> WebContents {
        self.play_with(scene, &[])
    }

    pub fn play_with(&self, scene: RendererScene, arguments: &[&str]) -> WebContents {
        self.launch(renderer(scene, arguments), allow_everything())
    }

    /// Launches a renderer that connects by itself.
    pub fn play_process(&self, scene: ProcessScene, arguments: &[&str]) -> WebContents {
        self.launch(process(scene, arguments), allow_everything())
    }

    /// Launches a renderer with a pipe to its standard input.
    pub fn play_with_input(
        &self,
        scene: RendererScene,
        arguments: &[&str],
        policy: Policy,
    ) -> (WebContents, PipeWriter) {
        let (command, input) = with_input(renderer(scene, arguments));
        (self.launch(command, policy), input)
    }

    pub fn launch(&self, command: Command, policy: Policy) -> WebContents {
        self.launch_with(command, policy, LaunchOptions::default())
    }

    pub fn launch_with(
        &self,
        command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> WebContents {
        let window = self.ipc.launch_with(command, policy, options).expect("it can be launched");
        self.launched.lock().unwrap().push(window.id());
        window
    }

    /// Runs the loop until the condition holds.
    pub fn run_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "not within {LIMIT:?}: {what}; reports: {:?}; endings: {:?}",
                self.reports(),
                self.endings(),
            );
            self.ipc.run_for(SLICE).expect("nobody else runs the loop");
        }
    }

    /// Runs the loop until some renderer has reported this.
    pub fn run_until_reported(&self, text: &str) {
        self.run_until(text, || self.reports().iter().any(|reported| reported == text));
    }

    /// Runs the loop until every renderer that was launched has ended by itself and well. Returns
    /// what they reported.
    pub fn run_to_the_end(&self) -> Vec<String> {
        let launched = self.launched.lock().unwrap().len();
        self.run_until("all renderers have ended", || self.endings().len() >= launched);
        for Ending { window, details, .. } in self.endings() {
            let RenderProcessGone { reason, exit_code } = details;
            assert_eq!((reason, exit_code), (GoneReason::CleanExit, Some(0)), "window {window}");
        }
        self.reports()
    }

    /// Notes each window that connects from now on.
    pub fn connected(&self) -> Notes<WebContents> {
        let connected = Notes::new();
        let notes = connected.clone();
        self.ipc.on_did_connect(move |window| notes.add(window.clone()));
        connected
    }

    /// Kills a renderer, and runs until it has gone.
    pub fn kill(&self, window: &WebContents) -> Ending {
        signal(window.os_process_id(), Signal::KILL);
        self.run_until_gone(window)
    }

    /// Closes a window, and runs until its renderer has gone.
    pub fn close(&self, window: &WebContents) -> Ending {
        window.close();
        self.run_until_gone(window)
    }

    /// Gives a renderer its last cue, and runs to the end.
    pub fn cue_to_the_end(&self, window: &WebContents) -> Vec<String> {
        window.send(CUE, "").expect("it is there");
        self.run_to_the_end()
    }

    /// Runs the loop until this window's renderer has gone, in whatever way.
    pub fn run_until_gone(&self, window: &WebContents) -> Ending {
        self.run_until("the renderer has gone", || self.ending_of(window).is_some());
        self.ending_of(window).expect("it has gone")
    }

    /// How this window's renderer has ended, if it has.
    pub fn ending_of(&self, window: &WebContents) -> Option<Ending> {
        self.endings().into_iter().find(|ending| ending.window == window.id())
    }

    /// What the renderers have reported, in the order of arrival.
    pub fn reports(&self) -> Vec<String> {
        self.reports.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    pub fn reports_of(&self, window: &WebContents) -> Vec<String> {
        let reports = self.reports.lock().unwrap();
        let theirs = reports.iter().filter(|(sender, _)| *sender == window.id());
        theirs.map(|(_, text)| text.clone()).collect()
    }

    /// Forgets what was reported and who has ended so far: a test that goes on and on measures what *main*
    /// keeps.
    pub fn forget(&self) {
        self.reports.lock().unwrap().clear();
        self.endings.lock().unwrap().clear();
    }

    /// How renderers have ended, in the order of their ends.
    pub fn endings(&self) -> Vec<Ending> {
        self.endings.lock().unwrap().clone()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Listeners may keep the endpoint, so that it would not close by itself.
        let _ = self.ipc.close();
    }
}

/// A list that a listener or handler fills and the test reads.
pub struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Notes<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Notes<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, note: T) {
        self.0.lock().unwrap().push(note);
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
