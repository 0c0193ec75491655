//! The one event on which a portable main process sleeps, and which every renderer rings.
//!
//! Whoever dies while it rings an event leaves that locked, for all others who ring it and for main, which sleeps on
//! it. So there are several, and one of them is the current one: when a renderer has died, main's watcher goes on to
//! the next, and frees whoever is caught in the old one. Nothing is lost by that: who rings has handed over its work
//! before it looks which event is the current one, and main looks at everything after it has gone on.

use std::{io, time::Duration};

use crate::{
    layout::rendezvous::{DirectoryPage, EVENTS},
    memory::shared::Shared,
    sys::NamedEvent,
};

pub(crate) struct Doorbell {
    page: Shared<DirectoryPage>,
    events: [NamedEvent; EVENTS],
}

impl Doorbell {
    /// Makes the events. Main only, before a renderer has the page.
    pub(crate) fn create(page: Shared<DirectoryPage>) -> io::Result<Self> {
        Self::with(page, NamedEvent::create)
    }

    pub(crate) fn open(page: Shared<DirectoryPage>) -> io::Result<Self> {
        Self::with(page, NamedEvent::open)
    }

    fn with(
        page: Shared<DirectoryPage>,
        event: impl Fn(Shared<crate::layout::rendezvous::EventPlace>) -> io::Result<NamedEvent>,
    ) -> io::Result<Self> {
        let events = (0..EVENTS)
            .map(|which| event(page.clone().map(|page| &page.events[which])))
            .collect::<io::Result<Vec<_>>>()?;
        let events = events.try_into().unwrap_or_else(|_| unreachable!("as many as there are"));
        Ok(Self { page, events })
    }

    /// Wakes main. What for has been handed over.
    pub(crate) fn ring(&self) {
        self.events[self.page.current.get()].set();
    }

    /// Main sleeps until somebody rings, at most for `timeout`; may come back early.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.events[self.page.current.get()].wait(timeout);
    }

    /// A renderer has died, perhaps while it rang. Main's watcher only.
    pub(crate) fn give_up_current(&self) {
        let old = &self.events[self.page.current.get()];
        self.page.current.advance();
        old.rescue();
        // For main, should it have been about to sleep there.
        old.set();
    }
}
