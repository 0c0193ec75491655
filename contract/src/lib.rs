//! The demo's contract: the channels that its processes share, and the payload of each.
//!
//! | channel | direction | payload |
//! | --- | --- | --- |
//! | [`LOG_MESSAGE`] | renderer to main | a line of text |
//! | [`GET_SYSTEM_INFO`] | renderer asks main | nothing; the reply is a [`SystemInfo`] |
//! | [`READ_FILE`] | renderer asks main | a path; the reply is the file's bytes or a [`ReadFileError`] |
//! | [`STATISTICS`] | main to each renderer | [`Statistics`], at every push interval |
//!
//! [`figures`] formats numbers for all programs of the demo.

pub mod figures;
mod read_file;
mod statistics;
mod system_info;
mod text;

use ringbridge::{Contract, Event, Method, Policy, Push};

pub use crate::{
    read_file::{FILE_LEN_MAX, ReadFileError},
    statistics::{CORES_MAX, Statistics, now_ns},
    system_info::SystemInfo,
    text::Text,
};

/// The default name of the endpoint.
pub const ENDPOINT: &str = "ringbridge-demo";

/// A line for main's log.
pub const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// The machine.
pub const GET_SYSTEM_INFO: Method<(), SystemInfo> = Method::new("get-system-info");
/// A file's contents. The path is relative to the folder that main serves.
pub const READ_FILE: Method<str, [u8], ReadFileError> = Method::new("read-file");
/// The load of the machine.
pub const STATISTICS: Push<Statistics> = Push::new("statistics");

/// All channels.
pub const CONTRACT: Contract = &[&LOG_MESSAGE, &GET_SYSTEM_INFO, &READ_FILE, &STATISTICS];

/// The maximum number of unanswered invokes of one renderer: enough for a burst of files.
const PENDING_INVOKES_MAX: u16 = 16;

/// Returns the policy of the demo's renderers. It denies every channel that it does not name, and so every channel that
/// is added to the contract later.
pub fn policy() -> Policy {
    Policy::deny_all()
        .allow(LOG_MESSAGE)
        .allow(GET_SYSTEM_INFO)
        .allow(READ_FILE)
        .allow(STATISTICS)
        .pending_invokes_max(PENDING_INVOKES_MAX)
}
