//! The policy of one renderer.

use std::time::Duration;

use crate::{
    contract::{Channel, ChannelKey},
    policy::quota::Quota,
};

/// Main's reaction to a renderer that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// End its session: `render-process-gone` with the reason `protocol-violation`.
    Disconnect,
    /// Drop the message and count it, up to this many times; then disconnect. A violation of the ring itself always
    /// disconnects, since no frame behind it can be read.
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
    /// A policy that allows no channel.
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

    /// Allows a channel: to `send` an event, to `invoke` a method, to receive a push or a topic.
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

    /// Sets the most unanswered invokes of the renderer in main. 256 by default.
    #[must_use]
    pub fn pending_invokes_max(mut self, max: u16) -> Self {
        self.pending_invokes_max = max;
        self
    }

    /// Sets the most bytes of large payloads that main holds for it at once: asked for, on their way, or being read.
    /// So it is also the longest payload that it can send. 256 MiB by default. A renderer can make main hold this memory
    /// as long as it lives: set less for many untrusted renderers.
    #[must_use]
    pub fn attachment_bytes_max(mut self, max: usize) -> Self {
        self.attachment_bytes_max = max;
        self
    }

    /// Sets the most large payloads at once. 32 by default; with 0 the renderer can send none.
    #[must_use]
    pub fn attachments_max(mut self, max: u16) -> Self {
        self.attachments_max = max;
        self
    }

    /// Limits the frames (messages, invokes, replies, cancels) a second. No limit by default.
    ///
    /// Main leaves further frames in the ring until they are due, and counts that
    /// ([`Counters::throttled`](crate::Counters::throttled)). Nothing is lost: the ring fills, and the renderer's
    /// sends wait for space. Frames of a dead renderer are delivered at once.
    #[must_use]
    pub fn frames_quota(mut self, quota: Quota) -> Self {
        self.frames = Some(quota);
        self
    }

    /// Limits the bytes a second: its frames in the ring, headers and padding to 64 bytes included, and its large
    /// payloads. No limit by default. It works as [`frames_quota`](Self::frames_quota). A message larger than the
    /// burst goes through, and a longer pause follows.
    #[must_use]
    pub fn bytes_quota(mut self, quota: Quota) -> Self {
        self.bytes = Some(quota);
        self
    }

    /// Sets the longest payload, in bytes. By default the ring and the attachments limit it. An honest renderer
    /// gets [`SendError::TooLarge`](crate::SendError::TooLarge).
    #[must_use]
    pub fn message_max(mut self, max: usize) -> Self {
        self.message_max = max;
        self
    }

    /// Sets whether a message that a validator ([`IpcMain::validate`](crate::IpcMain::validate)) refuses is a
    /// violation. By default it is not: the message is dropped, or its invoke fails.
    #[must_use]
    pub fn rejection_is_violation(mut self, is: bool) -> Self {
        self.rejection_is_violation = is;
        self
    }

    /// Sets main's reaction to a violation. [`OnViolation::Disconnect`] by default.
    #[must_use]
    pub fn on_violation(mut self, action: OnViolation) -> Self {
        self.on_violation = action;
        self
    }

    /// Sets the longest time from its start to the end of the handshake. 10 s by default.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Returns a line for people: its limits, and its channels.
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
