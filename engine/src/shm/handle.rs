//! The means by which another process maps memory: a descriptor of it, or its name.

use std::{any::Any, fmt, io, ops::Deref};

use crate::{
    primitives::Arc,
    shm::mapping::{Access, Mapping, RegionError},
};

/// Memory of one kind, as it is handed over.
pub(crate) trait Memory: Any + fmt::Debug + Send + Sync {
    /// Checks that its size is constant and this one, and that it may be filled.
    fn check(&self, size: usize) -> Result<(), RegionError>;

    /// Checks and maps memory that main has made.
    fn map(&self, len: usize, access: Access) -> Result<Mapping, RegionError>;

    /// Writes `payload` to the start of memory of this size.
    fn fill(&self, size: usize, payload: &[u8]) -> io::Result<()>;

    /// Ends all writing, as far as this kind of memory can. Fails while a writable mapping is left.
    fn finish(&self) -> io::Result<()>;

    /// Maps memory that a renderer has filled and finished. Main only, which knows the size since it has made it.
    fn map_finished(&self, size: usize) -> Result<Mapping, RegionError>;
}

#[derive(Clone, Debug)]
pub(crate) struct MemoryHandle(Arc<dyn Memory>);

impl MemoryHandle {
    pub(crate) fn new(memory: impl Memory) -> Self {
        Self(Arc::new(memory))
    }

    /// The memory itself, for the transport that passes on this kind only.
    pub(crate) fn of_kind<M: Memory>(&self) -> io::Result<&M> {
        let memory: &dyn Any = &*self.0;
        memory.downcast_ref().ok_or_else(|| io::Error::other("memory of another backend"))
    }
}

impl Deref for MemoryHandle {
    type Target = dyn Memory;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
