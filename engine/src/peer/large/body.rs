//! The payload of a message of the peer, wherever it lies.

use std::{ops::Deref, sync::Arc};

use super::lender::SealedAttachment;
use crate::shm::{aligned::AlignedBuf, attachment::Readable};

/// A payload of the peer, in place.
pub(crate) enum Body<'a> {
    /// In the ring, or copied from it.
    Frame(&'a [u8]),
    /// In memory that a renderer has filled and sealed.
    Sealed(SealedAttachment),
    /// In main's buffer, which main may use again once `consumed` has passed the frame.
    OfMain { memory: Arc<Readable>, len: usize },
    /// Copied from main's buffer.
    Copied(AlignedBuf),
}

impl Body<'_> {
    /// Keeps the payload beyond its frame: a short one in `buffer`, an attached one as it is if no
    /// process can change it.
    pub(crate) fn into_kept(self, buffer: &mut AlignedBuf) -> Option<Body<'static>> {
        match self {
            Body::Frame(bytes) => {
                buffer.fill(bytes);
                None
            }
            Body::Sealed(sealed) => Some(Body::Sealed(sealed)),
            Body::OfMain { memory, len } => {
                let mut copy = AlignedBuf::new();
                copy.fill(&memory[..len]);
                Some(Body::Copied(copy))
            }
            Body::Copied(copy) => Some(Body::Copied(copy)),
        }
    }
}

impl Deref for Body<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Frame(bytes) => bytes,
            Self::Sealed(sealed) => sealed,
            Self::OfMain { memory, len } => &memory[..*len],
            Self::Copied(copy) => copy.as_slice(),
        }
    }
}
