//! The messages between a page and its task, as JSON, one in each WebSocket message.
//!
//! A page's messages are hostile: each is no longer than [`MESSAGE_LEN_MAX`], nests no deeper than the parser allows
//! (128), and has exactly one of these forms.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pages::Reading;

pub(super) const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// A message of a page.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Incoming {
    /// Sends to main.
    Send {
        channel: String,
        #[serde(default)]
        value: Value,
    },
    /// Invokes a method of main. The page assigns the number, by which it recognises the reply.
    Invoke {
        id: u32,
        channel: String,
        #[serde(default)]
        value: Value,
    },
    /// Listens to a push.
    On { channel: String },
    /// Stops listening to a push.
    Off { channel: String },
    /// Asks for the next frame: the page has drawn the last one.
    Frame,
}

/// A message to a page.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Outgoing<'a> {
    /// The session with main has changed. `None`: there is none.
    Session { session: Option<&'a About> },
    /// The newest pushes and measurements since the last frame.
    Frame { pushes: Vec<PagePush>, meters: Option<Reading> },
    /// The reply to an invoke: a value, or the text of an error.
    Reply {
        id: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Another message of the page failed.
    Error { channel: String, message: String },
}

#[derive(Serialize)]
pub(super) struct PagePush {
    pub(super) channel: String,
    pub(super) value: Value,
    /// The number of messages since the last frame.
    pub(super) count: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    /// The number of this renderer's window in main.
    pub(super) renderer: u32,
    pub(super) pid: u32,
    pub(super) endpoint: String,
    pub(super) channels: Vec<AboutChannel>,
}

#[derive(Debug, Serialize)]
pub(super) struct AboutChannel {
    pub(super) name: &'static str,
    /// The call of a page: `send`, `invoke` or `on`.
    pub(super) call: &'static str,
    /// `false`: main's policy denies it to this renderer.
    pub(super) allowed: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_of_another_form_is_refused() {
        let nested = "[".repeat(20_000) + &"]".repeat(20_000);
        let deep = format!(r#"{{"type":"send","channel":"x","value":{nested}}}"#);
        for bad in [
            "null",
            r#"{"type":"quit"}"#,
            r#"{"type":"frame"} x"#,
            r#"{"type":"invoke","id":-1,"channel":"x"}"#,
            r#"{"type":"on","channel":"x","extra":1}"#,
            &deep,
        ] {
            assert!(serde_json::from_str::<Incoming>(bad).is_err(), "{bad:.40}");
        }
    }

    #[test]
    fn a_reply_is_a_value_or_an_error_and_null_is_a_value() {
        let told =
            |value, error| serde_json::to_value(Outgoing::Reply { id: 1, value, error }).unwrap();
        let value = told(Some(Value::Null), None);
        assert_eq!(value, json!({ "type": "reply", "id": 1, "value": null }));
        let error = told(None, Some("no".to_owned()));
        assert_eq!(error, json!({ "type": "reply", "id": 1, "error": "no" }));
    }
}
