//! A policy in a TOML file, so that the user of a program can set the rights of its renderers.
//!
//! ```toml
//! [allow]                               # all other channels are denied
//! events = ["log-message"]              # the renderer may send these
//! methods = ["get-system-info"]         # and invoke these
//! pushes = ["statistics"]               # and receive these
//! topics = []                           # and subscribe to these
//!
//! [limits]                              # as in `Policy`, with its defaults
//! frames = { per-second = 10_000, burst = 1_000 }
//! bytes = { per-second = "8 MiB", burst = "1 MiB" }
//! message = "64 KiB"
//! pending-invokes = 16
//! attachments = 4
//! attachment-bytes = "16 MiB"
//! handshake = "10s"
//!
//! [violations]
//! tolerate = 0                          # disconnect at the first
//! count-rejections = true               # a validator's refusal is a violation
//! ```
//!
//! Each kind of channel has a list, since an event and a method may have the same name. An unknown key or channel
//! is an error, with its line. [`PolicyFile::parse`] reads the text, and [`PolicyFile::policy`] compares it with a
//! contract.

use std::{fs, io::Read, num::NonZeroU64, ops::Range, path::Path, str::FromStr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::Spanned;

use crate::{
    contract::{ChannelKind, Contract},
    policy::{OnViolation, Policy, quota::Quota},
};

/// The longest policy file, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// A parsed policy, for any contract.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFile {
    /// The allowed channels, each with its line.
    channels: Vec<(usize, ChannelKind, String)>,
    written: Written,
}

/// An error in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("cannot read it: {why}")]
    Unreadable {
        /// The system's error.
        why: String,
    },
    /// It is no TOML, or has an unknown key or an invalid value.
    #[error("line {line}: {what}")]
    Invalid {
        /// The line, from 1.
        line: usize,
        /// The mistake.
        what: String,
    },
    /// It allows a channel that the contract does not have.
    #[error(
        "line {line}: there is no {kind} '{channel}' in the contract; its {kind} channels are {known}"
    )]
    UnknownChannel {
        /// The line, from 1.
        line: usize,
        /// The kind whose list it is in.
        kind: &'static str,
        /// Its name.
        channel: String,
        /// The contract's channels of this kind.
        known: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    allow: Allow,
    limits: WrittenLimits,
    violations: Violations,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Allow {
    events: Vec<Spanned<String>>,
    methods: Vec<Spanned<String>>,
    pushes: Vec<Spanned<String>>,
    topics: Vec<Spanned<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenLimits {
    frames: Option<Rate<NonZeroU64>>,
    bytes: Option<Rate<Size>>,
    message: Option<Size>,
    pending_invokes: Option<u16>,
    attachments: Option<u16>,
    attachment_bytes: Option<Size>,
    #[serde(deserialize_with = "time")]
    handshake: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rate<N> {
    per_second: N,
    burst: Option<N>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Violations {
    tolerate: u32,
    count_rejections: bool,
}

/// A number of bytes from 1, such as `65536` or `"64 KiB"`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Size(NonZeroU64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let ByteSize(bytes) = ByteSize::deserialize(from)?;
        let bytes = NonZeroU64::new(bytes);
        bytes.map(Self).ok_or_else(|| D::Error::custom("it is nothing; allow less instead"))
    }
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let time = humantime::parse_duration(&text);
    time.map(Some).map_err(|error| D::Error::custom(format!("{error}; write a time such as 10s")))
}

impl PolicyFile {
    /// Reads a policy from its text.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError::Invalid`], with the line and the mistake.
    pub fn parse(text: &str) -> Result<Self, PolicyFileError> {
        let written: Written = toml::from_str(text).map_err(|error| PolicyFileError::Invalid {
            line: line_of(text, error.span()),
            what: error.message().to_owned(),
        })?;
        let Allow { events, methods, pushes, topics } = &written.allow;
        let lists = [
            (ChannelKind::Event, events),
            (ChannelKind::Method, methods),
            (ChannelKind::Push, pushes),
            (ChannelKind::Topic, topics),
        ];
        let mut channels = Vec::new();
        for (kind, names) in lists {
            channels.extend(
                names
                    .iter()
                    .map(|name| (line_of(text, Some(name.span())), kind, name.get_ref().clone())),
            );
        }
        Ok(Self { channels, written })
    }

    /// Reads a policy from its file.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), or [`PolicyFileError::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, PolicyFileError> {
        let mut text = String::new();
        let read = fs::File::open(path)
            .and_then(|file| file.take(LEN_MAX + 1).read_to_string(&mut text))
            .map_err(|error| error.to_string())
            .and_then(|len| match len as u64 {
                0..=LEN_MAX => Ok(()),
                _ => Err(format!("it is longer than {LEN_MAX} bytes")),
            });
        read.map_err(|why| PolicyFileError::Unreadable { why })?;
        Self::parse(&text)
    }

    /// Returns the policy for this contract.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError::UnknownChannel`], with the channels of the contract.
    pub fn policy(&self, contract: Contract) -> Result<Policy, PolicyFileError> {
        let mut policy = Policy::deny_all();
        for (line, kind, name) in &self.channels {
            let keys = || contract.iter().map(|channel| channel.key());
            let of_kind = || keys().filter(|key| key.kind() == *kind);
            let found = of_kind().find(|key| key.name() == name);
            policy.allowed.push(found.ok_or_else(|| PolicyFileError::UnknownChannel {
                line: *line,
                kind: word(*kind),
                channel: name.clone(),
                known: listed(of_kind().map(|key| key.name())),
            })?);
        }
        let Written { limits, violations, .. } = &self.written;
        let bytes = |Size(size): Size| usize::try_from(size.get()).unwrap_or(usize::MAX);
        let quota = |per_second: NonZeroU64, burst: Option<NonZeroU64>| {
            let quota = Quota::per_second(per_second.get());
            burst.map_or(quota, |burst| quota.burst(burst.get()))
        };
        policy.frames = limits.frames.as_ref().map(|rate| quota(rate.per_second, rate.burst));
        let rate = limits.bytes.as_ref();
        policy.bytes = rate.map(|rate| quota(rate.per_second.0, rate.burst.map(|Size(size)| size)));
        policy.message_max = limits.message.map_or(policy.message_max, bytes);
        policy.pending_invokes_max = limits.pending_invokes.unwrap_or(policy.pending_invokes_max);
        policy.attachments_max = limits.attachments.unwrap_or(policy.attachments_max);
        policy.attachment_bytes_max =
            limits.attachment_bytes.map_or(policy.attachment_bytes_max, bytes);
        policy.handshake_timeout = limits.handshake.unwrap_or(policy.handshake_timeout);
        policy.on_violation = match violations.tolerate {
            0 => OnViolation::Disconnect,
            times => OnViolation::Tolerate(times),
        };
        policy.rejection_is_violation = violations.count_rejections;
        Ok(policy)
    }
}

impl FromStr for PolicyFile {
    type Err = PolicyFileError;

    fn from_str(text: &str) -> Result<Self, PolicyFileError> {
        Self::parse(text)
    }
}

/// Returns the line of a place in the text, from 1. An unknown place is in the first.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn word(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Event => "event",
        ChannelKind::Method => "method",
        ChannelKind::Push => "push",
        ChannelKind::Topic => "topic",
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Event, Method, Push, Topic};

    const LOG: Event<str> = Event::new("log");
    const READ: Method<str, str> = Method::new("read");
    const NUMBER: Push<u64> = Push::new("number");
    const NEWS: Topic<u64> = Topic::new("news");
    const TWIN: Event<u64> = Event::new("read");
    const CONTRACT: Contract = &[&LOG, &READ, &NUMBER, &NEWS, &TWIN];

    fn policy(text: &str) -> Result<Policy, PolicyFileError> {
        PolicyFile::parse(text)?.policy(CONTRACT)
    }

    fn refusal(text: &str) -> String {
        policy(text).expect_err(text).to_string()
    }

    #[test]
    fn an_empty_file_allows_nothing_and_leaves_the_limits_as_they_are() {
        let policy = policy("").unwrap();
        assert_eq!(format!("{policy:?}"), format!("{:?}", Policy::deny_all()));
    }

    #[test]
    fn every_key_says_what_its_setting_does() {
        let read = policy(
            r#"
            [allow]
            events = ["log"]
            methods = ["read"]
            pushes = ["number"]
            topics = ["news"]

            [limits]
            frames = { per-second = 1000, burst = 50 }
            message = 100
            pending-invokes = 3
            attachments = 4
            attachment-bytes = "1.5 MiB"
            handshake = "1m 30s"

            [limits.bytes]
            per-second = "64 KiB"

            [violations]
            tolerate = 2
            count-rejections = true
            "#,
        )
        .unwrap();
        let written = Policy::deny_all()
            .allow(LOG)
            .allow(READ)
            .allow(NUMBER)
            .allow(NEWS)
            .frames_quota(Quota::per_second(1000).burst(50))
            .bytes_quota(Quota::per_second(64 << 10))
            .message_max(100)
            .pending_invokes_max(3)
            .attachments_max(4)
            .attachment_bytes_max(3 << 19)
            .handshake_timeout(Duration::from_secs(90))
            .on_violation(OnViolation::Tolerate(2))
            .rejection_is_violation(true);
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
    }

    #[test]
    fn an_event_is_not_allowed_by_a_methods_name() {
        let policy = policy("allow.events = ['read']").unwrap();
        assert_eq!(format!("{:?}", policy.allowed), format!("{:?}", [TWIN]));
        assert_eq!(
            refusal("[allow]\n\nmethods = ['log']"),
            "line 3: there is no method 'log' in the contract; its method channels are 'read'"
        );
    }

    #[test]
    fn a_key_that_is_not_known_is_an_error_with_its_line() {
        for (text, line, key) in [
            ("deny = []", 1, "deny"),
            ("[allow]\nevent = ['log']", 2, "event"),
            ("[limits]\nframes = 1\n", 2, "frames"),
            ("\n[limits]\n\npending_invokes = 1", 4, "pending_invokes"),
            ("[limits.frames]\nper-second = 1\nburts = 2", 3, "burts"),
            ("[violations]\ncount-rejections = true\ntolerated = 1", 3, "tolerated"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(&format!("line {line}: ")), "{text:?}: {refusal}");
            assert!(key == "frames" || refusal.contains(key), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn a_channel_that_is_not_known_is_an_error_with_its_line_and_those_there_are() {
        let text = "[allow]\nevents = [\n  'log',\n  'lag',\n]";
        assert_eq!(
            refusal(text),
            "line 4: there is no event 'lag' in the contract; its event channels are 'log', 'read'"
        );
        let file = PolicyFile::parse("[allow]\ntopics = ['news']").unwrap();
        let error = file.policy(&[&LOG]).unwrap_err().to_string();
        assert!(error.ends_with("its topic channels are none"), "{error}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_an_error_with_its_line() {
        for text in [
            "[limits]\nmessage = 0",
            "[limits]\nmessage = -1",
            "[limits]\nmessage = 'much'",
            "[limits]\npending-invokes = 65536",
            "[limits]\nhandshake = 10",
            "[limits]\nhandshake = 'soon'",
            "[limits]\nframes = { per-second = 0 }",
            "[limits]\nbytes = { burst = 1 }",
            "[allow]\nevents = 'log'",
            "[allow]\nevents = [1]",
            "[allow]\nevents = ['log'",
            "[allow]\n[allow]",
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with("line 2: "), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_far_too_long_is_no_policy() {
        let missing = PolicyFile::read(Path::new("/no/such/policy"));
        assert!(matches!(missing, Err(PolicyFileError::Unreadable { .. })));
        let endless = PolicyFile::read(Path::new("/dev/zero"));
        assert!(matches!(endless, Err(PolicyFileError::Unreadable { .. })), "{endless:?}");
    }
}
