//! Errors of registering, sending and invoking.
//!
//! Each text names the channel, the limit where there is one, and what to do.

use std::{fmt, time::Duration};

use crate::{
    contract::{
        ChannelKey,
        payload::{DecodeError, EncodeError, Failure, Payload},
    },
    session::liveness::GoneReason,
};

/// An error of registering a listener or handler.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named as in the messages; lengths are in bytes")]
pub enum RegisterError {
    /// Electron's error and text.
    #[error("Attempted to register a second handler for '{channel}'")]
    SecondHandler { channel: &'static str },
    /// The channel is in no contract that both processes know.
    #[error(
        "the channel '{channel}' is not in the contract of both processes: add it to the Contract"
    )]
    UnknownChannel { channel: &'static str },
    /// The policy does not allow this renderer the channel.
    #[error("the policy does not allow this renderer the channel '{channel}'")]
    Forbidden { channel: &'static str },
    /// Main could not be notified.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl RegisterError {
    pub(crate) fn unknown(channel: &ChannelKey) -> Self {
        Self::UnknownChannel { channel: channel.name() }
    }
}

/// An error of sending. The message was not sent.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named as in the messages; lengths are in bytes")]
pub enum SendError {
    /// The channel is in no contract that both processes know.
    #[error(
        "the channel '{channel}' is not in the contract of both processes: add it to the Contract"
    )]
    UnknownChannel { channel: &'static str },
    /// The policy does not allow it.
    #[error("the policy of this renderer does not allow the channel '{channel}'")]
    Forbidden { channel: &'static str },
    /// The ring is full and the call does not wait.
    #[error(
        "no room for a message on '{channel}': the receiver is behind; wait, or try again later"
    )]
    Full { channel: &'static str },
    /// The ring stayed full.
    #[error("no room for a message on '{channel}' within {waited:?}: the receiver is behind")]
    TimedOut { channel: &'static str, waited: Duration },
    /// The payload can never be sent: it is beyond the limit of attachments, or of a topic's ring.
    #[error(
        "a message of {len} bytes on '{channel}' is too large: at most {max} fit; raise the limit in Config or Policy, or split it"
    )]
    TooLarge { channel: &'static str, len: usize, max: usize },
    /// The value could not be encoded.
    #[error("a message on '{channel}' was not sent: {source}")]
    Encode { channel: &'static str, source: EncodeError },
    /// Main lends no more memory for large payloads to this renderer. Main has not read the earlier ones, or its
    /// application has not taken a reply.
    #[error(
        "no memory for a message of {len} bytes on '{channel}': {count} attachments of {bytes} bytes in all are in main already, where {count_max} and {bytes_max} are the most (Policy::attachments_max, attachment_bytes_max)"
    )]
    AttachmentQuota {
        channel: &'static str,
        len: usize,
        count: u64,
        bytes: u64,
        count_max: u64,
        bytes_max: u64,
    },
    /// The memory for a large payload could not be made.
    #[error("no memory for a message of {len} bytes on '{channel}': {why}")]
    NoMemory { channel: &'static str, len: usize, why: String },
    /// This thread holds a loan of the same outbox: send or drop it first.
    #[error(
        "cannot send on '{channel}': this thread holds a loan of the same ring; send or drop it first"
    )]
    LoanHeld { channel: &'static str },
    /// The other process is gone.
    #[error("cannot send on '{channel}': the other process is gone ({reason})")]
    Gone { channel: &'static str, reason: GoneReason },
}

/// An error of [`send_all`](crate::IpcRenderer::send_all).
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{sent} messages were sent, but not the next one: {source}")]
pub struct SendAllError {
    /// The number of messages that were sent: the first ones, in order.
    pub sent: usize,
    /// The error of the next one.
    pub source: SendError,
}

/// An error of an invoke. `E` is the method's own error type.
///
/// The texts are Electron's where Electron has the case.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named as in the messages; lengths are in bytes")]
pub enum InvokeError<E: fmt::Debug + fmt::Display = Failure> {
    /// The handler returned an error.
    #[error("Error invoking remote method '{channel}': {error}")]
    Handler { channel: &'static str, error: E },
    /// The method has no handler.
    #[error(
        "Error invoking remote method '{channel}': Error: No handler registered for '{channel}'"
    )]
    NoHandler { channel: &'static str },
    /// The handler panicked.
    #[error("Error invoking remote method '{channel}': Error: the handler panicked")]
    Panicked { channel: &'static str },
    /// The handler dropped its `Responder`.
    #[error("Error invoking remote method '{channel}': reply was never sent")]
    ReplyNeverSent { channel: &'static str },
    /// The other side could not read the arguments.
    #[error("Error invoking remote method '{channel}': bad arguments: {why}")]
    BadArguments { channel: &'static str, why: String },
    /// The reply could not be sent: too large, or not encodable.
    #[error("Error invoking remote method '{channel}': the reply could not be sent: {why}")]
    ReplyFailed { channel: &'static str, why: String },
    /// A validator of the other side refused the arguments; no handler has seen them.
    #[error("Error invoking remote method '{channel}': rejected: {why}")]
    Rejected { channel: &'static str, why: String },
    /// The other side's quota of pending invokes is used up.
    #[error(
        "Error invoking remote method '{channel}': too many invokes are pending in the other process"
    )]
    QuotaReached { channel: &'static str },
    /// The reply could not be decoded.
    #[error("the reply to '{channel}' is no valid value: {source}")]
    BadReply { channel: &'static str, source: DecodeError },
    /// This process has its maximum of pending invokes.
    #[error("cannot invoke '{channel}': {max} invokes are pending already")]
    TooManyPending { channel: &'static str, max: usize },
    /// The deadline passed first. The handler was told to stop.
    #[error("no reply to '{channel}' within {timeout:?}")]
    TimedOut { channel: &'static str, timeout: Duration },
    /// The other process ended first.
    #[error("no reply to '{channel}': the other process is gone ({reason})")]
    Gone { channel: &'static str, reason: GoneReason },
    /// A blocking wait inside a listener or handler would stop the loop that brings the reply.
    #[error(
        "cannot wait for '{channel}' inside a listener or handler: use then() or an async handler"
    )]
    InsideListener { channel: &'static str },
    /// The request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// A handler's error type, which must be printable.
pub trait HandlerError: Payload<Owned: fmt::Debug + fmt::Display> {}

impl<E: Payload<Owned: fmt::Debug + fmt::Display> + ?Sized> HandlerError for E {}
