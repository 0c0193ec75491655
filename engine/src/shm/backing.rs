//! How main makes memory, and how another process maps it: the seam between the kinds of shared memory.
//!
//! | kind | memory | who may write it | passed on as | for |
//! | --- | --- | --- | --- | --- |
//! | `sealed` | a `memfd`, sealed | its one writer, enforced by the kernel | a descriptor | untrusted renderers; Linux |
//! | `portable/` | a segment with a name | each process that opens it | its name | processes that trust each other |
//!
//! The transport chooses the [`Backing`]. A process that is given memory learns from its
//! [`MemoryHandle`](super::handle::MemoryHandle) what it is.

use std::{fmt, io, ops::Deref};

use crate::{
    primitives::Arc,
    shm::{
        handle::MemoryHandle,
        mapping::{Mapping, WriterSide},
    },
};

/// Makes memory of one kind.
pub(crate) trait MemorySource: fmt::Debug + Send + Sync {
    /// Makes `len` zero bytes and maps them as `writer` asks. `name` only shows in `/proc`.
    fn region(
        &self,
        name: &str,
        len: usize,
        writer: WriterSide,
    ) -> io::Result<(Mapping, MemoryHandle)>;

    /// Makes `size` zero bytes that a renderer is to fill.
    fn blank(&self, size: usize) -> io::Result<MemoryHandle>;

    /// Makes `size` bytes that no other mapping writes, which begin with `payload`.
    fn written(&self, size: usize, payload: &[u8]) -> io::Result<(Mapping, MemoryHandle)>;
}

/// What main makes all memory of an endpoint with.
#[derive(Clone, Debug)]
pub(crate) struct Backing(Arc<dyn MemorySource>);

impl Backing {
    pub(crate) fn new(source: impl MemorySource + 'static) -> Self {
        Self(Arc::new(source))
    }
}

impl Deref for Backing {
    type Target = dyn MemorySource;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
