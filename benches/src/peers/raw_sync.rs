//! raw_sync's events in a segment of shared_memory: one message at a time each way, with an event that
//! says "full" and one that says "empty".
//!
//! All waits are without a time-out: with one, raw_sync's are wrong in the fraction of a second. The run
//! bounds them. Both processes trust each other, as raw_sync's users have to.

use raw_sync::{
    Timeout,
    events::{Event, EventImpl, EventInit, EventState},
};
use shared_memory::{Shmem, ShmemConf};

use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
    },
};

pub(super) struct Events;

impl Subject for Events {
    fn name(&self) -> &'static str {
        "raw-sync"
    }

    fn about(&self) -> &'static str {
        "raw_sync events in shared_memory, one message at a time; sleeps in the event"
    }

    fn package(&self) -> Option<&'static str> {
        Some("raw_sync")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let payload = stage.job.task.payload;
        let memory = conf(stage).size(2 * place_len(payload)).create()?;
        let [to, from] = places(&memory, payload, Init::New)?;
        stage.launch()?;
        // The events are there now.
        stage.control.meet()?;
        Ok(Box::new(Linked::new(Segment { to, from, _memory: memory }, payload)))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let payload = stage.job.task.payload;
        stage.control.meet()?;
        let memory = conf(stage).open()?;
        if memory.len() < 2 * place_len(payload) {
            return Err(format!("the segment has {} bytes only", memory.len()).into());
        }
        let [from, to] = places(&memory, payload, Init::Existing)?;
        Ok(Box::new(Linked::new(Segment { to, from, _memory: memory }, payload)))
    }
}

fn conf(stage: &Stage) -> ShmemConf {
    ShmemConf::new().os_id(format!("{}raw_sync", stage.job.prefix))
}

/// Room for an event, on lines of its own.
const EVENT_LEN: usize = 256;

fn place_len(payload: usize) -> usize {
    2 * EVENT_LEN + payload.next_multiple_of(EVENT_LEN)
}

#[derive(Clone, Copy)]
enum Init {
    New,
    Existing,
}

/// The segment's two places: main's and the renderer's.
fn places(memory: &Shmem, payload: usize, init: Init) -> Result<[Place; 2], Error> {
    let place = |number: usize| -> Result<Place, Error> {
        // SAFETY: the segment has room for two places, as whoever made or opened it has seen to, and is
        // page-aligned. Each event has its part of it to itself; main makes it before the renderer
        // opens it; and the mapping lives as long as the places, beside which it is kept.
        unsafe {
            let start = memory.as_ptr().add(number * place_len(payload));
            Ok(Place {
                full: event(start, init)?,
                empty: event(start.add(EVENT_LEN), init)?,
                message: start.add(2 * EVENT_LEN),
                payload,
            })
        }
    };
    let places = [place(0)?, place(1)?];
    if let Init::New = init {
        for place in &places {
            place.empty.set(EventState::Signaled).map_err(text)?;
        }
    }
    Ok(places)
}

/// # Safety
///
/// There must be `EVENT_LEN` bytes for the event alone, for as long as it lives; with
/// [`Init::Existing`] the other process must have made it.
unsafe fn event(start: *mut u8, init: Init) -> Result<Box<dyn EventImpl>, Error> {
    // SAFETY: as the caller promises.
    let made = unsafe {
        match init {
            Init::New => Event::new(start, true),
            Init::Existing => Event::from_existing(start),
        }
    };
    let (event, len) = made.map_err(text)?;
    if len > EVENT_LEN { Err(format!("an event of {len} bytes").into()) } else { Ok(event) }
}

/// Its errors cannot cross threads; their text can.
fn text(error: Box<dyn std::error::Error>) -> Error {
    error.to_string().into()
}

/// Room for one message, and whose turn it is.
struct Place {
    full: Box<dyn EventImpl>,
    empty: Box<dyn EventImpl>,
    message: *mut u8,
    payload: usize,
}

struct Segment {
    // Dropped before the memory that they are in.
    to: Place,
    from: Place,
    _memory: Shmem,
}

impl Link for Segment {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let Place { full, empty, message: place, payload } = &self.to;
        empty.wait(Timeout::Infinite).map_err(text)?;
        // SAFETY: the place has `payload` bytes, and is ours while it is empty.
        unsafe { message.as_ptr().copy_to_nonoverlapping(*place, message.len().min(*payload)) };
        full.set(EventState::Signaled).map_err(text)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        let Place { full, empty, message, payload } = &self.from;
        full.wait(Timeout::Infinite).map_err(text)?;
        // SAFETY: the place has `payload` bytes, and is ours while it is full: the sender waits.
        let result = read(unsafe { std::slice::from_raw_parts(*message, *payload) });
        empty.set(EventState::Signaled).map_err(text)?;
        Ok(result)
    }
}
