//! What the main process tells its hooks and its owner.

use crate::error::GoneReason;

/// How a renderer went: Electron's `render-process-gone` details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderProcessGone {
    /// Why.
    pub reason: GoneReason,
    /// The exit code, or the signal's number; `None` if main did not launch it.
    pub exit_code: Option<i32>,
}

/// A process that wants to attach. All of it comes from the kernel.
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
