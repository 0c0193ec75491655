//! Sending many messages at once: one lock of the outbox and one look for a sleeping peer for many.
//!
//! A `send` pays for both each time, and both wait until the frame before has been handed to its reader.
//! In a batch the frames flow.

use std::borrow::Borrow;

use super::{Patience, Port, sending::Refusal};
use crate::{
    contract::ChannelKey,
    error::{SendAllError, SendError},
    layout::frame::{Kind, Label},
    payload::{EncodeError, Payload},
};

/// After so many frames other threads get at the outbox, and a peer that sleeps is woken.
const FRAMES_MAX: usize = 64;

/// Why a batch stopped.
enum Stop {
    Refused(Refusal),
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
        let mut outbox = match self.lock_outbox() {
            Ok(outbox) => outbox,
            Err(refusal) => return (0, Some(Stop::Refused(refusal))),
        };
        if self.gone.get().is_some() {
            return (0, Some(Stop::Refused(Refusal::Gone)));
        }
        if let Err(refusal) = self.send_deferred(&mut outbox) {
            return (0, Some(Stop::Refused(refusal)));
        }
        // To encode may run the application's code. If that sends, the lock says so.
        let mut committed = 0;
        let mut stop = None;
        for message in messages {
            match message.borrow().encode(|bytes| self.put(&mut outbox.producer, label, bytes)) {
                Ok(Ok(())) => committed += 1,
                Ok(Err(refusal)) => stop = Some(Stop::Refused(refusal)),
                Err(error) => stop = Some(Stop::Encode(error)),
            }
            if stop.is_some() {
                break;
            }
        }
        self.counters.frames_sent.add_alone(committed as u64);
        drop(outbox);
        if committed > 0 {
            self.bell.frames_committed(&self.counters.wakes);
        }
        (committed, stop)
    }
}
