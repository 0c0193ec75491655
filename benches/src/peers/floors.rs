//! The floors: what the machine itself takes, without any library.

use std::{hint::black_box, thread, time::Duration};

use crate::{
    Error,
    board::Board,
    clock::now_ns,
    compare::{
        side::{MainSide, OVER, Pacer, RendererSide, StreamPart, Subject},
        stage::Stage,
        work::{SMALL, Task, Work},
    },
    pair::Limit,
};

/// The line that is bounced; those of the floors beside every slice are others.
const LINE: u32 = 2;

/// One word that both processes look at all the time.
pub(super) struct Bounce;

impl Subject for Bounce {
    fn name(&self) -> &'static str {
        "bounce"
    }

    fn about(&self) -> &'static str {
        "floor: one cache line with plain atomics, which keeps the newest push only; both spin"
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        word_only(task)
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        stage.launch()?;
        Ok(Box::new(Words::new(stage, Waits::Spinning)))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(Words::new(stage, Waits::Spinning)))
    }
}

/// One word each way, on which the other process sleeps.
pub(super) struct FutexPair;

impl Subject for FutexPair {
    fn name(&self) -> &'static str {
        "futex"
    }

    fn about(&self) -> &'static str {
        "floor: a word and FUTEX_WAKE; the newest push only; both sleep"
    }

    fn shares_a_core(&self) -> bool {
        true
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        word_only(task)
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        stage.launch()?;
        Ok(Box::new(Words::new(stage, Waits::Asleep)))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(Words::new(stage, Waits::Asleep)))
    }
}

fn word_only(task: Task) -> Option<&'static str> {
    match task.work {
        Work::Stream => Some("a word is no stream"),
        _ if task.payload > SMALL => Some("a word carries no payload"),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Spinning,
    Asleep,
}

struct Words {
    board: &'static Board,
    waits: Waits,
    /// The last stamp that was taken; in an idle pair, or posted.
    last: u64,
}

impl Words {
    fn new(stage: &Stage, waits: Waits) -> Self {
        Self { board: stage.board, waits, last: 0 }
    }

    fn post(&self, stamp: u64) {
        match self.waits {
            Waits::Spinning => self.board.post(stamp),
            Waits::Asleep => self.board.post_and_wake(stamp),
        }
    }

    fn next(&mut self) -> Result<u64, Error> {
        self.last = match self.waits {
            Waits::Spinning => self.board.next_post(self.last)?,
            Waits::Asleep => self.board.next_post_asleep(self.last)?,
        };
        Ok(self.last)
    }
}

impl MainSide for Words {
    fn answer(&mut self) -> Result<(), Error> {
        match self.waits {
            Waits::Spinning => self.board.follow(LINE)?,
            Waits::Asleep => self.board.follow_futex()?,
        }
        Ok(())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Err("a word is no stream".into())
    }

    fn push(&mut self, pacer: &mut Pacer) -> Result<(), Error> {
        pacer.run(|stamp| {
            self.post(stamp);
            Ok(())
        })
    }

    fn idle(&mut self, time_ns: u64) -> Result<(), Error> {
        thread::sleep(Duration::from_nanos(time_ns));
        // A word says something only by being another than before.
        self.last += 1;
        self.post(self.last);
        Ok(())
    }
}

impl RendererSide for Words {
    fn call(&mut self, time_ns: u64, samples: &mut Vec<u64>) -> Result<(), Error> {
        let limit = Limit { count: samples.capacity() as u64, time_ns };
        match self.waits {
            Waits::Spinning => self.board.lead(LINE, limit, samples)?,
            Waits::Asleep => self.board.lead_futex(limit, samples)?,
        }
        Ok(())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Err("a word is no stream".into())
    }

    fn receive_pushes(&mut self, samples: &mut Vec<u64>) -> Result<(), Error> {
        loop {
            let sent = self.next()?;
            if sent == OVER {
                return Ok(());
            }
            samples.push(now_ns().saturating_sub(sent));
        }
    }

    fn idle(&mut self) -> Result<(), Error> {
        self.next()?;
        Ok(())
    }
}

/// One process that copies a message from one buffer to another of its own.
pub(super) struct Memcpy;

impl Subject for Memcpy {
    fn name(&self) -> &'static str {
        "memcpy"
    }

    fn about(&self) -> &'static str {
        "floor: one process copies between two buffers of its own"
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.work != Work::Stream).then_some("a copy is no conversation")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        stage.launch()?;
        let payload = stage.job.task.payload;
        Ok(Box::new(Copies { from: vec![1; payload], to: vec![2; payload] }))
    }

    fn renderer_side(&self, _stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(Onlooker))
    }
}

struct Copies {
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Copies between two looks at the clock.
const COPIES: u64 = 64;

impl MainSide for Copies {
    fn answer(&mut self) -> Result<(), Error> {
        Err("a copy is no conversation".into())
    }

    fn stream(&mut self, time_ns: u64) -> Result<StreamPart, Error> {
        let began = now_ns();
        let mut ended = began;
        let mut count = 0;
        while ended - began < time_ns {
            for _ in 0..COPIES {
                black_box(&mut self.to[..]).copy_from_slice(black_box(&self.from));
            }
            count += COPIES;
            ended = now_ns();
        }
        Ok(StreamPart { count, began_ns: Some(began), ended_ns: Some(ended) })
    }

    fn push(&mut self, _pacer: &mut Pacer) -> Result<(), Error> {
        Err("a copy is no conversation".into())
    }

    fn idle(&mut self, _time_ns: u64) -> Result<(), Error> {
        Err("a copy is no conversation".into())
    }
}

/// Sleeps at the next meeting meanwhile.
pub(super) struct Onlooker;

impl RendererSide for Onlooker {
    fn call(&mut self, _time_ns: u64, _samples: &mut Vec<u64>) -> Result<(), Error> {
        Ok(())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Ok(StreamPart::default())
    }

    fn receive_pushes(&mut self, _samples: &mut Vec<u64>) -> Result<(), Error> {
        Ok(())
    }

    fn idle(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
