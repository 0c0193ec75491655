//! What one renderer may say and hear: an allow-list, denying by default, and its limits.
//!
//! Main enforces it. The renderer is told, so that an honest one gets an error of its own
//! instead of breaking the rule; what a dishonest one sends anyway is a violation.

#[cfg(all(feature = "policy-file", not(loom)))]
pub(crate) mod file;
pub(crate) mod quota;

use std::time::Duration;

use crate::{
    contract::{Channel, ChannelKey},
    policy::quota::Quota,
};

/// What main does with a renderer that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// End its session: `render-process-gone` with the reason `protocol-violation`.
    Disconnect,
    /// Drop the message and count it, up to this many times; then disconnect. A violation of the
    /// ring itself always disconnects, since nothing behind it can be read.
    Tolerate(u32),
}

/// The allow-list and the limits of one renderer.
///
/// ```
/// # use ringbridge::{Event, Method, Policy, Push};
/// # const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// # const GET_SYSTEM_INFO: Method<(), u64> = Method::new("get-system-info");
/// # const STATISTICS: Push<u64> = Push::new("statistics");
/// let policy = Policy::deny_all()
///     .allow(LOG_MESSAGE)
///     .allow(GET_SYSTEM_INFO)
///     .allow(STATISTICS)
///     .pending_invokes_max(16);
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) allowed: Vec<ChannelKey>,
    pub(crate) pending_invokes_max: u16,
    pub(crate) attachment_bytes_max: usize,
    pub(crate) attachments_max: u16,
    pub(crate) frames: Option<Quota>,
    pub(crate) bytes: Option<Quota>,
    pub(crate) message_max: usize,
    pub(crate) on_violation: OnViolation,
    pub(crate) rejection_is_violation: bool,
    pub(crate) handshake_timeout: Duration,
}

impl Policy {
    /// Nothing is allowed.
    pub fn deny_all() -> Self {
        Self {
            allowed: Vec::new(),
            pending_invokes_max: 256,
            attachment_bytes_max: 256 << 20,
            attachments_max: 32,
            frames: None,
            bytes: None,
            message_max: usize::MAX,
            on_violation: OnViolation::Disconnect,
            rejection_is_violation: false,
            handshake_timeout: Duration::from_secs(10),
        }
    }

    /// Allows a channel: to `send` on an event, to `invoke` a method, to hear a push or a topic.
    #[must_use]
    pub fn allow(mut self, channel: impl Channel) -> Self {
        self.allowed.push(channel.key());
        self
    }

    /// Allows every channel of a list.
    #[must_use]
    pub fn allow_all(mut self, channels: &[&dyn Channel]) -> Self {
        self.allowed.extend(channels.iter().map(|channel| channel.key()));
        self
    }

    /// How many of its invokes may be unanswered in main at once. 256 unless set.
    #[must_use]
    pub fn pending_invokes_max(mut self, max: u16) -> Self {
        self.pending_invokes_max = max;
        self
    }

    /// How many bytes of large payloads main may hold for it at once: asked for, on their way, or being
    /// read. So it is also the longest payload that it can send. 256 MiB unless set.
    ///
    /// It is memory that a renderer can make main hold, for as long as it lives. With many renderers
    /// that are not trusted, set less.
    #[must_use]
    pub fn attachment_bytes_max(mut self, max: usize) -> Self {
        self.attachment_bytes_max = max;
        self
    }

    /// How many large payloads these may be. 32 unless set; with 0 it can send none.
    #[must_use]
    pub fn attachments_max(mut self, max: u16) -> Self {
        self.attachments_max = max;
        self
    }

    /// How many frames (messages, invokes, replies, cancels) it may send in a second. No limit unless set.
    ///
    /// Beyond it main leaves its frames alone until they are due, and counts that
    /// ([`Counters::throttled`](crate::Counters::throttled)): nothing is lost, its ring fills, and its sends
    /// wait for room. It costs main nothing meanwhile. What it committed before it died is delivered at once.
    #[must_use]
    pub fn frames_quota(mut self, quota: Quota) -> Self {
        self.frames = Some(quota);
        self
    }

    /// How many bytes it may send in a second: what its frames take of the ring, headers and padding to 64
    /// bytes included, and its large payloads. No limit unless set. It works as
    /// [`frames_quota`](Self::frames_quota); a message larger than the burst goes through, and is paid for
    /// with a longer pause.
    #[must_use]
    pub fn bytes_quota(mut self, quota: Quota) -> Self {
        self.bytes = Some(quota);
        self
    }

    /// How long a message of it may be, in bytes: its payload. Unless set, what the ring and the attachments
    /// carry. An honest renderer gets [`SendError::TooLarge`](crate::SendError::TooLarge).
    #[must_use]
    pub fn message_max(mut self, max: usize) -> Self {
        self.message_max = max;
        self
    }

    /// Whether a message that a validator ([`IpcMain::validate`](crate::IpcMain::validate)) refuses counts as
    /// breaking the protocol. Not unless set: it is dropped, or its invoke fails.
    #[must_use]
    pub fn rejection_is_violation(mut self, is: bool) -> Self {
        self.rejection_is_violation = is;
        self
    }

    /// What happens when it breaks the protocol. [`OnViolation::Disconnect`] unless set.
    #[must_use]
    pub fn on_violation(mut self, action: OnViolation) -> Self {
        self.on_violation = action;
        self
    }

    /// How long it may take from its start to the end of the handshake. 10 s unless set.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// In a line, for people: its limits on what is sent, and what it allows.
    pub(crate) fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(frames) = &self.frames {
            parts.push(format!("{} frames/s", frames.amount_per_second()));
        }
        if let Some(bytes) = &self.bytes {
            parts.push(format!("{} bytes/s", bytes.amount_per_second()));
        }
        if self.message_max < usize::MAX {
            parts.push(format!("messages up to {} bytes", self.message_max));
        }
        let names: Vec<_> = self.allowed.iter().map(ChannelKey::name).collect();
        parts.push(if names.is_empty() { "nothing".to_owned() } else { names.join(", ") });
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Event;

    #[test]
    fn a_policy_is_summed_up_in_a_line() {
        assert_eq!(Policy::deny_all().summary(), "nothing");
        const ONE: Event<u32> = Event::new("one");
        const TWO: Event<u32> = Event::new("two");
        let policy = Policy::deny_all().allow(ONE).allow(TWO);
        assert_eq!(policy.summary(), "one, two");
        let policy = policy.frames_quota(Quota::per_second(10)).message_max(99);
        assert_eq!(policy.summary(), "10 frames/s; messages up to 99 bytes; one, two");
    }
}
