//! Periodic work between messages.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use ringbridge::Ticker;

/// Calls `work` with each message, and with `None` at each interval while it is active: `work` returns whether there is
/// anything to do. Returns at the message `None`, or when all senders are gone: the number of intervals that were
/// skipped, since the work or the machine was too slow.
pub(crate) fn run<T>(
    interval: Duration,
    messages: &Receiver<Option<T>>,
    mut work: impl FnMut(Option<T>) -> bool,
) -> u64 {
    let mut skipped = 0;
    let mut active: Option<Ticker> = None;
    loop {
        let received = match &active {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(ticker) => messages.recv_timeout(ticker.time_left()),
        };
        let is_active = match received {
            Ok(Some(message)) => work(Some(message)),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => true,
        };
        if is_active {
            if active.get_or_insert_with(|| Ticker::new(interval)).take_due() {
                work(None);
            }
        } else {
            skipped += active.take().map_or(0, |ticker| ticker.missed());
        }
    }
    skipped + active.map_or(0, |ticker| ticker.missed())
}
