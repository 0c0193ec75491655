//! Writing a message in place: room in the ring, lent to the application.
//!
//! A loan holds the outbox. Other threads' sends to the same peer wait for it, and this thread's fail
//! with [`SendError::LoanHeld`]. Fill it and send it, as one would with a lock held.
//!
//! A message that is too long for a frame is written into its attachment. The loan has then reserved
//! the frame that names it.

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use zerocopy::FromZeros;

use crate::{
    contract::{ChannelKey, payload::FixedLayout},
    peer::{
        error::SendError,
        large::{main_attachments::Content, outgoing::OutgoingPayload},
        link::{Limit, Patience},
        port::Port,
        sender::{Outbox, SendRefusal},
    },
    ring::producer::Reservation,
    sync::owner_lock::Guard,
    wire::{attached::Attached, frame::Label, kind::Kind},
};

/// A message of type `T` under construction in the ring itself, or in its attachment. It starts as
/// zeroes.
///
/// Dropping it unsent leaves the ring unchanged.
#[must_use = "a loan that is not sent never happened"]
pub struct Loan<'a, T: FixedLayout> {
    port: &'a Port,
    /// `None` once it was sent.
    room: Option<(Guard<'a, Outbox>, Reservation)>,
    label: Label,
    /// `None`: the message is in the ring.
    attached: Option<OutgoingPayload>,
    payload: PhantomData<T>,
}

impl<'a, T: FixedLayout> Loan<'a, T> {
    /// Lends room for one message.
    pub(crate) fn begin(
        port: &'a Port,
        key: ChannelKey,
        patience: Patience,
    ) -> Result<Self, SendError> {
        let label = Label::new(Kind::Send, port.permitted(&key)?);
        if let Ok(loan) = Self::reserve(port, label, &mut None) {
            return Ok(loan);
        }
        let limit = Limit::begin(port, patience);
        port.attempt(key.name(), Content::Zeroes(size_of::<T>()), limit, |attached| {
            Self::reserve(port, label, attached)
        })
    }

    /// Reserves room for the message, or for the frame that names its attachment.
    fn reserve(
        port: &'a Port,
        label: Label,
        attached: &mut Option<OutgoingPayload>,
    ) -> Result<Self, SendRefusal> {
        let mut outbox = port.sender.open()?;
        port.sender.send_deferred(&mut outbox)?;
        let len = if attached.is_some() { Attached::LEN } else { size_of::<T>() };
        let reservation = port.sender.reserve(&mut outbox, len, attached)?;
        if attached.is_none() {
            outbox.producer.payload_mut(&reservation).zero();
        }
        let (room, attached) = (Some((outbox, reservation)), attached.take());
        Ok(Self { port, room, label, attached, payload: PhantomData })
    }

    /// Sends the message. It has room already, so nothing can fail but the peer; the next call tells of
    /// its end.
    pub fn send(mut self) {
        let Some((mut outbox, reservation)) = self.room.take() else {
            unreachable!("only send takes the room, and it consumes the loan")
        };
        let sender = &self.port.sender;
        if self.attached.as_mut().is_some_and(|payload| payload.seal().is_err()) {
            // Dropping the loan gives the memory back.
            self.port.counters.attachments_lost.add();
            return;
        }
        match self.attached.take() {
            None => outbox.producer.commit(reservation, self.label),
            Some(payload) => {
                sender.commit_attached(&mut outbox, reservation, self.label, payload);
            }
        }
        sender.close(outbox, 1);
    }
}

impl<T: FixedLayout> Deref for Loan<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let bytes = match (&self.attached, &self.room) {
            (Some(payload), _) => payload.bytes(),
            (None, Some((outbox, reservation))) => outbox.producer.payload(reservation),
            (None, None) => unreachable!("only send takes the room, and it consumes the loan"),
        };
        T::try_ref_from_bytes(bytes).expect("written as a T")
    }
}

impl<T: FixedLayout> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let bytes = match (&mut self.attached, &mut self.room) {
            (Some(payload), _) => payload.bytes_mut(),
            (None, Some((outbox, reservation))) => outbox.producer.payload_mut(reservation),
            (None, None) => unreachable!("only send takes the room, and it consumes the loan"),
        };
        T::try_mut_from_bytes(bytes).expect("zeroes, or written as a T")
    }
}

impl<T: FixedLayout> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        // The lock first: giving memory back sends a frame.
        self.room = None;
        if self.attached.take().is_some() {
            self.port.large.give_back(&self.port.sender);
        }
    }
}
