//! What the two processes say to each other: the messages that are measured, and the orders and
//! reports around them.

use std::{borrow::Borrow, marker::PhantomData};

use ringbridge::{Contract, Event, Method, Payload, Push};

ringbridge::payload! {
    /// What the renderer is to do next.
    pub(crate) enum Task: u32 {
        /// Lead the bouncing of a cache line, which main follows.
        Bounce = 0,
        /// Lead the bouncing of two futexes, which main follows.
        FutexBounce = 1,
        /// Invoke, and time each call.
        Invoke = 2,
        /// Invoke, and time the whole.
        InvokeUntimed = 3,
        /// Send a stream, and time its batches.
        Send = 4,
        /// Report the pushes that came since the last report.
        ReportPushes = 5,
    }
}

ringbridge::payload! {
    /// From main: do this, until one of the limits is reached.
    pub(crate) struct Order {
        pub(crate) task: Task,
        /// Which line to bounce.
        pub(crate) line: u32,
        pub(crate) count_max: u64,
        pub(crate) time_max_ns: u64,
    }
}

ringbridge::payload! {
    /// From the renderer: it is done. The samples follow.
    pub(crate) struct Finished {
        pub(crate) count: u64,
        pub(crate) began_ns: u64,
        pub(crate) ended_ns: u64,
    }
}

pub(crate) const ORDER: Push<Order> = Push::new("order");
pub(crate) const FINISHED: Event<Finished> = Event::new("finished");
/// Some samples, in nanoseconds; an empty run of them is the end of the report.
pub(crate) const SAMPLES: Event<[u64]> = Event::new("samples");
/// The renderer cannot go on, and says why.
pub(crate) const FAILED: Event<str> = Event::new("failed");

/// How many samples travel in one message.
pub(crate) const SAMPLES_PER_MESSAGE: usize = 4096;

/// A message that is measured: bytes, with a stamp in the first eight.
pub(crate) trait Message: Payload<Owned: AsMut<[u8]>> + AsRef<[u8]> + 'static {
    /// A message of `len` bytes.
    fn of_len(len: usize) -> Self::Owned;

    /// The same message once more.
    fn copy(&self) -> Self::Owned;

    #[inline]
    fn stamp(&self) -> u64 {
        self.as_ref().first_chunk().copied().map_or(0, u64::from_ne_bytes)
    }
}

/// Writes the stamp of a message that is about to be sent, and lends it.
#[inline]
pub(crate) fn stamped<M: Message + ?Sized>(message: &mut M::Owned, stamp: u64) -> &M {
    if let Some(place) = message.as_mut().first_chunk_mut() {
        *place = stamp.to_ne_bytes();
    }
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

/// The channels of messages of type `M`.
pub(crate) struct Channels<M: ?Sized>(PhantomData<M>);

impl<M: Message + ?Sized> Channels<M> {
    pub(crate) const ECHO: Method<M, M> = Method::new("echo");
    pub(crate) const PUSH: Push<M> = Push::new("push");
    pub(crate) const STREAM: Event<M> = Event::new("stream");
    pub(crate) const CONTRACT: Contract =
        &[&Self::ECHO, &Self::PUSH, &Self::STREAM, &ORDER, &FINISHED, &SAMPLES, &FAILED];
}

/// Calls a function that is generic over the type of the messages, by their length: whole words that
/// share a cache line with their header travel as a fixed layout, as they would in an application;
/// anything else as a run of bytes.
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
pub(crate) use with_message_of;
