//! What is told of processes and descriptors, on any system.

/// Who was at the other end when the connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// 0 if the process is not visible from here.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What a look at a control found; neither is "not yet".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) hangup: bool,
}

/// Something happened to what was listened to with `token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: u64,
    /// There is something to read, accept or reap.
    pub(crate) readable: bool,
    /// The other end is gone. What it said before may still be there to read.
    pub(crate) hangup: bool,
}
