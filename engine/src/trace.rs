//! The events of sessions for `tracing`. Without the feature of that name they cost nothing.
//!
//! None is on the path of a message. Each has the target `ringbridge` and the window's number. None contains a
//! renderer's text: reasons and violations have fixed names, and the reason of a refusal is main's own text.

/// Emits an event. Its fields are numbers, or texts of this process.
macro_rules! tell {
    ($level:ident, $($field:ident = $value:expr,)* $what:literal) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "ringbridge", $($field = $value,)* $what);
        #[cfg(not(feature = "tracing"))]
        { $(let _ = $value;)* }
    }};
}

pub(crate) fn endpoint_opened(endpoint: &str) {
    tell!(info, endpoint = endpoint, "endpoint opened");
}

pub(crate) fn endpoint_closed(endpoint: &str) {
    tell!(info, endpoint = endpoint, "endpoint closed");
}

pub(crate) fn session_opened(window: u32, policy: &str) {
    tell!(debug, window = window, policy = policy, "session opened");
}

pub(crate) fn session_connected(window: u32, pid: u32) {
    tell!(info, window = window, pid = pid, "renderer connected");
}

pub(crate) fn session_ended(window: u32, reason: &str) {
    tell!(info, window = window, reason = reason, "session ended");
}

pub(crate) fn process_ended(window: u32, exit_code: i32) {
    tell!(debug, window = window, exit_code = exit_code, "renderer's process ended");
}

/// `pid` is 0 if the kernel does not tell it.
pub(crate) fn refused(pid: u32, why: &str) {
    tell!(warn, pid = pid, why = why, "connection refused");
}

pub(crate) fn violation(window: u32, pid: u32, violation: &str, tolerated: bool) {
    tell!(
        warn,
        window = window,
        pid = pid,
        violation = violation,
        tolerated = tolerated,
        "protocol violation"
    );
}

pub(crate) fn held(window: u32) {
    tell!(debug, window = window, "over its quota: held");
}

pub(crate) fn released(window: u32) {
    tell!(debug, window = window, "looked at again");
}

pub(crate) fn storm(window: u32) {
    tell!(warn, window = window, "rings without sending, too often: not heard for a while");
}

pub(crate) fn unresponsive(window: u32) {
    tell!(warn, window = window, "takes nothing");
}

pub(crate) fn responsive(window: u32) {
    tell!(info, window = window, "takes something again");
}

pub(crate) fn restarts(window: u32, in_ms: u64) {
    tell!(info, window = window, in_ms = in_ms, "crashed: is launched again");
}

pub(crate) fn inspectors(count: u32) {
    tell!(debug, count = count, "inspectors watching");
}
