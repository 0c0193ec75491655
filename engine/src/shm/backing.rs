//! How main makes memory: the seam between the kinds of shared memory.
//!
//! | kind | memory | writer | passed on as | for |
//! | --- | --- | --- | --- | --- |
//! | `sealed` | a `memfd`, sealed | one process, enforced by the kernel | a descriptor | untrusted renderers; Linux |
//! | `portable/` | a segment with a name | any process that opens it | its name | processes that trust each other |

use std::{fmt, io, ops::Deref};

use crate::{
    primitives::Arc,
    shm::{
        handle::MemoryHandle,
        mapping::{Access, Mapping},
    },
};

/// Makes memory of one kind.
pub(crate) trait MemorySource: fmt::Debug + Send + Sync {
    /// Makes `len` zero bytes and maps them for `access`; the other process gets the other access. `name` only
    /// shows in `/proc`.
    fn region(&self, name: &str, len: usize, access: Access)
    -> io::Result<(Mapping, MemoryHandle)>;

    /// Makes `size` zero bytes for a renderer to fill.
    fn blank(&self, size: usize) -> io::Result<MemoryHandle>;

    /// Makes `size` bytes that no other mapping writes, which begin with `payload`.
    fn written(&self, size: usize, payload: &[u8]) -> io::Result<(Mapping, MemoryHandle)>;
}

/// The source of all memory of an endpoint. The transport chooses it.
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
