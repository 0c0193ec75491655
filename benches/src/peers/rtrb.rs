//! rtrb: a ring between two threads of one process, so with nothing to check and nobody to wake.
//!
//! Small messages are elements, as its users would have them; longer ones are chunks of bytes.

use std::sync::{Mutex, PoisonError};

use rtrb::{Consumer, Producer, RingBuffer};

use super::queue_len;
use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
        work::{SMALL, Task, Work},
    },
};

pub(super) struct Threads;

impl Subject for Threads {
    fn name(&self) -> &'static str {
        "rtrb"
    }

    fn about(&self) -> &'static str {
        "a ring each way between two threads of one process; spins"
    }

    fn package(&self) -> Option<&'static str> {
        Some("rtrb")
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.work == Work::Idle).then_some("two threads of one process: both spin")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let payload = stage.job.task.payload;
        if payload == SMALL {
            let (ours, theirs) = rings(queue_len(payload));
            hand_over(&SMALL_ENDS, theirs);
            stage.start_thread()?;
            Ok(Box::new(Linked::new(Elements { ends: ours }, payload)))
        } else {
            let (ours, theirs) = rings(queue_len(payload) * payload);
            hand_over(&BYTE_ENDS, theirs);
            stage.start_thread()?;
            Ok(Box::new(Linked::new(Bytes { ends: ours, payload }, payload)))
        }
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let payload = stage.job.task.payload;
        if payload == SMALL {
            let ends = take_over(&SMALL_ENDS)?;
            Ok(Box::new(Linked::new(Elements { ends }, payload)))
        } else {
            let ends = take_over(&BYTE_ENDS)?;
            Ok(Box::new(Linked::new(Bytes { ends, payload }, payload)))
        }
    }
}

/// One thread's ends of the two rings.
struct Ends<T> {
    to: Producer<T>,
    from: Consumer<T>,
}

fn rings<T>(len: usize) -> (Ends<T>, Ends<T>) {
    let (to_renderer, from_main) = RingBuffer::new(len);
    let (to_main, from_renderer) = RingBuffer::new(len);
    (Ends { to: to_renderer, from: from_renderer }, Ends { to: to_main, from: from_main })
}

/// Where main leaves the renderer's ends: unlike a process, a thread can be given them.
type Place<T> = Mutex<Option<Ends<T>>>;
static SMALL_ENDS: Place<[u8; SMALL]> = Mutex::new(None);
static BYTE_ENDS: Place<u8> = Mutex::new(None);

fn hand_over<T>(place: &Place<T>, ends: Ends<T>) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
}

fn take_over<T>(place: &Place<T>) -> Result<Ends<T>, Error> {
    let taken = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.ok_or_else(|| "no ring was handed over".into())
}

struct Elements {
    ends: Ends<[u8; SMALL]>,
}

impl Link for Elements {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let mut element = message.try_into()?;
        while let Err(rtrb::PushError::Full(back)) = self.ends.to.push(element) {
            element = back;
        }
        Ok(())
    }

    #[inline]
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        loop {
            if let Ok(element) = self.ends.from.pop() {
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
                // The ring's length is a multiple of the message's: no message is in two pieces.
                let result = read(chunk.as_slices().0);
                chunk.commit_all();
                return Ok(result);
            }
        }
    }
}
