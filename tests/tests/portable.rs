//! The tests of the other files, over named segments and events: the same bodies, another backend.
//!
//! Left out is what only one of the two has: walls that hold against a hostile process, and the sandbox. What
//! only this one has (segments that outlive their owner, the sweep) is in `leftovers.rs`.

#[path = "fairness.rs"]
mod fairness;
#[path = "handshake.rs"]
mod handshake;
#[path = "invoke_and_handle.rs"]
mod invoke_and_handle;
#[path = "lifecycle.rs"]
mod lifecycle;
#[path = "limits.rs"]
mod limits;
#[path = "policy.rs"]
mod policy;
#[path = "push.rs"]
mod push;
#[path = "quotas.rs"]
mod quotas;
#[path = "reconnect.rs"]
mod reconnect;
#[path = "restart.rs"]
mod restart;
#[path = "send_and_on.rs"]
mod send_and_on;
#[path = "supervision.rs"]
mod supervision;
#[path = "topic.rs"]
mod topic;
#[path = "validators.rs"]
mod validators;
#[path = "wake.rs"]
mod wake;
