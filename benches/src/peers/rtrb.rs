//! rtrb: a ring between two threads of one process, so it checks nothing and wakes no thread.
//!
//! Small messages are elements, as its users would choose; longer ones are chunks of bytes.

use std::sync::Mutex;

use rtrb::{Consumer, Producer, RingBuffer};

use super::queue_len;
use crate::{lock, pair::prelude::*};

pub(super) fn threads(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    Ok(if payload == SMALL {
        Elements(ends(stage, queue_len(payload), &SMALL_ENDS)?).side(payload)
    } else {
        let ends = ends(stage, queue_len(payload) * payload, &BYTE_ENDS)?;
        Bytes { ends, payload }.side(payload)
    })
}

pub(super) fn not_for_threads(task: Task) -> Option<&'static str> {
    (task.work == Work::Idle).then_some("two threads of one process: both spin")
}

struct Ends<T> {
    to: Producer<T>,
    from: Consumer<T>,
}

/// The place where main leaves the renderer's ends: a thread, unlike a process, can be given them.
type Place<T> = Mutex<Option<Ends<T>>>;
static SMALL_ENDS: Place<[u8; SMALL]> = Mutex::new(None);
static BYTE_ENDS: Place<u8> = Mutex::new(None);

/// Returns this side's ends of a ring each way. Main makes them, and leaves the renderer's in `place`.
fn ends<T>(stage: &mut Stage, len: usize, place: &Place<T>) -> Result<Ends<T>, Error> {
    if !stage.is_main {
        return lock(place).take().ok_or_else(|| "no ring was handed over".into());
    }
    let [(to_renderer, from_main), (to_main, from_renderer)] =
        [RingBuffer::new(len), RingBuffer::new(len)];
    *lock(place) = Some(Ends { to: to_main, from: from_main });
    stage.start_thread()?;
    Ok(Ends { to: to_renderer, from: from_renderer })
}

struct Elements(Ends<[u8; SMALL]>);

impl Link for Elements {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut element = message.try_into()?;
        while let Err(rtrb::PushError::Full(back)) = self.0.to.push(element) {
            element = back;
        }
        Ok(())
    }

    #[inline]
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        loop {
            if let Ok(element) = self.0.from.pop() {
                return Ok(read(&element));
            }
        }
    }
}

struct Bytes {
    ends: Ends<u8>,
    payload: usize,
}

impl Link for Bytes {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        while self.ends.to.push_entire_slice(message).is_err() {}
        Ok(())
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        loop {
            if let Ok(chunk) = self.ends.from.read_chunk(self.payload) {
                // The ring's length is a multiple of the message's, so each message is in one piece.
                let result = read(chunk.as_slices().0);
                chunk.commit_all();
                return Ok(result);
            }
        }
    }
}
