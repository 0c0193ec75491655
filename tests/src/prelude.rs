//! The names that nearly every test uses.

pub use std::{
    io::Write,
    process::Command,
    thread,
    time::{Duration, Instant},
};

pub use ringbridge::*;
pub use rustix::process::Signal;
pub use serde_json::{Value, json};

pub use crate::{contract::*, proc::*, processes::*, scene::*, scenes::*, shorthands::*, stage::*};
