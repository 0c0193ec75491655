//! The limits of one session's attachments, and the error of opening one.

use crate::{shm::attachment::PAGE, wire::frame::Violation};

/// The limits of one session's attachments, the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachmentLimits {
    /// The longest payload, and the most bytes that may be on their way to the renderer at once.
    pub(crate) message_max: u64,
    /// The most bytes that main lends the renderer at once, and the most attachments.
    pub(crate) lent_bytes_max: u64,
    pub(crate) lent_max: u16,
}

impl AttachmentLimits {
    /// Returns the longest payload that a renderer can send.
    pub(crate) fn lent_message_max(self) -> u64 {
        match self.lent_max {
            0 => 0,
            _ => self.message_max.min(self.lent_bytes_max / PAGE as u64 * PAGE as u64),
        }
    }
}

/// Why a payload that a frame names cannot be read.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The peer lied.
    Violation(Violation),
    /// The operating system refused, in its words.
    System(String),
}
