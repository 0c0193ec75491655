//! The floors of small messages: words that both processes write.

use std::{thread, time::Duration};

use crate::{board::Board, pair::prelude::*, system::now_ns};

/// The line that is bounced. The floors beside a slice begin with line 1.
const LINE: u32 = 0;

/// How both processes wait for a word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Spinning,
    Asleep,
}

impl Peer for Words {
    fn unable(&self, task: Task) -> Option<&'static str> {
        match task.work {
            Work::Stream => Some("a word is no stream"),
            _ if task.payload > SMALL => Some("a word carries no payload"),
            _ => None,
        }
    }

    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        stage.launch()?;
        self.in_renderer(stage)
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        Ok(Box::new(Posts { board: stage.board, waits: *self, last: 0 }))
    }
}

struct Posts {
    board: &'static Board,
    waits: Words,
    /// The last stamp that was taken or, in an idle pair, posted.
    last: u64,
}

impl Posts {
    fn post(&self, stamp: u64) {
        match self.waits {
            Words::Spinning => self.board.post(stamp),
            Words::Asleep => self.board.post_and_wake(stamp),
        }
    }

    fn next(&mut self) -> Result<u64, Error> {
        self.last = match self.waits {
            Words::Spinning => self.board.next_post(self.last)?,
            Words::Asleep => self.board.next_post_asleep(self.last)?,
        };
        Ok(self.last)
    }
}

impl Side for Posts {
    fn answer(&mut self, _limit: Limit) -> Result<(), Error> {
        match self.waits {
            Words::Spinning => self.board.follow(LINE)?,
            Words::Asleep => self.board.follow_futex()?,
        }
        Ok(())
    }

    fn call(&mut self, limit: Limit, samples: &mut Vec<u64>) -> Result<(), Error> {
        match self.waits {
            Words::Spinning => self.board.lead(LINE, limit, samples)?,
            Words::Asleep => self.board.lead_futex(limit, samples)?,
        }
        Ok(())
    }

    fn push(&mut self, pacer: &mut Pacer) -> Result<(), Error> {
        pacer.run(|stamp| {
            self.post(stamp);
            Ok(())
        })
    }

    fn take_pushes(&mut self, samples: &mut Vec<u64>) -> Result<(), Error> {
        loop {
            let sent = self.next()?;
            if sent == OVER {
                return Ok(());
            }
            samples.push(now_ns().saturating_sub(sent));
        }
    }

    fn idle(&mut self, time_ns: u64) -> Result<(), Error> {
        thread::sleep(Duration::from_nanos(time_ns));
        // A partner sees a word only if it differs from the last.
        self.last += 1;
        self.post(self.last);
        Ok(())
    }

    fn rest(&mut self) -> Result<(), Error> {
        self.next()?;
        Ok(())
    }
}
