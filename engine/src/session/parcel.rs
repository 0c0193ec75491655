//! What main says over the socket besides the handshake: memory for large payloads, handed over.
//!
//! A renderer says nothing there: it asks through its ring, where main sees it at once, in order and
//! within the ring's bounds. So whatever comes from a renderer over the socket once it is ready is
//! a violation.

use serde::{Deserialize, Serialize};

/// How long a packet with a parcel may be, in bytes.
pub(crate) const PARCEL_MAX: usize = 16 * 1024;
/// How many buffers one parcel can tell to forget.
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
    /// No frame will name these any more.
    Forget { ids: Vec<u64> },
}

/// Why a renderer does not get the memory that it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotLent {
    /// So many bytes, or attachments, are with this renderer already.
    Quota { bytes: u64, count: u64 },
    /// The operating system refused, in its words.
    NoMemory { why: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::handshake::{Answer, encode};

    #[test]
    fn the_longest_parcel_fits_into_its_packet() {
        let ids = vec![u64::MAX; FORGET_MAX];
        assert!(encode(&Answer::Parcel(Parcel::Forget { ids })).len() <= PARCEL_MAX);
    }
}
