//! The floors of Ringbridge's own design: memory that one side writes and the other reads.
//!
//! The bounce of one line, which both sides write, is faster than anything with one writer a page. The
//! difference is the part of a round trip that no such library can save.

use crate::{
    board::{BareCell, Board, Way},
    pair::prelude::*,
};

/// What travels each way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    /// The number of the turn, on the same line every time.
    TwoLines,
    /// 48 bytes, on the next line every time: Ringbridge's ring without any of its checks.
    Ring,
}

impl Peer for Bare {
    fn unable(&self, task: Task) -> Option<&'static str> {
        let able = task.work == Work::RoundTrip && task.payload == SMALL;
        (!able).then_some("a floor of round trips of 48 B")
    }

    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        stage.launch()?;
        self.in_renderer(stage)
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        Ok(Box::new(Turns { board: stage.board, carries: *self, turn: 0 }))
    }
}

struct Turns {
    board: &'static Board,
    carries: Bare,
    /// The last turn that was taken. It continues from one call to the next, as does the position in a ring.
    turn: u64,
}

impl Turns {
    /// Returns the cell of this turn. The line that is used every time is that of turn 0.
    #[inline]
    fn cell(&self, way: Way) -> &'static BareCell {
        self.board.bare_cell(way, if self.carries == Bare::Ring { self.turn } else { 0 })
    }

    #[inline]
    fn ask(&mut self, stamp: u64) -> Result<u64, Error> {
        self.turn += 1;
        let (there, back) = (self.cell(Way::There), self.cell(Way::Back));
        if self.carries == Bare::TwoLines {
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

    /// Answers the next turn. Returns `false` if it is the last.
    #[inline]
    fn answer_one(&mut self) -> Result<bool, Error> {
        self.turn += 1;
        let (there, back) = (self.cell(Way::There), self.cell(Way::Back));
        if there.hear(self.turn)? == OVER {
            self.turn -= 1;
            there.say(0);
            return Ok(false);
        }
        if self.carries == Bare::Ring {
            back.write(&there.read());
        }
        back.say(self.turn);
        Ok(true)
    }
}

impl Side for Turns {
    fn answer(&mut self, _limit: Limit) -> Result<(), Error> {
        while self.answer_one()? {}
        Ok(())
    }

    fn call(&mut self, limit: Limit, samples: &mut Vec<u64>) -> Result<(), Error> {
        call(limit, samples, |asked| self.ask(asked))?;
        self.turn += 1;
        self.cell(Way::There).say(OVER);
        self.turn -= 1;
        Ok(())
    }
}
