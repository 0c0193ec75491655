//! The subjects of the comparison: Ringbridge, the floors of the machine, and the peers.
//!
//! A new subject is a row in [`SUBJECTS`] and a function that connects it, most often to an `impl Link`.

mod floors;
#[cfg(feature = "peers")]
mod iceoryx2;
#[cfg(feature = "peers")]
mod ipc_channel;
mod kernel;
#[cfg(feature = "peers")]
mod raw_sync;
mod ringbridge;
#[cfg(feature = "peers")]
mod rtrb;
#[cfg(feature = "peers")]
mod shmem_ipc;
#[cfg(feature = "peers")]
mod zeromq;

use self::{
    floors::{
        Copies::{Across, Fresh, Own},
        bare, copies, not_for_bare, not_for_copies, not_for_words, words,
    },
    ringbridge::{
        Ringbridge,
        Way::{self, Alone, InPlace, Send, SendAll},
    },
};
use crate::{
    Error,
    pair::{
        job::{
            Backend::{self, Portable, Sealed},
            Chosen,
            Wait::{self, Adaptive, Park, Spin},
        },
        prelude::{Side, Stage, Task},
    },
};

/// Connects this process's side. In main, it also launches the renderer.
type Connect = fn(&mut Stage) -> Result<Box<dyn Side>, Error>;

/// Returns the reason why a subject cannot do a task.
type Unable = fn(Task) -> Option<&'static str>;

/// The group of a subject in charts, with its way to connect.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// The machine itself, without any library.
    Floor(Connect),
    Ours(Ringbridge),
    /// Another library or a facility of the kernel.
    Other(Connect),
}

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// A short description, which ends with how its receiver waits.
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    pub(crate) package: Option<&'static str>,
    /// Whether its receiver gives the processor up while it waits. If not, the two sides would wait for the
    /// ends of each other's time slices on one core.
    pub(crate) shares_a_core: bool,
    unable: Unable,
}

impl Subject {
    pub(crate) fn unable(&self, task: Task) -> Option<&'static str> {
        match self.kind {
            Kind::Ours(ring) => ring.unable(task),
            Kind::Floor(_) | Kind::Other(_) => (self.unable)(task),
        }
    }
}

const fn subject(name: &'static str, about: &'static str, kind: Kind) -> Subject {
    Subject { name, about, kind, package: None, shares_a_core: false, unable: |_task| None }
}

const fn floor(
    name: &'static str,
    about: &'static str,
    unable: Unable,
    connect: Connect,
) -> Subject {
    Subject { unable, ..subject(name, about, Kind::Floor(connect)) }
}

const fn ours(name: &'static str, about: &'static str, ring: Ringbridge) -> Subject {
    let package = Some("ringbridge");
    Subject { package, shares_a_core: true, ..subject(name, about, Kind::Ours(ring)) }
}

const fn yields(subject: Subject) -> Subject {
    Subject { shares_a_core: true, ..subject }
}

const fn other(name: &'static str, about: &'static str, connect: Connect) -> Subject {
    subject(name, about, Kind::Other(connect))
}

#[cfg(feature = "peers")]
const fn but(unable: Unable, subject: Subject) -> Subject {
    Subject { unable, ..subject }
}

#[cfg(feature = "peers")]
const fn of(package: &'static str, subject: Subject) -> Subject {
    Subject { package: Some(package), ..subject }
}

const fn ring(backend: Backend, wait: Wait, way: Way) -> Ringbridge {
    Ringbridge { backend, wait, way }
}

#[rustfmt::skip]
pub(crate) static SUBJECTS: &[Subject] = &[
    floor("bounce", "floor: one cache line with plain atomics, which keeps the newest push only; both spin", not_for_words, |stage| words(stage, false)),
    floor("bounce-two-lines", "floor: a line each way, each written by one side; a number and no payload", not_for_bare, |stage| bare(stage, true)),
    floor("bare-ring", "floor: a ring each way, each written by one side; the commit word in the frame, no checks", not_for_bare, |stage| bare(stage, false)),
    yields(floor("futex", "floor: a word and FUTEX_WAKE; the newest push only; both sleep", not_for_words, |stage| words(stage, true))),
    floor("memcpy", "floor: one process copies between two buffers of its own", not_for_copies, |stage| copies(stage, Own)),
    floor("memcpy-across", "floor: main copies into as much room as Ringbridge's ring has, the renderer reads; a count each way", not_for_copies, |stage| copies(stage, Across)),
    floor("memcpy-fresh", "floor: one process copies into new pages, which the kernel zeroes, and unmaps them", not_for_copies, |stage| copies(stage, Fresh)),
    ours("ringbridge-spin", "invoke, send, WebContents::send; both loops spin", ring(Sealed, Spin, Send)),
    ours("ringbridge-adaptive", "the same; spins while that pays (the default)", ring(Sealed, Adaptive, Send)),
    ours("ringbridge-park", "the same; sleeps at once", ring(Sealed, Park, Send)),
    ours("ringbridge-portable-spin", "as ringbridge-spin, over named segments and events", ring(Portable, Spin, Send)),
    ours("ringbridge-portable-adaptive", "as ringbridge-adaptive, over named segments and events", ring(Portable, Adaptive, Send)),
    ours("ringbridge-portable-park", "as ringbridge-park, over named segments and events", ring(Portable, Park, Send)),
    ours("ringbridge-send-all", "send_all as a stream, 64 messages a call; both spin", ring(Sealed, Spin, SendAll)),
    ours("ringbridge-in-place", "WebContents::send as a stream, read in place; both spin", ring(Sealed, Spin, InPlace)),
    #[cfg(feature = "peers")]
    of("iceoryx2", other("iceoryx2", "publish-subscribe of loaned slices; polls", |stage| iceoryx2::publish(stage, false))),
    #[cfg(feature = "peers")]
    of("iceoryx2", other("iceoryx2-event", "publish-subscribe and an event for each message; sleeps in the listener", |stage| iceoryx2::publish(stage, true))),
    #[cfg(feature = "peers")]
    of("iceoryx2", but(iceoryx2::not_for_request, other("iceoryx2-request", "request-response of loaned slices; both poll", iceoryx2::request))),
    #[cfg(feature = "peers")]
    of("shmem-ipc", other("shmem-ipc", "ringbuf, without its signals; spins", shmem_ipc::bare)),
    #[cfg(feature = "peers")]
    of("shmem-ipc", other("shmem-ipc-block", "sharedring; sleeps in an eventfd", shmem_ipc::blocking)),
    #[cfg(feature = "peers")]
    of("ipc-channel", other("ipc-channel", "bytes_channel each way; sleeps in recv", ipc_channel::bytes)),
    #[cfg(feature = "peers")]
    of("ipc-channel", but(ipc_channel::not_for_shared, other("ipc-channel-shared", "an IpcSharedMemory for each message; sleeps in recv", ipc_channel::shared))),
    #[cfg(feature = "peers")]
    of("zeromq-src", other("zeromq", "libzmq PAIR over ipc://, one I/O thread each; sleeps in recv", zeromq::pair)),
    yields(other("seqpacket", "a Unix SOCK_SEQPACKET socket, packets of up to 64 KiB; sleeps in recv", kernel::socket)),
    yields(other("pipe", "a pipe each way with room for 1 MiB; sleeps in read", kernel::pipes)),
    #[cfg(feature = "peers")]
    of("raw_sync", other("raw-sync", "raw_sync events in shared_memory, one message at a time; sleeps in the event", raw_sync::events)),
    #[cfg(feature = "peers")]
    of("rtrb", but(rtrb::not_for_threads, other("rtrb", "a ring each way between two threads of one process; spins", rtrb::threads))),
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

pub(crate) fn connect(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let kind = match &stage.job.subject {
        Chosen::Named(name) => find(name)?.kind,
        Chosen::Alone(wait, backend) => Kind::Ours(ring(*backend, *wait, Alone)),
    };
    match kind {
        Kind::Ours(ring) => ring.connect(stage),
        Kind::Floor(connect) | Kind::Other(connect) => connect(stage),
    }
}

/// From this payload on a stream is faster in a ring that is larger than a processor's own caches.
const LONG: usize = 16 << 10;
const LONG_RING: usize = 4 << 20;

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
