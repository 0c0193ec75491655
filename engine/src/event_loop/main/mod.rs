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
//! | module | what it is |
//! | --- | --- |
//! | [`endpoint`] | opens the endpoint |
//! | [`windows`], [`arming`] | the source: frames and notices; quiet and held windows |
//! | [`handshake`], [`sessions`] | connections that come in; how sessions begin and end |
//! | [`connection`], [`deadlines`] | one connection with its session; the next deadline of each |
//! | [`shared`], [`notices`], [`hooks`], [`topics`] | what all threads share, in parts with one job each |
//! | [`opening`], [`launching`], [`launcher`], [`restart`] | memory of a session; launches, and again after a crash |
//! | [`token`] | the names of the poller's events |
//! | [`responsiveness`], [`wake_flood`], [`inspectors`] | windows that take nothing; that ring for nothing; observers |

mod arming;
mod connection;
mod deadlines;
pub(crate) mod endpoint;
mod handshake;
pub(crate) mod hooks;
mod inspectors;
mod launcher;
mod launching;
mod notices;
mod opening;
mod responsiveness;
pub(crate) mod restart;
mod sessions;
pub(crate) mod shared;
mod token;
mod topics;
mod wake_flood;
pub(crate) mod windows;
