//! The steps of the protocol at which a test can make a process die. The test then looks at the other side.
//!
//! Only with the feature `kill-points`. Without it [`reach`] compiles to nothing.

/// Defines the points. The first flag tells whether main can reach one, the second whether a renderer can.
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

            /// Whether a main process can reach it, and whether a renderer can.
            pub fn sides(self) -> (bool, bool) {
                match self {
                    $(Self::$name => ($main, $renderer),)*
                }
            }
        }
    };
}

kill_points! {
    // --- send and commit ---
    /// The outbox is locked.
    SendBegun: true, true;
    /// There is room for a frame.
    FrameReserved: true, true;
    /// Its payload is written.
    PayloadWritten: true, true;
    /// Its guard is clear.
    FrameGuarded: true, true;
    /// Its commit word is stored, and that of a pad in front of it is not.
    FrameCommitted: true, true;
    /// The pad's commit word is stored too.
    PadCommitted: true, true;
    /// The outbox is unlocked, and the sender has not looked whether the peer sleeps.
    SendCommitted: true, true;
    // --- wake ---
    /// The sender has seen that the peer sleeps.
    WakeDecided: true, true;
    /// The bell has a new value, and no thread was woken.
    BellBumped: true, true;
    /// There is space for the peer, and this side has not looked whether the peer waits for it.
    RoomPublished: true, true;
    // --- park ---
    /// This side's sleep is announced.
    ParkAnnounced: true, true;
    /// This side is awake, and its sleep is still announced.
    ParkEnded: true, true;
    /// This side's wait for space is announced.
    RoomWanted: true, true;
    // --- requests and replies ---
    /// A request has its id, and no frame.
    RequestBegun: true, true;
    /// Its frame is committed, and its deadline is not noted.
    RequestCommitted: true, true;
    /// A frame was checked, and not handled.
    FrameReceived: true, true;
    /// It was handled, and the consumer has not advanced.
    FrameHandled: true, true;
    /// A handler has its result.
    ReplyBegun: true, true;
    /// A reply has come, and its caller was not told.
    ReplyReceived: true, true;
    // --- handshake ---
    /// The renderer has sent its hello.
    HelloSent: false, true;
    /// Main has it.
    HelloReceived: true, false;
    /// Main has made the session, and not sent its memory.
    SessionOpened: true, false;
    /// Main has sent it.
    WelcomeSent: true, false;
    /// The renderer has the memory, and has not mapped it.
    WelcomeReceived: false, true;
    /// The renderer has mapped it.
    MemoryMapped: false, true;
    /// The renderer has sent that it is ready.
    ReadySent: false, true;
    /// Main has that.
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
    /// The peer has that memory too, and no frame names it.
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

    /// The armed point's number plus one, or 0. Relaxed: a thread that sees it late only passes the point once more.
    static ARMED: AtomicU32 = AtomicU32::new(0);
    static LEFT: AtomicU32 = AtomicU32::new(0);

    /// Makes this process die when it reaches the point for the `nth` time from now on, from 1.
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
