//! Waiting and waking: how a thread waits for its peer, and how the peer wakes it.
//!
//! ```text
//!   nothing came ──▶ adaptive: look again, yield, doze, or park ──▶ Interrupt::sleep
//!                      ▲ rhythm: when is the next message due?            │ on the peer's bell
//!                                                                         ▼
//!   PeerBell of the peer: a frame or room is there, and this side's epoch says "asleep" ──▶ rings
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | [`bell`] | wakes the peer if it sleeps, once for each sleep; the sleep itself |
//! | [`adaptive`] | the decision to spin, doze or park, from earlier waits |
//! | [`first_look`] | the time of the first look after a frame of one's own |
//! | [`rhythm`] | the period and phase of a regular sender |
//! | [`driver_lock`] | the lock of a loop: one of the waiting threads drives it |
//! | [`space_waiters`] | the threads that wait for space in a ring |
//! | [`executor`] | the futures that the loop polls |

pub(crate) mod adaptive;
pub(crate) mod bell;
pub(crate) mod driver_lock;
pub(crate) mod executor;
pub(crate) mod first_look;
pub(crate) mod rhythm;
pub(crate) mod space_waiters;
