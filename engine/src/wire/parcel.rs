//! Main's packets after the handshake: memory for large payloads, handed over.
//!
//! A renderer sends none: it asks through its ring, where main sees it at once, in order and within the
//! ring's bounds. So a packet from a renderer that is ready is a violation.

use serde::{Deserialize, Serialize};

pub(crate) const PARCEL_MAX: usize = 16 * 1024;
pub(crate) const FORGET_MAX: usize = 1024;

/// One packet from main, with a descriptor where memory is handed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Parcel {
    /// Memory that the renderer asked for, to be filled. With its descriptor.
    Lent { id: u64, size: u64 },
    /// The renderer asked for memory of this size, and does not get it.
    Refused { size: u64, why: NotLent },
    /// Memory that frames of main will name. With its descriptor.
    Pooled { id: u64, size: u64 },
    /// No later frame names these buffers.
    Forget { ids: Vec<u64> },
}

/// The reason why a renderer does not get the memory that it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotLent {
    /// The renderer has this much already: in bytes, and in attachments.
    Quota { bytes: u64, count: u64 },
    /// The operating system refused, in its words.
    NoMemory { why: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::handshake::{Answer, encode};

    #[test]
    fn the_longest_parcel_fits_into_its_packet() {
        let ids = vec![u64::MAX; FORGET_MAX];
        assert!(encode(&Answer::Parcel(Parcel::Forget { ids })).len() <= PARCEL_MAX);
    }
}
