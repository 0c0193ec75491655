//! What another process needs to map memory too: a descriptor of it, or its name.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;

use crate::os::{BorrowedFd, OwnedFd};
#[cfg(feature = "portable")]
use crate::portable::name::SegmentName;

#[derive(Debug)]
pub(crate) enum MemoryHandle {
    /// Of memory that nobody finds by looking for it.
    #[cfg(target_os = "linux")]
    Descriptor(OwnedFd),
    /// Good for as long as the process that made the segment keeps it.
    #[cfg(feature = "portable")]
    Segment(SegmentName),
}

impl MemoryHandle {
    pub(crate) fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor(descriptor) => Some(descriptor),
            #[cfg(feature = "portable")]
            Self::Segment(_) => None,
        }
    }

    /// For what passes descriptors on and nothing else.
    pub(crate) fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Descriptor(descriptor) => Ok(descriptor.as_fd()),
            #[cfg(feature = "portable")]
            Self::Segment(name) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{name} is passed on by name"),
            )),
        }
    }
}

#[cfg(target_os = "linux")]
impl From<OwnedFd> for MemoryHandle {
    fn from(descriptor: OwnedFd) -> Self {
        Self::Descriptor(descriptor)
    }
}

#[cfg(not(target_os = "linux"))]
impl From<OwnedFd> for MemoryHandle {
    fn from(descriptor: OwnedFd) -> Self {
        descriptor.never()
    }
}

#[cfg(feature = "portable")]
impl From<SegmentName> for MemoryHandle {
    fn from(name: SegmentName) -> Self {
        Self::Segment(name)
    }
}
