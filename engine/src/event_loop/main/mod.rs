//! Main's windows: every renderer's frames, and everything else that happens to a session.
//!
//! ```text
//!   busy windows    looked at in every turn, up to 64 frames each
//!   armed windows   quiet lately: their renderer rings with its next frame
//!   held windows    over their quota, or flooding main with wakes: left alone until a deadline
//!   notices         windows that need the loop for another reason: closed, requests with deadlines, …
//!   poller          bells of armed windows, sockets (hang-ups, handshakes, inspectors), ends of
//!                   processes, the listener; slept on when all windows are armed and nothing is left
//! ```
//!
//! The work of a turn depends on the windows that are busy, not on how many there are. Main never waits
//! for a renderer here. Each wait for a step of a renderer has a deadline.
//!
//! | module | contents |
//! | --- | --- |
//! | [`endpoint`], [`shared`], [`notices`], [`hooks`], [`topics`] | opens the endpoint; the parts that all threads share |
//! | [`windows`], [`arming`], [`deadlines`] | the source: frames, notices, events; quiet and held windows |
//! | [`connection`], [`handshake`], [`sessions`] | a connection; how it comes in; how sessions begin and end |
//! | [`opening`], [`launcher`], [`restart`] | a session's memory and process; launches, and again after a crash |
//! | [`responsiveness`], [`wake_flood`], [`inspectors`] | windows that take nothing; that ring for nothing; observers |

mod arming;
mod connection;
mod deadlines;
pub(crate) mod endpoint;
mod handshake;
pub(crate) mod hooks;
mod inspectors;
mod launcher;
mod notices;
mod opening;
mod responsiveness;
pub(crate) mod restart;
mod sessions;
pub(crate) mod shared;
mod topics;
mod wake_flood;
mod windows;
