//! Runs the futures of async handlers, on the thread that drives the loop.
//!
//! A woken task enters the ready queue and interrupts the loop's sleep; the loop polls what is
//! ready in each turn. A task lives as long as someone can still wake it: a future that is pending with no
//! waker anywhere is dropped, and its caller hears that the reply was never sent.

use crate::model::guarded;
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Wake, Waker},
};

use crate::{
    primitives::{AtomicBool, Mutex, Ordering},
    sync::flag::Flag,
};

type BoxedFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends the loop's sleep, from any thread.
pub(crate) type Interrupt = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Executor {
    ready: Mutex<Vec<Arc<Task>>>,
    /// Whether `ready` holds something, for a look that costs a load. Changed under its lock.
    has_ready: AtomicBool,
    interrupt: Interrupt,
}

/// One future.
pub(crate) struct Task {
    executor: Weak<Executor>,
    /// `None`: finished or cancelled.
    future: Mutex<Option<BoxedFuture>>,
    /// Raised before the future is taken out for good; a poll that is under way looks at it afterwards.
    cancelled: Flag,
}

impl Executor {
    pub(crate) fn new(interrupt: Interrupt) -> Arc<Self> {
        Arc::new(Self {
            ready: Mutex::new(Vec::new()),
            has_ready: AtomicBool::new(false),
            interrupt,
        })
    }

    /// Queues a future; it is first polled in the loop's next turn.
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

    /// Polls every task that was ready when it was called; returns how many.
    #[inline]
    pub(crate) fn run_ready(&self) -> usize {
        if self.has_ready() { self.run_queued() } else { 0 }
    }

    /// Whether a task waits to be polled. One that is queued while nobody looks raises the interrupt.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        // Relaxed: the queue's lock hands the task over; a loop that sees this late is interrupted.
        self.has_ready.load(Ordering::Relaxed)
    }

    #[cold]
    fn run_queued(&self) -> usize {
        let ready = {
            let mut ready = self.ready.lock();
            self.has_ready.store(false, Ordering::Relaxed);
            guarded!("Executor::run_queued: hint under the lock", std::mem::take(&mut *ready), else {
                let taken = std::mem::take(&mut *ready);
                drop(ready);
                self.has_ready.store(false, Ordering::Relaxed);
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
            self.has_ready.store(true, Ordering::Relaxed);
        }
        guarded!("Executor::enqueue: interrupt", (self.interrupt)());
    }
}

impl Task {
    /// Drops the future where it stands.
    pub(crate) fn cancel(&self) {
        // First: a poll that holds the future at the moment looks when it has put it back.
        self.cancelled.raise();
        let future = self.future.lock().take();
        // Its destructors are the application's: a panic there must not end the loop.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
    }

    fn poll(self: Arc<Self>) {
        let Some(mut future) = self.future.lock().take() else { return };
        let waker = Waker::from(self.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        // A panic is reported by the destructors that ran while it unwound; see `Responder`.
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
    use crate::model::{DEADLOCK, WRONG, check};
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::{primitives::thread, wake::bell, wire::words::Bell};

    /// As the loop does: nothing is ready, so it sleeps until it is interrupted.
    #[test]
    fn loom_a_loop_never_sleeps_beside_a_task_that_is_ready() {
        check(
            &[
                ("Executor::run_queued: hint under the lock", DEADLOCK),
                ("Executor::enqueue: interrupt", DEADLOCK),
            ],
            || {
                let (interrupt, bell) = (Arc::new(bell::Interrupt::default()), Bell::new());
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
    fn loom_a_task_that_is_cancelled_while_it_is_polled_is_dropped_all_the_same() {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn executor() -> (Arc<Executor>, Arc<AtomicUsize>) {
        let interrupts = Arc::new(AtomicUsize::new(0));
        let count = interrupts.clone();
        (Executor::new(Arc::new(move || _ = count.fetch_add(1, Ordering::Relaxed))), interrupts)
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
        assert_eq!(interrupts.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_cancelled_task_is_dropped_where_it_stands() {
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
    fn a_panicking_task_does_not_end_the_loop() {
        let (executor, _) = executor();
        executor.spawn(async { panic!("in a handler") });
        assert_eq!(executor.run_ready(), 1);
    }
}
