//! Sending many messages at once: one lock of the outbox and one look for a sleeping peer for many.
//!
//! A `send` pays for both each time, and both wait until the frame before has been handed to its reader.
//! In a batch the frames flow.

use std::borrow::Borrow;

use crate::peer::{Patience, Port, port::Outbox, sender::SendRefusal};
use crate::{
    contract::{
        ChannelKey,
        payload::{EncodeError, Payload},
    },
    error::{SendAllError, SendError},
    sync::owner_lock::Guard,
    wire::frame::{Kind, Label},
};

/// After so many frames other threads get at the outbox, and a peer that sleeps is woken.
const FRAMES_MAX: usize = 64;

/// Why a batch stopped.
enum Stop {
    Refused(SendRefusal),
    Encode(EncodeError),
}

impl Port {
    /// Sends the messages in order, each as [`send`](Port::send) would.
    pub(crate) fn send_all<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        messages: &[impl Borrow<T>],
        patience: Patience,
    ) -> Result<(), SendAllError> {
        let failed = |sent: usize| move |source: SendError| SendAllError { sent, source };
        let channel = self.permitted(&key).map_err(failed(0))?;
        let label = Label { kind: Kind::Send, flags: 0, channel, id: None };
        let mut sent = 0;
        while let Some(rest) = messages.get(sent..).filter(|rest| !rest.is_empty()) {
            let batch = &rest[..rest.len().min(FRAMES_MAX)];
            let (committed, stop) = self.try_commit_all::<T>(label, batch);
            sent += committed;
            match stop {
                None => {}
                Some(Stop::Refused(refusal)) => {
                    // Waits for room for the first that found none, and goes on behind it.
                    let message = messages[sent].borrow();
                    self.send_after(refusal, &key, label, message, patience)
                        .map_err(failed(sent))?;
                    sent += 1;
                }
                Some(Stop::Encode(source)) => {
                    let channel = key.name();
                    return Err(failed(sent)(SendError::Encode { channel, source }));
                }
            }
        }
        Ok(())
    }

    /// Commits as many as there is room for, and wakes the peer if it sleeps. Says how many, and what
    /// stopped it short of all.
    fn try_commit_all<T: Payload + ?Sized>(
        &self,
        label: Label,
        messages: &[impl Borrow<T>],
    ) -> (usize, Option<Stop>) {
        let mut batch = match self.open_outbox() {
            Ok(outbox) => Batch { port: self, outbox: Some(outbox), committed: 0 },
            Err(refusal) => return (0, Some(Stop::Refused(refusal))),
        };
        // To encode may run the application's code. If that sends, the lock says so; if it panics, what
        // went before it has been sent.
        let stop = messages.iter().find_map(|message| batch.add(label, message.borrow()));
        (batch.committed, stop)
    }
}

/// The frames that were committed under one lock. However it ends, the peer hears of them.
struct Batch<'a> {
    port: &'a Port,
    /// Taken when the batch ends.
    outbox: Option<Guard<'a, Outbox>>,
    committed: usize,
}

impl Batch<'_> {
    /// Commits one more; or says what was in its way.
    #[inline(always)]
    fn add<T: Payload + ?Sized>(&mut self, label: Label, message: &T) -> Option<Stop> {
        let producer = &mut self.outbox.as_mut()?.producer;
        match message.encode(|bytes| self.port.put(producer, label, bytes)) {
            Ok(Ok(())) => {
                self.committed += 1;
                None
            }
            Ok(Err(refusal)) => Some(Stop::Refused(refusal)),
            Err(error) => Some(Stop::Encode(error)),
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let counters = &self.port.counters;
        counters.frames_sent.add_alone(self.committed as u64);
        self.outbox = None;
        if self.committed > 0 {
            self.port.frames_committed();
        }
    }
}
