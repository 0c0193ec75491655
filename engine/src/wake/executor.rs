//! The futures of async handlers, on the thread that drives the loop.
//!
//! A woken task enters the ready queue and interrupts the loop's sleep. The loop polls the ready tasks in each
//! turn. A task lives as long as a waker of it: a pending future that no waker can reach is dropped, and its
//! caller gets "reply was never sent".
//!
//! `async-task` was tried in place of [`Task`]. It never drops such a future, detached or not, so the invoke
//! would not settle. It was not faster either.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Wake, Waker},
};

use crate::{
    model::guarded,
    primitives::{AtomicBool, Mutex, Ordering::Relaxed},
    sync::flag::Flag,
};

type BoxedFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends the loop's sleep, from any thread.
pub(crate) type Interrupt = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Executor {
    ready: Mutex<Vec<Arc<Task>>>,
    /// Whether `ready` holds a task. Changed under its lock.
    has_ready: AtomicBool,
    interrupt: Interrupt,
}

pub(crate) struct Task {
    executor: Weak<Executor>,
    /// `None` while it is polled, and once it is finished or cancelled.
    future: Mutex<Option<BoxedFuture>>,
    /// A poll that is under way reads it when it has put the future back.
    cancelled: Flag,
}

impl Executor {
    pub(crate) fn new(interrupt: Interrupt) -> Arc<Self> {
        let (ready, has_ready) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { ready, has_ready, interrupt })
    }

    /// Queues a future. The loop's next turn polls it first.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<Task> {
        let task = Arc::new(Task {
            executor: Arc::downgrade(self),
            future: Mutex::new(Some(Box::pin(future))),
            cancelled: Flag::default(),
        });
        self.enqueue(task.clone());
        task
    }

    /// Polls every task that is ready now, and returns their number.
    #[inline]
    pub(crate) fn run_ready(&self) -> usize {
        if self.has_ready() { self.run_queued() } else { 0 }
    }

    /// Returns whether a task is ready, by one load.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        // Relaxed: the queue's lock hands the tasks over. A loop that sees this late is interrupted.
        self.has_ready.load(Relaxed)
    }

    #[cold]
    fn run_queued(&self) -> usize {
        let ready = {
            let mut ready = self.ready.lock();
            self.has_ready.store(false, Relaxed);
            guarded!("Executor::run_queued: hint under the lock", std::mem::take(&mut *ready), else {
                let taken = std::mem::take(&mut *ready);
                drop(ready);
                self.has_ready.store(false, Relaxed);
                taken
            })
        };
        let count = ready.len();
        ready.into_iter().for_each(Task::poll);
        count
    }

    fn enqueue(&self, task: Arc<Task>) {
        {
            let mut ready = self.ready.lock();
            ready.push(task);
            self.has_ready.store(true, Relaxed);
        }
        guarded!("Executor::enqueue: interrupt", (self.interrupt)());
    }
}

impl Task {
    pub(crate) fn cancel(&self) {
        // First: a poll that has taken the future out looks at the flag when it has put it back.
        self.cancelled.raise();
        let future = self.future.lock().take();
        // The destructors are the application's: a panic there must not end the loop.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }

    fn poll(self: Arc<Self>) {
        let Some(mut future) = self.future.lock().take() else { return };
        let waker = Waker::from(self.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        // The destructors that run as a panic unwinds report it; see `Responder`.
        if polled.is_ok_and(|poll| poll.is_pending()) {
            *self.future.lock() = Some(future);
            if guarded!("Task::poll: cancelled", self.cancelled.is_raised(), else false) {
                self.cancel();
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if let Some(executor) = self.executor.upgrade() {
            executor.enqueue(self);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;
    use crate::{
        model::{DEADLOCK, WRONG, check},
        primitives::thread,
        wake::bell,
        wire::words::Bell,
    };

    /// The loop sleeps while no task is ready, until it is interrupted.
    #[test]
    fn loom_a_loop_never_sleeps_beside_a_task_that_is_ready() {
        check(
            &[
                ("Executor::run_queued: hint under the lock", DEADLOCK),
                ("Executor::enqueue: interrupt", DEADLOCK),
            ],
            || {
                let (interrupt, bell) = (Arc::new(bell::Interrupt::default()), Bell::default());
                let interrupting = interrupt.clone();
                let executor = Executor::new(Arc::new(move || interrupting.raise()));
                let (wakers, polls) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
                let first = executor.spawn(poll_fn({
                    let (wakers, polls) = (wakers.clone(), polls.clone());
                    move |context| {
                        *wakers.lock() = Some(context.waker().clone());
                        *polls.lock() += 1;
                        Poll::Pending
                    }
                }));
                executor.run_ready();
                let waker: Waker = wakers.lock().take().unwrap();
                let waking = thread::spawn(move || waker.wake());
                // Another is taken out of the queue at the time.
                let _second = executor.spawn(async {});
                while *polls.lock() < 2 {
                    let (bell_seen, seen) = (bell.read(), interrupt.read());
                    if executor.run_ready() == 0 && !executor.has_ready() {
                        interrupt.sleep(&bell, bell_seen, seen, None);
                    }
                }
                waking.join().unwrap();
                drop(first);
            },
        );
    }

    #[test]
    fn loom_a_task_that_is_cancelled_during_its_poll_is_dropped() {
        check(&[("Task::poll: cancelled", WRONG)], || {
            let executor = Executor::new(Arc::new(|| ()));
            let held = Arc::new(());
            let task = executor.spawn({
                let held = held.clone();
                async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                }
            });
            let polling = thread::spawn({
                let executor = executor.clone();
                move || executor.run_ready()
            });
            task.cancel();
            polling.join().unwrap();
            executor.run_ready();
            assert_eq!(Arc::strong_count(&held), 1, "the future is still there");
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn executor() -> (Arc<Executor>, Arc<AtomicUsize>) {
        let interrupts = Arc::new(AtomicUsize::new(0));
        let count = interrupts.clone();
        (Executor::new(Arc::new(move || _ = count.fetch_add(1, Relaxed))), interrupts)
    }

    #[test]
    fn a_task_runs_when_woken_and_interrupts_the_loop() {
        let (executor, interrupts) = executor();
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut polled = false;
        executor.spawn(std::future::poll_fn(move |context| {
            if polled {
                return std::task::Poll::Ready(());
            }
            polled = true;
            sender.send(context.waker().clone()).unwrap();
            std::task::Poll::Pending
        }));
        assert_eq!(executor.run_ready(), 1);
        assert_eq!(executor.run_ready(), 0);
        receiver.recv().unwrap().wake();
        assert_eq!(executor.run_ready(), 1);
        assert_eq!(interrupts.load(Relaxed), 2);
    }

    #[test]
    fn a_cancelled_task_is_dropped_at_once() {
        let (executor, _) = executor();
        let held = Arc::new(());
        let inside = held.clone();
        let task = executor.spawn(async move {
            let _inside = inside;
            std::future::pending::<()>().await;
        });
        executor.run_ready();
        task.cancel();
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_pending_task_that_no_waker_can_reach_is_dropped() {
        let (executor, _) = executor();
        let held = Arc::new(());
        let inside = held.clone();
        let task = Arc::downgrade(&executor.spawn(async move {
            let _inside = inside;
            std::future::pending::<()>().await;
        }));
        executor.run_ready();
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(task.upgrade().is_none());
    }

    #[test]
    fn a_panicking_task_does_not_end_the_loop() {
        let (executor, _) = executor();
        executor.spawn(async { panic!("in a handler") });
        assert_eq!(executor.run_ready(), 1);
    }
}
