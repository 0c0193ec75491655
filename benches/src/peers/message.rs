//! The messages that Ringbridge is measured with: bytes with a stamp in the first eight.

use std::{borrow::Borrow, marker::PhantomData};

use ringbridge::{Contract, Event, Method, Payload, Push};

use crate::pair::side::{set_stamp, stamp};

pub(super) trait Message: Payload<Owned: AsMut<[u8]>> + AsRef<[u8]> + 'static {
    fn of_len(len: usize) -> Self::Owned;

    fn copy(&self) -> Self::Owned;

    #[inline]
    fn stamp(&self) -> u64 {
        stamp(self.as_ref())
    }
}

/// Writes the stamp of a message that is about to be sent, and lends the message.
#[inline]
pub(super) fn stamped<M: Message + ?Sized>(message: &mut M::Owned, stamp: u64) -> &M {
    set_stamp(message.as_mut(), stamp);
    (*message).borrow()
}

impl<const N: usize> Message for [u8; N] {
    fn of_len(_: usize) -> Self {
        [0; N]
    }

    #[inline]
    fn copy(&self) -> Self {
        *self
    }
}

impl Message for [u8] {
    fn of_len(len: usize) -> Vec<u8> {
        vec![0; len]
    }

    #[inline]
    fn copy(&self) -> Vec<u8> {
        self.to_vec()
    }
}

pub(super) struct Channels<M: ?Sized>(PhantomData<M>);

impl<M: Message + ?Sized> Channels<M> {
    pub(super) const ECHO: Method<M, M> = Method::new("echo");
    pub(super) const STREAM: Event<M> = Event::new("stream");
    pub(super) const PUSH: Push<M> = Push::new("push");
    pub(super) const CONTRACT: Contract = &[&Self::ECHO, &Self::STREAM, &Self::PUSH, &DONE];
}

/// From the renderer: it is ready, or has sent its last message.
pub(super) const DONE: Event<()> = Event::new("done");

/// Calls a function that is generic over the type of the messages, by their length. Whole words that share a
/// cache line with their header travel as a fixed layout, as in an application; other lengths as a run of bytes.
macro_rules! with_message_of {
    ($len:expr, $function:ident($($argument:expr),*)) => {
        match $len {
            8 => $function::<[u8; 8]>($($argument),*),
            16 => $function::<[u8; 16]>($($argument),*),
            24 => $function::<[u8; 24]>($($argument),*),
            32 => $function::<[u8; 32]>($($argument),*),
            40 => $function::<[u8; 40]>($($argument),*),
            48 => $function::<[u8; 48]>($($argument),*),
            _ => $function::<[u8]>($($argument),*),
        }
    };
}
pub(super) use with_message_of;
