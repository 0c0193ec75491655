//! A renderer's inbox: main's frames, the topics, and the sleep on the window's bell.
//!
//! ```text
//!   turn:   frames ──▶ listeners, handlers, replies
//!           topics ──▶ subscribers
//!           nothing? publish `consumed`
//!   sleep:  on the bell, which main rings, and on this process's own interrupt
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`session`] | begins and ends the session, and hands its listeners over to the next |
//! | [`inbox`] | the source: frames, topics, sleep |
//! | [`topics`] | the topics that are read, and changes on their way to the loop |
//! | [`shared`] | what all threads share |

mod inbox;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod topics;
