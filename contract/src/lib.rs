//! The demo's channels.
