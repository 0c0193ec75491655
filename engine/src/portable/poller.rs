//! The sleep of a portable main's loop: on this process's sleepers. After each sleep it looks at a word or two of every
//! source that may have woken it.

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
    /// The look at each source, by token.
    looks: BTreeMap<u64, Box<dyn Fn() -> Readiness + Send>>,
}

impl HubPoller {
    pub(super) fn new(page: Shared<DirectoryPage>, sleepers: Arc<Sleepers>) -> Self {
        Self { page, sleepers, looks: BTreeMap::new() }
    }

    fn look(&self, events: &mut Vec<Event>) {
        events.clear();
        events.extend(self.looks.iter().filter_map(|(token, look)| {
            let Readiness { readable, hangup } = look();
            (readable || hangup).then_some(Event { token: *token, readable, hangup })
        }));
    }
}

fn readable(readable: bool) -> Readiness {
    Readiness { readable, hangup: false }
}

impl Poller for HubPoller {
    fn add(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()> {
        let of_mailbox = |control: &Arc<ControlChannel>, look: fn(&Mailbox) -> Readiness| {
            let control = control.clone();
            Box::new(move || control.link::<Mailbox>().map_or(readable(false), look))
        };
        let look: Box<dyn Fn() -> Readiness + Send> = match source {
            PollSource::Door => {
                let page = self.page.clone();
                Box::new(move || readable(page.is_knocked_at()))
            }
            PollSource::Bell(control) => {
                of_mailbox(control, |mailbox| readable(mailbox.take_ring()))
            }
            PollSource::ControlChannel(control) => of_mailbox(control, Mailbox::readiness),
            PollSource::Process(LaunchedProcess(process)) => {
                let process: Option<&Arc<WatchedProcess>> = process.downcast_ref();
                let process = process.ok_or(ErrorKind::NotFound)?.clone();
                Box::new(move || readable(process.is_gone()))
            }
        };
        self.looks.insert(token, look);
        Ok(())
    }

    fn remove(&mut self, _source: PollSource<'_>, token: u64) -> io::Result<()> {
        self.looks.remove(&token).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
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
