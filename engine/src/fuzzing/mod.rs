//! The doors for fuzzers: what takes a hostile process's bytes and is private otherwise.
//!
//! Compiled with `--cfg fuzzing` only, and no part of the interface. Each function takes what a fuzzer made,
//! does with it what the library does, and asserts what must hold whatever it was. The targets are in the
//! folder `fuzz/` of the repository, which has what can be reached through the public interface itself.

mod parsers;
mod rings;

use std::{io, os::fd::OwnedFd};

use crate::{
    contract::{Contract, declarations},
    session::{error::ConnectError, offers::offers, sockets},
    wire::handshake::{Hello, Ready, encode},
};

pub use parsers::{attached, frame, handshake};
pub use rings::{consumer, producer, topic};

/// What a fuzzer made, read from its start: choices first, then what is chosen from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte; `None` at the end, where every loop over an input ends.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next `N` bytes, or what is left and zeroes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// A number of eight bytes.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// The next `len` bytes, or what is left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// A connection to the main process behind `name`, of which nothing was said yet.
///
/// # Errors
///
/// As those of `IpcRenderer::attach`.
pub fn connect(name: &str) -> Result<OwnedFd, ConnectError> {
    sockets::connect(name).map(|socket| socket.0)
}

/// The packets of an honest renderer: its hello, and that it is ready.
///
/// # Errors
///
/// If the contract is none.
pub fn packets(contract: Contract) -> io::Result<[Vec<u8>; 2]> {
    let declared = declarations(contract).map_err(io::Error::other)?;
    Ok([encode(&Hello::new(offers(&declared))), encode(&Ready::new())])
}
