//! Rings between processes, and what is left of them when one dies inside an event.

use std::{env, fs, process, time::Instant};

use raw_sync::locks::{LockInit, Mutex as RawMutex};

use super::*;
use crate::{
    os::process::user_id,
    portable::{
        name::SegmentName,
        named::{self, Segment},
        other_process::{OtherProcess, role, sleep_until_killed, until},
        rendezvous::EventPlace,
    },
    primitives::{AtomicU32, Ordering::Relaxed},
    shm::shared::{Atomics, Shared},
};

const SOON: Duration = Duration::from_millis(20);
const MUCH_LATER: Duration = Duration::from_secs(20);
const LEN: usize = 4096;
/// How long processes die inside events, in seconds. By default two.
const SECONDS: &str = "RINGBRIDGE_EVENT_SECONDS";

/// Memory of both processes.
#[repr(C)]
struct EventStage {
    /// Towards the other process, and back.
    places: [EventPlace; 2],
    step: AtomicU32,
}

// SAFETY: atomics and nothing else.
#[allow(unsafe_code, reason = "a page of the tests")]
unsafe impl Atomics for EventStage {}

fn create(name: SegmentName) -> Shared<EventStage> {
    Arc::new(Segment::create(name, LEN).unwrap()).shared()
}

fn open(name: SegmentName) -> Shared<EventStage> {
    Arc::new(Segment::open(name, LEN).unwrap()).shared()
}

fn place(stage: &Shared<EventStage>, which: usize) -> Shared<EventPlace> {
    stage.clone().map(|stage| &stage.places[which])
}

/// A segment's name for one test and its other processes, all of which know the first one's number.
fn name(test: &str) -> SegmentName {
    let role = role().unwrap_or_default();
    let mut words = role.split(' ').skip(1).map(|word| word.parse().unwrap());
    let (first, round) = (words.next().unwrap_or(process::id()), words.next().unwrap_or(0));
    SegmentName::directory(user_id(), &format!("event-{test}-{first}")).sibling(round)
}

fn start_other(test: &str, role: &str, round: u32) -> OtherProcess {
    OtherProcess::start(module_path!(), test, &format!("{role} {} {round}", process::id()))
}

/// The threads of two processes of one session. The first rings, and the sleepers are the second's.
fn ends() -> (Arc<Sleepers>, [EventThreads; 2]) {
    let places: [Shared<EventPlace>; 2] = [(); 2].map(|()| Shared::from_box(Box::default()));
    let [there, back] = &places;
    let create = |place: &Shared<EventPlace>| NamedEvent::create(place.clone()).unwrap();
    let open = |place: &Shared<EventPlace>| NamedEvent::open(place.clone()).unwrap();
    let sleepers = Arc::new(Sleepers::default());
    let theirs = EventThreads::start(create(back), create(there), sleepers.clone()).unwrap();
    let ours = EventThreads::start(open(there), open(back), Arc::default()).unwrap();
    (sleepers, [ours, theirs])
}

fn sleep_until(sleepers: &Sleepers, changed: impl Fn() -> bool) {
    while !changed() {
        sleepers.sleep_while(|| !changed(), None);
    }
}

#[test]
fn each_ring_reaches_all_who_sleep() {
    const THREADS: usize = 4;
    const ROUNDS: u32 = 500;
    let (sleepers, [ringer, _theirs]) = ends();
    let round = AtomicU32::new(0);
    let seen: [AtomicU32; THREADS] = Default::default();
    // A ring that is missed costs a look, which is too long for so many.
    let began = Instant::now();
    thread::scope(|scope| {
        for seen in &seen {
            scope.spawn(|| {
                for next in 1..=ROUNDS {
                    sleep_until(&sleepers, || round.load(Relaxed) >= next);
                    seen.store(next, Relaxed);
                }
            });
        }
        for next in 1..=ROUNDS {
            round.store(next, Relaxed);
            ringer.ring();
            while seen.iter().any(|seen| seen.load(Relaxed) < next) {
                thread::yield_now();
            }
        }
    });
    assert!(began.elapsed() < LOOK_EVERY * ROUNDS / 4);
}

#[test]
fn what_has_changed_already_is_not_slept_for() {
    let (sleepers, began) = (Sleepers::default(), Instant::now());
    sleepers.sleep_while(|| false, None);
    sleepers.sleep_while(|| true, Some(began));
    assert!(began.elapsed() < LOOK_EVERY);
}

#[test]
fn a_sleep_ends_with_its_deadline_and_not_before() {
    let sleepers = Sleepers::default();
    let deadline = Instant::now() + 2 * LOOK_EVERY + SOON;
    while Instant::now() < deadline {
        let began = Instant::now();
        sleepers.sleep_while(|| true, Some(deadline));
        assert!(began.elapsed() >= SOON / 2, "it does not spin");
    }
    assert!(deadline.elapsed() < MUCH_LATER);
}

#[test]
fn a_session_that_ends_in_order_leaves_no_thread_behind() {
    let (sleepers, threads) = ends();
    let orders = [0, 1].map(|which| threads[which].orders.clone());
    assert_eq!([0, 1].map(|which| orders[which].running()), [2, 2]);
    drop(threads);
    settle(&sleepers);
    until(|| orders.iter().all(|orders| orders.running() == 0));
    // The next end removes them from the list.
    drop(ends());
    until(|| orders.iter().all(|orders| Arc::strong_count(orders) == 1));
    until(|| ENDED.lock().iter().all(|(_, ended)| !Arc::ptr_eq(&ended.sleepers, &sleepers)));
}

#[test]
fn processes_wake_each_other() {
    const NAME: &str = "processes_wake_each_other";
    const ROUNDS: u32 = 1000;
    let name = name(NAME);
    let other = role().is_some();
    let stage = if other { open(name) } else { create(name) };
    let make = if other { NamedEvent::open } else { NamedEvent::create };
    let sleepers = Arc::new(Sleepers::default());
    let [hears, rings] = [0, 1].map(|at| make(place(&stage, at ^ usize::from(!other))).unwrap());
    let ringer = EventThreads::start(rings, hears, sleepers.clone()).unwrap();
    let process = (!other).then(|| start_other(NAME, "other", 0));
    for turn in (0..2 * ROUNDS).filter(|turn| turn % 2 == u32::from(other)) {
        sleep_until(&sleepers, || stage.step.load(Relaxed) == turn);
        stage.step.store(turn + 1, Relaxed);
        ringer.ring();
    }
    if let Some(process) = process {
        sleep_until(&sleepers, || stage.step.load(Relaxed) == 2 * ROUNDS);
        process.succeeds();
    }
}

/// What makes a thread of its own necessary: if this fails, `raw_sync` has changed.
#[test]
fn a_thread_that_enters_an_event_in_which_a_process_died_does_not_come_out() {
    const NAME: &str = "a_thread_that_enters_an_event_in_which_a_process_died_does_not_come_out";
    let name = name(NAME);
    if role().is_some() {
        die_with_the_mutex(&open(name));
    }
    let stage = create(name);
    let event = NamedEvent::create(place(&stage, 0)).unwrap();
    let holder = start_other(NAME, "holder", 0);
    until(|| stage.step.load(Relaxed) == 1);
    holder.kill();
    let setter = thread::spawn(move || event.set());
    thread::sleep(10 * SOON);
    assert!(!setter.is_finished());
}

/// In the other process: has the mutex when it is killed.
fn die_with_the_mutex(stage: &Shared<EventStage>) -> ! {
    let start = std::ptr::from_ref(&stage.places[0]).cast_mut().cast();
    #[allow(unsafe_code, reason = "the event's own mutex, which nothing else hands out")]
    // SAFETY: there the event begins, which its owner has initialised, with its mutex.
    let (mutex, _) = unsafe { RawMutex::from_existing(start, std::ptr::null_mut()) }.unwrap();
    std::mem::forget(mutex.lock().unwrap());
    stage.step.fetch_add(1, Relaxed);
    sleep_until_killed()
}

/// Four threads ring one event, a thread sleeps on it, and processes that ring it and wait on it are killed inside it,
/// with its mutex, in its sleep, or anywhere. Nothing hangs, nothing aborts, and the next event is as good as new.
///
/// Each few rounds have a process of their own, in which [`left_behind`] counts.
#[test]
fn a_process_that_dies_inside_an_event_holds_up_nobody() {
    const NAME: &str = "a_process_that_dies_inside_an_event_holds_up_nobody";
    const ROUNDS: u32 = 24;
    match role().as_deref().map(|role| role.split_once(' ').unwrap().0) {
        Some("holder") => die_with_the_mutex(&open(name(NAME))),
        Some("rings") => {
            let stage = open(name(NAME));
            let event = NamedEvent::open(place(&stage, 0)).unwrap();
            stage.step.fetch_add(1, Relaxed);
            loop {
                event.set();
            }
        }
        Some("waits") => {
            let stage = open(name(NAME));
            let event = NamedEvent::open(place(&stage, 0)).unwrap();
            stage.step.fetch_add(1, Relaxed);
            loop {
                event.wait();
            }
        }
        Some(_) => {
            let mut certain = 0;
            for round in 0..ROUNDS {
                certain += usize::from(die_inside(NAME, round));
                until(|| left_behind().sessions >= certain);
            }
            let left = left_behind();
            assert!(left.sessions <= ROUNDS as usize && left.threads <= 2 * left.sessions);
            return until(|| threads_in_events() == left_behind().threads);
        }
        None => {}
    }
    let seconds = env::var(SECONDS).map_or(2, |seconds| seconds.parse().unwrap());
    let (began, mut turn) = (Instant::now(), 0);
    while turn == 0 || began.elapsed() < Duration::from_secs(seconds) {
        start_other(NAME, "survivor", turn).succeeds();
        turn += 1;
    }
}

fn threads_in_events() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| ["ringbridge-ring\n", "ringbridge-hear\n"].contains(&&**name)).count()
}

/// Returns whether a process certainly died with the event's mutex.
fn die_inside(test: &str, round: u32) -> bool {
    let endpoint = format!("event-{test}-{}", process::id());
    let name = SegmentName::directory(user_id(), &endpoint).sibling(round);
    let stage = create(name);
    let sleepers = Arc::new(Sleepers::default());
    let hears = NamedEvent::create(place(&stage, 0)).unwrap();
    let rings = NamedEvent::open(place(&stage, 0)).unwrap();
    let ringer = EventThreads::start(rings, hears, sleepers.clone()).unwrap();

    // Before the death every ring arrives.
    let changed = Arc::new(AtomicU32::new(0));
    let change = |ringer: &EventThreads| {
        changed.fetch_add(1, Relaxed);
        ringer.ring();
    };
    change(&ringer);
    sleep_until(&sleepers, || changed.load(Relaxed) == 1);

    let dies = |which: usize| (round + 1) >> which & 1 == 1 || round % 7 == 6;
    let victims: Vec<_> = ["holder", "rings", "waits"]
        .into_iter()
        .enumerate()
        .filter(|(which, _)| dies(*which))
        .map(|(_, role)| start_other(test, role, round))
        .collect();
    let (over, longest) = (Flag::default(), AtomicU32::new(0));
    until(|| stage.step.load(Relaxed) as usize == victims.len());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.is_raised() {
                    let began = Instant::now();
                    ringer.ring();
                    longest.fetch_max(began.elapsed().as_millis() as u32, Relaxed);
                    thread::sleep(Duration::from_micros(50));
                }
            });
        }
        scope.spawn(|| {
            while !over.is_raised() {
                sleepers.sleep_while(|| !over.is_raised(), None);
            }
        });
        thread::sleep(Duration::from_micros(u64::from(round * 379 % 5000)));
        victims.into_iter().for_each(OtherProcess::kill);
        thread::sleep(SOON);
        over.raise();
        sleepers.wake();
    });
    assert!(longest.load(Relaxed) < 5000, "a ring has waited");
    let began = Instant::now();
    drop(ringer);
    assert!(began.elapsed() < SETTLE_WITHIN, "an end has waited");
    settle(&sleepers);
    // The threads that are left behind keep it mapped. Its name is free.
    named::remove(name).unwrap();
    dies(0)
}
