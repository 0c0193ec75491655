//! Sending: one frame into the outbox, and what is done if there is no room.

use std::time::{Duration, Instant};

use crate::peer::{Patience, Port, Side, port::Outbox};
use crate::{
    contract::{ChannelKey, payload::Payload},
    error::{GoneReason, SendError},
    kill_points::{KillPoint, reach},
    ring::producer::{Producer, ReserveError},
    sync::{
        owner_lock::{Guard, HeldHere},
        reentrancy::{self, CurrentLoop},
    },
    wire::frame::{Kind, Label},
};

/// Looks for room before a waiting send goes to sleep.
const LOOKS_FOR_ROOM: u32 = 2_000;

/// Why a frame was not committed. Nothing has happened.
///
/// It is small on purpose: it comes back in registers. An error with names and reasons in it comes back
/// through memory, and copying that would wait until the frame's line has been handed to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendRefusal {
    /// No room now.
    Full,
    /// No room ever, for more than so many bytes.
    TooLarge {
        max: usize,
    },
    /// This thread holds a loan of the outbox.
    LoanHeld,
    /// The session is over.
    Gone,
    TooManyPending,
}

impl Port {
    /// The channel's number, if the policy lets this session use it.
    #[inline]
    pub(crate) fn permitted(&self, key: &ChannelKey) -> Result<u16, SendError> {
        self.allowed_number(key).ok_or_else(|| self.not_allowed(key))
    }

    pub(crate) fn is_allowed(&self, key: &ChannelKey) -> bool {
        self.allowed_number(key).is_some()
    }

    #[inline]
    pub(super) fn allowed_number(&self, key: &ChannelKey) -> Option<u16> {
        self.channels.number(key).filter(|number| self.allowed.contains(usize::from(*number)))
    }

    #[cold]
    pub(super) fn not_allowed(&self, key: &ChannelKey) -> SendError {
        match self.known(key) {
            Ok(_) => {
                self.counters.forbidden.add();
                SendError::Forbidden { channel: key.name() }
            }
            Err(unknown) => unknown,
        }
    }

    /// The channel's number, if both contracts have it.
    #[inline]
    pub(crate) fn known(&self, key: &ChannelKey) -> Result<u16, SendError> {
        self.channels.number(key).ok_or_else(|| {
            self.counters.unknown_channels.add();
            SendError::UnknownChannel { channel: key.name() }
        })
    }

    /// For how long to wait for room; `None` in main's loop, which never does.
    pub(super) fn room_timeout(&self, patience: Patience) -> Option<Duration> {
        let in_main_loop =
            self.side == Side::Main && matches!(reentrancy::now(), CurrentLoop::Main(_));
        match patience {
            _ if in_main_loop => None,
            Patience::None => None,
            Patience::Usual => Some(self.limits.send_timeout),
            Patience::For(timeout) => Some(timeout),
        }
    }

    /// A payload must not be longer than this, in bytes.
    pub(crate) fn payload_max(&self) -> usize {
        self.message_max
    }

    /// Sends one message.
    #[inline]
    pub(crate) fn send<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let Some(channel) = self.allowed_number(&key) else { return Err(self.not_allowed(&key)) };
        let label = Label { kind: Kind::Send, flags: 0, channel, id: None };
        match value.encode(|bytes| self.try_commit(label, bytes)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => self.send_after(refusal, &key, label, value, patience),
            Err(source) => Err(SendError::Encode { channel: key.name(), source }),
        }
    }

    #[cold]
    pub(super) fn send_after<T: Payload + ?Sized>(
        &self,
        refusal: SendRefusal,
        key: &ChannelKey,
        label: Label,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let channel = key.name();
        value
            .encode(|bytes| self.commit_after(refusal, channel, label, bytes, patience))
            .map_err(|source| SendError::Encode { channel, source })?
    }

    /// Commits one frame and wakes the peer if it sleeps.
    #[inline(always)]
    pub(crate) fn commit(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        match self.try_commit(label, bytes) {
            Ok(()) => Ok(()),
            Err(refusal) => self.commit_after(refusal, channel, label, bytes, patience),
        }
    }

    #[cold]
    pub(super) fn commit_after(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        if bytes.len() > self.in_band_max {
            return self.commit_attached(channel, label, bytes, patience);
        }
        self.retry(refusal, patience, || self.try_commit(label, bytes))
            .map_err(|refusal| self.explain(refusal, channel, bytes.len(), patience))
    }

    #[inline]
    pub(super) fn try_commit(&self, label: Label, bytes: &[u8]) -> Result<(), SendRefusal> {
        self.try_commit_with(|producer| self.put(producer, label, bytes))
    }

    // Always inline: what it is given travels in registers then.
    #[inline(always)]
    pub(super) fn try_commit_with(
        &self,
        put: impl FnOnce(&mut Producer) -> Result<(), SendRefusal>,
    ) -> Result<(), SendRefusal> {
        let mut outbox = self.open_outbox()?;
        put(&mut outbox.producer)?;
        self.counters.frames_sent.add_alone(1);
        drop(outbox);
        reach(KillPoint::SendCommitted);
        self.frames_committed();
        Ok(())
    }

    /// Locks the outbox for frames of its own kind: the peer is there, and what has waited for room has
    /// gone first.
    #[inline(always)]
    pub(super) fn open_outbox(&self) -> Result<Guard<'_, Outbox>, SendRefusal> {
        self.bell.will_look();
        let mut outbox = self.lock_outbox()?;
        if self.gone.get().is_some() {
            return Err(SendRefusal::Gone);
        }
        reach(KillPoint::SendBegun);
        self.send_deferred(&mut outbox)?;
        Ok(outbox)
    }

    /// Locks the outbox, unless this very thread holds it: for a loan, or because it encodes a batch.
    #[inline]
    pub(super) fn lock_outbox(&self) -> Result<Guard<'_, Outbox>, SendRefusal> {
        self.outbox.lock().map_err(|HeldHere| SendRefusal::LoanHeld)
    }

    /// Copies one frame into the ring and commits it.
    #[inline]
    pub(super) fn put(
        &self,
        producer: &mut Producer,
        label: Label,
        bytes: &[u8],
    ) -> Result<(), SendRefusal> {
        let reservation = producer.reserve(bytes.len()).map_err(|error| self.refusal(error))?;
        reach(KillPoint::FrameReserved);
        producer.write(&reservation, bytes);
        reach(KillPoint::PayloadWritten);
        producer.commit(reservation, label);
        Ok(())
    }

    #[cold]
    pub(super) fn refusal(&self, error: ReserveError) -> SendRefusal {
        match error {
            ReserveError::Full => SendRefusal::Full,
            ReserveError::TooLarge { max, .. } => SendRefusal::TooLarge { max },
            ReserveError::Peer(violation) => {
                self.break_off(violation);
                SendRefusal::Gone
            }
        }
    }

    /// If there was no room, repeats the attempt until there is some, or the patience ends.
    #[cold]
    pub(super) fn retry<R>(
        &self,
        refusal: SendRefusal,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<R, SendRefusal>,
    ) -> Result<R, SendRefusal> {
        if refusal != SendRefusal::Full {
            return Err(refusal);
        }
        self.counters.stalls.add();
        let Some(timeout) = self.room_timeout(patience) else {
            self.counters.full.add();
            return Err(SendRefusal::Full);
        };
        for _ in 0..LOOKS_FOR_ROOM {
            crate::primitives::spin_loop();
            match attempt() {
                Err(SendRefusal::Full) => {}
                result => return result,
            }
        }
        let began = Instant::now();
        let deadline = began.checked_add(timeout);
        self.space_waiters.begin_to_wait();
        let result = loop {
            let (bell, interrupt) = (self.peer.bell.read(), self.interrupt.read());
            self.space_waiters.ask();
            match attempt() {
                Err(SendRefusal::Full) => {}
                result => break result,
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.counters.full.add();
                break Err(SendRefusal::Full);
            }
            self.interrupt.sleep(&self.peer.bell, bell, interrupt, deadline);
        };
        self.space_waiters.end_waiting(|| self.has_deferred());
        result
    }

    /// The error that an application sees, for a message of `len` bytes.
    #[cold]
    pub(super) fn explain(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        len: usize,
        patience: Patience,
    ) -> SendError {
        match refusal {
            SendRefusal::Full => match self.room_timeout(patience) {
                None => SendError::Full { channel },
                Some(waited) => SendError::TimedOut { channel, waited },
            },
            SendRefusal::TooLarge { max } => {
                self.counters.too_large.add();
                SendError::TooLarge { channel, len, max }
            }
            SendRefusal::LoanHeld => SendError::LoanHeld { channel },
            SendRefusal::Gone | SendRefusal::TooManyPending => {
                // A request that cannot begin has an error of its own.
                let reason = self.gone.get().cloned().unwrap_or(GoneReason::Closed);
                SendError::Gone { channel, reason }
            }
        }
    }
}
