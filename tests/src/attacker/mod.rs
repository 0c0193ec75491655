//! A renderer that uses the real socket and memory without the library.
//!
//! Nothing here uses the engine. [`wire`] restates the bytes from the diagrams in `engine/src/wire/`. With the engine's
//! own constants it would follow every change of the layout, and no test would notice that two versions do not
//! understand each other any more.
//!
//! An attacker belongs into a process of its own, which ends soon: mappings are never undone, and errors are panics.

pub mod door;
pub mod memory;
pub mod session;
pub mod system;
pub mod wire;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::processes::{LIMIT, within_by};
use door::Socket;
use session::Session;

/// The attacker's process, before a session.
pub struct Attacker {
    pub path: PathBuf,
    pub main: u32,
    pub bystander: u32,
    /// The socket with which main launched it.
    pub inherited: Option<Socket>,
    /// A descriptor of the socket's file, which a careless administrator has left to it.
    pub way_in: Option<Socket>,
}

impl Attacker {
    /// The socket with which main launched it, before a word was said.
    pub fn socket(&mut self) -> Socket {
        self.inherited.take().expect("main has launched it")
    }

    pub fn knock(&self) -> Socket {
        Socket::connect(&self.path).expect("main listens")
    }

    /// Shakes hands as it should, over the socket with which main launched it.
    pub fn session(&mut self) -> Session {
        Session::begin(self.socket())
    }
}

pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(within_by(LIMIT, thread::yield_now, condition), "not within {LIMIT:?}: {what}");
}

pub fn until_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = find();
        found.is_some()
    });
    found.expect("it was found")
}

pub fn for_a_while(span: Duration, mut step: impl FnMut()) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        step();
    }
}
