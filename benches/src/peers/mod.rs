//! The subjects of the comparison: Ringbridge, the floors of the machine, and the peers.
//!
//! A new subject is a row in [`SUBJECTS`] and a file with its `Peer`, most often an `impl Link`.

mod bare;
mod copies;
#[cfg(feature = "peers")]
mod iceoryx2;
#[cfg(feature = "peers")]
mod ipc_channel;
mod message;
mod pipe;
#[cfg(feature = "peers")]
mod raw_sync;
mod ringbridge;
#[cfg(feature = "peers")]
mod rtrb;
mod seqpacket;
#[cfg(feature = "peers")]
mod shmem_ipc;
mod words;
#[cfg(feature = "peers")]
mod zeromq;

use self::{
    bare::Bare::{Ring, TwoLines},
    copies::Copies::{Across, Fresh, Own},
    ringbridge::{
        Ringbridge,
        Way::{self, Alone, InPlace, Send, SendAll},
    },
    words::Words::{Asleep, Spinning},
};
use crate::{
    Error,
    pair::{
        job::{
            Backend::{self, Portable, Sealed},
            Chosen,
            Wait::{self, Adaptive, Park, Spin},
        },
        side::Peer,
    },
};

/// What a subject is to the reader of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The machine itself, without any library.
    Floor,
    /// Ringbridge, in one of its ways.
    Ours(Backend),
    /// Another library or a facility of the kernel.
    Other,
}

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// A short description, which ends with how its receiver waits.
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    /// The crate whose version counts.
    pub(crate) package: Option<&'static str>,
    /// Whether its receiver gives the processor up while it waits. If not, the two sides would wait for the
    /// ends of each other's time slices on one core.
    pub(crate) shares_a_core: bool,
    pub(crate) peer: &'static dyn Peer,
}

const fn floor(name: &'static str, about: &'static str, peer: &'static dyn Peer) -> Subject {
    Subject { name, about, kind: Kind::Floor, package: None, shares_a_core: false, peer }
}

const fn other(name: &'static str, about: &'static str, peer: &'static dyn Peer) -> Subject {
    Subject { kind: Kind::Other, ..floor(name, about, peer) }
}

const fn yields(subject: Subject) -> Subject {
    Subject { shares_a_core: true, ..subject }
}

#[cfg(feature = "peers")]
const fn of(package: &'static str, subject: Subject) -> Subject {
    Subject { package: Some(package), ..subject }
}

const fn ours(name: &'static str, about: &'static str, peer: &'static Ringbridge) -> Subject {
    let (kind, package) = (Kind::Ours(peer.backend), Some("ringbridge"));
    Subject { name, about, kind, package, shares_a_core: true, peer }
}

const fn ring(backend: Backend, wait: Wait, way: Way) -> Ringbridge {
    Ringbridge { backend, wait, way }
}

/// All subjects, in the order of the report.
#[rustfmt::skip]
pub(crate) static SUBJECTS: &[Subject] = &[
    floor("bounce", "floor: one cache line with plain atomics, which keeps the newest push only; both spin", &Spinning),
    floor("bounce-two-lines", "floor: a line each way, each written by one side; a number and no payload", &TwoLines),
    floor("bare-ring", "floor: a ring each way, each written by one side; the commit word in the frame, no checks", &Ring),
    yields(floor("futex", "floor: a word and FUTEX_WAKE; the newest push only; both sleep", &Asleep)),
    floor("memcpy", "floor: one process copies between two buffers of its own", &Own),
    floor("memcpy-across", "floor: main copies into as much room as Ringbridge's ring has, the renderer reads; a count each way", &Across),
    floor("memcpy-fresh", "floor: one process copies into new pages, which the kernel zeroes, and unmaps them", &Fresh),
    ours("ringbridge-spin", "invoke, send, WebContents::send; both loops spin", &ring(Sealed, Spin, Send)),
    ours("ringbridge-adaptive", "the same; spins while that pays (the default)", &ring(Sealed, Adaptive, Send)),
    ours("ringbridge-park", "the same; sleeps at once", &ring(Sealed, Park, Send)),
    ours("ringbridge-portable-spin", "as ringbridge-spin, over named segments and events", &ring(Portable, Spin, Send)),
    ours("ringbridge-portable-adaptive", "as ringbridge-adaptive, over named segments and events", &ring(Portable, Adaptive, Send)),
    ours("ringbridge-portable-park", "as ringbridge-park, over named segments and events", &ring(Portable, Park, Send)),
    ours("ringbridge-send-all", "send_all as a stream, 64 messages a call; both spin", &ring(Sealed, Spin, SendAll)),
    ours("ringbridge-in-place", "WebContents::send as a stream, read in place; both spin", &ring(Sealed, Spin, InPlace)),
    #[cfg(feature = "peers")]
    of("iceoryx2", other("iceoryx2", "publish-subscribe of loaned slices; polls", &iceoryx2::Polling)),
    #[cfg(feature = "peers")]
    of("iceoryx2", other("iceoryx2-event", "publish-subscribe and an event for each message; sleeps in the listener", &iceoryx2::Event)),
    #[cfg(feature = "peers")]
    of("iceoryx2", other("iceoryx2-request", "request-response of loaned slices; both poll", &iceoryx2::Request)),
    #[cfg(feature = "peers")]
    of("shmem-ipc", other("shmem-ipc", "ringbuf, without its signals; spins", &shmem_ipc::Bare)),
    #[cfg(feature = "peers")]
    of("shmem-ipc", other("shmem-ipc-block", "sharedring; sleeps in an eventfd", &shmem_ipc::Blocking)),
    #[cfg(feature = "peers")]
    of("ipc-channel", other("ipc-channel", "bytes_channel each way; sleeps in recv", &ipc_channel::Bytes)),
    #[cfg(feature = "peers")]
    of("ipc-channel", other("ipc-channel-shared", "an IpcSharedMemory for each message; sleeps in recv", &ipc_channel::Shared)),
    #[cfg(feature = "peers")]
    of("zeromq-src", other("zeromq", "libzmq PAIR over ipc://, one I/O thread each; sleeps in recv", &zeromq::Pair)),
    yields(other("seqpacket", "a Unix SOCK_SEQPACKET socket, packets of up to 64 KiB; sleeps in recv", &seqpacket::SeqPacket)),
    yields(other("pipe", "a pipe each way with room for 1 MiB; sleeps in read", &pipe::Pipe)),
    #[cfg(feature = "peers")]
    of("raw_sync", other("raw-sync", "raw_sync events in shared_memory, one message at a time; sleeps in the event", &raw_sync::Events)),
    #[cfg(feature = "peers")]
    of("rtrb", other("rtrb", "a ring each way between two threads of one process; spins", &rtrb::Threads)),
];

const WITH_PEERS: &[&str] = &[
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
/// The names of the subjects that are not compiled in.
pub(crate) const LEFT_OUT: &[&str] = if cfg!(feature = "peers") { &[] } else { WITH_PEERS };

pub(crate) fn find(name: &str) -> Result<&'static Subject, Error> {
    SUBJECTS.iter().find(|subject| subject.name == name).ok_or_else(|| {
        if LEFT_OUT.contains(&name) {
            format!("'{name}' is not compiled in: build with '--features peers'").into()
        } else {
            let names: Vec<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
            format!("there is no subject '{name}', but {}", names.join(", ")).into()
        }
    })
}

/// Calls `connect` with the peer that a job chose.
pub(crate) fn peer<R>(
    chosen: &Chosen,
    connect: impl FnOnce(&dyn Peer) -> Result<R, Error>,
) -> Result<R, Error> {
    match chosen {
        Chosen::Named(name) => connect(find(name)?.peer),
        Chosen::Alone(wait, backend) => connect(&ring(*backend, *wait, Alone)),
    }
}

/// From this payload on a stream is faster in a ring that is larger than a processor's own caches.
const LONG: usize = 16 << 10;
const LONG_RING: usize = 4 << 20;

/// Returns the length in bytes of a ring that messages of this payload flow through.
fn ring_len(payload: usize) -> usize {
    let config = ::ringbridge::Config::default();
    let default = config.main_capacity.max(config.renderer_capacity);
    match payload {
        LONG..=ringbridge::RING_PAYLOAD_MAX => LONG_RING.max((4 * payload).next_power_of_two()),
        _ if payload < LONG => default.max((4 * payload).next_power_of_two()),
        _ => default,
    }
}

/// Returns the length of a queue with as much room as Ringbridge's ring.
fn queue_len(payload: usize) -> usize {
    (ring_len(payload) / payload.next_multiple_of(64)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::version_of;

    #[test]
    fn every_name_is_unique_and_every_package_has_a_version() {
        for subject in SUBJECTS {
            assert_eq!(find(subject.name).unwrap().about, subject.about);
            assert!(!LEFT_OUT.contains(&subject.name));
            if let Some(package) = subject.package {
                let version = version_of(package).expect(package);
                assert!(version.split('.').count() >= 3, "{package} {version}");
            }
        }
        assert_eq!(version_of("no-such-package"), None);
        let peers =
            WITH_PEERS.iter().filter(|name| SUBJECTS.iter().any(|each| each.name == **name));
        assert_eq!(peers.count(), WITH_PEERS.len() - LEFT_OUT.len());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let error = find("carrier-pigeon").err().unwrap().to_string();
        assert!(error.contains("ringbridge-spin") && error.contains("pipe"), "{error}");
        for name in LEFT_OUT {
            assert!(find(name).err().unwrap().to_string().contains("--features peers"));
        }
    }
}
