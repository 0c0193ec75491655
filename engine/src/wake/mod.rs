//! Waiting and waking: how a thread waits for its peer, and how the peer wakes it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bell`] | wakes the peer if it sleeps, once for each sleep |
//! | [`adaptive`] | spins, dozes or parks, as earlier waits advise |
//! | [`rhythm`] | the period and phase of a regular sender |
//! | [`driver_lock`] | which of the waiting threads drives the loop |
//! | [`space_waiters`] | threads that wait for space in a ring |
//! | [`executor`] | the futures that the loop polls |

pub(crate) mod adaptive;
pub(crate) mod bell;
pub(crate) mod driver_lock;
pub(crate) mod executor;
pub(crate) mod rhythm;
pub(crate) mod space_waiters;
