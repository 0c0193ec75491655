//! What all threads of the main process share: the windows, the topics, the hooks, and the driver lock of
//! the loop.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Child, Command},
    sync::{Arc, Weak},
    thread::Thread,
    time::{Duration, Instant},
};

use super::{
    hooks::{Candidate, MainCounters, RenderProcessGone},
    launcher::Launcher,
    restart::{LaunchOptions, Recipe},
    topics::TopicChannel,
};
use fixedbitset::FixedBitSet;

use crate::{
    config::Config,
    contract::{
        Channel, ChannelKind, Contract, Topic, channel_table::ChannelTable, declarations,
        payload::Payload,
    },
    error::{BindError, GoneReason, LaunchError, RunError, SendError},
    event_loop::main::{Handover, MainLoop, Newcomer, Session},
    ipc_renderer::ENDPOINT_VARIABLE,
    metrics::{MainMetrics, counters::Counter, sleeps::SleepCounters},
    os::process::{self, Inherited},
    peer::{
        Port, PortParts, SessionLimits, Side,
        dispatch::Dispatcher,
        invocation::{Awaited, DriveEnd, EventLoop, Reason},
        large::{AttachmentLimits, Attachments, MainSide},
        router::Router,
        timed_requests::TimedRequests,
    },
    policy::{Policy, quota::Allowance},
    primitives::{AtomicBool, AtomicU32, Mutex, Ordering},
    ring::{consumer::Consumer, producer::Producer},
    session::{
        control_channel::ControlChannel,
        endpoint::Endpoint,
        transport::{self, Meeting},
    },
    shm::{
        backing::Backing,
        region::{Region, WriterSide},
    },
    sync::{
        flag::Flag,
        loop_cell::LoopKey,
        reentrancy::{self, CurrentLoop, Running},
        snapshot::Snapshot,
    },
    trace,
    wake::{adaptive::Waiter, bell::PeerBell, driver_lock::DriverLock, executor::Executor},
    web_contents::WebContents,
    wire::{
        HEADER_LEN,
        frame::payload_max,
        handshake::{Answer, TOPICS_MAX, Welcome, encode},
        padded,
    },
};

type Hook<A> = Arc<Mutex<dyn FnMut(A) + Send>>;
type Admission = Box<dyn FnMut(&Candidate) -> Result<Policy, String> + Send>;

/// The window of a renderer that was launched again, or why it could not be.
pub(crate) type Restarted = Result<WebContents, Arc<LaunchError>>;

/// A session whose process is not there yet.
struct Prepared {
    session: Session,
    control: Arc<ControlChannel>,
}

/// A renderer that could not be launched again.
pub(crate) struct FailedRelaunch {
    pub(crate) recipe: Recipe,
    pub(crate) old: Arc<Port>,
    pub(crate) error: LaunchError,
}

pub(crate) struct MainShared {
    pub(crate) config: Config,
    /// Of the endpoint.
    name: String,
    pub(crate) opened: Instant,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) dispatcher: Dispatcher,
    running: Running,
    closed: AtomicBool,
    pub(crate) stopped: AtomicBool,
    /// Something outside the rings wants the loop: a newcomer, a close, room for what was deferred.
    pub(crate) attention: Flag,
    pub(crate) refused: Counter,
    /// Whether a request of main to some renderer has a deadline to keep.
    pub(crate) timed_requests: Arc<TimedRequests>,
    published: Counter,
    /// How long the loop slept.
    pub(crate) sleeps: SleepCounters,
    /// How many inspectors the loop lets watch.
    pub(crate) inspectors: AtomicU32,
    weak: Weak<MainShared>,
    driver_lock: DriverLock<MainLoop>,
    meeting: Arc<dyn Meeting>,
    newcomers: Mutex<Vec<Newcomer>>,
    /// Renderers that could not be launched again.
    failed: Mutex<Vec<FailedRelaunch>>,
    windows: Mutex<BTreeMap<u32, Arc<Port>>>,
    next_window: AtomicU32,
    /// By channel number; `None` where the channel is no topic.
    topics: Vec<Option<TopicChannel>>,
    admission: Mutex<Option<Admission>>,
    did_connect: Mutex<Vec<Hook<WebContents>>>,
    process_gone: Mutex<Vec<Hook<(WebContents, RenderProcessGone)>>>,
    restarted: Mutex<Vec<Hook<(WebContents, Restarted)>>>,
    unresponsive: Mutex<Vec<Hook<WebContents>>>,
    responsive: Mutex<Vec<Hook<WebContents>>>,
    /// Somebody listens for either.
    watches: AtomicBool,
    /// Windows that something was sent to, and whether by another thread than the loop's; and a hint that there
    /// are any.
    sent_to: Mutex<Vec<(u32, bool)>>,
    has_sent_to: AtomicBool,
    launcher: Launcher,
}

impl MainShared {
    /// Opens the endpoint.
    pub(crate) fn open(
        name: &str,
        contract: Contract,
        config: Config,
    ) -> Result<Arc<Self>, BindError> {
        config.check()?;
        let declared = declarations(contract)?;
        let io = |source| BindError::Io { endpoint: name.to_owned(), source };
        let endpoint = Endpoint::bind(name, config.backend()?)?;
        let meeting = endpoint.meeting().clone();
        if config.protect_memory {
            process::make_non_dumpable().map_err(io)?;
        }
        // Each window needs a few. What cannot be raised is told by the launch that meets the limit.
        let _ = process::raise_descriptor_limit();

        let topics = declared
            .iter()
            .map(|channel| match channel.kind {
                ChannelKind::Topic => {
                    let Config { topic_capacity, prefault, .. } = config;
                    let backing = meeting.backing();
                    TopicChannel::create(&backing, channel.name, topic_capacity, prefault).map(Some)
                }
                _ => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(io)?;
        let channels = Arc::new(ChannelTable::new(declared.into_iter().map(Some).collect()));
        let routes = Snapshot::new(Router::new(channels.len()));
        let (key, waiter) = (LoopKey::new(), Waiter::new(config.wait, config.spin_ceiling));
        let key_name = key.name();
        let main_loop =
            MainLoop::new(endpoint, routes.cached(), key, waiter, config.unresponsive_after)
                .map_err(io)?;

        trace::endpoint_opened(name);
        Ok(Arc::new_cyclic(|weak: &Weak<MainShared>| {
            let interrupting = weak.clone();
            let executor = Executor::new(Arc::new(move || {
                if let Some(inner) = interrupting.upgrade() {
                    inner.wake();
                }
            }));
            MainShared {
                config,
                name: name.to_owned(),
                opened: Instant::now(),
                channels,
                dispatcher: Dispatcher { routes, executor, key: key_name },
                running: Running::default(),
                closed: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
                attention: Flag::default(),
                refused: Counter::default(),
                timed_requests: Arc::new(TimedRequests::new()),
                published: Counter::default(),
                sleeps: SleepCounters::default(),
                inspectors: AtomicU32::new(0),
                weak: weak.clone(),
                driver_lock: DriverLock::new(main_loop),
                meeting,
                newcomers: Mutex::new(Vec::new()),
                failed: Mutex::new(Vec::new()),
                windows: Mutex::new(BTreeMap::new()),
                next_window: AtomicU32::new(1),
                topics,
                admission: Mutex::new(None),
                did_connect: Mutex::new(Vec::new()),
                process_gone: Mutex::new(Vec::new()),
                restarted: Mutex::new(Vec::new()),
                unresponsive: Mutex::new(Vec::new()),
                responsive: Mutex::new(Vec::new()),
                watches: AtomicBool::new(false),
                sent_to: Mutex::new(Vec::new()),
                has_sent_to: AtomicBool::new(false),
                launcher: Launcher::default(),
            }
        }))
    }

    /// Launches a renderer, whose connection the loop takes over.
    pub(crate) fn launch(
        &self,
        mut command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> Result<WebContents, LaunchError> {
        // Of the session that this process itself may have been launched into.
        transport::variables().for_each(|variable| _ = command.env_remove(variable));
        command.env(ENDPOINT_VARIABLE, &self.name);
        let program = command.get_program().to_string_lossy().into_owned();
        let spawn = |source| LaunchError::Spawn { program: program.clone(), source };
        let mut recipe = Recipe::new(command, policy, options).map_err(spawn)?;
        let (prepared, theirs) = self.prepare(&recipe.policy)?;
        let started = self.launcher.run(move || {
            let child = recipe.start(theirs);
            (recipe, child)
        });
        match started {
            Ok((recipe, child)) => {
                self.take_in(prepared, recipe, child, None).map_err(|failed| failed.1)
            }
            Err(source) => {
                self.forget_window(&prepared.session.port);
                Err(spawn(source))
            }
        }
    }

    /// Launches a renderer again, without waiting for it. The loop hears how that went.
    pub(crate) fn relaunch(&self, mut recipe: Recipe, old: Arc<Port>) {
        let main = self.weak.clone();
        let posted = self.launcher.post(move || {
            let Some(main) = main.upgrade() else { return };
            let (prepared, theirs) = match main.prepare(&recipe.policy) {
                Ok(prepared) => prepared,
                Err(error) => return main.relaunch_failed(recipe, old, error),
            };
            let child = recipe.start(theirs);
            let taken_in = main.take_in(prepared, recipe, child, Some(old.clone()));
            if let Err(failed) = taken_in {
                let (recipe, error) = *failed;
                main.relaunch_failed(recipe, old, error);
            }
        });
        // It was there for the first launch, and lives as long as this.
        debug_assert!(posted.is_ok());
    }

    /// A session for a process that is about to be launched, and by what that one finds it.
    fn prepare(&self, policy: &Policy) -> Result<(Prepared, Inherited), LaunchError> {
        if self.is_closed() {
            return Err(LaunchError::Closed);
        }
        let (ours, theirs) = self.meeting.tie().map_err(resources("a control"))?;
        let control = Arc::new(ours);
        let session = self.open_session(policy.clone(), 0, &control)?;
        Ok((Prepared { session, control }, theirs))
    }

    /// Hands a process that was launched, if it was, over to the loop.
    fn take_in(
        &self,
        prepared: Prepared,
        recipe: Recipe,
        child: io::Result<Child>,
        predecessor: Option<Arc<Port>>,
    ) -> Result<WebContents, Box<(Recipe, LaunchError)>> {
        let Prepared { session, control } = prepared;
        let port = session.port.clone();
        let launched = child.and_then(|mut child| match self.meeting.look_after(child.id()) {
            Ok(process) => Ok((child, process)),
            Err(error) => {
                // Nothing would tell of its end. It fails only if it has ended.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        });
        let (child, process) = match launched {
            Ok(launched) => launched,
            Err(source) => {
                self.forget_window(&port);
                let program = recipe.program.name();
                return Err(Box::new((recipe, LaunchError::Spawn { program, source })));
            }
        };
        port.peer_pid.store(child.id(), Ordering::Relaxed);
        self.newcomers.lock().push(Newcomer {
            session,
            control,
            child,
            process,
            recipe,
            launched: Instant::now(),
            predecessor,
        });
        self.interrupt();
        Ok(WebContents::new(port))
    }

    /// How memory is made for those whom this endpoint meets.
    pub(crate) fn backing(&self) -> Backing {
        self.meeting.backing()
    }

    fn relaunch_failed(&self, recipe: Recipe, old: Arc<Port>, error: LaunchError) {
        self.failed.lock().push(FailedRelaunch { recipe, old, error });
        self.interrupt();
    }

    pub(crate) fn take_failed_relaunches(&self) -> Vec<FailedRelaunch> {
        std::mem::take(&mut *self.failed.lock())
    }

    /// Waits until no launch is under way any more.
    pub(crate) fn settle_launches(&self) {
        self.launcher.settle();
    }

    pub(crate) fn add_restarted(
        &self,
        hook: impl FnMut((WebContents, Restarted)) + Send + 'static,
    ) {
        self.restarted.lock().push(Arc::new(Mutex::new(hook)));
    }

    pub(crate) fn set_admission(&self, hook: Admission) {
        *self.admission.lock() = Some(hook);
    }

    pub(crate) fn add_did_connect(&self, hook: impl FnMut(WebContents) + Send + 'static) {
        self.did_connect.lock().push(Arc::new(Mutex::new(hook)));
    }

    pub(crate) fn add_process_gone(
        &self,
        hook: impl FnMut((WebContents, RenderProcessGone)) + Send + 'static,
    ) {
        self.process_gone.lock().push(Arc::new(Mutex::new(hook)));
    }

    pub(crate) fn add_unresponsive(&self, hook: impl FnMut(WebContents) + Send + 'static) {
        self.unresponsive.lock().push(Arc::new(Mutex::new(hook)));
        self.watch();
    }

    pub(crate) fn add_responsive(&self, hook: impl FnMut(WebContents) + Send + 'static) {
        self.responsive.lock().push(Arc::new(Mutex::new(hook)));
        self.watch();
    }

    /// From now on the loop looks after those whom something was sent to.
    fn watch(&self) {
        // Relaxed: a window that is made at this moment is found below, or its maker, who locks the list
        // after us, finds this.
        self.watches.store(true, Ordering::Relaxed);
        self.windows.lock().values().for_each(|port| port.tell_of_next_send());
    }

    /// The windows that something was sent to since they were last asked for, and whether another thread than
    /// the loop's did so.
    pub(crate) fn take_sent_to(&self) -> Vec<(Arc<Port>, bool)> {
        // Relaxed: whoever sets it wakes the loop after that.
        if !self.has_sent_to.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.has_sent_to.store(false, Ordering::Relaxed);
        let sent_to = std::mem::take(&mut *self.sent_to.lock());
        let windows = self.windows.lock();
        sent_to
            .into_iter()
            .filter_map(|(window, from_elsewhere)| {
                Some((windows.get(&window)?.clone(), from_elsewhere))
            })
            .collect()
    }

    pub(crate) fn windows(&self) -> Vec<WebContents> {
        self.windows.lock().values().cloned().map(WebContents::new).collect()
    }

    pub(crate) fn counters(&self) -> MainCounters {
        MainCounters { refused: self.refused.get(), published: self.published.get() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn metrics(&self) -> MainMetrics {
        MainMetrics {
            windows: self.windows.lock().len() as u64,
            inspectors: self.inspectors.load(Ordering::Relaxed).into(),
            refused: self.refused.get(),
            published: self.published.get(),
            sleeps: self.sleeps.read().count(),
            slept_ns: self.sleeps.total_ns(),
        }
    }

    /// Drives until the loop is stopped or the time is over.
    pub(crate) fn run(&self, duration: Option<Duration>) -> Result<(), RunError> {
        let _running = self.running.begin()?;
        let ended = self.driver_lock.take().drive(self, None, duration);
        self.stopped.store(false, Ordering::Relaxed);
        ended?;
        Ok(())
    }

    /// One turn without waiting.
    pub(crate) fn poll(&self) -> Result<usize, RunError> {
        let _running = self.running.begin()?;
        Ok(self.driver_lock.take().poll(self)?)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.interrupt();
    }

    pub(crate) fn close(&self) -> Result<(), RunError> {
        let _running = self.running.begin()?;
        // Relaxed: who launches at the same time is refused, or ended by the loop's close.
        self.closed.store(true, Ordering::Relaxed);
        self.driver_lock.take().close(self);
        Ok(())
    }

    pub(crate) fn publish<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        message: &T,
    ) -> Result<u64, SendError> {
        let channel = topic.name();
        let number = self.channels.number(&topic.key());
        let topic = number.and_then(|number| self.topic(number));
        let topic = topic.ok_or(SendError::UnknownChannel { channel })?;
        let published = message
            .encode(|bytes| topic.publish(bytes))
            .map_err(|source| SendError::Encode { channel, source })?;
        let sequence = published.map_err(|error| SendError::TooLarge {
            channel,
            len: error.len,
            max: error.max,
        })?;
        self.published.add();
        Ok(sequence)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Makes a session's memory and its window.
    pub(crate) fn open_session(
        &self,
        policy: Policy,
        pid: u32,
        control: &Arc<ControlChannel>,
    ) -> Result<Session, LaunchError> {
        if self.is_closed() {
            return Err(LaunchError::Closed);
        }
        let mut allowed = FixedBitSet::with_capacity(self.channels.len());
        for key in &policy.allowed {
            let number = self.channels.number(key);
            let number = number.ok_or(LaunchError::UnknownChannel { channel: key.name() })?;
            allowed.insert(usize::from(number));
        }
        let max = self.config.windows_max;
        if self.windows.lock().len() >= max {
            return Err(LaunchError::TooManyWindows { max });
        }
        let Config { main_capacity, renderer_capacity, prefault, .. } = self.config;
        let backing = self.backing();
        let region = |name, capacity, writer| {
            let region = Region::create(&backing, name, Region::ring_len(capacity), writer)
                .map_err(resources("memory"))?;
            if prefault {
                region.prefault().map_err(resources("memory"))?;
            }
            Ok::<_, LaunchError>(region)
        };
        let main_region = region("ringbridge-main", main_capacity, WriterSide::Creator)?;
        let renderer_region = region("ringbridge-renderer", renderer_capacity, WriterSide::Peer)?;
        let own = main_region.outbox().expect("made with a ring's length");
        let peer = renderer_region.outbox().expect("made with a ring's length");
        own.control.initialise(main_capacity);
        let (signal, interrupt) = control.mains_signals().map_err(resources("an eventfd"))?;

        let window = self.next_window.fetch_add(1, Ordering::Relaxed);
        let event_loop: Weak<dyn EventLoop> = self.weak.clone();
        let limits = SessionLimits {
            owed_max: policy.pending_invokes_max,
            pending_max: self.config.main_pending_max,
            send_timeout: self.config.send_timeout,
            received_max: policy.message_max as u64,
            rejection_is_violation: policy.rejection_is_violation,
        };
        let attached = AttachmentLimits {
            message_max: self.config.attachment_max as u64,
            lent_bytes_max: policy.attachment_bytes_max as u64,
            lent_max: policy.attachments_max,
        };
        let kept_max = self.config.attachment_pool_max as u64;
        let consumer = Consumer::new(peer.data, own.control.clone(), 0);
        let port = Port::new(PortParts {
            side: Side::Main,
            window,
            peer_pid: pid,
            channels: self.channels.clone(),
            allowed,
            limits,
            bell: PeerBell::new(signal, own.control.clone(), peer.control.clone()),
            interrupt,
            producer: Producer::new(own.data, peer.control.clone(), 0),
            inbox_capacity: renderer_capacity,
            own: own.control,
            peer: peer.control,
            event_loop,
            attachments: Attachments::Main(Box::new(MainSide::new(
                control.clone(),
                backing,
                attached,
                kept_max,
            ))),
            attached_max: attached.message_max,
            timed_requests: self.timed_requests.clone(),
        });
        self.windows.lock().insert(window, port.clone());
        if self.watches.load(Ordering::Relaxed) {
            port.tell_of_next_send();
        }
        let welcome = Welcome {
            window,
            // At most 2^30, by `Config::check`.
            main_capacity: main_capacity as u32,
            renderer_capacity: renderer_capacity as u32,
            channels: self.channels.len() as u16,
            grants: Vec::new(),
            topics: Vec::new(),
            renderer_pending_max: limits.owed_max,
            main_pending_max: limits.pending_max,
            attachment_max: attached.message_max,
            lent_bytes_max: attached.lent_bytes_max,
            lent_max: attached.lent_max,
            message_max: limits.received_max,
        };
        let payload_max = payload_max(renderer_capacity).min(policy.message_max);
        let frame_len_max = padded(HEADER_LEN + payload_max);
        let allowance = Allowance::new(policy.frames, policy.bytes, frame_len_max, Instant::now());
        let handover = Handover { welcome, main_region, renderer_region };
        let (opened, summary) = (Instant::now(), policy.summary());
        trace::session_opened(window, &summary);
        Ok(Session { port, policy, consumer, allowance, opened, summary, handover: Some(handover) })
    }

    /// Hands a session's memory over. Our handles of it are let go with that.
    pub(crate) fn send_welcome(
        &self,
        control: &ControlChannel,
        port: &Port,
        handover: Handover,
    ) -> io::Result<()> {
        let Handover { mut welcome, main_region, renderer_region } = handover;
        let bell = control.bell_to_hand_over()?;
        let mut handles = vec![main_region.handle(), renderer_region.handle()];
        handles.extend(&bell);
        for (number, topic) in (0..).zip(&self.topics) {
            let Some(topic) = topic.as_ref().filter(|_| port.allowed.contains(usize::from(number)))
            else {
                continue;
            };
            if welcome.topics.len() == TOPICS_MAX {
                return Err(io::Error::other(format!(
                    "more than {TOPICS_MAX} topics for one renderer"
                )));
            }
            welcome.topics.push((number, self.config.topic_capacity as u32));
            handles.push(topic.handle());
        }
        control.try_send(&encode(&Answer::Welcome(welcome)), &handles)
    }

    pub(crate) fn admit(&self, candidate: &Candidate) -> Result<Policy, String> {
        if candidate.user_id() != process::user_id() {
            return Err(format!("it belongs to the user {}, not to main's", candidate.user_id()));
        }
        match &mut *self.admission.lock() {
            Some(hook) => catch_unwind(AssertUnwindSafe(|| hook(candidate)))
                .unwrap_or_else(|_| Err("main's admission hook panicked".to_owned())),
            None => Err("this main process admits no renderers that it did not launch".to_owned()),
        }
    }

    /// Counts, and tells of, somebody who is not let in.
    pub(crate) fn refuse(&self, control: &ControlChannel, why: &str) {
        self.refused.add();
        trace::refused(control.peer_credentials().map_or(0, |peer| peer.pid), why);
    }

    /// The loop is about to look at what wants it.
    pub(crate) fn attended(&self) {
        self.attention.take();
    }

    /// What an interrupt may have been for. A request to stop is not for who waits for a reply.
    pub(crate) fn has_work(&self, waits: bool) -> bool {
        self.attention.is_raised()
            || (!waits && self.stopped.load(Ordering::Relaxed))
            || self.dispatcher.executor.has_ready()
    }

    pub(crate) fn take_newcomers(&self) -> Vec<Newcomer> {
        std::mem::take(&mut *self.newcomers.lock())
    }

    pub(crate) fn subscribe(&self, topic: u16, port: &Arc<Port>) {
        if let Some(topic) = self.topic(topic) {
            topic.subscribe(port);
        }
    }

    pub(crate) fn unsubscribe(&self, topic: u16, port: &Arc<Port>) {
        if let Some(topic) = self.topic(topic) {
            topic.unsubscribe(port);
        }
    }

    fn topic(&self, number: u16) -> Option<&TopicChannel> {
        self.topics.get(usize::from(number))?.as_ref()
    }

    /// The window's session is over.
    pub(crate) fn forget_window(&self, port: &Arc<Port>) {
        self.windows.lock().remove(&port.window);
        self.topics.iter().flatten().for_each(|topic| topic.unsubscribe(port));
    }

    pub(crate) fn emit_connected(&self, port: &Arc<Port>) {
        let hooks = self.did_connect.lock().clone();
        for hook in hooks {
            run_hook(port, &hook, WebContents::new(port.clone()));
        }
    }

    pub(crate) fn emit_gone(&self, port: &Arc<Port>, exit_code: Option<i32>) {
        let reason = port.gone().cloned().unwrap_or(GoneReason::Disconnected);
        let hooks = self.process_gone.lock().clone();
        for hook in hooks {
            let details = RenderProcessGone { reason: reason.clone(), exit_code };
            run_hook(port, &hook, (WebContents::new(port.clone()), details));
        }
    }

    pub(crate) fn emit_restarted(&self, old: &Arc<Port>, new: Result<&Arc<Port>, LaunchError>) {
        let hooks = self.restarted.lock().clone();
        let new = new.map(|port| WebContents::new(port.clone())).map_err(Arc::new);
        for hook in hooks {
            run_hook(old, &hook, (WebContents::new(old.clone()), new.clone()));
        }
    }

    pub(crate) fn emit_responsiveness(&self, port: &Arc<Port>, responsive: bool) {
        let tell = if responsive { trace::responsive } else { trace::unresponsive };
        tell(port.window);
        let hooks = if responsive { &self.responsive } else { &self.unresponsive };
        let hooks = hooks.lock().clone();
        for hook in hooks {
            run_hook(port, &hook, WebContents::new(port.clone()));
        }
    }

    /// Has the loop look at what wants it.
    fn interrupt(&self) {
        self.attention.raise();
        self.wake();
    }

    /// Ends the loop's sleep, unless this is the loop's own thread, which is awake.
    fn wake(&self) {
        if reentrancy::now() != CurrentLoop::main(self) {
            self.meeting.ring();
        }
    }
}

fn run_hook<A>(port: &Port, hook: &Hook<A>, argument: A) {
    let run = || (hook.lock())(argument);
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        port.counters.panics.add();
    }
}

impl EventLoop for MainShared {
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
        // If the system refuses to wait, the deadline has come early.
        Some(driver.drive(self, Some(awaited), timeout).unwrap_or(DriveEnd::Elapsed))
    }

    fn notice(&self, window: u32, reason: Reason) {
        if reason == Reason::Sent {
            let from_elsewhere = reentrancy::now() != CurrentLoop::main(self);
            self.sent_to.lock().push((window, from_elsewhere));
            // Relaxed: a hint, and the lock orders the rest.
            self.has_sent_to.store(true, Ordering::Relaxed);
            self.wake();
        } else {
            self.interrupt();
        }
    }
}

impl Drop for MainShared {
    fn drop(&mut self) {
        // Nobody drives: whoever does holds the endpoint.
        if let Some(mut driver) = self.driver_lock.try_take() {
            driver.close(self);
        }
    }
}

fn resources(what: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Resources { what, source }
}
