//! raw_sync's events in a segment of shared_memory: one message at a time each way, with an event for "full"
//! and one for "empty".
//!
//! No wait has a timeout, since raw_sync computes the fraction of a second wrongly. The run bounds the waits.
//! Both processes trust each other, as raw_sync's users have to.

use raw_sync::{
    Timeout,
    events::{Event, EventImpl, EventInit, EventState},
};
use shared_memory::{Shmem, ShmemConf};

use crate::pair::prelude::*;

pub(super) fn events(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    let len = 2 * place_len(payload);
    let conf = ShmemConf::new().os_id(format!("{}raw_sync", stage.job.prefix));
    let (memory, to, from);
    // The renderer opens the events after this meeting.
    if stage.is_main {
        memory = conf.size(len).create()?;
        [to, from] = places(&memory, payload, true)?;
        stage.launch()?;
        stage.control.meet()?;
    } else {
        stage.control.meet()?;
        memory = conf.open()?;
        if memory.len() < len {
            return Err(format!("the segment has {} bytes only", memory.len()).into());
        }
        [from, to] = places(&memory, payload, false)?;
    }
    Ok(Segment { to, from, _memory: memory }.side(payload))
}

/// The room of an event, on its own cache lines.
const EVENT_LEN: usize = 256;

fn place_len(payload: usize) -> usize {
    2 * EVENT_LEN + payload.next_multiple_of(EVENT_LEN)
}

/// Returns the segment's two places: main's and the renderer's. The events of a new segment are made.
fn places(memory: &Shmem, payload: usize, is_new: bool) -> Result<[Place; 2], Error> {
    let place = |number: usize| -> Result<Place, Error> {
        // SAFETY: the caller has checked that the segment, which is page-aligned, has room for two places.
        // Each event has its own part of the segment. Main makes it before the renderer opens it. The mapping
        // is kept beside the places and lives as long.
        let place = unsafe {
            let start = memory.as_ptr().add(number * place_len(payload));
            Place {
                full: event(start, is_new)?,
                empty: event(start.add(EVENT_LEN), is_new)?,
                message: start.add(2 * EVENT_LEN),
                payload,
            }
        };
        if is_new {
            place.empty.set(EventState::Signaled).map_err(text)?;
        }
        Ok(place)
    };
    Ok([place(0)?, place(1)?])
}

/// # Safety
///
/// `EVENT_LEN` bytes must belong to the event for as long as it lives. Unless it is new, the other process must
/// have made it.
unsafe fn event(start: *mut u8, is_new: bool) -> Result<Box<dyn EventImpl>, Error> {
    // SAFETY: as the caller promises.
    let made =
        unsafe { if is_new { Event::new(start, true) } else { Event::from_existing(start) } };
    let (event, len) = made.map_err(text)?;
    if len > EVENT_LEN { Err(format!("an event of {len} bytes").into()) } else { Ok(event) }
}

/// Keeps the text of an error that cannot cross threads.
fn text(error: Box<dyn std::error::Error>) -> Error {
    error.to_string().into()
}

/// The room of one message, and the events that say whose turn it is.
struct Place {
    full: Box<dyn EventImpl>,
    empty: Box<dyn EventImpl>,
    message: *mut u8,
    payload: usize,
}

struct Segment {
    // Dropped before the memory that contains them.
    to: Place,
    from: Place,
    _memory: Shmem,
}

impl Link for Segment {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let Place { full, empty, message: place, payload } = &self.to;
        empty.wait(Timeout::Infinite).map_err(text)?;
        // SAFETY: the place has `payload` bytes, and only the sender uses it while it is empty.
        unsafe { message.as_ptr().copy_to_nonoverlapping(*place, message.len().min(*payload)) };
        full.set(EventState::Signaled).map_err(text)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        let Place { full, empty, message, payload } = &self.from;
        full.wait(Timeout::Infinite).map_err(text)?;
        // SAFETY: the place has `payload` bytes, and the sender waits while it is full.
        let result = read(unsafe { std::slice::from_raw_parts(*message, *payload) });
        empty.set(EventState::Signaled).map_err(text)?;
        Ok(result)
    }
}
