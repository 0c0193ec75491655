//! The behaviour of the sealed backend: what every backend does, and what only this one promises.

#[path = "../behaviour/mod.rs"]
mod behaviour;
mod context_bridge;
mod events;
mod inspect;
mod walls;

tests::scenes!();
