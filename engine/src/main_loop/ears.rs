//! What main's loop sleeps on, and what it hears.
//!
//! With sockets that is an `epoll`, in which the system puts together what has happened. Between processes that share
//! nothing but names it is one event, after which the loop looks itself at everyone who could have rung it: at a
//! word or two of each.

use std::{io, sync::Arc, time::Duration};

#[cfg(feature = "portable")]
use std::collections::BTreeMap;

#[cfg(feature = "portable")]
use crate::{
    doorbell::Doorbell,
    session::portable::{Hub, Mailbox, Watched},
};
use crate::{
    session::{endpoint::Endpoint, meeting::LoopBell, tether::Tether},
    sys::{
        Epoll, EventFd, OwnedFd,
        epoll::{Event, Trigger},
    },
};

/// What can be listened to.
pub(super) enum Source<'a> {
    /// Renderers that want to be let in.
    Door(&'a Endpoint),
    /// A renderer that has rung: by an eventfd, if its tether is a socket.
    Bell(
        Option<&'a EventFd>,
        #[cfg_attr(not(feature = "portable"), expect(dead_code, reason = "sockets do not ring"))]
        &'a Arc<Tether>,
    ),
    /// Packets, and the end.
    Tether(&'a Arc<Tether>),
    /// The end of a process that main has launched.
    Process(&'a LaunchedProcess),
}

/// A process that main has launched, by what tells of its end.
pub(crate) enum LaunchedProcess {
    Descriptor(OwnedFd),
    #[cfg(feature = "portable")]
    Watched(Arc<Watched>),
}

pub(super) enum Ears {
    Epoll(Epoll),
    #[cfg(feature = "portable")]
    Hub(HubEars),
}

impl Ears {
    /// `bell` ends the loop's sleep from other threads; what it is heard by is no event.
    pub(super) fn new(bell: &LoopBell) -> io::Result<Self> {
        match bell {
            LoopBell::Event(event) => {
                let epoll = Epoll::new()?;
                epoll.add(event, super::INTERRUPT, Trigger::Edge)?;
                Ok(Self::Epoll(epoll))
            }
            #[cfg(feature = "portable")]
            LoopBell::Hub(hub) => {
                Ok(Self::Hub(HubEars { hub: hub.clone(), heard: BTreeMap::new() }))
            }
        }
    }

    /// Listens to `source` from now on, and hears of what is there already.
    pub(super) fn add(&mut self, source: Source<'_>, token: u64) -> io::Result<()> {
        match self {
            Self::Epoll(epoll) => match source {
                Source::Door(endpoint) => {
                    epoll.add(endpoint.listener().ok_or_else(absent)?, token, Trigger::Level)
                }
                Source::Bell(event, _) => {
                    epoll.add(event.ok_or_else(absent)?, token, Trigger::Edge)
                }
                Source::Tether(tether) => {
                    epoll.add(tether.socket().ok_or_else(absent)?, token, Trigger::Level)
                }
                Source::Process(process) => epoll.add(process.descriptor()?, token, Trigger::Level),
            },
            #[cfg(feature = "portable")]
            Self::Hub(ears) => {
                let heard = match source {
                    Source::Door(_) => Heard::Door,
                    Source::Bell(_, tether) => Heard::Bell(tether.clone()),
                    Source::Tether(tether) => Heard::Tether(tether.clone()),
                    Source::Process(process) => Heard::Process(process.watched()?.clone()),
                };
                ears.heard.insert(token, heard);
                Ok(())
            }
        }
    }

    /// Listens to it no more; an error if it did not.
    #[cfg_attr(
        not(feature = "portable"),
        expect(unused_variables, reason = "for who has no epoll")
    )]
    pub(super) fn remove(&mut self, source: Source<'_>, token: u64) -> io::Result<()> {
        match self {
            Self::Epoll(epoll) => match source {
                Source::Door(endpoint) => epoll.remove(endpoint.listener().ok_or_else(absent)?),
                Source::Bell(event, _) => epoll.remove(event.ok_or_else(absent)?),
                Source::Tether(tether) => epoll.remove(tether.socket().ok_or_else(absent)?),
                Source::Process(process) => epoll.remove(process.descriptor()?),
            },
            #[cfg(feature = "portable")]
            Self::Hub(ears) => ears.heard.remove(&token).map(drop).ok_or_else(absent),
        }
    }

    /// Sleeps until something happens, at most for `timeout`, and puts it into `events` in place of what was there.
    /// May come back early with nothing: callers loop.
    pub(super) fn wait(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        match self {
            Self::Epoll(epoll) => epoll.wait(events, timeout),
            #[cfg(feature = "portable")]
            Self::Hub(ears) => {
                ears.wait(events, timeout);
                Ok(())
            }
        }
    }
}

impl LaunchedProcess {
    fn descriptor(&self) -> io::Result<&OwnedFd> {
        match self {
            Self::Descriptor(descriptor) => Ok(descriptor),
            #[cfg(feature = "portable")]
            Self::Watched(_) => Err(absent()),
        }
    }

    #[cfg(feature = "portable")]
    fn watched(&self) -> io::Result<&Arc<Watched>> {
        match self {
            Self::Watched(watched) => Ok(watched),
            Self::Descriptor(_) => Err(absent()),
        }
    }
}

fn absent() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

/// No wait is longer: a look finds those who have died, of which nothing tells, and what was rung for by one who died
/// meanwhile.
#[cfg(feature = "portable")]
const WAIT_MAX: Duration = Duration::from_millis(100);

#[cfg(feature = "portable")]
pub(super) struct HubEars {
    hub: Arc<Hub>,
    /// By token.
    heard: BTreeMap<u64, Heard>,
}

#[cfg(feature = "portable")]
enum Heard {
    Door,
    Bell(Arc<Tether>),
    Tether(Arc<Tether>),
    Process(Arc<Watched>),
}

#[cfg(feature = "portable")]
impl HubEars {
    fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        self.look(events);
        if events.is_empty() && timeout != Some(Duration::ZERO) {
            let doorbell: &Doorbell = &self.hub.doorbell;
            doorbell.wait(timeout.unwrap_or(WAIT_MAX).min(WAIT_MAX));
            self.look(events);
        }
    }

    fn look(&self, events: &mut Vec<Event>) {
        events.clear();
        events.extend(self.heard.iter().filter_map(|(token, heard)| {
            let (readable, hangup) = match heard {
                Heard::Door => (self.hub.is_knocked_at(), false),
                Heard::Bell(tether) => (mailbox(tether).is_some_and(Mailbox::take_ring), false),
                Heard::Tether(tether) => {
                    let found = mailbox(tether)?.readiness();
                    (found.readable, found.hangup)
                }
                Heard::Process(process) => (process.is_gone(), false),
            };
            (readable || hangup).then_some(Event { token: *token, readable, hangup })
        }));
    }
}

#[cfg(feature = "portable")]
fn mailbox(tether: &Tether) -> Option<&Mailbox> {
    match tether {
        Tether::Mailbox(mailbox) => Some(&**mailbox),
        Tether::Socket(_) => None,
    }
}
