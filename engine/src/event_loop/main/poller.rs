//! What main's loop sleeps on, and what it hears.
//!
//! With sockets that is an `epoll`, in which the system puts together what has happened. Between processes that share
//! nothing but names it is one event, after which the loop looks itself at everyone who could have rung it: at a
//! word or two of each.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

#[cfg(feature = "portable")]
use std::collections::BTreeMap;

#[cfg(feature = "portable")]
use crate::portable::{Hub, Mailbox, WatchedProcess};
use crate::{
    os::{
        Epoll, EventFd, OwnedFd,
        epoll::{Event, Trigger},
    },
    session::{control_channel::ControlChannel, endpoint::Endpoint, meeting::LoopBell},
};

/// What can be listened to.
pub(super) enum PollSource<'a> {
    /// Renderers that want to be let in.
    Door(&'a Endpoint),
    /// A renderer that has rung: by an eventfd, if its control is a socket.
    Bell(
        Option<&'a EventFd>,
        #[cfg_attr(not(feature = "portable"), expect(dead_code, reason = "sockets do not ring"))]
        &'a Arc<ControlChannel>,
    ),
    /// Packets, and the end.
    ControlChannel(&'a Arc<ControlChannel>),
    /// The end of a process that main has launched.
    Process(&'a LaunchedProcess),
}

/// A process that main has launched, by what tells of its end.
pub(crate) enum LaunchedProcess {
    Descriptor(OwnedFd),
    #[cfg(feature = "portable")]
    Watched(Arc<WatchedProcess>),
}

pub(super) enum Poller {
    Epoll(Epoll),
    #[cfg(feature = "portable")]
    Hub(HubPoller),
}

impl Poller {
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
                Ok(Self::Hub(HubPoller { hub: hub.clone(), heard: BTreeMap::new() }))
            }
        }
    }

    /// Listens to `source` from now on, and hears of what is there already.
    pub(super) fn add(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()> {
        match self {
            Self::Epoll(epoll) => match source {
                PollSource::Door(endpoint) => {
                    epoll.add(endpoint.listener().ok_or_else(absent)?, token, Trigger::Level)
                }
                PollSource::Bell(event, _) => {
                    epoll.add(event.ok_or_else(absent)?, token, Trigger::Edge)
                }
                PollSource::ControlChannel(control) => {
                    epoll.add(control.socket().ok_or_else(absent)?, token, Trigger::Level)
                }
                PollSource::Process(process) => {
                    epoll.add(process.descriptor()?, token, Trigger::Level)
                }
            },
            #[cfg(feature = "portable")]
            Self::Hub(poller) => {
                let heard = match source {
                    PollSource::Door(_) => HubSource::Door,
                    PollSource::Bell(_, control) => HubSource::Bell(control.clone()),
                    PollSource::ControlChannel(control) => {
                        HubSource::ControlChannel(control.clone())
                    }
                    PollSource::Process(process) => HubSource::Process(process.watched()?.clone()),
                };
                poller.heard.insert(token, heard);
                Ok(())
            }
        }
    }

    /// Listens to it no more; an error if it did not.
    #[cfg_attr(
        not(feature = "portable"),
        expect(unused_variables, reason = "for who has no epoll")
    )]
    pub(super) fn remove(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()> {
        match self {
            Self::Epoll(epoll) => match source {
                PollSource::Door(endpoint) => epoll.remove(endpoint.listener().ok_or_else(absent)?),
                PollSource::Bell(event, _) => epoll.remove(event.ok_or_else(absent)?),
                PollSource::ControlChannel(control) => {
                    epoll.remove(control.socket().ok_or_else(absent)?)
                }
                PollSource::Process(process) => epoll.remove(process.descriptor()?),
            },
            #[cfg(feature = "portable")]
            Self::Hub(poller) => poller.heard.remove(&token).map(drop).ok_or_else(absent),
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
            Self::Hub(poller) => {
                poller.wait(events, timeout);
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
    fn watched(&self) -> io::Result<&Arc<WatchedProcess>> {
        match self {
            Self::Watched(watched) => Ok(watched),
            Self::Descriptor(_) => Err(absent()),
        }
    }
}

fn absent() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

#[cfg(feature = "portable")]
pub(super) struct HubPoller {
    hub: Arc<Hub>,
    /// By token.
    heard: BTreeMap<u64, HubSource>,
}

#[cfg(feature = "portable")]
enum HubSource {
    Door,
    Bell(Arc<ControlChannel>),
    ControlChannel(Arc<ControlChannel>),
    Process(Arc<WatchedProcess>),
}

#[cfg(feature = "portable")]
impl HubPoller {
    fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let nothing = || {
            self.look(events);
            events.is_empty()
        };
        self.hub.sleepers.sleep_while(nothing, deadline);
        if events.is_empty() {
            self.look(events);
        }
    }

    fn look(&self, events: &mut Vec<Event>) {
        events.clear();
        events.extend(self.heard.iter().filter_map(|(token, heard)| {
            let (readable, hangup) = match heard {
                HubSource::Door => (self.hub.is_knocked_at(), false),
                HubSource::Bell(control) => {
                    (mailbox(control).is_some_and(Mailbox::take_ring), false)
                }
                HubSource::ControlChannel(control) => {
                    let found = mailbox(control)?.readiness();
                    (found.readable, found.hangup)
                }
                HubSource::Process(process) => (process.is_gone(), false),
            };
            (readable || hangup).then_some(Event { token: *token, readable, hangup })
        }));
    }
}

#[cfg(feature = "portable")]
fn mailbox(control: &ControlChannel) -> Option<&Mailbox> {
    match control {
        ControlChannel::Mailbox(mailbox) => Some(&**mailbox),
        ControlChannel::Socket(_) => None,
    }
}
