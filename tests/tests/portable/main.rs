//! The behaviour of the portable backend: what every backend does, and what named segments need besides.
//!
//! Left out is what only the sealed backend has: protection against a hostile process, and the sandbox.

#[path = "../behaviour/mod.rs"]
mod behaviour;
mod leftovers;

tests::scenes!();
