//! Steps that many tests take, in one call each.

use std::{io::PipeWriter, process::Command};

use ringbridge::{HandlerError, InvokeError, Method, Payload, Policy, WebContents};
use rustix::process::Signal;

use crate::{
    contract::{ADD, ASK, ECHO},
    demo::run,
    proc::is_stopped,
    processes::{eventually, signal},
    scene::{Renderer, RendererScene},
    stage::{Notes, Stage},
};

impl Renderer {
    /// Invokes a method and waits for its result.
    pub fn ask<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        arguments: &A,
    ) -> Result<R::Owned, InvokeError<E::Owned>> {
        self.ipc.invoke(method, arguments).expect("the invoke is sent").wait()
    }

    /// Reports something, and runs the loop until main's cue.
    pub fn wait_for_cue(&self, report: &str) {
        let cues = self.cues();
        self.report(report);
        cues.wait();
    }
}

impl Stage {
    /// Launches a renderer and runs the loop until it has reported something.
    pub fn play_ready(&self, scene: RendererScene, arguments: &[&str]) -> WebContents {
        let window = self.play_with(scene, arguments);
        self.run_until_heard_of(&window);
        window
    }

    /// The same for a renderer with a pipe to its standard input.
    pub fn play_ready_with_input(
        &self,
        scene: RendererScene,
        arguments: &[&str],
        policy: Policy,
    ) -> (WebContents, PipeWriter) {
        let (window, input) = self.play_with_input(scene, arguments, policy);
        self.run_until_heard_of(&window);
        (window, input)
    }

    /// Launches a renderer and runs the loop until it has ended well.
    pub fn play_to_the_end(&self, scene: RendererScene) -> WebContents {
        let window = self.play(scene);
        self.run_to_the_end();
        window
    }

    fn run_until_heard_of(&self, window: &WebContents) {
        self.run_until("the renderer's first report", || !self.reports_of(window).is_empty());
    }

    /// Answers with the sum, the number and the bytes.
    pub fn answer_all(&self) {
        self.answer(ADD, |_, [left, right]| Ok(left + right));
        self.answer(ASK, |_, number| Ok(*number));
        self.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
    }
}

impl<T: Send + 'static> Notes<T> {
    /// A callback that adds a note.
    pub fn adding(&self) -> impl Fn(T) + Clone + Send + use<T> {
        let notes = self.clone();
        move |note| notes.add(note)
    }
}

/// Runs a program that must end with the exit code 1. Returns its standard error.
pub fn error_of(command: &mut Command) -> String {
    let (code, output, errors) = run(command);
    assert_eq!(code, Some(1), "{command:?}: {output}");
    errors
}

/// Stops a process and waits until the kernel has stopped it.
pub fn stop_process(process_id: u32) {
    signal(process_id, Signal::STOP);
    eventually("the process is stopped", || is_stopped(process_id));
}
