//! The traits by which processes find each other, connect and share memory. Each backend implements them.
//!
//! ```text
//!   Transport   by an endpoint's name:  bind ─▶ Meeting      connect, inherit ─▶ ControlChannel
//!   Meeting     main's side of a bound name:  accept, tie ─▶ ControlChannel
//!                                             backing ─▶ memory      poller ─▶ sleep of main's loop
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

/// The names of one backend. The caller has checked them.
pub(crate) trait Transport: Sync {
    fn backend(&self) -> Backend;

    /// Lets renderers find this process by `name`. The caller holds the name's lock and has swept it.
    fn bind(&self, name: &str) -> Result<Arc<dyn Meeting>, BindError>;

    /// Connects to the main process behind `name`, if it is this user's.
    fn connect(&self, name: &str, timeout: Duration) -> Result<ControlChannel, ConnectError>;

    /// Returns whether this backend knows an endpoint of this name: a main process, or its remains.
    fn finds(&self, name: &str) -> bool;

    /// The environment variable by which a launched renderer finds its session.
    fn variable(&self) -> &'static str;

    /// Connects to the main process that has launched this one, by the variable's value.
    fn inherit(&self, value: &str) -> Result<ControlChannel, ConnectError>;

    /// Removes the remains of `name`. The caller holds the name's lock. `None`: a running process uses something of
    /// it, which stays.
    fn sweep(&self, name: &str) -> io::Result<Option<Leftovers>>;

    /// The names that have lost their lock file, and that only this backend finds.
    fn orphans(&self) -> Vec<String>;
}

/// The removed remains of a dead main process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leftovers {
    /// Segments of memory, and their size in bytes.
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
}

/// Main's side of a bound name.
pub(crate) trait Meeting: Send + Sync {
    /// The kind of memory that main makes.
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

/// The notifier of the end of a process that main launched.
pub(crate) struct LaunchedProcess(pub(crate) Box<dyn Any + Send + Sync>);

/// The token of a [`Meeting::ring`], which only ends the sleep.
pub(crate) const INTERRUPT: u64 = u64::MAX - 1;

/// The sleep of main's loop, and the events that end it.
pub(crate) trait Poller: Send {
    /// Listens to `source`, and reports events that are there already.
    fn add(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()>;

    /// Stops listening to `source`; an error if it did not.
    fn remove(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()>;

    /// Sleeps until there are events, at most for `timeout`, and replaces the content of `events`. May come back
    /// early with none: callers loop.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;
}

/// A source of events.
pub(crate) enum PollSource<'a> {
    /// Renderers that connect.
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

/// Returns whether main has launched this process into a session.
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
