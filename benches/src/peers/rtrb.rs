//! rtrb: a ring between two threads of one process, so it checks nothing and wakes no thread.
//!
//! Small messages are elements, as its users would choose; longer ones are chunks of bytes.

use std::sync::{Mutex, PoisonError};

use rtrb::{Consumer, Producer, RingBuffer};

use super::queue_len;
use crate::pair::prelude::*;

pub(super) struct Threads;

impl Peer for Threads {
    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.work == Work::Idle).then_some("two threads of one process: both spin")
    }

    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let payload = stage.payload();
        if payload == SMALL {
            let ours = rings(queue_len(payload), &SMALL_ENDS);
            stage.start_thread()?;
            Ok(Elements(ours).side(stage))
        } else {
            let ours = rings(queue_len(payload) * payload, &BYTE_ENDS);
            stage.start_thread()?;
            Ok(Bytes { ends: ours, payload }.side(stage))
        }
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        let payload = stage.payload();
        if payload == SMALL {
            Ok(Elements(take_over(&SMALL_ENDS)?).side(stage))
        } else {
            Ok(Bytes { ends: take_over(&BYTE_ENDS)?, payload }.side(stage))
        }
    }
}

struct Ends<T> {
    to: Producer<T>,
    from: Consumer<T>,
}

/// The place where main leaves the renderer's ends: a thread, unlike a process, can be given them.
type Place<T> = Mutex<Option<Ends<T>>>;
static SMALL_ENDS: Place<[u8; SMALL]> = Mutex::new(None);
static BYTE_ENDS: Place<u8> = Mutex::new(None);

/// Makes a ring each way, and leaves the renderer's ends in `place`.
fn rings<T>(len: usize, place: &Place<T>) -> Ends<T> {
    let (to_renderer, from_main) = RingBuffer::new(len);
    let (to_main, from_renderer) = RingBuffer::new(len);
    let theirs = Ends { to: to_main, from: from_main };
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(theirs);
    Ends { to: to_renderer, from: from_renderer }
}

fn take_over<T>(place: &Place<T>) -> Result<Ends<T>, Error> {
    let taken = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.ok_or_else(|| "no ring was handed over".into())
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
