//! What a portable main's loop sleeps on: this process's sleepers, after which it looks at everyone who could have
//! woken it, at a word or two of each.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use crate::{
    os::report::{Event, Readiness},
    portable::{
        event_threads::Sleepers, mailbox::Mailbox, rendezvous::DirectoryPage,
        watcher::WatchedProcess,
    },
    primitives::Arc,
    session::{
        control_channel::ControlChannel,
        transport::{LaunchedProcess, PollSource, Poller},
    },
    shm::shared::Shared,
};

pub(super) struct HubPoller {
    page: Shared<DirectoryPage>,
    sleepers: Arc<Sleepers>,
    /// By token.
    heard: BTreeMap<u64, Heard>,
}

enum Heard {
    Door,
    Bell(Arc<ControlChannel>),
    Packets(Arc<ControlChannel>),
    End(Arc<WatchedProcess>),
}

impl HubPoller {
    pub(super) fn new(page: Shared<DirectoryPage>, sleepers: Arc<Sleepers>) -> Self {
        Self { page, sleepers, heard: BTreeMap::new() }
    }

    fn look(&self, events: &mut Vec<Event>) {
        let mailbox = |control: &Arc<ControlChannel>, look: fn(&Mailbox) -> Readiness| {
            control.link::<Mailbox>().map_or(NOTHING, look)
        };
        events.clear();
        events.extend(self.heard.iter().filter_map(|(token, heard)| {
            let Readiness { readable, hangup } = match heard {
                Heard::Door => Readiness { readable: self.page.is_knocked_at(), ..NOTHING },
                Heard::Bell(control) => mailbox(control, Mailbox::take_ring),
                Heard::Packets(control) => mailbox(control, Mailbox::readiness),
                Heard::End(process) => Readiness { readable: process.is_gone(), ..NOTHING },
            };
            (readable || hangup).then_some(Event { token: *token, readable, hangup })
        }));
    }
}

const NOTHING: Readiness = Readiness { readable: false, hangup: false };

impl Poller for HubPoller {
    fn add(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()> {
        let heard = match source {
            PollSource::Door => Heard::Door,
            PollSource::Bell(control) => Heard::Bell(control.clone()),
            PollSource::ControlChannel(control) => Heard::Packets(control.clone()),
            PollSource::Process(LaunchedProcess(process)) => {
                let process: Option<&Arc<WatchedProcess>> = process.downcast_ref();
                Heard::End(process.ok_or(ErrorKind::NotFound)?.clone())
            }
        };
        self.heard.insert(token, heard);
        Ok(())
    }

    fn remove(&mut self, _source: PollSource<'_>, token: u64) -> io::Result<()> {
        self.heard.remove(&token).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let nothing = || {
            self.look(events);
            events.is_empty()
        };
        self.sleepers.sleep_while(nothing, deadline);
        if events.is_empty() {
            self.look(events);
        }
        Ok(())
    }
}
