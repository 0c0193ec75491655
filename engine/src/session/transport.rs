//! How processes find each other, tie themselves together and share memory: the seam between the backends.
//!
//! ```text
//!   Transport   by an endpoint's name:  bind ─▶ Meeting      connect, inherit ─▶ ControlChannel
//!   Meeting     main's side of a bound name:  accept, tie ─▶ ControlChannel
//!                                             backing ─▶ memory      poller ─▶ what main's loop sleeps on
//! ```
//!
//! `Config::backend` chooses in [`of`]. The code above does not depend on the choice; an endpoint and a
//! renderer only keep it, to reconnect by the same one.

use std::{any::Any, env, io, sync::Arc, time::Duration};

use crate::{
    TRANSPORTS,
    config::Backend,
    contract::error::ContractError,
    os::{process::Inherited, report::Event},
    session::{
        control_channel::ControlChannel,
        error::{BindError, ConnectError},
    },
    shm::backing::Backing,
};

/// One way in which processes meet. Names were checked by the caller.
pub(crate) trait Transport: Sync {
    fn backend(&self) -> Backend;

    /// Lets renderers find this process by `name`. The caller holds the name's lock and has swept it.
    fn bind(&self, name: &str) -> Result<Arc<dyn Meeting>, BindError>;

    /// Connects to the main process behind `name`, if it is this user's.
    fn connect(&self, name: &str, timeout: Duration) -> Result<ControlChannel, ConnectError>;

    /// Whether an endpoint of this name is found in this way: a main process, or what one has left.
    fn finds(&self, name: &str) -> bool;

    /// The environment variable by which a launched renderer finds its session.
    fn variable(&self) -> &'static str;

    /// Connects to the main process that has launched this one, by the variable's value.
    fn inherit(&self, value: &str) -> Result<ControlChannel, ConnectError>;

    /// Removes what a dead main process has left of `name`. The caller holds the name's lock. `None`: there is
    /// something of a process that runs, which is left alone.
    fn sweep(&self, name: &str) -> io::Result<Option<Leftovers>>;

    /// The names that have lost their lock file and are found in this way alone.
    fn orphans(&self) -> Vec<String>;
}

/// What a dead main process had left and was removed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leftovers {
    /// Segments of memory, and how many bytes they had.
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
}

/// Main's side of a bound name.
pub(crate) trait Meeting: Send + Sync {
    /// How main makes memory for those whom it meets.
    fn backing(&self) -> Backing;

    /// Lets in the next renderer that waits. Never blocks.
    fn accept(&self) -> io::Result<Option<ControlChannel>>;

    /// The control to a process that is about to be launched, and what that process needs for its end.
    fn tie(&self) -> io::Result<(ControlChannel, Inherited)>;

    fn poller(&self) -> io::Result<Box<dyn Poller>>;

    /// Ends the sleep of main's loop, from any of its threads.
    fn ring(&self);

    /// Notices the end of a child of this process.
    fn look_after(&self, pid: u32) -> io::Result<LaunchedProcess>;

    /// Gives the name up, while its lock is still held.
    fn close(&self);

    /// Waits, at the end of the loop, for threads in which this process must not exit. Bounded.
    fn settle(&self) {}
}

/// A process that main has launched, by what tells of its end.
pub(crate) struct LaunchedProcess(pub(crate) Box<dyn Any + Send + Sync>);

/// The token of a [`Meeting::ring`], which is heard by nobody.
pub(crate) const INTERRUPT: u64 = u64::MAX - 1;

/// What main's loop sleeps on, and what it hears.
pub(crate) trait Poller: Send {
    /// Listens to `source` from now on, and hears of what is there already.
    fn add(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()>;

    /// Listens to it no more; an error if it did not.
    fn remove(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()>;

    /// Sleeps until something happens, at most for `timeout`, and puts it into `events` in place of what was there.
    /// May come back early with nothing: callers loop.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;
}

/// What can be listened to.
pub(crate) enum PollSource<'a> {
    /// Renderers that want to be let in.
    Door,
    /// A renderer that has rung.
    Bell(&'a Arc<ControlChannel>),
    /// Packets, and the end.
    ControlChannel(&'a Arc<ControlChannel>),
    /// The end of a process that main has launched.
    Process(&'a LaunchedProcess),
}

/// The environment variable by which a launched renderer learns its main's endpoint, should it outlive that main.
pub(crate) const ENDPOINT_VARIABLE: &str = "RINGBRIDGE_ENDPOINT";

/// The transport of a backend, if this build has it.
pub(crate) fn of(backend: Backend) -> Result<&'static dyn Transport, ContractError> {
    let found = TRANSPORTS.iter().find(|transport| transport.backend() == backend);
    found.copied().ok_or(ContractError::NoBackend)
}

/// The environment variables by which launched renderers find their sessions.
pub(crate) fn variables() -> impl Iterator<Item = &'static str> {
    TRANSPORTS.iter().map(|transport| transport.variable())
}

/// Whether main has launched this process into a session.
pub(crate) fn was_launched() -> bool {
    variables().any(|variable| env::var_os(variable).is_some())
}

/// The control to the main process that has launched this one.
pub(crate) fn inherited_control() -> Result<ControlChannel, ConnectError> {
    let inherited = |transport: &&dyn Transport| {
        let value = env::var(transport.variable()).ok()?;
        Some(transport.inherit(&value))
    };
    TRANSPORTS.iter().find_map(inherited).unwrap_or(Err(ConnectError::NotLaunched))
}
