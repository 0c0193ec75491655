//! The payload of a message of the peer that does not fit into a frame.

use std::{ops::Deref, sync::Arc};

use super::lender::SealedAttachment;
use crate::shm::{aligned::AlignedBuf, attachment::Readable};

/// An attached payload of the peer, in place.
pub(crate) enum Body {
    /// In memory that a renderer has filled and sealed.
    Sealed(SealedAttachment),
    /// In main's buffer, which main may use again once `consumed` has passed the frame.
    OfMain { memory: Arc<Readable>, len: usize },
    /// Copied from main's buffer.
    Copied(AlignedBuf),
}

impl Body {
    /// Keeps the payload beyond its frame: as it is if no process can change it, else a copy.
    pub(crate) fn into_kept(self) -> Self {
        match self {
            Self::OfMain { memory, len } => {
                let mut copy = AlignedBuf::new();
                copy.fill(&memory[..len]);
                Self::Copied(copy)
            }
            kept => kept,
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Sealed(sealed) => sealed,
            Self::OfMain { memory, len } => &memory[..*len],
            Self::Copied(copy) => copy.as_slice(),
        }
    }
}
