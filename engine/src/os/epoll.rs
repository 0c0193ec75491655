//! One sleeper, many descriptors; and the eventfds that wake it.
//!
//! An event is a hint: the token that was chosen when the descriptor was added, and two facts. A token may arrive
//! after its descriptor was removed, so callers use tokens that can be recognised as stale.
//!
//! `epoll_pwait2`, which takes an exact timeout, is not available everywhere: filters of containers refuse it, and
//! valgrind does not know it. The older call takes whole milliseconds. So a wait ends at the last whole one
//! before its deadline, and the next wait, which is shorter, begins with a `ppoll`.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{
        EventfdFlags, PollFd, PollFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd, poll,
    },
    io::Errno,
};

use crate::os::clock;
pub(crate) use crate::os::report::Event;

/// The most events of one wait. The next wait returns the others.
const BATCH: usize = 64;
const MILLISECOND: Duration = Duration::from_millis(1);
/// The longest wait. A longer timeout ends early.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The number of events of a descriptor that stays ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// One with every wait.
    Level,
    /// One each time that it becomes ready; for an eventfd, one a ring.
    Edge,
}

#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        Ok(Epoll(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Adds `source`. If it is ready already, the next wait returns an event.
    ///
    /// If another process holds the same open file, remove it before closing it: the close alone does not.
    pub(crate) fn add(&self, source: impl AsFd, token: u64, trigger: Trigger) -> io::Result<()> {
        let trigger = match trigger {
            Trigger::Level => EventFlags::empty(),
            Trigger::Edge => EventFlags::ET,
        };
        let flags = EventFlags::IN | EventFlags::RDHUP | trigger;
        Ok(epoll::add(&self.0, source, EventData::new_u64(token), flags)?)
    }

    pub(crate) fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, source)?)
    }

    /// Sleeps until there are events, for at most `timeout`, and replaces `events` by them. May return early
    /// without any.
    pub(crate) fn wait(
        &self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        events.clear();
        let timeout = match timeout {
            Some(rest) if !rest.is_zero() && rest < MILLISECOND => {
                let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
                match poll(&mut polled, Some(&clock::timespec_of(rest))) {
                    Ok(_) | Err(Errno::INTR) => Some(Duration::ZERO),
                    Err(error) => return Err(error.into()),
                }
            }
            // The next wait takes the rest.
            Some(span) => Some(Duration::from_millis(span.min(WAIT_MAX).as_millis() as u64)),
            None => None,
        };
        let timeout = timeout.map(clock::timespec_of);
        let mut heard = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
        match epoll::wait(&self.0, &mut heard, timeout.as_ref()) {
            Ok((heard, _)) => events.extend(heard.iter().map(|event| {
                // Copied out: the kernel's struct is packed, so its fields cannot be borrowed.
                let (flags, data) = (event.flags, event.data);
                let hangup = EventFlags::HUP | EventFlags::RDHUP | EventFlags::ERR;
                Event {
                    token: data.u64(),
                    readable: flags.contains(EventFlags::IN),
                    hangup: flags.intersects(hangup),
                }
            })),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// An eventfd. Its sleeper keeps one descriptor in its epoll and gives the other to the peer.
///
/// Both share one open file description, so a hostile peer can fill its counter and make it blocking. So the sleeper
/// neither reads nor writes it, but adds it edge-triggered: each ring is an event, with nothing to read in between.
#[derive(Debug)]
pub(crate) struct EventFd(pub(crate) OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        Ok(EventFd(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Rings it. A full counter is no error.
    pub(crate) fn ring(&self) -> io::Result<()> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::os::{EventFd, Socket};

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    fn tokens(epoll: &Epoll) -> Vec<u64> {
        let mut events = Vec::new();
        epoll.wait(&mut events, AT_ONCE).unwrap();
        events.iter().map(|event| event.token).collect()
    }

    #[test]
    fn an_edge_triggered_bell_gives_an_event_per_ring_without_a_read() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&bell, 7, Trigger::Edge).unwrap();
        assert_eq!(tokens(&epoll), []);

        for _ in 0..3 {
            bell.ring().unwrap();
            assert_eq!(tokens(&epoll), [7]);
            assert_eq!(tokens(&epoll), []);
        }
    }

    #[test]
    fn a_level_triggered_bell_is_heard_with_every_wait() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&bell, 7, Trigger::Level).unwrap();
        bell.ring().unwrap();
        assert_eq!(tokens(&epoll), [7]);
        assert_eq!(tokens(&epoll), [7]);
    }

    #[test]
    fn a_removed_bell_is_not_heard() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&bell, 7, Trigger::Edge).unwrap();
        epoll.remove(&bell).unwrap();
        bell.ring().unwrap();
        assert_eq!(tokens(&epoll), []);
    }

    #[test]
    fn a_removed_bell_that_was_rung_meanwhile_is_heard_when_it_is_added_again() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&bell, 7, Trigger::Edge).unwrap();
        bell.ring().unwrap();
        epoll.remove(&bell).unwrap();
        assert_eq!(tokens(&epoll), []);
        bell.ring().unwrap();
        epoll.add(&bell, 7, Trigger::Edge).unwrap();
        assert_eq!(tokens(&epoll), [7]);
        assert_eq!(tokens(&epoll), []);
    }

    #[test]
    fn a_full_bell_can_still_be_rung_and_heard() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        epoll.add(&bell, 7, Trigger::Edge).unwrap();
        bell.ring().unwrap();
        assert_eq!(tokens(&epoll), [7]);
    }

    #[test]
    fn the_end_of_a_peer_is_a_hangup_with_its_last_words_still_readable() {
        let (epoll, (ours, theirs)) = (Epoll::new().unwrap(), Socket::pair().unwrap());
        epoll.add(&ours, 1, Trigger::Level).unwrap();
        theirs.send(b"farewell", &[]).unwrap();
        drop(theirs);

        // A child that another test forks just now holds the other end a moment longer.
        let mut events = Vec::new();
        while !events.iter().any(|event: &Event| event.hangup) {
            epoll.wait(&mut events, None).unwrap();
        }
        assert_eq!(events, [Event { token: 1, readable: true, hangup: true }]);
    }

    #[test]
    fn a_wait_ends_with_its_timeout() {
        let epoll = Epoll::new().unwrap();
        for timeout in [Duration::from_micros(200), Duration::from_millis(3)] {
            let mut events = vec![Event { token: 1, readable: true, hangup: false }];
            let began = Instant::now();
            epoll.wait(&mut events, Some(timeout)).unwrap();
            assert!(events.is_empty());
            assert!(began.elapsed() >= timeout);
        }
    }

    #[test]
    fn a_wait_that_goes_on_ends_no_earlier_and_hears_what_comes_in_its_last_moment() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&bell, 7, Trigger::Edge).unwrap();
        let deadline = Instant::now() + Duration::from_micros(2500);
        let mut events = Vec::new();
        let mut waits = 0;
        while Instant::now() < deadline {
            epoll.wait(&mut events, Some(deadline - Instant::now())).unwrap();
            waits += 1;
        }
        // One for the whole milliseconds, one for the rest; a signal or two.
        assert!(waits < 10, "{waits} waits");
        bell.ring().unwrap();
        epoll.wait(&mut events, Some(Duration::from_micros(900))).unwrap();
        assert_eq!(events.len(), 1);
    }
}
