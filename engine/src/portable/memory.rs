//! Memory of the portable backend: segments, as main makes them and others map them by name.
//!
//! It cannot be sealed. Each process that has filled memory, or is to read it, is trusted to leave it alone.

use std::io;

use crate::{
    portable::{
        name::SegmentName,
        named::{self, Segment, SegmentError},
        segments::Segments,
    },
    primitives::Arc,
    shm::{
        backing::MemorySource,
        handle::{Memory, MemoryHandle},
        mapping::Mapping,
        region::{Access, RegionError},
    },
};

/// A segment by its name, which is good for as long as its maker keeps it.
#[derive(Debug)]
pub(crate) struct NamedMemory {
    pub(crate) name: SegmentName,
    /// Main's, of memory that nothing else keeps.
    _kept: Option<Arc<Segment>>,
}

impl From<SegmentName> for MemoryHandle {
    fn from(name: SegmentName) -> Self {
        Self::new(NamedMemory { name, _kept: None })
    }
}

impl MemorySource for Arc<Segments> {
    fn region(
        &self,
        _name: &str,
        len: usize,
        _access: Access,
    ) -> io::Result<(Mapping, MemoryHandle)> {
        let segment = self.create(len)?;
        // Named memory may be scarce, and a page that cannot be had when a message is written ends the process.
        segment.reserve()?;
        let handle = segment.name().clone().into();
        Ok((segment.into_mapping(), handle))
    }

    fn blank(&self, size: usize) -> io::Result<MemoryHandle> {
        let segment = self.create(size)?;
        let name = segment.name().clone();
        Ok(MemoryHandle::new(NamedMemory { name, _kept: Some(Arc::new(segment)) }))
    }

    fn written(&self, size: usize, payload: &[u8]) -> io::Result<(Mapping, MemoryHandle)> {
        let segment = self.create(size)?;
        segment.write_to_start(payload)?;
        let handle = segment.name().clone().into();
        Ok((segment.into_mapping(), handle))
    }
}

impl Memory for NamedMemory {
    fn check(&self, size: usize) -> Result<(), RegionError> {
        Ok(named::check(&self.name, size)?)
    }

    fn map(&self, len: usize, _access: Access) -> Result<Mapping, RegionError> {
        Ok(Segment::open(&self.name, len)?.into_mapping())
    }

    fn fill(&self, size: usize, payload: &[u8]) -> io::Result<()> {
        Segment::open(&self.name, size)?.write_to_start(payload)
    }

    fn finish(&self) -> io::Result<()> {
        Ok(())
    }

    fn map_finished(&self, size: usize) -> Result<Mapping, RegionError> {
        self.map(size, Access::Read)
    }
}

impl From<SegmentError> for RegionError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Size { expected, actual } => Self::Size { expected, actual },
            error => Self::System(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
