//! An event in shared memory: one process sleeps on it, another wakes it. `raw_sync`'s, with the surprises taken
//! out.
//!
//! On Unix it is a mutex, a condition and a flag in memory that all of its users write, who therefore trust each
//! other. It is *auto-reset*: a wait that ends takes the flag down, so one `set` ends one wait, and a `set`
//! that comes before the wait is not lost.
//!
//! The surprises, and what is done about each:
//!
//! | `raw_sync` 0.1.5 | here |
//! | --- | --- |
//! | The end of a wait is "now plus the time-out" with nanoseconds that may exceed a second, which the system refuses: the wait fails at once | No wait crosses a second of the clock, and what fails is tried again until the time is really over |
//! | A wait that fails, and one that times out, look the same | The monotonic clock says which it was |
//! | It waits by the wall clock: if that is set back, a wait lasts longer by as much | Not mended. It ends early by `set`, as ever |
//! | `set` waits for the mutex, and so does the end of a wait, without a limit: for ever, if a process was killed that had it. After one was killed in its sleep, the second `set` waits for it for ever | [`NamedEvent::rescue`], by whoever knows of the death |
//! | State that is initialised again under its users is undefined | Only its owner initialises it, before anyone else opens it; [`NamedEvent::rescue`] alone does so later, when the event is lost anyway |

#![allow(unsafe_code, reason = "raw_sync takes the address of the memory that it uses")]

use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};

use crate::portable::event_place::EventPlace;
use crate::primitives::{AtomicBool, AtomicU32, Ordering};
use crate::shm::shared::Shared;
use crate::wire::words::fence_before_look;

/// The longest that `raw_sync` waits at a time. So a thread that sleeps in a lost event finds that out by itself.
const SLICE: Duration = Duration::from_millis(100);
/// So many waits in a row may fail at once before they are taken more slowly.
const FAILURES_MAX: u32 = 16;
/// Between two looks at what does not tell when it has changed.
const PAUSE: Duration = Duration::from_millis(1);
/// How many pauses a rescue takes at the most: a thread needs a slice to get out, and its turn on a busy machine.
const RESCUE_ROUNDS: u32 = 1000;

/// One process's end of an event.
pub(crate) struct NamedEvent {
    place: Shared<EventPlace>,
    event: Raw,
    /// How many threads of this process are in `raw_sync`'s code.
    inside: AtomicU32,
    /// Nobody goes in any more.
    lost: AtomicBool,
}

struct Raw(Box<dyn EventImpl>);

// SAFETY: on Unix it is two pointers into the place, on Windows a handle of the process; neither is tied to a thread,
// and it has no state of its own. The memory behind it is written under the mutex in it.
unsafe impl Send for Raw {}
// SAFETY: as above: its methods are made for several threads, of several processes even.
unsafe impl Sync for Raw {}

impl NamedEvent {
    /// Initialises an event, which is not set. Its owner only, before anyone else opens it or after all who did are
    /// gone.
    pub(crate) fn create(place: Shared<EventPlace>) -> io::Result<Self> {
        let start = start(&place)?;
        // SAFETY: the place is as large as it must be, aligned and mapped for writing as long as `place` lives,
        // and nobody else uses it yet.
        let (event, _) = unsafe { Event::new(start, true) }.map_err(refused)?;
        Ok(Self::of(place, event))
    }

    /// Uses the event that its owner has initialised there.
    pub(crate) fn open(place: Shared<EventPlace>) -> io::Result<Self> {
        let start = start(&place)?;
        // SAFETY: as above, but that others use it, who are trusted: it is what `create` has made there.
        let (event, _) = unsafe { Event::from_existing(start) }.map_err(refused)?;
        Ok(Self::of(place, event))
    }

    fn of(place: Shared<EventPlace>, event: Box<dyn EventImpl>) -> Self {
        let (inside, lost) = (AtomicU32::new(0), AtomicBool::new(false));
        Self { place, event: Raw(event), inside, lost }
    }

    /// Ends one wait, or the next one. Of a lost event, none.
    ///
    /// It does not return while a dead process has the event, until that is [rescued](Self::rescue).
    pub(crate) fn set(&self) {
        if let Some(_inside) = self.enter() {
            // An error is one of a mutex and a condition that are in order, of which there is none. Whoever waits
            // looks again after a slice.
            let _ = self.event.0.set(EventState::Signaled);
        }
    }

    /// Waits until it is set, at most for `timeout`; says whether it was. A lost event is not waited for.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        let mut failures = 0;
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            let slice = left.min(SLICE).min(rest_of_second());
            let slice_began = Instant::now();
            match self.enter() {
                None => return false,
                Some(_inside) if self.event.0.wait(Timeout::Val(slice)).is_ok() => return true,
                Some(_inside) => {}
            }
            if began.elapsed() >= timeout {
                return false;
            }
            if slice_began.elapsed() >= slice {
                failures = 0;
            } else if failures < FAILURES_MAX {
                // The clock has passed a second while `raw_sync` read it.
                failures += 1;
            } else {
                thread::sleep(PAUSE.min(left));
            }
        }
    }

    /// Gets the threads of this process out of the event, which is lost after that; says whether all are out.
    ///
    /// For another thread, which knows that a process has died that may have had the event, and that no living
    /// process but this one uses it from now on. (Others that are caught in it, as this one is, each rescue
    /// their own.) It takes a tenth of a second, if threads sleep in the event, and a second at the most. If it
    /// succeeds and the place is of no more use to anybody else, its owner may
    /// [create](Self::create) another event there.
    pub(crate) fn rescue(&self) -> bool {
        // Relaxed: the fence orders it. Either whoever enters sees it, or its entry is seen below.
        self.lost.store(true, Ordering::Relaxed);
        fence_before_look();
        for _ in 0..RESCUE_ROUNDS {
            // No model: the C library takes part.
            // Acquire: with the Release of whoever left, so that the place may be used again.
            if self.inside.load(Ordering::Acquire) == 0 {
                return true;
            }
            self.release_all();
            thread::sleep(PAUSE);
        }
        self.inside.load(Ordering::Acquire) == 0
    }

    pub(crate) fn is_lost(&self) -> bool {
        // Relaxed: who misses it finds out when it goes in.
        self.lost.load(Ordering::Relaxed)
    }

    /// `None`: the event is lost.
    fn enter(&self) -> Option<Entered<'_>> {
        self.inside.fetch_add(1, Ordering::Relaxed);
        let inside = Entered(&self.inside);
        // Say "inside" before looking. Pairs with the fence in `rescue`.
        fence_before_look();
        (!self.is_lost()).then_some(inside)
    }

    /// Makes the state one in which nothing is locked, and has all look at it who sleep on any part of it. They
    /// find a free mutex, or a condition that is signalled by nobody, and go on or give up. What
    /// they write meanwhile may undo that: once is not enough.
    fn release_all(&self) {
        if let Ok(start) = start(&self.place) {
            // SAFETY: the place is as large as it must be. Threads of this process use it, which is the point: all
            // that they do there is what the C library does to words of memory of which any value may be found,
            // and no thread enters any more. Nobody else has it: the caller has promised that.
            let _ = unsafe { Event::new(start, true) };
        }
        #[cfg(target_os = "linux")]
        for word in self.place.words() {
            use crate::os::futex::{Scope, wake};
            for half in 0..2 {
                // SAFETY: half a word of the place. It is not accessed: its address is what sleepers are known by.
                let half = unsafe { AtomicU32::from_ptr(word.as_ptr().cast::<u32>().add(half)) };
                // Whoever went to sleep while the state was written anew may have found it private.
                for scope in [Scope::Shared, Scope::Private] {
                    let _ = wake(half, u32::MAX, scope);
                }
            }
        }
    }
}

/// A thread is in `raw_sync`'s code.
struct Entered<'a>(&'a AtomicU32);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // No model: the C library takes part.
        // Release: with the Acquire in `rescue`.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Where the event lies, if it fits.
fn start(place: &EventPlace) -> io::Result<*mut u8> {
    // Through all of the place, which is atomics, and so may be written through a shared reference.
    let start = std::ptr::from_ref(place).cast_mut().cast::<u8>();
    let needed = Event::size_of(Some(start));
    if needed <= size_of::<EventPlace>() {
        Ok(start)
    } else {
        Err(io::Error::other(format!("an event takes {needed} bytes on this system")))
    }
}

/// How long it is until the wall clock begins another second.
fn rest_of_second() -> Duration {
    const SECOND: Duration = Duration::from_secs(1);
    // A clock that is before its own beginning makes no difference to this.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND - Duration::from_nanos(u64::from(now.subsec_nanos()) + 1)
}

fn refused(error: Box<dyn std::error::Error>) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use raw_sync::locks::{LockInit, Mutex};

    use super::*;
    use crate::os::process;
    use crate::portable::name::{SegmentName, SegmentPrefix};
    use crate::portable::named::Segment;
    use crate::portable::other_process::{OtherProcess, role, sleep_until_killed, until};
    use crate::primitives::Arc;
    use crate::shm::shared::Atomics;

    const SOON: Duration = Duration::from_millis(20);
    const MUCH_LATER: Duration = Duration::from_secs(20);
    const LEN: usize = 4096;

    fn event() -> NamedEvent {
        NamedEvent::create(Shared::from_arc(Arc::default())).unwrap()
    }

    /// Both processes' memory.
    #[repr(C)]
    struct EventStage {
        /// Towards the other process, and back.
        places: [EventPlace; 2],
        step: AtomicU32,
    }

    // SAFETY: atomics and nothing else.
    unsafe impl Atomics for EventStage {}

    impl EventStage {
        fn create(name: &SegmentName) -> Shared<EventStage> {
            Arc::new(Segment::create(name, LEN).unwrap()).shared()
        }

        fn open(name: &SegmentName) -> Shared<EventStage> {
            Arc::new(Segment::open(name, LEN).unwrap()).shared()
        }

        fn has_come_to(&self, step: u32) -> bool {
            self.step.load(Ordering::Acquire) >= step
        }

        fn comes_to(&self, step: u32) {
            self.step.store(step, Ordering::Release);
        }
    }

    fn place(stage: &Shared<EventStage>, which: usize) -> Shared<EventPlace> {
        stage.clone().map(|stage| &stage.places[which])
    }

    /// A segment's name for one test and its other processes, all of which know the first one's number.
    fn name(test: &str) -> SegmentName {
        let first = role()
            .map_or(std::process::id(), |role| role.split_once(' ').unwrap().1.parse().unwrap());
        SegmentPrefix::new(process::user_id(), &format!("event-{test}-{first}")).directory()
    }

    fn start_other(test: &str, role: &str) -> OtherProcess {
        OtherProcess::start(module_path!(), test, &format!("{role} {}", std::process::id()))
    }

    #[test]
    fn a_set_event_ends_one_wait_also_one_that_comes_later() {
        let event = event();
        assert!(!event.wait(Duration::ZERO));
        event.set();
        event.set();
        assert!(event.wait(MUCH_LATER));
        assert!(!event.wait(SOON));
    }

    #[test]
    fn a_wait_is_ended_by_another_thread() {
        let event = event();
        let began = Instant::now();
        thread::scope(|scope| {
            let waits = scope.spawn(|| event.wait(MUCH_LATER));
            thread::sleep(SOON);
            event.set();
            assert!(waits.join().unwrap());
        });
        assert!(began.elapsed() < MUCH_LATER);
    }

    #[test]
    fn a_wait_lasts_as_long_as_it_should_wherever_in_a_second_it_begins() {
        let event = event();
        // The end is on the other side of a second, a slice or two later.
        for (timeout, before) in [(2, 1), (30, 20), (101, 20), (250, 120)] {
            let timeout = Duration::from_millis(timeout);
            thread::sleep(rest_of_second().saturating_sub(Duration::from_millis(before)));
            let began = Instant::now();
            assert!(!event.wait(timeout));
            assert!(began.elapsed() >= timeout, "{timeout:?}, {before} ms before a second");
        }
    }

    #[test]
    fn raw_sync_itself_fails_at_once_if_its_nanoseconds_exceed_a_second() {
        let event = event();
        thread::sleep(rest_of_second().saturating_sub(Duration::from_millis(100)));
        let began = Instant::now();
        assert!(event.event.0.wait(Timeout::Val(Duration::from_millis(900))).is_err());
        assert!(began.elapsed() < Duration::from_millis(800), "the reason for slices is gone");
    }

    #[test]
    fn processes_wake_each_other() {
        const NAME: &str = "processes_wake_each_other";
        const ROUNDS: u32 = 1000;
        let name = name(NAME);
        if role().is_some() {
            let stage = EventStage::open(&name);
            let [ours, theirs] = [0, 1].map(|at| NamedEvent::open(place(&stage, at)).unwrap());
            for _ in 0..ROUNDS {
                assert!(ours.wait(MUCH_LATER));
                theirs.set();
            }
            return;
        }
        let stage = EventStage::create(&name);
        let [theirs, ours] = [0, 1].map(|at| NamedEvent::create(place(&stage, at)).unwrap());
        let other = start_other(NAME, "other");
        for _ in 0..ROUNDS {
            theirs.set();
            assert!(ours.wait(MUCH_LATER));
        }
        other.succeeds();
    }

    /// In the other process: dies with the mutex.
    fn lock_until_killed(stage: &Shared<EventStage>) -> ! {
        let start = start(&stage.places[0]).unwrap();
        // SAFETY: there the event's mutex begins, which its owner has initialised.
        let (mutex, _) = unsafe { Mutex::from_existing(start, std::ptr::null_mut()) }.unwrap();
        std::mem::forget(mutex.lock().unwrap());
        stage.comes_to(1);
        sleep_until_killed()
    }

    /// Does it in a thread, and hands over the result.
    fn apart<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(what()));
        receiver
    }

    #[test]
    fn a_process_that_dies_with_the_mutex_makes_others_hang_for_ever() {
        const NAME: &str = "a_process_that_dies_with_the_mutex_makes_others_hang_for_ever";
        let name = name(NAME);
        match role().as_deref().map(|role| role.split_once(' ').unwrap().0) {
            Some("holder") => lock_until_killed(&EventStage::open(&name)),
            Some(_) => {
                let stage = EventStage::open(&name);
                let event = NamedEvent::open(place(&stage, 0)).unwrap();
                stage.comes_to(2);
                event.set();
                return stage.comes_to(3);
            }
            None => {}
        }
        let stage = EventStage::create(&name);
        let _event = NamedEvent::create(place(&stage, 0)).unwrap();
        let holder = start_other(NAME, "holder");
        until(|| stage.has_come_to(1));
        holder.kill();
        // In a process that can be ended.
        let mut setter = start_other(NAME, "setter");
        until(|| stage.has_come_to(2));
        thread::sleep(10 * SOON);
        assert!(setter.is_running() && !stage.has_come_to(3), "the reason for `rescue` is gone");
        setter.kill();
    }

    #[test]
    fn threads_that_hang_because_a_process_died_with_the_mutex_are_rescued() {
        const NAME: &str = "threads_that_hang_because_a_process_died_with_the_mutex_are_rescued";
        let name = name(NAME);
        if role().is_some() {
            lock_until_killed(&EventStage::open(&name));
        }
        let stage = EventStage::create(&name);
        let event = Arc::new(NamedEvent::create(place(&stage, 0)).unwrap());
        // This one sleeps when the mutex is taken, and needs it to wake up.
        let sleeper = apart({
            let event = event.clone();
            move || event.wait(MUCH_LATER)
        });
        until(|| event.inside.load(Ordering::Relaxed) == 1);
        let holder = start_other(NAME, "holder");
        until(|| stage.has_come_to(1));
        let setters = [(); 3].map(|()| {
            let event = event.clone();
            apart(move || event.set())
        });
        holder.kill();
        thread::sleep(2 * SLICE);
        assert!(event.inside.load(Ordering::Relaxed) >= 3, "they hang");
        let began = Instant::now();
        assert!(event.rescue());
        assert!(began.elapsed() < MUCH_LATER);
        // By the time, or by one of those who were about to set it.
        sleeper.recv_timeout(MUCH_LATER).unwrap();
        for setter in setters {
            assert_eq!(setter.recv_timeout(MUCH_LATER), Ok(()));
        }
        // Nobody goes in any more; and its owner can begin anew.
        event.set();
        assert!(!event.wait(MUCH_LATER));
        let next = NamedEvent::create(place(&stage, 0)).unwrap();
        next.set();
        assert!(next.wait(MUCH_LATER));
    }

    #[test]
    fn threads_that_use_the_event_of_a_process_that_died_in_its_sleep_are_rescued() {
        const NAME: &str =
            "threads_that_use_the_event_of_a_process_that_died_in_its_sleep_are_rescued";
        let name = name(NAME);
        if role().is_some() {
            let stage = EventStage::open(&name);
            let event = NamedEvent::open(place(&stage, 0)).unwrap();
            stage.comes_to(1);
            event.wait(MUCH_LATER);
            return;
        }
        for _ in 0..5 {
            let stage = EventStage::create(&name);
            let event = Arc::new(NamedEvent::create(place(&stage, 0)).unwrap());
            let sleeper = start_other(NAME, "sleeper");
            until(|| stage.has_come_to(1));
            thread::sleep(SOON);
            sleeper.kill();
            // The first `set` is for the dead one. The second, which is for a living one, waits (with this C library)
            // until the dead one has gone, and has the mutex meanwhile.
            event.set();
            assert!(event.wait(MUCH_LATER));
            let waiter = apart({
                let event = event.clone();
                move || event.wait(MUCH_LATER)
            });
            until(|| event.inside.load(Ordering::Relaxed) == 1);
            thread::sleep(SOON);
            let setter = apart({
                let event = event.clone();
                move || event.set()
            });
            thread::sleep(SOON);
            assert!(event.rescue());
            assert_eq!(setter.recv_timeout(MUCH_LATER), Ok(()));
            waiter.recv_timeout(MUCH_LATER).unwrap();
            let next = NamedEvent::create(place(&stage, 0)).unwrap();
            next.set();
            assert!(next.wait(MUCH_LATER));
        }
    }

    #[test]
    fn a_rescue_from_nothing_succeeds_at_once() {
        assert!(event().rescue());
    }
}
