//! The floors of what Ringbridge is built on: memory that one side writes and the other reads.
//!
//! The bounce of one line, which both sides write, is faster than anything that is made so. These say by how
//! much, and so what part of a round trip no library with one writer a page can save.

use crate::{
    Error,
    board::{BareCell, Board, Way},
    compare::{
        side::{MainSide, Pacer, RendererSide, StreamPart, Subject, call},
        stage::Stage,
        work::{SMALL, Task, Work},
    },
};

/// A line each way with nothing in it but a number.
pub(super) const TWO_LINES: Bare = Bare {
    name: "bounce-two-lines",
    about: "floor: a line each way, each written by one side; a number and no payload",
    carries: Carries::Turn,
};

/// A ring each way, as Ringbridge's is without any of its checks.
pub(super) const RING: Bare = Bare {
    name: "bare-ring",
    about: "floor: a ring each way, each written by one side; the commit word in the frame, no checks",
    carries: Carries::Message,
};

/// One of these floors.
pub(super) struct Bare {
    name: &'static str,
    about: &'static str,
    carries: Carries,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carries {
    /// Nothing else, on the same line every time.
    Turn,
    /// 48 bytes, on the next line every time.
    Message,
}

/// The turn that ends it.
const OVER: u64 = u64::MAX;

impl Subject for Bare {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        let able = task.work == Work::RoundTrip && task.payload == SMALL;
        (!able).then_some("a floor of round trips of 48 B")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        stage.launch()?;
        Ok(Box::new(Turns { board: stage.board, carries: self.carries, turn: 0 }))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        Ok(Box::new(Turns { board: stage.board, carries: self.carries, turn: 0 }))
    }
}

struct Turns {
    board: &'static Board,
    carries: Carries,
    /// The last one that was taken. It goes on from one call to the next, as does the place in a ring.
    turn: u64,
}

impl Turns {
    /// Where this turn is written. A line that is used every time is the one of turn 0.
    #[inline]
    fn cell(&self, way: Way) -> &'static BareCell {
        self.board.bare_cell(way, if self.carries == Carries::Message { self.turn } else { 0 })
    }

    /// The next turn, asked and answered.
    #[inline]
    fn ask(&mut self, stamp: u64) -> Result<u64, Error> {
        self.turn += 1;
        let (there, back) = (self.cell(Way::There), self.cell(Way::Back));
        if self.carries == Carries::Turn {
            there.say(self.turn);
            back.hear(self.turn)?;
            return Ok(stamp);
        }
        there.write(&[stamp, 1, 2, 3, 4, 5]);
        there.say(self.turn);
        back.hear(self.turn)?;
        let [stamp, ..] = back.read();
        Ok(stamp)
    }

    /// Answers the next turn; `false` if that was the last.
    #[inline]
    fn answer_one(&mut self) -> Result<bool, Error> {
        self.turn += 1;
        let (there, back) = (self.cell(Way::There), self.cell(Way::Back));
        if there.hear(self.turn)? == OVER {
            self.turn -= 1;
            there.say(0);
            return Ok(false);
        }
        if self.carries == Carries::Message {
            back.write(&there.read());
        }
        back.say(self.turn);
        Ok(true)
    }
}

impl MainSide for Turns {
    fn answer(&mut self) -> Result<(), Error> {
        while self.answer_one()? {}
        Ok(())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Err("a floor of round trips".into())
    }

    fn push(&mut self, _pacer: &mut Pacer) -> Result<(), Error> {
        Err("a floor of round trips".into())
    }

    fn idle(&mut self, _time_ns: u64) -> Result<(), Error> {
        Err("a floor of round trips".into())
    }
}

impl RendererSide for Turns {
    fn call(&mut self, time_ns: u64, samples: &mut Vec<u64>) -> Result<(), Error> {
        call(time_ns, samples, |asked| self.ask(asked))?;
        self.turn += 1;
        self.cell(Way::There).say(OVER);
        self.turn -= 1;
        Ok(())
    }

    fn stream(&mut self, _time_ns: u64) -> Result<StreamPart, Error> {
        Err("a floor of round trips".into())
    }

    fn receive_pushes(&mut self, _samples: &mut Vec<u64>) -> Result<(), Error> {
        Err("a floor of round trips".into())
    }

    fn idle(&mut self) -> Result<(), Error> {
        Err("a floor of round trips".into())
    }
}
