//! The errors that applications see: one small enum for each family of operations, and [`Error`]
//! above them for `?` in an application's `main`.
//!
//! Each text names the channel or the endpoint, the limit where there is one, and what to do.

use std::{fmt, io, path::PathBuf, time::Duration};

#[cfg(all(feature = "sandbox", target_os = "linux"))]
use crate::sandbox::Sandbox;
use crate::{
    contract::{
        ChannelKind,
        payload::{DecodeError, EncodeError, Failure, Payload},
    },
    wire::frame::Violation,
};

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The main process could not be reached, or refused.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A main process could not be inspected.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A renderer could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A listener or handler could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A channel could not be exposed to a page.
    #[error(transparent)]
    Expose(#[from] ExposeError),
    /// What a page wanted was not done.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A message could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// An invoke failed; the handler's own error as text.
    #[error("{0}")]
    Invoke(String),
    /// The loop could not go on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The sandbox could not be entered, or is not complete.
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl<E: fmt::Debug + fmt::Display> From<InvokeError<E>> for Error {
    fn from(error: InvokeError<E>) -> Self {
        Self::Invoke(error.to_string())
    }
}

/// A [`Contract`](crate::Contract) that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContractError {
    /// Two channels of one kind have the same name (or, once in an age, the same hash).
    #[error(
        "the contract has the channels '{channel}' and '{twin}', which are the same: rename one"
    )]
    Duplicate {
        /// The later one.
        channel: String,
        /// The earlier one.
        twin: String,
    },
    /// A name that is empty or too long.
    #[error("the channel name '{channel}' is empty or longer than {max} bytes")]
    BadName {
        /// The name.
        channel: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// More channels than a frame can number.
    #[error("the contract has {count} channels; at most {max} are possible")]
    TooManyChannels {
        /// How many there are.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A size in a [`Config`](crate::Config) that a ring cannot have.
    #[error("{what} is {value}; it must be a power of two from {min} to {max}")]
    BadCapacity {
        /// Which setting.
        what: &'static str,
        /// Its value, in bytes.
        value: usize,
        /// The least, in bytes.
        min: usize,
        /// The most, in bytes.
        max: usize,
    },
    /// [`Config::require_isolation`](crate::Config::require_isolation), and a backend without any.
    #[error(
        "isolation is required, and between processes that share memory by name there is none: use the sealed backend, which Linux has"
    )]
    NoIsolation,
    /// This platform has no sealed memory, and the library was built without the other backend.
    #[error(
        "this platform has no sealed memory: build ringbridge with the feature 'portable', for processes that trust each other"
    )]
    NoBackend,
}

/// Why `IpcMain::bind` failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another live process has this endpoint.
    #[error(
        "the endpoint '{endpoint}' is in use by another main process: stop it or choose another name"
    )]
    NameInUse {
        /// The endpoint's name.
        endpoint: String,
    },
    /// A name that cannot be a file's name.
    #[error(
        "'{endpoint}' is no endpoint name: use 1 to {max} letters, digits, '-', '_' and '.', not starting with '.'"
    )]
    BadName {
        /// The name.
        endpoint: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// The folder of the sockets belongs to somebody else or is open to others.
    #[error("the folder {path} is not this user's alone: {why}")]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The contract or the configuration cannot be used.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The operating system refused.
    #[error("cannot open the endpoint '{endpoint}': {source}")]
    Io {
        /// The endpoint's name.
        endpoint: String,
        /// What it said.
        source: io::Error,
    },
}

/// Why this user's endpoints could not be looked at, or swept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointsError {
    /// The folder of the sockets belongs to somebody else or is open to others.
    #[error("the folder {path} is not this user's alone: {why}")]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused.
    #[error("cannot look at {path}: {source}")]
    Io {
        /// The folder, or the endpoint in it.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Why a main process could not be inspected, or cannot be any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// It could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It said no.
    #[error("main refused this inspector: {why}")]
    Refused {
        /// In main's words.
        why: String,
    },
    /// Its numbers are others than this process knows.
    #[error(
        "main was built from another version of ringbridge: inspect it with a tool of the same version"
    )]
    OtherBuild,
    /// What it shows is not what it should be.
    #[error("what main shows cannot be read: {why}")]
    BadBoard {
        /// What is wrong with it.
        why: String,
    },
    /// It is gone.
    #[error("the main process is gone")]
    Gone,
}

impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> Self {
        Self::Connect(ConnectError::Io(error))
    }
}

/// Why a renderer could not connect to its main process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody has bound this name.
    #[error("there is no endpoint '{endpoint}': is its main process running, as the same user?")]
    NoSuchEndpoint {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The main process of this name was bound with another [`Backend`](crate::Backend).
    #[error(
        "the main process of '{endpoint}' shares memory in another way: give both the same backend (Config::backend, --backend)"
    )]
    OtherBackend {
        /// The endpoint's name.
        endpoint: String,
    },
    /// The name is left over from a main process that is gone.
    #[error("the endpoint '{endpoint}' is stale: its main process is gone; start it again")]
    Stale {
        /// The endpoint's name.
        endpoint: String,
    },
    /// A name that cannot be an endpoint's.
    #[error("'{endpoint}' is no endpoint name")]
    BadName {
        /// The name.
        endpoint: String,
    },
    /// The process was not launched by a main process.
    #[error(
        "this process was not launched by a main process: launch it with IpcMain::launch, or attach to an endpoint by name"
    )]
    NotLaunched,
    /// The process behind the socket belongs to another user.
    #[error("the endpoint '{endpoint}' belongs to the user {uid}, not to this one: not trusted")]
    ForeignServer {
        /// The endpoint's name.
        endpoint: String,
        /// Its owner.
        uid: u32,
    },
    /// A channel's type is not the same in the two builds.
    #[error(
        "the channel '{channel}' differs between the two builds: here it is {ours}; in main it is {theirs}. Build both from the same contract"
    )]
    TypeMismatch {
        /// The channel.
        channel: String,
        /// Its type in this process.
        ours: String,
        /// Its type in the main process.
        theirs: String,
    },
    /// The two processes speak different versions of the protocol.
    #[error(
        "main speaks protocol version {theirs}, this process {ours}: build both with the same ringbridge"
    )]
    VersionMismatch {
        /// This process's.
        ours: u32,
        /// Main's.
        theirs: u32,
    },
    /// Main's admission hook, or a limit of its, said no.
    #[error("main refused this renderer: {why}")]
    Refused {
        /// In main's words.
        why: String,
    },
    /// A session that was not begun by an endpoint's name has no way back to it.
    #[error("this session was not begun by the name of an endpoint, so it cannot be found again")]
    NoWayBack,
    /// The main process that came back does not offer a channel on which this renderer listens.
    #[error(
        "main has come back without the channel '{channel}', on which this renderer has a listener or handler, or does not allow it any more"
    )]
    ChannelMissing {
        /// The channel.
        channel: &'static str,
    },
    /// To wait for another main inside a listener or handler would stop the loop of this session.
    #[error("cannot reconnect inside a listener or handler")]
    InsideListener,
    /// Main did not answer.
    #[error("main did not finish the handshake within {0:?}")]
    TimedOut(Duration),
    /// Main hung up before the session began.
    #[error("main hung up during the handshake")]
    HungUp,
    /// Main's answer makes no sense.
    #[error("main's answer makes no sense: {0}")]
    BadAnswer(String),
    /// The contract cannot be used.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The operating system refused.
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
}

/// Why a renderer could not be launched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The program could not be started.
    #[error("cannot launch the renderer '{program}': {source}")]
    Spawn {
        /// The program.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its memory or socket could not be had.
    #[error(
        "cannot prepare a renderer's session ({what}): {source}; is a limit of descriptors or memory reached?"
    )]
    Resources {
        /// Which part.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The policy names a channel that main's contract does not have.
    #[error("the policy allows the channel '{channel}', which main's contract does not have")]
    UnknownChannel {
        /// The channel.
        channel: &'static str,
    },
    /// There are as many windows as main allows.
    #[error("there are {max} windows already, the most that this main allows")]
    TooManyWindows {
        /// The limit.
        max: usize,
    },
    /// Main has been closed.
    #[error("this main process has been closed")]
    Closed,
}

/// Why a listener or handler could not be registered.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// Electron's error and text.
    #[error("Attempted to register a second handler for '{channel}'")]
    SecondHandler {
        /// The channel.
        channel: &'static str,
    },
    /// The channel is in no contract that both processes know.
    #[error(
        "the channel '{channel}' is not in the contract of both processes: add it to the Contract"
    )]
    UnknownChannel {
        /// The channel.
        channel: &'static str,
    },
    /// The policy does not let this renderer hear the channel.
    #[error("the policy does not allow this renderer the channel '{channel}'")]
    Forbidden {
        /// The channel.
        channel: &'static str,
    },
    /// Main could not be told.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why a channel could not be exposed to a page.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExposeError {
    /// The channel is in no contract that both processes know.
    #[error(
        "the channel '{channel}' is not in the contract of both processes, so no page can use it: add it to the Contract"
    )]
    UnknownChannel {
        /// The channel.
        channel: &'static str,
    },
    /// What the renderer may not use, its page may not either.
    #[error("the policy does not allow this renderer the channel '{channel}', nor its page")]
    Forbidden {
        /// The channel.
        channel: &'static str,
    },
    /// It is exposed already. Electron says "cannot bind an API on top of an existing property".
    #[error("the channel '{channel}' is exposed to the page already")]
    Twice {
        /// The channel.
        channel: &'static str,
    },
}

/// Why something was not done that a page wanted. The texts are for the page: those of an `invoke` begin as
/// Electron's do.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeError {
    /// The page may not use this channel, or not in this way.
    #[error(
        "{}the channel '{channel}' is not exposed to this page for '{}'",
        InvokePrefix(*kind, channel),
        verb(*kind)
    )]
    NotExposed {
        /// What it would have to be.
        kind: ChannelKind,
        /// The channel, in the page's words.
        channel: String,
    },
    /// What the page gave is no value of the channel's type.
    #[error("{}bad value for '{channel}': {why}", InvokePrefix(*kind, channel))]
    BadValue {
        /// What the channel is.
        kind: ChannelKind,
        /// The channel.
        channel: &'static str,
        /// What was expected.
        why: String,
    },
    /// The message could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The invoke failed.
    #[error("{}{message}", InvokePrefix::before(channel, message))]
    Invoke {
        /// The channel.
        channel: &'static str,
        /// How.
        message: String,
    },
}

/// What a page calls on a channel of this kind.
fn verb(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Event => "send",
        ChannelKind::Method => "invoke",
        ChannelKind::Push | ChannelKind::Topic => "on",
    }
}

/// What Electron puts before the error of an `invoke`, and of nothing else.
struct InvokePrefix<'a>(ChannelKind, &'a str);

impl<'a> InvokePrefix<'a> {
    /// None where it is there already.
    fn before(channel: &'a str, message: &str) -> Self {
        let is_there = message.starts_with("Error invoking remote method");
        Self(if is_there { ChannelKind::Event } else { ChannelKind::Method }, channel)
    }
}

impl fmt::Display for InvokePrefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ChannelKind::Method => write!(f, "Error invoking remote method '{}': Error: ", self.1),
            _ => Ok(()),
        }
    }
}

/// Why a message was not sent. The message is still the caller's.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The channel is in no contract that both processes know.
    #[error(
        "the channel '{channel}' is not in the contract of both processes: add it to the Contract"
    )]
    UnknownChannel {
        /// The channel.
        channel: &'static str,
    },
    /// The policy does not allow it.
    #[error("the policy of this renderer does not allow the channel '{channel}'")]
    Forbidden {
        /// The channel.
        channel: &'static str,
    },
    /// The ring is full and the call does not wait.
    #[error(
        "no room for a message on '{channel}': the receiver is behind; wait, or try again later"
    )]
    Full {
        /// The channel.
        channel: &'static str,
    },
    /// The ring stayed full.
    #[error("no room for a message on '{channel}' within {waited:?}: the receiver is behind")]
    TimedOut {
        /// The channel.
        channel: &'static str,
        /// How long it waited.
        waited: Duration,
    },
    /// The payload can never be sent: it is beyond the limit of attachments, or of a topic's ring.
    #[error(
        "a message of {len} bytes on '{channel}' is too large: at most {max} fit; raise the limit in Config or Policy, or split it"
    )]
    TooLarge {
        /// The channel.
        channel: &'static str,
        /// The payload's length, in bytes.
        len: usize,
        /// The longest possible, in bytes.
        max: usize,
    },
    /// The value has no bytes.
    #[error("a message on '{channel}' was not sent: {source}")]
    Encode {
        /// The channel.
        channel: &'static str,
        /// Why.
        source: EncodeError,
    },
    /// Main lends no more memory for large payloads to this renderer: what it has was not read yet, or
    /// is a reply that main's application has not taken.
    #[error(
        "no memory for a message of {len} bytes on '{channel}': {count} attachments of {bytes} bytes in all are in main already, where {count_max} and {bytes_max} are the most (Policy::attachments_max, attachment_bytes_max)"
    )]
    AttachmentQuota {
        /// The channel.
        channel: &'static str,
        /// The payload's length, in bytes.
        len: usize,
        /// How many attachments of this renderer main has.
        count: u64,
        /// How many bytes they are in all.
        bytes: u64,
        /// The most attachments.
        count_max: u64,
        /// The most bytes.
        bytes_max: u64,
    },
    /// The memory for a large payload could not be had.
    #[error("no memory for a message of {len} bytes on '{channel}': {why}")]
    NoMemory {
        /// The channel.
        channel: &'static str,
        /// The payload's length, in bytes.
        len: usize,
        /// What the operating system said.
        why: String,
    },
    /// This thread holds a loan of the same outbox: send or drop it first.
    #[error(
        "cannot send on '{channel}': this thread holds a loan of the same ring; send or drop it first"
    )]
    LoanHeld {
        /// The channel.
        channel: &'static str,
    },
    /// The other process is gone.
    #[error("cannot send on '{channel}': the other process is gone ({reason})")]
    Gone {
        /// The channel.
        channel: &'static str,
        /// How it went.
        reason: GoneReason,
    },
}

/// Why [`send_all`](crate::IpcRenderer::send_all) did not send all.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{sent} messages were sent, but not the next one: {source}")]
pub struct SendAllError {
    /// How many were sent: the first ones, in order.
    pub sent: usize,
    /// Why the next one was not.
    pub source: SendError,
}

/// Why an invoke has no result. `E` is the method's own error type.
///
/// The texts are Electron's where Electron has the case.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvokeError<E: fmt::Debug + fmt::Display = Failure> {
    /// The handler returned an error.
    #[error("Error invoking remote method '{channel}': {error}")]
    Handler {
        /// The channel.
        channel: &'static str,
        /// What the handler returned.
        error: E,
    },
    /// Nobody handles the method.
    #[error(
        "Error invoking remote method '{channel}': Error: No handler registered for '{channel}'"
    )]
    NoHandler {
        /// The channel.
        channel: &'static str,
    },
    /// The handler panicked.
    #[error("Error invoking remote method '{channel}': Error: the handler panicked")]
    Panicked {
        /// The channel.
        channel: &'static str,
    },
    /// The handler dropped its `Responder`.
    #[error("Error invoking remote method '{channel}': reply was never sent")]
    ReplyNeverSent {
        /// The channel.
        channel: &'static str,
    },
    /// The other side could not read the arguments.
    #[error("Error invoking remote method '{channel}': bad arguments: {why}")]
    BadArguments {
        /// The channel.
        channel: &'static str,
        /// What was expected and what came.
        why: String,
    },
    /// The reply could not be sent: too large, or not encodable.
    #[error("Error invoking remote method '{channel}': the reply could not be sent: {why}")]
    ReplyFailed {
        /// The channel.
        channel: &'static str,
        /// Why.
        why: String,
    },
    /// A validator of the other side refused the arguments; no handler has seen them.
    #[error("Error invoking remote method '{channel}': rejected: {why}")]
    Rejected {
        /// The channel.
        channel: &'static str,
        /// In the validator's words.
        why: String,
    },
    /// The other side's quota of pending invokes is used up.
    #[error(
        "Error invoking remote method '{channel}': too many invokes are pending in the other process"
    )]
    QuotaReached {
        /// The channel.
        channel: &'static str,
    },
    /// The reply could not be read.
    #[error("the reply to '{channel}' is no valid value: {source}")]
    BadReply {
        /// The channel.
        channel: &'static str,
        /// What was expected and what came.
        source: DecodeError,
    },
    /// As many invokes as the table has places are pending in this process.
    #[error("cannot invoke '{channel}': {max} invokes are pending already")]
    TooManyPending {
        /// The channel.
        channel: &'static str,
        /// The limit.
        max: usize,
    },
    /// The deadline passed first. The handler has been told to stop.
    #[error("no reply to '{channel}' within {timeout:?}")]
    TimedOut {
        /// The channel.
        channel: &'static str,
        /// The time it was given.
        timeout: Duration,
    },
    /// The other process went first.
    #[error("no reply to '{channel}': the other process is gone ({reason})")]
    Gone {
        /// The channel.
        channel: &'static str,
        /// How it went.
        reason: GoneReason,
    },
    /// A blocking wait inside a listener or handler would stop the loop that brings the reply.
    #[error(
        "cannot wait for '{channel}' inside a listener or handler: use then() or an async handler"
    )]
    InsideListener {
        /// The channel.
        channel: &'static str,
    },
    /// The request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why a renderer is not in its sandbox. What was given up before stays given up: end the process.
#[cfg(all(feature = "sandbox", target_os = "linux"))]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A thread could not be made to give up its rights.
    #[error("not every thread of this process could be confined: {0}")]
    Threads(#[source] io::Error),
    /// The kernel has Landlock, and refused.
    #[error("Landlock cannot be enforced: {0}")]
    Landlock(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The memory could not be closed to others.
    #[error("this process cannot be made non-dumpable: {0}")]
    Dumps(#[source] io::Error),
    /// The filter of system calls could not be made or installed.
    #[error("the filter of system calls cannot be installed: {0}")]
    SystemCalls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// All that the kernel has is enforced, and that is not everything.
    #[error("the sandbox is not complete: {0}")]
    Incomplete(Sandbox),
    /// Who shares memory by name has to open more of it later, and can write all of main's.
    #[error("there is no sandbox with the portable backend, whose processes trust each other")]
    Trusted,
}

/// Why `run` or `poll` ended with an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Called from inside a listener or handler, which the loop itself runs.
    #[error("run and poll cannot be called inside a listener or handler")]
    InsideListener,
    /// Another thread runs the loop at the moment.
    #[error("another thread is running this loop")]
    AlreadyRunning,
    /// The main process is gone.
    #[error("the main process is gone")]
    MainGone,
    /// The operating system refused.
    #[error("the loop cannot wait: {0}")]
    Io(#[from] io::Error),
}

/// How a process went, in Electron's words where Electron has them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoneReason {
    /// It ended with status 0.
    CleanExit,
    /// It ended with another status.
    AbnormalExit,
    /// It was sent SIGTERM or SIGKILL.
    Killed,
    /// It died of a signal of its own making, such as SIGSEGV.
    Crashed,
    /// It was never started, or never finished the handshake.
    LaunchFailed,
    /// It broke the protocol, and its session was ended.
    ProtocolViolation(Violation),
    /// It hung up, and was not launched here, so that its end is not known.
    Disconnected,
    /// This process closed the session.
    Closed,
    /// The main process is gone (seen from a renderer).
    MainGone,
}

impl GoneReason {
    /// The name as Electron writes it: `clean-exit`, `killed` …
    pub fn name(&self) -> &'static str {
        match self {
            Self::CleanExit => "clean-exit",
            Self::AbnormalExit => "abnormal-exit",
            Self::Killed => "killed",
            Self::Crashed => "crashed",
            Self::LaunchFailed => "launch-failed",
            Self::ProtocolViolation(_) => "protocol-violation",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
            Self::MainGone => "main-gone",
        }
    }
}

impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtocolViolation(violation) => write!(f, "{}: {violation}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// Where an error has a handler's error inside, it must be printable.
pub trait HandlerError: Payload<Owned: fmt::Debug + fmt::Display> {}

impl<E: Payload<Owned: fmt::Debug + fmt::Display> + ?Sized> HandlerError for E {}
