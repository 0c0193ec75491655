//! The main process of a test.

use std::{
    io::PipeWriter,
    sync::{Arc, Mutex},
};

use crate::{backend::backend, prelude::*};

/// How long the loop runs between two looks at a test's condition.
const SLICE: Duration = Duration::from_millis(2);

/// A main process with an endpoint of its own, which notes its renderers' reports and ends. Closed when dropped.
pub struct Stage {
    pub ipc: IpcMain,
    name: String,
    reports: Notes<(u32, String)>,
    endings: Notes<Ending>,
    launched: Notes<u32>,
}

#[derive(Clone, Debug)]
pub struct Ending {
    pub window: u32,
    pub details: RenderProcessGone,
    /// The window's counters at that moment.
    pub counters: Counters,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

pub fn config() -> Config {
    // The tests of one file are one process, which must be able to look at itself.
    Config { protect_memory: false, backend: backend(), ..Config::default() }
}

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
        let (reports, endings) = (Notes::new(), Notes::new());
        let (reported, ended) = (reports.clone(), endings.clone());
        ipc.on(REPORT, move |event, text| reported.add((event.sender_id(), text.to_owned())))
            .expect("the contract has it");
        ipc.on_render_process_gone(move |window, details| {
            let (details, counters) = (details.clone(), window.counters());
            ended.add(Ending { window: window.id(), details, counters });
        });
        Self { ipc, name, reports, endings, launched: Notes::new() }
    }

    /// A stage that admits every renderer and answers.
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

    /// Checks that an [open](Self::open) stage serves an honest renderer.
    pub fn serves_others(&self) {
        let window = self.play_with(asks, &["20"]);
        self.run_until_gone(&window);
        let expected = (0..20).map(|number| number.to_string());
        assert!(self.reports_of(&window).into_iter().eq(expected));
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Launches a renderer that may use every channel.
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
        self.launched.add(window.id());
        window
    }

    pub fn run_until(&self, what: &str, condition: impl FnMut() -> bool) {
        let run = || self.ipc.run_for(SLICE).expect("no other thread runs the loop");
        assert!(
            within_by(LIMIT, run, condition),
            "not within {LIMIT:?}: {what}; reports: {:?}; endings: {:?}",
            self.reports(),
            self.endings(),
        );
    }

    /// Runs the loop until some renderer has reported this.
    pub fn run_until_reported(&self, text: &str) {
        self.run_until(text, || self.reports().iter().any(|reported| reported == text));
    }

    /// Runs the loop until every renderer that was launched has ended with success. Returns their reports.
    pub fn run_to_the_end(&self) -> Vec<String> {
        let launched = self.launched.len();
        self.run_until("all renderers have ended", || self.endings().len() >= launched);
        for Ending { window, details, .. } in self.endings() {
            let RenderProcessGone { reason, exit_code } = details;
            assert_eq!((reason, exit_code), (GoneReason::CleanExit, Some(0)), "window {window}");
        }
        self.reports()
    }

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

    pub fn ending_of(&self, window: &WebContents) -> Option<Ending> {
        self.endings().into_iter().find(|ending| ending.window == window.id())
    }

    /// What the renderers have reported, in the order of arrival.
    pub fn reports(&self) -> Vec<String> {
        self.reports.all().into_iter().map(|(_, text)| text).collect()
    }

    pub fn reports_of(&self, window: &WebContents) -> Vec<String> {
        let mut reports = self.reports.all();
        reports.retain(|(sender, _)| *sender == window.id());
        reports.into_iter().map(|(_, text)| text).collect()
    }

    /// Forgets all reports and endings, so that they do not grow.
    pub fn forget(&self) {
        self.reports.take();
        self.endings.take();
    }

    pub fn endings(&self) -> Vec<Ending> {
        self.endings.all()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Listeners may keep the endpoint open.
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

    pub fn all(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.0.lock().unwrap().clone()
    }
}
