//! What holds over each backend.
//!
//! Two test programs have these modules: `sealed` and `portable`. The program's name decides the backend.

mod fairness;
mod handshake;
mod invoke_and_handle;
mod lifecycle;
mod limits;
mod policy;
mod push;
mod quotas;
mod reconnect;
mod restart;
mod send_and_on;
mod supervision;
mod topic;
mod validators;
mod wake;
