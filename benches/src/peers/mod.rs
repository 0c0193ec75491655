//! The subjects of the comparison: Ringbridge, the floors of the machine, and the peers. One file each.

mod bare;
mod copies;
mod floors;
#[cfg(feature = "peers")]
mod iceoryx2;
#[cfg(feature = "peers")]
mod ipc_channel;
mod pipe;
#[cfg(feature = "peers")]
mod raw_sync;
mod ringbridge;
#[cfg(feature = "peers")]
mod rtrb;
mod seqpacket;
#[cfg(feature = "peers")]
mod shmem_ipc;
#[cfg(feature = "peers")]
mod zeromq;

use crate::{Error, compare::side::Subject};

/// The names of what is left out without the feature.
#[cfg(not(feature = "peers"))]
pub(crate) const LEFT_OUT: &[&str] = &[
    "iceoryx2",
    "iceoryx2-event",
    "iceoryx2-request",
    "shmem-ipc",
    "shmem-ipc-block",
    "ipc-channel",
    "ipc-channel-shared",
    "zeromq",
    "raw-sync",
    "rtrb",
];
/// The names of what is left out without the feature.
#[cfg(feature = "peers")]
pub(crate) const LEFT_OUT: &[&str] = &[];

/// All subjects, in the order of the report.
pub(crate) const SUBJECTS: &[&dyn Subject] = &[
    &floors::Bounce,
    &bare::TWO_LINES,
    &bare::RING,
    &floors::FutexPair,
    &floors::Memcpy,
    &copies::Across,
    &copies::Fresh,
    &ringbridge::SPIN,
    &ringbridge::ADAPTIVE,
    &ringbridge::PARK,
    &ringbridge::PORTABLE_SPIN,
    &ringbridge::PORTABLE_ADAPTIVE,
    &ringbridge::PORTABLE_PARK,
    &ringbridge::SEND_ALL,
    &ringbridge::IN_PLACE,
    #[cfg(feature = "peers")]
    &iceoryx2::Polling,
    #[cfg(feature = "peers")]
    &iceoryx2::Event,
    #[cfg(feature = "peers")]
    &iceoryx2::Request,
    #[cfg(feature = "peers")]
    &shmem_ipc::Bare,
    #[cfg(feature = "peers")]
    &shmem_ipc::Blocking,
    #[cfg(feature = "peers")]
    &ipc_channel::Bytes,
    #[cfg(feature = "peers")]
    &ipc_channel::Shared,
    #[cfg(feature = "peers")]
    &zeromq::Pair,
    &seqpacket::SeqPacket,
    &pipe::Pipe,
    #[cfg(feature = "peers")]
    &raw_sync::Events,
    #[cfg(feature = "peers")]
    &rtrb::Threads,
];

/// The subject of this name.
pub(crate) fn find(name: &str) -> Result<&'static dyn Subject, Error> {
    let found = SUBJECTS.iter().find(|subject| subject.name() == name);
    found.copied().ok_or_else(|| {
        if LEFT_OUT.contains(&name) {
            format!("'{name}' is not compiled in: build with '--features peers'").into()
        } else {
            let names: Vec<_> = SUBJECTS.iter().map(|subject| subject.name()).collect();
            format!("there is no subject '{name}', but {}", names.join(", ")).into()
        }
    })
}

/// How many messages a queue has room for: what Ringbridge's ring has, in bytes.
fn queue_len(payload: usize) -> usize {
    (crate::job::ring_len(payload) / payload.next_multiple_of(64)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_unique_and_found() {
        for subject in SUBJECTS {
            let found = find(subject.name()).unwrap();
            assert_eq!(found.about(), subject.about());
            assert!(!LEFT_OUT.contains(&subject.name()));
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_that_says_what_is() {
        let error = find("carrier-pigeon").err().unwrap().to_string();
        assert!(error.contains("ringbridge-spin") && error.contains("pipe"), "{error}");
        for name in LEFT_OUT {
            assert!(find(name).err().unwrap().to_string().contains("--features peers"));
        }
    }
}
