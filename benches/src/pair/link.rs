//! Peers that are a plain link: bytes in at one end, the same bytes out at the other.

use std::{hint::black_box, thread, time::Duration};

use super::{
    Limit,
    side::{OVER, Pacer, Side, StreamPart, call, send_stream, set_stamp, stamp, sum},
    stage::Stage,
};
use crate::{Error, system::now_ns};

/// One process's end of a link both ways. Its messages all have the same length.
pub(crate) trait Link: Sized + 'static {
    /// Sends a copy of the message, and waits for room as the library does.
    fn send(&mut self, message: &[u8]) -> Result<(), Error>;

    /// Waits for a message as the library does, and lends it.
    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error>;

    /// Returns either side of a pair that uses this link.
    fn side(self, stage: &Stage) -> Box<dyn Side> {
        Box::new(Linked { link: self, message: vec![1; stage.payload()] })
    }
}

struct Linked<L> {
    link: L,
    message: Vec<u8>,
}

impl<L: Link> Linked<L> {
    fn send(&mut self, stamp: u64) -> Result<(), Error> {
        set_stamp(&mut self.message, stamp);
        self.link.send(&self.message)
    }
}

impl<L: Link> Side for Linked<L> {
    fn answer(&mut self, _limit: Limit) -> Result<(), Error> {
        let Self { link, message } = self;
        loop {
            link.receive(|question| message.copy_from_slice(question))?;
            if stamp(message) == OVER {
                return Ok(());
            }
            link.send(message)?;
        }
    }

    fn call(&mut self, limit: Limit, samples: &mut Vec<u64>) -> Result<(), Error> {
        call(limit, samples, |stamp_sent| {
            self.send(stamp_sent)?;
            self.link.receive(stamp)
        })?;
        self.send(OVER)
    }

    fn stream_in_main(&mut self, _limit: Limit) -> Result<StreamPart, Error> {
        let (mut count, mut sums) = (0, 0_u64);
        loop {
            let (stamp, sum) = self.link.receive(|message| (stamp(message), sum(message)))?;
            sums = sums.wrapping_add(sum);
            count += 1;
            if stamp == OVER {
                black_box(sums);
                return Ok(StreamPart::received(count));
            }
        }
    }

    fn stream_in_renderer(&mut self, limit: Limit, _: &mut Vec<u64>) -> Result<StreamPart, Error> {
        send_stream(self.message.len(), limit, |stamp| self.send(stamp))
    }

    fn push(&mut self, pacer: &mut Pacer) -> Result<(), Error> {
        pacer.run(|stamp| self.send(stamp))
    }

    fn take_pushes(&mut self, samples: &mut Vec<u64>) -> Result<(), Error> {
        loop {
            let sent = self.link.receive(stamp)?;
            if sent == OVER {
                return Ok(());
            }
            samples.push(now_ns().saturating_sub(sent));
        }
    }

    fn idle(&mut self, time_ns: u64) -> Result<(), Error> {
        // A link has no loop to run meanwhile.
        thread::sleep(Duration::from_nanos(time_ns));
        self.send(OVER)
    }

    fn rest(&mut self) -> Result<(), Error> {
        while self.link.receive(stamp)? != OVER {}
        Ok(())
    }
}
