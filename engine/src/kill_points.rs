//! The steps of sending, waking, parking, replying, connecting and attaching at which a process can be made to
//! die, for tests of what the other side makes of that.
//!
//! Only with the feature `kill-points`, which is for tests. Without it [`reach`] is nothing at all.

/// Defines the points, with who can reach each.
macro_rules! kill_points {
    ($($(#[$attribute:meta])* $name:ident: $main:literal, $renderer:literal;)*) => {
        /// A step at which a process can be made to die: `arm_kill_point`.
        #[cfg_attr(
            not(feature = "kill-points"),
            allow(unreachable_pub, reason = "exported with the feature only")
        )]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum KillPoint {
            $($(#[$attribute])* $name,)*
        }

        #[cfg(feature = "kill-points")]
        impl KillPoint {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Whether a main process can come by here, and whether a renderer can.
            pub fn sides(self) -> (bool, bool) {
                match self {
                    $(Self::$name => ($main, $renderer),)*
                }
            }
        }
    };
}

kill_points! {
    // --- send and commit: main, renderer ---
    /// The outbox is locked.
    SendBegun: true, true;
    /// There is room for a frame.
    FrameReserved: true, true;
    /// Its payload is there.
    PayloadWritten: true, true;
    /// What lies behind it is no frame.
    FrameGuarded: true, true;
    /// Its commit word is there, but not yet that of a pad in front of it.
    FrameCommitted: true, true;
    /// The pad's is there too.
    PadCommitted: true, true;
    /// The outbox is unlocked, and nobody has looked whether the peer sleeps.
    SendCommitted: true, true;
    // --- wake ---
    /// The peer sleeps.
    WakeDecided: true, true;
    /// The bell has another value, and nobody was woken.
    BellBumped: true, true;
    /// There is room for the peer, and nobody has looked whether it waits for some.
    RoomPublished: true, true;
    // --- park ---
    /// The peer is told that this side sleeps.
    ParkAnnounced: true, true;
    /// It does not sleep any more, and the peer is not told.
    ParkEnded: true, true;
    /// The peer is told that this side waits for room.
    RoomWanted: true, true;
    // --- requests and replies ---
    /// A request has its id, and no frame.
    RequestBegun: true, true;
    /// Its frame is committed, and its deadline is not noted.
    RequestCommitted: true, true;
    /// A frame was seen, and nothing done about it.
    FrameReceived: true, true;
    /// It was acted on, and not read past.
    FrameHandled: true, true;
    /// A handler has its result.
    ReplyBegun: true, true;
    /// A reply has come, and its caller does not know.
    ReplyReceived: true, true;
    // --- handshake ---
    /// The renderer has said hello.
    HelloSent: false, true;
    /// Main has seen that.
    HelloReceived: true, false;
    /// Main has made the session, and not handed it over.
    SessionOpened: true, false;
    /// Main has handed it over.
    WelcomeSent: true, false;
    /// The renderer has its memory, and has not mapped it.
    WelcomeReceived: false, true;
    /// The renderer has mapped it.
    MemoryMapped: false, true;
    /// The renderer has said so.
    ReadySent: false, true;
    /// Main has seen that.
    ReadyReceived: true, false;
    // --- attachments ---
    /// The renderer has asked for memory.
    AttachmentAsked: false, true;
    /// Main has made it, and perhaps sent it.
    AttachmentLent: true, false;
    /// The renderer has filled it, and not sealed it.
    AttachmentFilled: false, true;
    /// The payload is in its memory, and no frame names it.
    AttachmentReady: true, true;
    /// The other side has that memory too, and no frame names it.
    AttachmentAnnounced: true, true;
    /// A frame names it, and this side has not noted that.
    AttachmentNamed: true, true;
    /// The receiver has mapped it.
    AttachmentOpened: true, true;
}

#[cfg(not(feature = "kill-points"))]
#[inline(always)]
pub(crate) fn reach(_point: KillPoint) {}

#[cfg(feature = "kill-points")]
pub use armed::arm;
#[cfg(feature = "kill-points")]
pub(crate) use armed::reach;

#[cfg(feature = "kill-points")]
mod armed {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::KillPoint;
    use crate::os::process;

    /// The armed point's number plus one, or 0. Relaxed, as the other: a thread that sees them late reaches
    /// the point once more.
    static ARMED: AtomicU32 = AtomicU32::new(0);
    static LEFT: AtomicU32 = AtomicU32::new(0);

    /// Makes this process die when it comes by the point for the `nth` time from now on, from 1.
    pub fn arm(point: KillPoint, nth: u32) {
        // Relaxed: a test arms the point before it starts the threads that reach it.
        LEFT.store(nth, Relaxed);
        ARMED.store(point as u32 + 1, Relaxed);
    }

    pub(crate) fn reach(point: KillPoint) {
        if ARMED.load(Relaxed) == point as u32 + 1 && LEFT.fetch_sub(1, Relaxed) == 1 {
            process::kill_this_one();
        }
    }
}
