//! Plain facts about processes and descriptors, on any system.

/// The peer of a connection when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// 0 if the process is not visible from here.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The state of a control channel. If neither is set, the peer has sent nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) hangup: bool,
}

/// An event of the descriptor that was added with `token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: u64,
    /// A packet, a connection or an exit status can be read.
    pub(crate) readable: bool,
    /// The other end is gone. Its earlier packets may still be readable.
    pub(crate) hangup: bool,
}
