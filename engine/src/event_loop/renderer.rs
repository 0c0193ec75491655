//! A renderer's loop: main's frames, the topics, and the sleep on the window's bell.
//!
//! ```text
//!   turn:   frames ──▶ listeners, handlers, replies
//!           topics ──▶ subscribers
//!           nothing? flush what waits for room, run ready futures, publish `consumed`
//!   then:   spin or park, as `wait` decides
//! ```
//!
//! It sleeps on two words at once: the bell, which main rings, and this process's own interrupt. So
//! any thread ends the sleep, and no time-outs are needed for that.

use std::{
    io,
    sync::{Arc, Weak},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use fixedbitset::FixedBitSet;

use crate::{
    config::{Backend, Config},
    contract::{ChannelKind, Contract, channel_table::ChannelTable},
    error::{GoneReason, RunError},
    kill_points::{KillPoint, reach},
    os::clock::{self, Punctual},
    peer::{
        Port, PortParts, SessionLimits, Side,
        dispatch::{Delivery, Dispatcher, Request, Routes},
        invocation::{Awaited, DriveEnd, EventLoop, Reason},
        large::{AttachmentLimits, Attachments, borrower::Borrower},
        router::Router,
        timed_requests::TimedRequests,
    },
    primitives::{AtomicBool, Mutex, Ordering},
    ring::{broadcast::TopicReader, consumer::Consumer, producer::Producer},
    session::{control_channel::ControlChannel, joining::Joined},
    shm::{aligned::AlignedBuf, shared::TopicMemory},
    sync::{
        flag::Flag,
        loop_cell::LoopKey,
        reentrancy::{self, CurrentLoop, Running},
        snapshot::{Cached, Snapshot},
    },
    wake::{
        adaptive::{WaitStep, Waiter},
        bell::PeerBell,
        driver_lock::DriverLock,
        executor::Executor,
    },
};

/// Frames taken in one go before anything else is looked at.
const BATCH: usize = 64;
/// Time between two looks at the deadlines of requests while the loop is busy.
const EXPIRE_EVERY: Duration = Duration::from_millis(1);
/// Turns of the loop between two looks at the clock while there is always something to do.
const BUSY_TURNS: u32 = 256;

/// How a session was begun, to begin it again.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) contract: Contract,
    /// The endpoint's name, if it is known.
    pub(crate) endpoint: Option<String>,
    pub(crate) backend: Backend,
}

/// What an application has registered, on its way into another session.
pub(crate) struct Carried {
    pub(crate) registered: (Routes, LoopKey),
    /// Numbers in the new session, and whether only the newest message is of interest.
    pub(crate) topics: Vec<(u16, bool)>,
}

pub(crate) struct RendererShared {
    pub(crate) origin: Origin,
    pub(crate) port: Arc<Port>,
    pub(crate) dispatcher: Dispatcher,
    driver_lock: DriverLock<RendererLoop>,
    control: Arc<ControlChannel>,
    pub(crate) config: Config,
    /// Main hung up: what it committed before is delivered, then the session ends.
    hung_up: Flag,
    running: Running,
    stopped: AtomicBool,
    /// For the loop, and whether there are any.
    topic_changes: Mutex<Vec<TopicChange>>,
    topics_changed: AtomicBool,
    /// The topics that the policy allows, by channel number.
    topics: Vec<(u16, TopicMemory)>,
}

/// A topic reader on its way into or out of the loop.
pub(crate) enum TopicChange {
    Add { number: u16, reader: TopicReader, conflate: bool },
    Remove { number: u16 },
}

/// What only the driver touches.
pub(crate) struct RendererLoop {
    consumer: Consumer,
    topics: Vec<Subscribed>,
    routes: Cached<Routes>,
    /// To what the application has registered.
    key: LoopKey,
    waiter: Waiter,
    copy: AlignedBuf,
    turns: u32,
    expired_at: Option<Instant>,
}

struct Subscribed {
    number: u16,
    reader: TopicReader,
    /// Only the newest message is of interest.
    conflate: bool,
}

impl RendererShared {
    /// Sets a session up, and the thread that watches for its end.
    pub(crate) fn start(
        control: ControlChannel,
        config: Config,
        joined: Joined,
        table: ChannelTable,
        allowed: FixedBitSet,
        origin: Origin,
        carried: Option<(Routes, LoopKey)>,
    ) -> io::Result<Arc<Self>> {
        let Joined { welcome, main, own, signal, interrupt, topics, early } = joined;
        let control = Arc::new(control);
        let limits = AttachmentLimits {
            message_max: welcome.attachment_max,
            lent_bytes_max: welcome.lent_bytes_max,
            lent_max: welcome.lent_max,
        };
        let borrower = Arc::new(Borrower::new(control.clone(), limits, early));
        let (routes, key) = carried.unwrap_or_else(|| (Router::new(table.len()), LoopKey::new()));
        let inner = Arc::new_cyclic(|weak: &Weak<RendererShared>| {
            let interrupting = weak.clone();
            let executor = Executor::new(Arc::new(move || {
                if let Some(inner) = interrupting.upgrade() {
                    inner.interrupt();
                }
            }));
            let event_loop: Weak<dyn EventLoop> = weak.clone();
            let port = Port::new(PortParts {
                side: Side::Renderer,
                window: welcome.window,
                peer_pid: control.peer_credentials().map_or(0, |credentials| credentials.pid),
                channels: Arc::new(table),
                allowed,
                limits: SessionLimits {
                    owed_max: welcome.main_pending_max,
                    pending_max: welcome.renderer_pending_max,
                    send_timeout: config.send_timeout,
                    received_max: u64::MAX,
                    rejection_is_violation: false,
                },
                bell: PeerBell::new(signal, own.control.clone(), main.control.clone()),
                interrupt,
                producer: Producer::new(own.data, main.control.clone(), 0)
                    .limited_to(usize::try_from(welcome.message_max).unwrap_or(usize::MAX)),
                inbox_capacity: welcome.main_capacity as usize,
                own: own.control.clone(),
                peer: main.control,
                event_loop,
                attachments: Attachments::Renderer(borrower.clone()),
                attached_max: limits.lent_message_max().min(welcome.message_max),
                // There is only this session to look at.
                timed_requests: Arc::new(TimedRequests::new()),
            });
            let routes = Snapshot::new(routes);
            let key_name = key.name();
            let driver_lock = DriverLock::new(RendererLoop {
                consumer: Consumer::trusting(main.data, own.control, 0),
                topics: Vec::new(),
                routes: routes.cached(),
                key,
                waiter: Waiter::foreseeing(config.wait, config.spin_ceiling),
                copy: AlignedBuf::new(),
                turns: 0,
                expired_at: None,
            });
            RendererShared {
                origin,
                port,
                dispatcher: Dispatcher { routes, executor, key: key_name },
                driver_lock,
                control,
                config,
                hung_up: Flag::default(),
                running: Running::default(),
                stopped: AtomicBool::new(false),
                topic_changes: Mutex::new(Vec::new()),
                topics_changed: AtomicBool::new(false),
                topics,
            }
        });
        watch(&inner, borrower)?;
        Ok(inner)
    }

    /// Whether main is there.
    pub(crate) fn is_connected(&self) -> bool {
        self.port.gone().is_none() && !self.hung_up.is_raised()
    }

    /// A topic's memory, if the policy allows it.
    pub(crate) fn topic(&self, number: u16) -> Option<TopicMemory> {
        self.topics.iter().find(|(topic, _)| *topic == number).map(|(_, memory)| memory.clone())
    }

    /// Drives until the loop is stopped, main is gone, or the time is over.
    pub(crate) fn run(&self, duration: Option<Duration>) -> Result<(), RunError> {
        let _running = self.running.begin()?;
        let mut driver = self.driver_lock.take();
        self.drive(&mut driver, None, duration);
        self.stopped.store(false, Ordering::Relaxed);
        if self.port.gone().is_some() { Err(RunError::MainGone) } else { Ok(()) }
    }

    /// One turn without waiting.
    pub(crate) fn poll(&self) -> Result<usize, RunError> {
        let _running = self.running.begin()?;
        let mut driver = self.driver_lock.take();
        let _inside = reentrancy::mark(CurrentLoop::renderer(self));
        let taken = self.turn(&mut driver, &mut None);
        self.end_turn(&mut driver, Instant::now());
        if taken == 0 && self.port.gone().is_some() { Err(RunError::MainGone) } else { Ok(taken) }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.interrupt();
    }

    pub(crate) fn drive_in_background(self: &Arc<Self>) -> io::Result<()> {
        let inner = self.clone();
        thread::Builder::new().name("ringbridge".to_owned()).spawn(move || {
            // If someone else runs the loop, it is driven already.
            let _ = inner.run(None);
        })?;
        Ok(())
    }

    /// The session is over or about to be: delivers what main had committed, if main is gone, and settles
    /// everything that waits.
    pub(crate) fn finish(&self) {
        if self.hung_up.is_raised() {
            let mut driver = self.driver_lock.take();
            self.drive(&mut driver, None, None);
        }
        self.close();
    }

    /// Gives up what the application has registered, for a session in which channels have the numbers of
    /// `table`. After the [end](Self::finish).
    pub(crate) fn hand_over(
        &self,
        table: &ChannelTable,
        allowed: &FixedBitSet,
    ) -> Result<Carried, &'static str> {
        let channels = &self.port.channels;
        let number = |old: u16| {
            let declaration = channels.get(old)?;
            let new = table.number_of_hash(declaration.hash)?;
            // A method is handled here, which is no affair of the policy's.
            let permitted =
                declaration.kind == ChannelKind::Method || allowed.contains(usize::from(new));
            permitted.then_some(new)
        };
        let name = |old: u16| channels.get(old).map_or("", |declaration| declaration.name);
        let mut driver = self.driver_lock.take();
        self.apply_topic_changes(&mut driver);
        let routes = self.dispatcher.routes.load().renumbered(table.len(), number).map_err(name)?;
        let topics = driver.topics.iter().map(|topic| {
            number(topic.number).map(|new| (new, topic.conflate)).ok_or_else(|| name(topic.number))
        });
        let topics = topics.collect::<Result<_, _>>()?;
        // Nobody is called by the old loop any more: it has lost the key, too.
        self.dispatcher.routes.update(|routes| *routes = Router::new(channels.len()));
        let key = std::mem::replace(&mut driver.key, LoopKey::new());
        Ok(Carried { registered: (routes, key), topics })
    }

    /// Ends the session: main sees a hang-up, and so does the watching thread, which ends.
    pub(crate) fn close(&self) {
        self.port.end(GoneReason::Closed);
        let _ = self.control.shutdown();
    }

    /// Drives until the awaited request is settled, the time is over, the loop is stopped, or main is gone.
    fn drive(
        &self,
        driver: &mut RendererLoop,
        mut awaited: Option<&mut Awaited<'_>>,
        timeout: Option<Duration>,
    ) -> DriveEnd {
        let _inside = reentrancy::mark(CurrentLoop::renderer(self));
        let waits = awaited.is_some();
        let mut deadline = None;
        loop {
            if let Some(awaited) = &mut awaited {
                self.port.take_stored(awaited);
                if awaited.settled {
                    return DriveEnd::Settled;
                }
            }
            let taken = self.turn(driver, &mut awaited);
            if taken > 0 {
                driver.waiter.found();
            }
            if awaited.as_ref().is_some_and(|awaited| awaited.settled) {
                return DriveEnd::Settled;
            }
            if taken > 0 {
                driver.turns = driver.turns.wrapping_add(1);
                if !driver.turns.is_multiple_of(BUSY_TURNS) {
                    continue;
                }
            }
            if self.port.gone().is_some() || (!waits && self.stopped.load(Ordering::Relaxed)) {
                // What waits was settled by the end of the session, which may have just begun on
                // another thread: one more look finds it.
                if let Some(reason) = self.port.gone() {
                    self.port.end(reason.clone());
                }
                if let Some(awaited) = &mut awaited {
                    self.port.take_stored(awaited);
                }
                self.publish(driver);
                return DriveEnd::Elapsed;
            }
            let step =
                if taken > 0 { WaitStep::LookAt(Instant::now()) } else { driver.waiter.step() };
            let now = match step {
                WaitStep::Look => continue,
                WaitStep::LookAt(now)
                | WaitStep::Yield(now)
                | WaitStep::Park(now)
                | WaitStep::Doze { now, .. } => now,
            };
            let deadline = *deadline
                .get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.publish(driver);
                return DriveEnd::Elapsed;
            }
            let alarm = match step {
                WaitStep::Doze { until, .. } => Some(until),
                _ => None,
            };
            if alarm.is_some() || matches!(step, WaitStep::Park(_)) {
                let next = self.port.expire(now);
                // Its cancels may have found the outbox taken.
                self.port.flush();
                let until = [deadline, next].into_iter().flatten().min();
                self.park(driver, until, alarm, waits);
            } else if matches!(step, WaitStep::Yield(_)) {
                thread::yield_now();
                driver.waiter.yielded();
            } else if driver.expired_at.is_none_or(|last| now.duration_since(last) >= EXPIRE_EVERY)
            {
                self.end_turn(driver, now);
            }
        }
    }

    /// Takes what is there, up to a batch of each. Returns how much.
    #[inline]
    fn turn(&self, driver: &mut RendererLoop, awaited: &mut Option<&mut Awaited<'_>>) -> usize {
        let mut taken = self.take_frames(driver, awaited);
        if self.topics_changed.load(Ordering::Relaxed) {
            self.apply_topic_changes(driver);
        }
        if !driver.topics.is_empty() {
            taken += self.take_topics(driver);
        }
        // Every time: a steady stream of messages must not hold up what waits for room or is ready.
        self.port.flush();
        taken += self.dispatcher.executor.run_ready();
        if taken == 0 {
            // Found empty: main may have waited for the room.
            if self.publish(driver) {
                taken += usize::from(self.has_news(driver));
            }
            if self.hung_up.is_raised() && taken == 0 && !self.has_news(driver) {
                self.port.end(GoneReason::MainGone);
            }
        }
        taken
    }

    #[inline]
    fn take_frames(
        &self,
        driver: &mut RendererLoop,
        awaited: &mut Option<&mut Awaited<'_>>,
    ) -> usize {
        for taken in 0..BATCH {
            let frame = match driver.consumer.peek() {
                Ok(Some(frame)) => frame,
                Ok(None) => return taken,
                Err(violation) => {
                    // Main is trusted, but a session that cannot be read is over.
                    self.port.counters.violations.add();
                    self.port.end(GoneReason::ProtocolViolation(violation));
                    return taken;
                }
            };
            reach(KillPoint::FrameReceived);
            let routes = driver.routes.refresh();
            let bytes = driver.consumer.payload(&frame);
            let received = self.dispatcher.receive(
                &self.port,
                frame.header,
                bytes,
                routes,
                &mut driver.key,
                awaited.as_deref_mut(),
            );
            if received.is_err() {
                self.port.counters.violations.add();
            }
            reach(KillPoint::FrameHandled);
            driver.consumer.advance(frame);
            let took_long = matches!(received, Ok(Request::Publish { .. }));
            if took_long || driver.consumer.publish_due() {
                self.publish(driver);
            }
            if took_long {
                // As long as very many small frames: the clock has its turn.
                driver.turns = BUSY_TURNS - 1;
            }
            if took_long || awaited.as_ref().is_some_and(|awaited| awaited.settled) {
                return taken + 1;
            }
        }
        BATCH
    }

    fn take_topics(&self, driver: &mut RendererLoop) -> usize {
        let RendererLoop { topics, routes, key, copy, .. } = driver;
        let mut taken = 0;
        for topic in topics {
            for _ in 0..BATCH {
                let received = if topic.conflate {
                    topic.reader.latest(copy)
                } else {
                    topic.reader.next(copy)
                };
                let Some(received) = received else { break };
                taken += 1;
                let counters = &self.port.counters;
                counters.topic_received.add_alone(1);
                counters.topic_lost.add_alone(received.lost);
                let routes = routes.refresh();
                let delivery = Delivery { port: &self.port, lost: received.lost };
                self.dispatcher.emit(&delivery, topic.number, copy.as_slice(), routes, key);
            }
        }
        taken
    }

    /// Tells main how far we have read, if that is news to it.
    fn publish(&self, driver: &mut RendererLoop) -> bool {
        let published = driver.consumer.publish();
        if published {
            self.port.bell.room_published(&self.port.counters.wakes);
        }
        published
    }

    fn end_turn(&self, driver: &mut RendererLoop, now: Instant) {
        driver.expired_at = Some(now);
        self.port.expire(now);
        self.publish(driver);
    }

    /// Sleeps until main rings, someone interrupts, the deadline passes, or the alarm goes off: main does
    /// not ring shortly before that.
    fn park(
        &self,
        driver: &mut RendererLoop,
        deadline: Option<Instant>,
        alarm: Option<Instant>,
        waits: bool,
    ) {
        let port = &self.port;
        let _punctual = alarm.map(|_| Punctual::begin());
        port.own.alarm.set(alarm.and_then(clock::alarm_ns));
        let deadline = [deadline, alarm].into_iter().flatten().min();
        // Read before the last look, so that whatever comes after it ends the sleep.
        let (bell, interrupt) = (port.peer.bell.read(), port.interrupt.read());
        port.own.parked.announce();
        reach(KillPoint::ParkAnnounced);
        if !self.has_news(driver) && !self.has_work(waits) {
            port.counters.parks.add_alone(1);
            port.interrupt.sleep(&port.peer.bell, bell, interrupt, deadline);
        }
        reach(KillPoint::ParkEnded);
        port.own.parked.withdraw();
    }

    fn has_news(&self, driver: &mut RendererLoop) -> bool {
        !matches!(driver.consumer.peek(), Ok(None))
            || driver.topics.iter().any(|topic| topic.reader.has_news())
    }

    /// What an interrupt may have been for. A request to stop is not for who waits for a reply.
    fn has_work(&self, waits: bool) -> bool {
        (!waits && self.stopped.load(Ordering::Relaxed))
            || self.hung_up.is_raised()
            || self.topics_changed.load(Ordering::Relaxed)
            || self.dispatcher.executor.has_ready()
            || self.port.gone().is_some()
    }

    /// Ends the loop's sleep, unless this is the loop's own thread, which looks at everything before it
    /// sleeps.
    fn interrupt(&self) {
        if reentrancy::now() != CurrentLoop::renderer(self) {
            self.port.interrupt.raise();
        }
    }

    pub(crate) fn change_topics(&self, change: TopicChange) {
        self.topic_changes.lock().push(change);
        // Relaxed: the lock hands over the change; a driver that sees the flag late is interrupted.
        self.topics_changed.store(true, Ordering::Relaxed);
        self.interrupt();
    }

    #[cold]
    fn apply_topic_changes(&self, driver: &mut RendererLoop) {
        let mut changes = self.topic_changes.lock();
        self.topics_changed.store(false, Ordering::Relaxed);
        for change in changes.drain(..) {
            match change {
                TopicChange::Add { number, reader, conflate } => {
                    match driver.topics.iter_mut().find(|topic| topic.number == number) {
                        Some(topic) => topic.conflate = conflate,
                        None => driver.topics.push(Subscribed { number, reader, conflate }),
                    }
                }
                TopicChange::Remove { number } => {
                    driver.topics.retain(|topic| topic.number != number)
                }
            }
        }
    }
}

impl EventLoop for RendererShared {
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> Option<DriveEnd> {
        let mut driver = match me {
            Some(me) => self.driver_lock.take_or_queue(me),
            None => self.driver_lock.try_take(),
        }?;
        Some(self.drive(&mut driver, Some(awaited), timeout))
    }

    /// There is one window, and the driver looks after it before each sleep.
    fn notice(&self, _window: u32, _reason: Reason) {
        self.interrupt();
    }
}

/// Starts the thread that takes what main hands over, until main hangs up. Without it nothing would tell of
/// main's end.
fn watch(inner: &Arc<RendererShared>, borrower: Arc<Borrower>) -> io::Result<()> {
    let weak = Arc::downgrade(inner);
    let watcher = move || {
        borrower.watch();
        drop(borrower);
        let Some(inner) = weak.upgrade() else { return };
        inner.hung_up.raise();
        inner.port.interrupt.raise();
        // Whoever drives now sees that and ends the session. If nobody does, it ends here.
        let mut driver = inner.driver_lock.take();
        inner.drive(&mut driver, None, None);
    };
    thread::Builder::new().name("ringbridge-watch".to_owned()).spawn(watcher)?;
    Ok(())
}
