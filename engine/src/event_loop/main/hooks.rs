//! The application's hooks in the main process, and the details that they get.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    event_loop::error::LaunchError,
    os::process,
    peer::Port,
    policy::Policy,
    primitives::{AtomicBool, Mutex, Ordering},
    session::liveness::GoneReason,
    web_contents::WebContents,
};

/// The window of a renderer that was launched again, or why it could not be.
pub(crate) type Restarted = Result<WebContents, Arc<LaunchError>>;

type Admission = Box<dyn FnMut(&Candidate) -> Result<Policy, String> + Send>;

/// The hooks of one kind, in the order of their registration.
pub(crate) struct HookList<A>(Mutex<Vec<Arc<Mutex<Hook<A>>>>>);
type Hook<A> = dyn FnMut(A) + Send;

impl<A> Default for HookList<A> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<A> HookList<A> {
    pub(crate) fn add(&self, hook: impl FnMut(A) + Send + 'static) {
        self.0.lock().push(Arc::new(Mutex::new(hook)));
    }

    /// Runs them all. Their panics are counted for the session.
    fn run(&self, port: &Port, argument: impl Fn() -> A) {
        // A hook may add another one.
        let hooks = self.0.lock().clone();
        for hook in hooks {
            let argument = argument();
            if catch_unwind(AssertUnwindSafe(|| (hook.lock())(argument))).is_err() {
                port.counters.panics.add();
            }
        }
    }
}

/// All hooks of an endpoint.
#[derive(Default)]
pub(crate) struct Hooks {
    admission: Mutex<Option<Admission>>,
    pub(crate) did_connect: HookList<WebContents>,
    pub(crate) process_gone: HookList<(WebContents, RenderProcessGone)>,
    pub(crate) restarted: HookList<(WebContents, Restarted)>,
    pub(crate) unresponsive: HookList<WebContents>,
    pub(crate) responsive: HookList<WebContents>,
    /// There is a hook of either of these two.
    watches: AtomicBool,
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

    /// From now on the loop watches whether renderers take what is sent to them.
    pub(super) fn watch(&self) {
        // Relaxed: the list of windows is locked and gone through afterwards; a window that comes later is
        // added under that lock before this is read.
        self.watches.store(true, Ordering::Relaxed);
    }

    pub(super) fn watches(&self) -> bool {
        self.watches.load(Ordering::Relaxed)
    }

    pub(super) fn connected(&self, port: &Arc<Port>) {
        self.did_connect.run(port, || WebContents::new(port.clone()));
    }

    pub(super) fn gone(&self, port: &Arc<Port>, exit_code: Option<i32>) {
        let reason = port.gone().cloned().unwrap_or(GoneReason::Disconnected);
        let details = RenderProcessGone { reason, exit_code };
        self.process_gone.run(port, || (WebContents::new(port.clone()), details.clone()));
    }

    pub(super) fn launched_again(&self, old: &Arc<Port>, new: Result<&Arc<Port>, LaunchError>) {
        let new = new.map(|port| WebContents::new(port.clone())).map_err(Arc::new);
        self.restarted.run(old, || (WebContents::new(old.clone()), new.clone()));
    }

    pub(super) fn responsiveness(&self, port: &Arc<Port>, responsive: bool) {
        let hooks = if responsive { &self.responsive } else { &self.unresponsive };
        hooks.run(port, || WebContents::new(port.clone()));
    }
}

/// How a renderer went: Electron's `render-process-gone` details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderProcessGone {
    /// Why.
    pub reason: GoneReason,
    /// The exit code, or the signal's number; `None` if main did not launch it.
    pub exit_code: Option<i32>,
}

/// A process that asks to attach. The kernel tells all of it.
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

/// What happened to the endpoint as a whole. What happened in a session is in
/// [`WebContents::counters`](crate::WebContents::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MainCounters {
    /// Connections that were refused: not admitted, another build, or no renderer at all.
    pub refused: u64,
    /// Messages published on topics.
    pub published: u64,
}
