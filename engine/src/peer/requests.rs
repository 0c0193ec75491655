//! Our requests: the frame that begins one, and the table in which it waits for its reply.

use std::time::Duration;

use crate::peer::{
    Patience, Port,
    invocation::{Notify, Outcome, Reason},
    sender::SendRefusal,
};
use crate::{
    error::SendError,
    kill_points::{KillPoint, reach},
    peer::request_table::{RequestTable, TooManyPending},
    ring::producer::Producer,
    wire::{frame::Label, id::RequestId},
};

impl Port {
    /// Begins a request and commits its frame. `label` is without the id.
    #[inline(always)]
    pub(crate) fn commit_request(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
        patience: Patience,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        match self.try_commit_request(label, bytes, timeout) {
            Ok(id) => Ok(Ok(id)),
            Err(refusal) => {
                self.commit_request_after(refusal, channel, label, bytes, timeout, patience)
            }
        }
    }

    #[cold]
    fn commit_request_after(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
        patience: Patience,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        if bytes.len() > self.in_band_max {
            return self.commit_request_attached(channel, label, bytes, timeout, patience);
        }
        match self.retry(refusal, patience, || self.try_commit_request(label, bytes, timeout)) {
            Ok(id) => Ok(Ok(id)),
            Err(SendRefusal::TooManyPending) => Ok(Err(TooManyPending)),
            Err(refusal) => Err(self.explain(refusal, channel, bytes.len(), patience)),
        }
    }

    #[inline]
    fn try_commit_request(
        &self,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
    ) -> Result<RequestId, SendRefusal> {
        self.try_commit_request_with(label, timeout, |producer, label| {
            self.put(producer, label, bytes)
        })
    }

    // Always inline: what it is given travels in registers then.
    #[inline(always)]
    pub(super) fn try_commit_request_with(
        &self,
        label: Label,
        timeout: Option<Duration>,
        put: impl FnOnce(&mut Producer, Label) -> Result<(), SendRefusal>,
    ) -> Result<RequestId, SendRefusal> {
        self.bell.will_look();
        let mut outbox = self.lock_outbox()?;
        if self.gone.get().is_some() {
            return Err(SendRefusal::Gone);
        }
        let Some(id) =
            outbox.spare.take().or_else(|| self.requests(|requests| self.begin_in(requests)))
        else {
            // None begins after the end: see there.
            return Err(self.gone.get().map_or(SendRefusal::TooManyPending, |_| SendRefusal::Gone));
        };
        // After the id was taken: if its slot was a cancelled request's, the cancel goes first.
        let label = Label { id: Some(id), ..label };
        reach(KillPoint::RequestBegun);
        let sent = self.send_deferred(&mut outbox).and_then(|()| put(&mut outbox.producer, label));
        if let Err(refusal) = sent {
            outbox.spare = Some(id);
            return Err(refusal);
        }
        // From here on the frame travels, and nobody waits for what is done here.
        reach(KillPoint::RequestCommitted);
        outbox.spare = self.requests(|requests| {
            requests.set_timeout(id, timeout);
            self.begin_in(requests)
        });
        if timeout.is_some() && self.timed_requests.begun() {
            self.notice(Reason::Begun);
        }
        self.counters.frames_sent.add_alone(1);
        self.counters.invokes_sent.add_alone(1);
        drop(outbox);
        self.frames_committed();
        Ok(id)
    }

    /// `None`: every slot is in use, or the session is over. The end is looked at under the table's lock:
    /// what begins before it is settled by it.
    fn begin_in(&self, requests: &mut RequestTable<Notify, Outcome>) -> Option<RequestId> {
        match self.gone.get() {
            Some(_) => None,
            None => requests.begin(None).ok(),
        }
    }

    /// Works on the request table.
    #[inline]
    pub(super) fn requests<R>(
        &self,
        work: impl FnOnce(&mut RequestTable<Notify, Outcome>) -> R,
    ) -> R {
        self.pending.work(work)
    }
}
