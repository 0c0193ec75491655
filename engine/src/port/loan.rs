//! Writing a message where it will be read: room in the ring, lent to the application.
//!
//! A loan holds the outbox: other threads' sends to the same peer wait for it, and this thread's
//! fail with [`SendError::LoanHeld`]. Fill it and send it, as one would with a lock held.

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use zerocopy::FromZeros;

use super::{Outbox, Patience, Port, Refusal};
use crate::{
    biased::Guard,
    contract::ChannelKey,
    error::SendError,
    layout::frame::{Kind, Label},
    payload::FixedLayout,
    ring::producer::Reservation,
};

/// A message of type `T` under construction in the ring itself. It starts as zeroes.
///
/// Dropped unsent, it never happened.
#[must_use = "a loan that is not sent never happened"]
pub struct Loan<'a, T: FixedLayout> {
    port: &'a Port,
    outbox: Option<Guard<'a, Outbox>>,
    reservation: Option<Reservation>,
    label: Label,
    payload: PhantomData<T>,
}

impl Port {
    /// Lends room for one message.
    pub(crate) fn loan<T: FixedLayout>(
        &self,
        key: ChannelKey,
        patience: Patience,
    ) -> Result<Loan<'_, T>, SendError> {
        let channel = key.name();
        let label = Label { kind: Kind::Send, flags: 0, channel: self.permitted(&key)?, id: None };
        let lent = match self.try_loan(label) {
            Err(refusal) => self.retry(refusal, patience, || self.try_loan(label)),
            lent => lent,
        };
        lent.map_err(|refusal| self.explain(refusal, channel, size_of::<T>(), patience))
    }

    fn try_loan<T: FixedLayout>(&self, label: Label) -> Result<Loan<'_, T>, Refusal> {
        let mut outbox = self.lock_outbox()?;
        if self.gone().is_some() {
            return Err(Refusal::Gone);
        }
        self.send_deferred(&mut outbox)?;
        let reserved = outbox.producer.reserve(size_of::<T>());
        let reservation = reserved.map_err(|error| self.refusal(error))?;
        outbox.producer.payload_mut(&reservation).zero();
        Ok(Loan {
            port: self,
            outbox: Some(outbox),
            reservation: Some(reservation),
            label,
            payload: PhantomData,
        })
    }
}

impl<T: FixedLayout> Loan<'_, T> {
    /// Sends the message: it has room already, so nothing can fail but the peer, of whose end the next
    /// call will tell.
    pub fn send(mut self) {
        let (Some(mut outbox), Some(reservation)) = (self.outbox.take(), self.reservation.take())
        else {
            unreachable!("only send takes them, and it consumes the loan")
        };
        outbox.producer.commit(reservation, self.label);
        self.port.counters.frames_sent.add_alone(1);
        drop(outbox);
        self.port.bell.frames_committed(&self.port.counters.wakes);
    }
}

impl<T: FixedLayout> Deref for Loan<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let (Some(outbox), Some(reservation)) = (&self.outbox, &self.reservation) else {
            unreachable!("only send takes them, and it consumes the loan")
        };
        T::try_ref_from_bytes(outbox.producer.payload(reservation)).expect("written as a T")
    }
}

impl<T: FixedLayout> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let (Some(outbox), Some(reservation)) = (&mut self.outbox, &self.reservation) else {
            unreachable!("only send takes them, and it consumes the loan")
        };
        T::try_mut_from_bytes(outbox.producer.payload_mut(reservation))
            .expect("zeroes, or written as a T")
    }
}
