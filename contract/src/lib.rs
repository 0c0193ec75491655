//! The demo's contract: which channels its processes share, and what travels on each.
//!
//! | channel | direction | what travels |
//! | --- | --- | --- |
//! | [`LOG_MESSAGE`] | renderer to main | a line of text |
//! | [`GET_SYSTEM_INFO`] | renderer asks main | nothing, and a [`SystemInfo`] comes back |
//! | [`READ_FILE`] | renderer asks main | a path, and the file's bytes or a [`ReadFileError`] |
//! | [`STATISTICS`] | main to each renderer | [`Statistics`], at every push interval |
//!
//! There is no behaviour here, only names, types and the policy under which a renderer may use them.

mod clock;
mod read_file;
mod statistics;
mod system_info;
mod text;

use ringbridge::{Contract, Event, Method, Policy, Push};

pub use crate::{
    clock::now_ns,
    read_file::{FILE_LEN_MAX, ReadFileError},
    statistics::{CORES_MAX, Statistics},
    system_info::SystemInfo,
    text::Text,
};

/// The endpoint's name, unless the command line has another.
pub const ENDPOINT: &str = "ringbridge-demo";

/// A line for main's log.
pub const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// What machine this is.
pub const GET_SYSTEM_INFO: Method<(), SystemInfo> = Method::new("get-system-info");
/// A file's contents. The path is relative to the folder that main serves.
pub const READ_FILE: Method<str, [u8], ReadFileError> = Method::new("read-file");
/// How busy the machine is.
pub const STATISTICS: Push<Statistics> = Push::new("statistics");

/// All of them.
pub const CONTRACT: Contract = &[&LOG_MESSAGE, &GET_SYSTEM_INFO, &READ_FILE, &STATISTICS];

/// How many invokes of one renderer may be unanswered: enough for a burst of files.
const PENDING_INVOKES_MAX: u16 = 16;

/// What a renderer of the demo may do. Channels that are not named here are denied, also those that
/// the contract gets one day.
pub fn policy() -> Policy {
    Policy::deny_all()
        .allow(LOG_MESSAGE)
        .allow(GET_SYSTEM_INFO)
        .allow(READ_FILE)
        .allow(STATISTICS)
        .pending_invokes_max(PENDING_INVOKES_MAX)
}
