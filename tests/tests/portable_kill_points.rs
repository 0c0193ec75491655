//! The tests of `kill_points.rs`, over named segments and events: whoever dies may leave an event locked.
//!
//! The points are the same. What lies between two of them is not all of it: inside an event no process can be made to die
//! from here, which is what `stress --backend portable` is for.

#[path = "kill_points.rs"]
mod kill_points;
