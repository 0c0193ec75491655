//! The application's hooks in the main process, and the details that they get.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    event_loop::error::LaunchError, os::process, peer::Port, policy::Policy, primitives::Mutex,
    session::liveness::GoneReason, web_contents::WebContents,
};

/// The window of a renderer that was launched again, or the reason why it could not be.
pub(crate) type Restarted = Result<WebContents, LaunchError>;

type Admission = Box<dyn FnMut(&Candidate) -> Result<Policy, String> + Send>;
type Hook<D> = dyn FnMut(&WebContents, &D) + Send;

/// The hooks of one kind, in the order of their registration. Each is called with a window and details.
pub(crate) struct HookList<D>(Mutex<Vec<Arc<Mutex<Hook<D>>>>>);

impl<D> Default for HookList<D> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<D> HookList<D> {
    pub(crate) fn add(&self, hook: impl FnMut(&WebContents, &D) + Send + 'static) {
        self.0.lock().push(Arc::new(Mutex::new(hook)));
    }

    /// Runs them all. Their panics are counted for the session.
    pub(super) fn run(&self, port: &Arc<Port>, details: &D) {
        // A hook may add another one.
        let hooks = self.0.lock().clone();
        let window = WebContents::new(port.clone());
        for hook in hooks {
            if catch_unwind(AssertUnwindSafe(|| (hook.lock())(&window, details))).is_err() {
                port.counters.panics.add();
            }
        }
    }
}

/// All hooks of an endpoint.
#[derive(Default)]
pub(crate) struct Hooks {
    admission: Mutex<Option<Admission>>,
    pub(crate) did_connect: HookList<()>,
    pub(crate) process_gone: HookList<RenderProcessGone>,
    pub(crate) restarted: HookList<Restarted>,
    pub(crate) unresponsive: HookList<()>,
    pub(crate) responsive: HookList<()>,
}

impl Hooks {
    pub(crate) fn set_admission(
        &self,
        hook: impl FnMut(&Candidate) -> Result<Policy, String> + Send + 'static,
    ) {
        *self.admission.lock() = Some(Box::new(hook));
    }

    /// Asks the application whether a process may attach, and under which policy.
    pub(super) fn admit(&self, candidate: &Candidate) -> Result<Policy, String> {
        if candidate.user_id() != process::user_id() {
            return Err(format!("it belongs to the user {}, not to main's", candidate.user_id()));
        }
        match &mut *self.admission.lock() {
            Some(hook) => catch_unwind(AssertUnwindSafe(|| hook(candidate)))
                .unwrap_or_else(|_| Err("main's admission hook panicked".to_owned())),
            None => Err("this main process admits no renderers that it did not launch".to_owned()),
        }
    }

    /// Returns whether the application wants to know of renderers that take nothing.
    pub(super) fn watch_responsiveness(&self) -> bool {
        [&self.unresponsive, &self.responsive].iter().any(|hooks| !hooks.0.lock().is_empty())
    }
}

/// The end of a renderer: Electron's `render-process-gone` details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderProcessGone {
    /// Why.
    pub reason: GoneReason,
    /// The exit code, or the signal's number; `None` if main did not launch it.
    pub exit_code: Option<i32>,
}

/// A process that asks to attach, as the kernel describes it.
#[derive(Clone, Debug)]
pub struct Candidate {
    process_id: u32,
    user_id: u32,
    group_id: u32,
}

impl Candidate {
    pub(crate) fn new(process_id: u32, user_id: u32, group_id: u32) -> Self {
        Self { process_id, user_id, group_id }
    }

    /// Its process id; 0 if it is in a namespace that main does not see.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Its user.
    pub fn user_id(&self) -> u32 {
        self.user_id
    }

    /// Its group.
    pub fn group_id(&self) -> u32 {
        self.group_id
    }
}

/// Counters of the endpoint as a whole. Those of a session are in
/// [`WebContents::counters`](crate::WebContents::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MainCounters {
    /// Connections that were refused: not admitted, another build, or no renderer at all.
    pub refused: u64,
    /// Messages published on topics.
    pub published: u64,
}
