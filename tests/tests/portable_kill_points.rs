//! The tests of `kill_points.rs` over the portable backend. No point is inside an event, where `stress --backend
//! portable` kills.

#[path = "kill_points.rs"]
mod kill_points;
