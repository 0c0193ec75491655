//! Errors of exposing a channel to a page, and of a page's calls.

use std::fmt;

use crate::{contract::ChannelKind, peer::error::SendError};

/// An error of exposing a channel to a page.
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
    /// The policy does not allow this renderer the channel.
    #[error("the policy does not allow this renderer the channel '{channel}', nor its page")]
    Forbidden {
        /// The channel.
        channel: &'static str,
    },
    /// It is exposed already.
    #[error("the channel '{channel}' is exposed to the page already")]
    Twice {
        /// The channel.
        channel: &'static str,
    },
}

/// An error of a page's call. The texts are for the page: those of an `invoke` begin as Electron's do.
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
        /// The kind that the call needs.
        kind: ChannelKind,
        /// The channel that the page named.
        channel: String,
    },
    /// The page's value is none of the channel's type.
    #[error("{}bad value for '{channel}': {why}", InvokePrefix(*kind, channel))]
    BadValue {
        /// The channel's kind.
        kind: ChannelKind,
        /// The channel.
        channel: &'static str,
        /// The expected type.
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
        /// The error.
        message: String,
    },
}

/// The page's call for a channel of this kind.
fn verb(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Event => "send",
        ChannelKind::Method => "invoke",
        ChannelKind::Push | ChannelKind::Topic => "on",
    }
}

/// Electron's prefix for the error of an `invoke`.
struct InvokePrefix<'a>(ChannelKind, &'a str);

impl<'a> InvokePrefix<'a> {
    /// No prefix, if the message has it already.
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
