//! The contract: the list of channels, and the types that travel on each.
//!
//! A channel is a constant that both processes share. Its type gives its direction and use:
//!
//! | channel | direction | main | renderer |
//! | --- | --- | --- | --- |
//! | [`Event<T>`](Event) | renderer to main | `on`, `once` | `send` |
//! | [`Method<A, R, E>`](Method) | both, with a reply | `handle`, `WebContents::invoke` | `invoke`, `handle` |
//! | [`Push<T>`](Push) | main to one renderer | `WebContents::send` | `on`, `once` |
//! | [`Topic<T>`](Topic) | main to all subscribers, lossy | `publish` | `subscribe` |
//!
//! The position in *main's* [`Contract`] is the channel's number on the wire. Main compares names and schemas once,
//! when a renderer connects. Each kind has a namespace of its own, as `ipcMain.on` and `ipcMain.handle` have.
//!
//! - [`channel`]: the constants, and the list of them. [`channel_table`]: the channels of a session, by number.
//! - [`payload`]: the types that travel, and their schemas. [`error`]: a contract that is wrong in itself.

mod channel;
pub(crate) mod channel_table;
pub(crate) mod error;
pub(crate) mod payload;

#[cfg(not(loom))]
pub(crate) use channel::channel_hash;
pub use channel::{Channel, ChannelKey, Contract, Event, FromRenderer, Method, Push, Topic};
pub(crate) use channel::{Declaration, declarations};

pub use crate::wire::handshake::ChannelKind;
