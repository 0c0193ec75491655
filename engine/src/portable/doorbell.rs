//! The one event on which a portable main process sleeps, and which every renderer rings.
//!
//! Whoever dies while it rings an event leaves that locked, for all others who ring it and for main, which sleeps on
//! it. So there is a succession of events: when a renderer has died, main's watcher makes the next one and goes on to
//! that, and each process's watcher frees those of its own threads that are caught in an old one. Nothing is lost by
//! that: who rings has handed over its work before it looks which event is the present one, and main looks at everything
//! after it has gone on.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    portable::{
        event::NamedEvent,
        event_place::EventPlace,
        rendezvous::{DirectoryPage, EVENTS},
    },
    primitives::Mutex,
    shm::shared::Shared,
};

/// After so long every process has left an event that main has given up: each looks several times meanwhile.
const LEFT_AFTER: Duration = Duration::from_millis(200);

pub(crate) struct Doorbell {
    page: Shared<DirectoryPage>,
    /// The present one, as far as this process knows.
    present: Mutex<(u32, Arc<NamedEvent>)>,
    /// Earlier ones, in which threads of this process may be caught.
    old: Mutex<Vec<Arc<NamedEvent>>>,
    /// Main's: when the room of each was last given up.
    given_up: Mutex<[Option<Instant>; EVENTS]>,
}

impl Doorbell {
    /// Makes the first event. Main only, before a renderer has the page.
    pub(crate) fn create(page: Shared<DirectoryPage>) -> io::Result<Self> {
        let event = event_at(&page, 0, NamedEvent::create)?;
        Ok(Self::with(page, 0, event))
    }

    pub(crate) fn open(page: Shared<DirectoryPage>) -> io::Result<Self> {
        let generation = page.generation.get();
        let event = event_at(&page, generation, NamedEvent::open)?;
        Ok(Self::with(page, generation, event))
    }

    fn with(page: Shared<DirectoryPage>, generation: u32, event: NamedEvent) -> Self {
        let present = Mutex::new((generation, Arc::new(event)));
        Self { page, present, old: Mutex::default(), given_up: Mutex::new([None; EVENTS]) }
    }

    /// Wakes main. What for has been handed over.
    pub(crate) fn ring(&self) {
        self.present().set();
    }

    /// Main sleeps until somebody rings, at most for `timeout`; may come back early.
    pub(crate) fn wait(&self, timeout: Duration) {
        self.present().wait(timeout);
    }

    fn present(&self) -> Arc<NamedEvent> {
        let generation = self.page.generation.get();
        let present = self.present.lock();
        let (known, event) = &*present;
        if *known == generation {
            return event.clone();
        }
        drop(present);
        // It was made before it became the present one; if it cannot be opened, the old one wakes nobody, and main
        // looks about itself now and then.
        if let Ok(next) = event_at(&self.page, generation, NamedEvent::open) {
            self.go_on_to(generation, next);
        }
        self.present.lock().1.clone()
    }

    fn go_on_to(&self, generation: u32, next: NamedEvent) {
        let mut present = self.present.lock();
        if present.0 != generation {
            let (_, old) = std::mem::replace(&mut *present, (generation, Arc::new(next)));
            self.old.lock().push(old);
        }
    }

    /// A renderer has died, perhaps while it rang. Main's watcher only; main's loop finds that out when it next looks
    /// about itself.
    pub(crate) fn give_up_present(&self) {
        let generation = self.page.generation.get();
        let next = generation.wrapping_add(1);
        let mut given_up = self.given_up.lock();
        given_up[place(generation)] = Some(Instant::now());
        if let Some(since) = given_up[place(next)] {
            thread::sleep(LEFT_AFTER.saturating_sub(since.elapsed()));
        }
        // Where it cannot be made, the present one has to do; whoever is caught in it waits for the next death.
        if let Ok(event) = event_at(&self.page, next, NamedEvent::create) {
            self.page.generation.advance(next);
            self.go_on_to(next, event);
        }
        self.free_the_caught();
    }

    /// Frees threads of this process that are caught in an event that main has given up. The watcher of each process,
    /// now and then.
    pub(crate) fn free_the_caught(&self) {
        self.present();
        let old = std::mem::take(&mut *self.old.lock());
        let still_caught = old.into_iter().filter(|event| !event.rescue());
        let still_caught = still_caught.collect::<Vec<_>>();
        self.old.lock().extend(still_caught);
    }

    /// Main is dead, and may have been in the middle of it: frees who is caught there, for good.
    pub(crate) fn give_up(&self) {
        self.free_the_caught();
        self.present.lock().1.rescue();
    }
}

fn place(generation: u32) -> usize {
    generation as usize % EVENTS
}

fn event_at(
    page: &Shared<DirectoryPage>,
    generation: u32,
    make: fn(Shared<EventPlace>) -> io::Result<NamedEvent>,
) -> io::Result<NamedEvent> {
    make(page.clone().map(|page| &page.events[place(generation)]))
}
