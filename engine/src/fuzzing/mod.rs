//! Entry points for fuzzers to the private code that reads a hostile process's bytes. With `--cfg fuzzing` only.
//!
//! ```text
//!   fuzz/ ── Input ──▶ parsers   headers, attachments, handshakes and parcels
//!                 └──▶ rings     both ends of a ring, and a topic's reader
//! ```
//!
//! Each function does with its input what the library does, and asserts what must hold for any input. `fuzz/` itself has
//! the targets of the public interface.

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

/// A fuzzer's bytes, read from the start: choices first, then the chosen data.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte. `None` at the end, where every loop over an input ends.
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

/// Connects to the main process behind `name`, and sends nothing.
///
/// # Errors
///
/// As those of `IpcRenderer::attach`.
pub fn connect(name: &str) -> Result<OwnedFd, ConnectError> {
    sockets::connect(name).map(|socket| socket.0)
}

/// Returns the packets of an honest renderer: its hello, and its ready.
///
/// # Errors
///
/// If the contract is none.
pub fn packets(contract: Contract) -> io::Result<[Vec<u8>; 2]> {
    let declared = declarations(contract).map_err(io::Error::other)?;
    Ok([encode(&Hello::new(offers(&declared))), encode(&Ready::new())])
}
