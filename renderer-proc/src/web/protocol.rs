//! What a page and its session say to each other, as JSON, one message a WebSocket message.
//!
//! What a page says is hostile: it is no longer than [`MESSAGE_LEN_MAX`], nests no deeper than the parser lets
//! it (128), and is one of these forms exactly.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::meters::Reading;

/// How long a page's message may be, in bytes.
pub(super) const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// What a page says.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Said {
    /// A message for main.
    Send {
        channel: String,
        #[serde(default)]
        value: Value,
    },
    /// A question for main. The page gives it a number, by which it will know the reply.
    Invoke {
        id: u32,
        channel: String,
        #[serde(default)]
        value: Value,
    },
    /// It wants a push.
    On { channel: String },
    /// It does not want it any more.
    Off { channel: String },
    /// It has drawn what it was told, and wants the next frame when there is one.
    Frame,
}

/// What a page is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Told<'a> {
    /// There is a session with main, and this is what the page may do in it; or there is none.
    Session { session: Option<&'a About> },
    /// The newest of what has come since the last frame.
    Frame { pushes: Vec<PushTold>, meters: Option<Reading> },
    /// The reply to its invoke: a value, or the text of an error.
    Reply {
        id: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Something else that it wanted was not done.
    Error { channel: String, message: String },
}

/// The newest message of one push.
#[derive(Serialize)]
pub(super) struct PushTold {
    pub(super) channel: String,
    pub(super) value: Value,
    /// How many came since the last frame.
    pub(super) count: u64,
}

/// A session, for people.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    /// The number of this renderer's window in main.
    pub(super) renderer: u32,
    pub(super) pid: u32,
    pub(super) endpoint: String,
    pub(super) channels: Vec<AboutChannel>,
}

/// One channel of the contract.
#[derive(Debug, Serialize)]
pub(super) struct AboutChannel {
    pub(super) name: &'static str,
    /// What a page calls: `send`, `invoke` or `on`.
    pub(super) call: &'static str,
    /// `false`: main's policy denies it to this renderer.
    pub(super) allowed: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(text: &str) -> Option<Said> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn what_a_page_says_is_one_of_five_forms() {
        let channel = || "x".to_owned();
        let value = json!({ "a": [1] });
        assert_eq!(
            said(r#"{"type":"send","channel":"x","value":{"a":[1]}}"#),
            Some(Said::Send { channel: channel(), value })
        );
        assert_eq!(
            said(r#"{"type":"invoke","id":7,"channel":"x"}"#),
            Some(Said::Invoke { id: 7, channel: channel(), value: Value::Null })
        );
        assert_eq!(said(r#"{"type":"on","channel":"x"}"#), Some(Said::On { channel: channel() }));
        assert_eq!(said(r#"{"type":"off","channel":"x"}"#), Some(Said::Off { channel: channel() }));
        assert_eq!(said(r#"{"type":"frame"}"#), Some(Said::Frame));
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = format!(
            r#"{{"type":"send","channel":"x","value":{}{}}}"#,
            "[".repeat(20_000),
            "]".repeat(20_000)
        );
        for bad in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"type":"quit"}"#,
            r#"{"type":"frame"} x"#,
            r#"{"type":"send"}"#,
            r#"{"type":"on","channel":1}"#,
            r#"{"type":"invoke","id":-1,"channel":"x"}"#,
            r#"{"type":"on","channel":"x","extra":1}"#,
            &deep,
        ] {
            assert_eq!(said(bad), None, "{:.40}", bad);
        }
    }

    #[test]
    fn a_reply_is_a_value_or_an_error_and_null_is_a_value() {
        let told =
            |value, error| serde_json::to_value(Told::Reply { id: 1, value, error }).unwrap();
        let value = told(Some(Value::Null), None);
        assert_eq!(value, json!({ "type": "reply", "id": 1, "value": null }));
        let error = told(None, Some("no".to_owned()));
        assert_eq!(error, json!({ "type": "reply", "id": 1, "error": "no" }));
    }
}
