//! Errors of registering, sending and invoking.
//!
//! Each text names the channel, the limit where there is one, and what to do.

use std::{fmt, time::Duration};

use crate::{
    contract::payload::{DecodeError, EncodeError, Failure, Payload},
    session::liveness::GoneReason,
};

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

/// Where an error has a handler's error inside, it must be printable.
pub trait HandlerError: Payload<Owned: fmt::Debug + fmt::Display> {}

impl<E: Payload<Owned: fmt::Debug + fmt::Display> + ?Sized> HandlerError for E {}
