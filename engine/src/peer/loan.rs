//! Writing a message where it will be read: room in the ring, lent to the application.
//!
//! A loan holds the outbox: other threads' sends to the same peer wait for it, and this thread's
//! fail with [`SendError::LoanHeld`]. Fill it and send it, as one would with a lock held.
//!
//! What is too long for a frame is written into its attachment, and what the loan has reserved in the
//! ring is the frame that names it.

use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use zerocopy::FromZeros;

use crate::peer::{
    Patience, Port,
    large::transfer::{Limit, no_memory},
    port::Outbox,
    sender::SendRefusal,
};
use crate::{
    contract::{ChannelKey, payload::FixedLayout},
    error::SendError,
    peer::large::{Attachments, Outgoing, borrower::Grant, pool::Buffer},
    ring::producer::Reservation,
    shm::attachment::Writable,
    sync::owner_lock::Guard,
    wire::{
        attached::Attached,
        frame::{Kind, Label},
    },
};

/// A message of type `T` under construction in the ring itself, or in its attachment. It starts as
/// zeroes.
///
/// Dropped unsent, it never happened.
#[must_use = "a loan that is not sent never happened"]
pub struct Loan<'a, T: FixedLayout> {
    port: &'a Port,
    outbox: Option<Guard<'a, Outbox>>,
    reservation: Option<Reservation>,
    label: Label,
    place: LoanPlace,
    payload: PhantomData<T>,
}

/// Where the payload is. The options are taken out by what ends the loan.
enum LoanPlace {
    Ring,
    /// In a buffer of main's, which the renderer has been given.
    Pooled(Option<Buffer>),
    /// In memory that main has lent, to be unmapped before it is sealed.
    Lent(Option<(Writable, Grant)>),
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
        match self.try_loan(label, size_of::<T>()) {
            Ok(loan) => Ok(loan),
            Err(refusal) => self.loan_after(refusal, channel, label, patience),
        }
    }

    #[cold]
    fn loan_after<T: FixedLayout>(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        label: Label,
        patience: Patience,
    ) -> Result<Loan<'_, T>, SendError> {
        let len = size_of::<T>();
        if len > self.in_band_max {
            return self.loan_attached(channel, label, Limit::of(self, patience));
        }
        self.retry(refusal, patience, || self.try_loan(label, len))
            .map_err(|refusal| self.explain(refusal, channel, len, patience))
    }

    fn try_loan<T: FixedLayout>(
        &self,
        label: Label,
        len: usize,
    ) -> Result<Loan<'_, T>, SendRefusal> {
        let mut outbox = self.open_outbox()?;
        let reserved = outbox.producer.reserve(len);
        let reservation = reserved.map_err(|error| self.refusal(error))?;
        outbox.producer.payload_mut(&reservation).zero();
        Ok(Loan {
            port: self,
            outbox: Some(outbox),
            reservation: Some(reservation),
            label,
            place: LoanPlace::Ring,
            payload: PhantomData,
        })
    }

    // --- in an attachment ----------------------------------------------------------------------------

    fn loan_attached<T: FixedLayout>(
        &self,
        channel: &'static str,
        label: Label,
        limit: Limit,
    ) -> Result<Loan<'_, T>, SendError> {
        let mut place = self.blank_place(channel, size_of::<T>(), limit)?;
        let lent = self.patiently(channel, size_of::<T>(), limit, || {
            let loan = self.try_loan(label, Attached::LEN)?;
            // Now, because `send` cannot fail.
            if let (Attachments::Main(main), LoanPlace::Pooled(Some(buffer))) =
                (&self.attachments, &mut place)
                && !main.announce(buffer)
            {
                return Err(SendRefusal::Full);
            }
            Ok(Ok(loan))
        });
        match lent {
            Ok(mut loan) => {
                loan.place = place;
                Ok(loan)
            }
            Err(error) => {
                self.discard_place(&mut place);
                Err(error)
            }
        }
    }

    /// Zeroes in an attachment.
    fn blank_place(
        &self,
        channel: &'static str,
        len: usize,
        limit: Limit,
    ) -> Result<LoanPlace, SendError> {
        self.check_length(channel, len)?;
        match &self.attachments {
            Attachments::Main(main) => {
                let blank = || main.blank(len, self.consumed(), &self.counters);
                Ok(LoanPlace::Pooled(Some(self.fill_with(channel, len, limit, blank)?)))
            }
            Attachments::Renderer(borrower) => {
                let grant = self.borrow(borrower, channel, len, limit)?;
                match grant.blank.map(len) {
                    Ok(mapped) => Ok(LoanPlace::Lent(Some((mapped, grant)))),
                    Err(error) => {
                        self.give_back(borrower, grant.id, grant.blank.size());
                        Err(no_memory(channel, len, &error))
                    }
                }
            }
        }
    }

    /// The message will not be sent.
    fn discard_place(&self, place: &mut LoanPlace) {
        match (place, &self.attachments) {
            (LoanPlace::Pooled(buffer), _) => {
                if let Some(buffer) = buffer.take() {
                    self.discard(Outgoing::Pooled(buffer));
                }
            }
            (LoanPlace::Lent(lent), Attachments::Renderer(borrower)) => {
                if let Some((_, grant)) = lent.take() {
                    self.give_back(borrower, grant.id, grant.blank.size());
                }
            }
            _ => {}
        }
    }

    /// What the frame of a loan is to name. `None`: the system refused to seal it.
    fn loaned_attachment(&self, place: &mut LoanPlace) -> Option<Outgoing> {
        match (place, &self.attachments) {
            (LoanPlace::Pooled(buffer), _) => buffer.take().map(Outgoing::Pooled),
            (LoanPlace::Lent(lent), Attachments::Renderer(borrower)) => {
                let (mapped, grant) = lent.take()?;
                drop(mapped);
                let sealed = self.seal(borrower, grant, Ok(()), "loan", 0);
                sealed.ok().map(Outgoing::Lent)
            }
            _ => None,
        }
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
        let port = self.port;
        let sent = match &mut self.place {
            LoanPlace::Ring => {
                outbox.producer.commit(reservation, self.label);
                true
            }
            place => match port.loaned_attachment(place) {
                Some(outgoing) => {
                    let producer = &mut outbox.producer;
                    port.name_attachment(
                        producer,
                        reservation,
                        self.label,
                        outgoing,
                        size_of::<T>(),
                    );
                    true
                }
                None => {
                    port.counters.attachments_lost.add();
                    false
                }
            },
        };
        port.counters.frames_sent.add_alone(u64::from(sent));
        drop(outbox);
        port.frames_committed();
    }
}

impl<T: FixedLayout> Deref for Loan<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let bytes = match (&self.place, &self.outbox, &self.reservation) {
            (LoanPlace::Ring, Some(outbox), Some(reservation)) => {
                outbox.producer.payload(reservation)
            }
            (LoanPlace::Pooled(Some(buffer)), ..) => &buffer.memory[..size_of::<T>()],
            (LoanPlace::Lent(Some((mapped, _))), ..) => &mapped[..size_of::<T>()],
            _ => unreachable!("only send takes them, and it consumes the loan"),
        };
        T::try_ref_from_bytes(bytes).expect("written as a T")
    }
}

impl<T: FixedLayout> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let bytes = match (&mut self.place, &mut self.outbox, &self.reservation) {
            (LoanPlace::Ring, Some(outbox), Some(reservation)) => {
                outbox.producer.payload_mut(reservation)
            }
            (LoanPlace::Pooled(Some(buffer)), ..) => &mut buffer.memory[..size_of::<T>()],
            (LoanPlace::Lent(Some((mapped, _))), ..) => &mut mapped[..size_of::<T>()],
            _ => unreachable!("only send takes them, and it consumes the loan"),
        };
        T::try_mut_from_bytes(bytes).expect("zeroes, or written as a T")
    }
}

impl<T: FixedLayout> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        // The lock first: giving an attachment back sends a frame.
        self.outbox = None;
        self.port.discard_place(&mut self.place);
    }
}
