//! The driver of a loop: takes what its source has, runs ready futures, and waits when there is nothing.
//!
//! ```text
//!   turn ──▶ something: again, with a look at the clock now and then
//!        └─▶ nothing:   look again ─▶ yield ─▶ park or doze, as the waiter decides
//!
//!   awake, each millisecond     housekeeping: deadlines, sockets
//!   before each sleep           deadlines, the next of which ends the sleep
//! ```
//!
//! The code is generated for each [`Source`], so a turn makes no indirect call.

use std::{
    io,
    sync::Arc,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{
    event_loop::error::RunError,
    peer::{
        link::{EventLoop, Reason},
        requests::outcome::Awaited,
    },
    primitives::{AtomicBool, Ordering},
    sync::reentrancy::{self, CurrentLoop, Running},
    wake::{
        adaptive::{WaitStep, Waiter},
        driver_lock::DriverLock,
    },
};

/// The most frames that a turn takes from one ring.
pub(super) const BATCH: usize = 64;
/// Frames between two looks at the clock while there is always something to take.
const BUSY_FRAMES: usize = 2048;
/// Time between two housekeepings while the loop is awake.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(1);

/// The inputs of a loop, which only its driver touches.
pub(crate) trait Source: Send + Sized {
    /// The part that other threads reach meanwhile.
    type Shared: SourceShared;

    /// Takes what is there, up to a batch of each input.
    fn turn(&mut self, shared: &Self::Shared, awaited: &mut Option<&mut Awaited<'_>>) -> Progress;

    /// Works off what is due at `now`. Returns when something is due next.
    fn keep_deadlines(&mut self, shared: &Self::Shared, now: Instant) -> Option<Instant>;

    /// Does what needs doing now and then while the loop is awake.
    fn keep_house(&mut self, shared: &Self::Shared, now: Instant) -> io::Result<()>;

    /// Sleeps until there is something to take or `until`, unless there is something or `stop` is asked
    /// for. At `alarm` the sleep ends by itself, so the peer need not end it shortly before.
    fn park(
        &mut self,
        shared: &Self::Shared,
        until: Option<Instant>,
        alarm: Option<Instant>,
        stop: Stop<'_>,
    ) -> io::Result<()>;

    /// Leaves the place of an awaited reply alone until the reply is probably there, for a fraction of a microsecond.
    fn put_off_first_look(&mut self, _shared: &Self::Shared) {}

    /// Returns the bytes that were sent and received since the last call, by rings.
    fn moved(&mut self, shared: &Self::Shared) -> u64;

    /// Notes that what was taken came during a sleep.
    fn woken(&mut self, _shared: &Self::Shared, _waiter: &mut Waiter) {}

    /// Returns whether nothing will come any more.
    fn is_over(&self, _shared: &Self::Shared) -> bool {
        false
    }

    /// Looks at every input, for a single turn.
    fn look_everywhere(&mut self) {}

    /// Leaves the loop to the next driver, which may come late. A driver whose reply has come does not call it: `turn`
    /// has told the peer what its messages need, and the thread is about to go on.
    fn leave(&mut self, _shared: &Self::Shared) {}

    /// Ends for good.
    fn close(&mut self, _shared: &Self::Shared) {}
}

/// The part of a source that all threads reach.
pub(crate) trait SourceShared: Send + Sync {
    /// Names the loop, for code that may run inside of it.
    fn current_loop(&self) -> CurrentLoop;

    /// Ends the loop's sleep.
    fn wake(&self);

    /// As [`EventLoop::notice`].
    fn notice(&self, window: u32, reason: Reason);
}

/// The outcome of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Frames, messages of topics and polled futures.
    pub(crate) taken: usize,
    /// One of them took as long as very many small ones, so the clock is to be looked at.
    pub(crate) took_long: bool,
}

/// A request to stop, if the driver heeds one: a driver that waits for a reply does not.
#[derive(Clone, Copy)]
pub(crate) struct Stop<'a>(Option<&'a AtomicBool>);

impl Stop<'_> {
    #[inline]
    pub(crate) fn is_asked(self) -> bool {
        // Relaxed: the loop is interrupted for it.
        self.0.is_some_and(|stopped| stopped.load(Ordering::Relaxed))
    }
}

/// A source, and how its driver waits.
struct Driver<S> {
    source: S,
    waiter: Waiter,
    /// Frames since the clock was looked at.
    busy_frames: usize,
    next_house: Option<Instant>,
}

impl<S: Source> Driver<S> {
    // Out of line, which keeps a turn's code short.
    #[cold]
    fn begin_to_wait(&mut self, shared: &S::Shared) {
        self.waiter.allow_for(self.source.moved(shared));
    }

    /// Drives until the awaited request is settled, the time is over, a stop is asked for, or the source
    /// is over.
    fn drive(
        &mut self,
        shared: &S::Shared,
        stop: Stop<'_>,
        mut awaited: Option<&mut Awaited<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let _inside = reentrancy::mark(shared.current_loop());
        let mut deadline = None;
        if awaited.is_some() && self.waiter.may_spin() {
            self.source.put_off_first_look(shared);
        }
        loop {
            if let Some(awaited) = &mut awaited {
                awaited.take_stored();
                if awaited.settled {
                    return Ok(());
                }
            }
            let Progress { taken, took_long } = self.source.turn(shared, &mut awaited);
            if taken > 0 && self.waiter.found() {
                self.source.woken(shared, &mut self.waiter);
            }
            if awaited.as_ref().is_some_and(|awaited| awaited.settled) {
                return Ok(());
            }
            if stop.is_asked() || self.source.is_over(shared) {
                // The end of the session, perhaps on another thread, has settled everything.
                if let Some(awaited) = &mut awaited {
                    awaited.take_stored();
                }
                break;
            }
            let step = if taken == 0 {
                if self.waiter.is_beginning() {
                    self.begin_to_wait(shared);
                }
                self.waiter.step()
            } else {
                self.busy_frames += if took_long { BUSY_FRAMES } else { taken };
                if self.busy_frames < BUSY_FRAMES {
                    continue;
                }
                self.busy_frames = 0;
                WaitStep::LookAt(Instant::now())
            };
            let (now, alarm) = match step {
                WaitStep::Look => continue,
                WaitStep::LookAt(now) | WaitStep::Yield(now) | WaitStep::Park(now) => (now, None),
                WaitStep::Doze { now, until } => (now, Some(until)),
            };
            let deadline = *deadline
                .get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
            if deadline.is_some_and(|deadline| deadline <= now) {
                break;
            }
            match step {
                WaitStep::Park(_) | WaitStep::Doze { .. } => {
                    let next = self.source.keep_deadlines(shared, now);
                    let until = [deadline, next].into_iter().flatten().min();
                    self.source.park(shared, until, alarm, stop)?;
                }
                WaitStep::Yield(_) => {
                    thread::yield_now();
                    self.waiter.yielded();
                }
                _ if self.next_house.is_none_or(|next| next <= now) => {
                    self.next_house = now.checked_add(HOUSEKEEPING_EVERY);
                    self.source.keep_house(shared, now)?;
                }
                _ => {}
            }
        }
        self.source.leave(shared);
        Ok(())
    }
}

/// A loop that the threads of a process share: one at a time drives it.
pub(crate) struct SharedLoop<S: Source> {
    pub(crate) shared: Arc<S::Shared>,
    driver: DriverLock<Driver<S>>,
    running: Running,
    stopped: AtomicBool,
}

impl<S: Source> SharedLoop<S> {
    pub(crate) fn new(shared: Arc<S::Shared>, source: S, waiter: Waiter) -> Self {
        let driver = Driver { source, waiter, busy_frames: 0, next_house: None };
        Self {
            shared,
            driver: DriverLock::new(driver),
            running: Running::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Drives until a stop is asked for, or the source or the time is over.
    pub(crate) fn run(&self, duration: Option<Duration>) -> Result<(), RunError> {
        let _running = self.running.begin()?;
        let mut driver = self.driver.take();
        let ended = driver.drive(&self.shared, Stop(Some(&self.stopped)), None, duration);
        // Relaxed: it was asked of this run.
        self.stopped.store(false, Ordering::Relaxed);
        ended?;
        if driver.source.is_over(&self.shared) { Err(RunError::MainGone) } else { Ok(()) }
    }

    /// Takes one turn without waiting. Returns how much there was.
    pub(crate) fn poll(&self) -> Result<usize, RunError> {
        let _running = self.running.begin()?;
        let source = &mut self.driver.take().source;
        let _inside = reentrancy::mark(self.shared.current_loop());
        source.look_everywhere();
        let taken = source.turn(&self.shared, &mut None).taken;
        source.keep_house(&self.shared, Instant::now())?;
        let is_over = taken == 0 && source.is_over(&self.shared);
        if is_over { Err(RunError::MainGone) } else { Ok(taken) }
    }

    /// Ends a run.
    pub(crate) fn stop(&self) {
        // Relaxed: the driver sees it when it is woken, or soon.
        self.stopped.store(true, Ordering::Relaxed);
        self.shared.wake();
    }

    /// Drives until the source is over.
    pub(crate) fn drain(&self) {
        // If the system refuses to wait, there is nothing to wait for.
        let _ = self.driver.take().drive(&self.shared, Stop(None), None, None);
    }

    /// Works on the source as soon as no thread drives it.
    pub(crate) fn with_source<R>(&self, work: impl FnOnce(&mut S) -> R) -> R {
        work(&mut self.driver.take().source)
    }

    /// Ends the source, from outside of any loop.
    pub(crate) fn close(&self) -> Result<(), RunError> {
        let _running = self.running.begin()?;
        self.driver.take().source.close(&self.shared);
        Ok(())
    }
}

impl<S: Source> EventLoop for SharedLoop<S> {
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> bool {
        let driver = match me {
            Some(me) => self.driver.take_or_queue(me),
            None => self.driver.try_take(),
        };
        let Some(mut driver) = driver else { return false };
        // If the system refuses to wait, it is as if the deadline had passed.
        let _ = driver.drive(&self.shared, Stop(None), Some(awaited), timeout);
        true
    }

    fn notice(&self, window: u32, reason: Reason) {
        self.shared.notice(window, reason);
    }
}

impl<S: Source> Drop for SharedLoop<S> {
    fn drop(&mut self) {
        // No thread drives: it would hold the loop.
        if let Some(mut driver) = self.driver.try_take() {
            driver.source.close(&self.shared);
        }
    }
}
