//! The main process's endpoint: Electron's `ipcMain`, with the windows that belong to it.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    thread::{self, Thread},
    time::Duration,
};

use crate::{
    channels::ChannelTable,
    config::Config,
    contract::{
        Channel, ChannelKey, ChannelKind, Contract, Event, Method, Push, Topic, declarations,
    },
    counters::Counter,
    error::{BindError, GoneReason, HandlerError, LaunchError, RegisterError, RunError, SendError},
    executor::Executor,
    inside::{self, Inside, Running},
    ipc_renderer::SOCKET_VARIABLE,
    layout::words::fence_before_look,
    main_loop::{Handover, MainLoop, Newcomer, Session},
    memory::region::{Region, Writer},
    payload::Payload,
    policy::{ChannelSet, Policy},
    port::{
        Limits, Port, PortParts, Side,
        incoming::{Delivery, Dispatcher},
        invocation::{Awaited, Drive, DriveEnd},
        responder::{Call, Responder},
    },
    register::{Handled, unknown},
    ring::{consumer::Consumer, producer::Producer},
    router::{ListenerId, Router, Times},
    seat::Seat,
    session::{
        endpoint::Endpoint,
        handshake::{Answer, TOPICS_MAX, Welcome, encode},
    },
    signal::{PeerBell, Signal},
    snapshot::{Cached, Snapshot},
    sync::{AtomicBool, AtomicU32, Ordering},
    sys::{EventFd, Socket, process},
    topic::TopicWriter,
    wait::Waiter,
    web_contents::WebContents,
};

/// The descriptor at which a launched renderer finds its socket.
const CHILD_SOCKET: i32 = 3;

/// The main process's endpoint. Cheap to clone; all clones are the same endpoint.
///
/// ```no_run
/// use std::process::Command;
/// use ringbridge::{Contract, Event, IpcMain, Method, Policy, Push};
///
/// const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// const ADD: Method<[u32; 2], u64> = Method::new("add");
/// const STATISTICS: Push<[f32; 4]> = Push::new("statistics");
/// const CONTRACT: Contract = &[&LOG_MESSAGE, &ADD, &STATISTICS];
///
/// # fn main() -> Result<(), ringbridge::Error> {
/// let ipc = IpcMain::bind("demo", CONTRACT)?;
/// ipc.on(LOG_MESSAGE, |event, message| println!("{}: {message}", event.sender()))?;
/// ipc.handle(ADD, |_event, [left, right]| Ok(u64::from(*left) + u64::from(*right)))?;
/// let policy = Policy::deny_all().allow(LOG_MESSAGE).allow(ADD).allow(STATISTICS);
/// let window = ipc.launch(Command::new("./renderer"), policy)?;
/// window.send(STATISTICS, &[0.5, 0.1, 0.9, 0.2])?;
/// ipc.run()?;
/// # Ok(())
/// # }
/// ```
///
/// A listener that keeps an `IpcMain` keeps it alive for ever: let it keep a [`WebContents`], or
/// [`close`](IpcMain::close) the endpoint.
#[derive(Clone)]
pub struct IpcMain {
    inner: Arc<Inner>,
}

/// What a listener in main learns beside the message. Who sent it comes from the connection.
#[derive(Clone, Copy)]
pub struct IpcMainEvent<'a> {
    delivery: &'a Delivery<'a>,
}

impl IpcMainEvent<'_> {
    /// The renderer that sent the message.
    pub fn sender(&self) -> WebContents {
        WebContents::new(self.delivery.port.clone())
    }

    /// The number of its window.
    pub fn sender_id(&self) -> u32 {
        self.delivery.port.window
    }

    /// Pushes a message back to exactly the renderer that sent this one.
    ///
    /// # Errors
    ///
    /// As [`WebContents::send`] inside the loop: never waits.
    pub fn reply<T: Payload + ?Sized>(&self, push: Push<T>, message: &T) -> Result<(), SendError> {
        let port = self.delivery.port;
        port.send(push.key(), message, port.patience())
    }
}

/// What a handler in main learns beside the arguments.
#[derive(Clone, Copy)]
pub struct IpcMainInvokeEvent<'a> {
    call: Call<'a>,
}

impl IpcMainInvokeEvent<'_> {
    /// The renderer that asks.
    pub fn sender(&self) -> WebContents {
        WebContents::new(self.call.port.clone())
    }

    /// The number of its window.
    pub fn sender_id(&self) -> u32 {
        self.call.port.window
    }

    /// How long the caller waits for the reply, from when it asked; up to an eighth more than it
    /// said. `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        self.call.timeout.duration()
    }
}

/// How a renderer went: Electron's `render-process-gone` details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderProcessGone {
    /// Why.
    pub reason: GoneReason,
    /// The exit code, or the signal's number; `None` if main did not launch it.
    pub exit_code: Option<i32>,
}

/// A process that wants to attach. All of it comes from the kernel.
#[derive(Clone, Debug)]
pub struct Candidate {
    process_id: u32,
    user_id: u32,
    group_id: u32,
}

impl Candidate {
    pub(crate) fn new(process_id: u32, user_id: u32, group_id: u32) -> Self {
        Self { process_id, user_id, group_id }
    }

    /// Its process id; 0 if it is in a namespace that main does not see.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Its user.
    pub fn user_id(&self) -> u32 {
        self.user_id
    }

    /// Its group.
    pub fn group_id(&self) -> u32 {
        self.group_id
    }
}

/// How a renderer is launched.
#[derive(Clone, Copy, Debug)]
pub struct LaunchOptions {
    /// Whether the kernel kills the renderer when main dies. On by default; off, it takes what was
    /// committed and ends by itself.
    pub die_with_main: bool,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self { die_with_main: true }
    }
}

/// What happened to the endpoint as a whole. What happened in a session is in
/// [`WebContents::counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MainCounters {
    /// Connections that were refused: not admitted, another build, or no renderer at all.
    pub refused: u64,
    /// Messages published on topics.
    pub published: u64,
}

type Hook<A> = Arc<Mutex<dyn FnMut(A) + Send>>;
type Admission = Box<dyn FnMut(&Candidate) -> Result<Policy, String> + Send>;
type LaunchJob = Box<dyn FnOnce() + Send>;

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) dispatcher: Dispatcher,
    running: Running,
    closed: AtomicBool,
    pub(crate) stopped: AtomicBool,
    /// Something outside the rings wants the loop: a newcomer, a close, room for what was deferred.
    pub(crate) attention: AtomicBool,
    pub(crate) refused: Counter,
    published: Counter,
    weak: Weak<Inner>,
    seat: Seat<MainLoop>,
    /// Ends the loop's sleep. Of this process alone.
    interrupt: Arc<EventFd>,
    newcomers: Mutex<Vec<Newcomer>>,
    windows: Mutex<BTreeMap<u32, Arc<Port>>>,
    next_window: AtomicU32,
    /// By channel number; `None` where the channel is no topic.
    topics: Vec<Option<TopicChannel>>,
    admission: Mutex<Option<Admission>>,
    did_connect: Mutex<Vec<Hook<WebContents>>>,
    process_gone: Mutex<Vec<Hook<(WebContents, RenderProcessGone)>>>,
    /// The thread that launches renderers: the kernel ties `die_with_main` to it.
    launcher: Mutex<Option<mpsc::Sender<LaunchJob>>>,
}

struct TopicChannel {
    region: Region,
    subscribers: Snapshot<Vec<Arc<Port>>>,
    publishing: Mutex<Publishing>,
}

struct Publishing {
    writer: TopicWriter,
    subscribers: Cached<Vec<Arc<Port>>>,
}

impl IpcMain {
    /// Opens the endpoint `name` with the default settings.
    ///
    /// # Errors
    ///
    /// [`BindError::NameInUse`] if another main process has it.
    pub fn bind(name: &str, contract: Contract) -> Result<Self, BindError> {
        Self::bind_with(name, contract, Config::default())
    }

    /// Opens the endpoint `name`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_with(name: &str, contract: Contract, config: Config) -> Result<Self, BindError> {
        config.check()?;
        let declared = declarations(contract)?;
        let io = |source| BindError::Io { endpoint: name.to_owned(), source };
        let endpoint = Endpoint::bind(name)?;
        if config.protect_memory {
            process::make_non_dumpable().map_err(io)?;
        }
        // Each window needs a few. What cannot be raised is told by the launch that meets the limit.
        let _ = process::raise_descriptor_limit();

        let topics = declared
            .iter()
            .map(|channel| match channel.kind {
                ChannelKind::Topic => {
                    TopicChannel::create(channel.name, config.topic_capacity).map(Some)
                }
                _ => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(io)?;
        let channels = Arc::new(ChannelTable::new(declared.into_iter().map(Some).collect()));
        let interrupt = Arc::new(EventFd::new().map_err(io)?);
        let routes = Snapshot::new(Router::new(channels.len()));
        let waiter = Waiter::new(config.wait);
        let main_loop = MainLoop::new(endpoint, &interrupt, routes.cached(), waiter).map_err(io)?;

        let inner = Arc::new_cyclic(|weak: &Weak<Inner>| {
            let interrupting = weak.clone();
            let executor = Executor::new(Arc::new(move || {
                if let Some(inner) = interrupting.upgrade() {
                    inner.wake();
                }
            }));
            Inner {
                config,
                channels,
                dispatcher: Dispatcher { routes, executor },
                running: Running::default(),
                closed: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
                attention: AtomicBool::new(false),
                refused: Counter::default(),
                published: Counter::default(),
                weak: weak.clone(),
                seat: Seat::new(main_loop),
                interrupt,
                newcomers: Mutex::new(Vec::new()),
                windows: Mutex::new(BTreeMap::new()),
                next_window: AtomicU32::new(1),
                topics,
                admission: Mutex::new(None),
                did_connect: Mutex::new(Vec::new()),
                process_gone: Mutex::new(Vec::new()),
                launcher: Mutex::new(None),
            }
        });
        Ok(Self { inner })
    }

    // --- listening -------------------------------------------------------------------------------

    /// Calls `listener` for every message on the channel, from whichever renderer. Listeners of one
    /// channel run in the order of their registration; the same one may be registered twice.
    ///
    /// # Errors
    ///
    /// If the contract does not have the channel.
    pub fn on<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        listener: impl FnMut(&IpcMainEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.listen(event, Times::Always, listener)
    }

    /// Calls `listener` for the next message only. It is removed before it runs.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    pub fn once<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        listener: impl FnMut(&IpcMainEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.listen(event, Times::Once, listener)
    }

    fn listen<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        times: Times,
        mut listener: impl FnMut(&IpcMainEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        let number = self.number(&event.key())?;
        let listener =
            move |delivery: &Delivery<'_>, value: &T| listener(&IpcMainEvent { delivery }, value);
        Ok(self.inner.dispatcher.listen(number, times, listener))
    }

    /// Removes one listener; `false` if it was not there any more.
    pub fn off(&self, listener: ListenerId) -> bool {
        self.inner.dispatcher.routes.update(|routes| routes.off(listener))
    }

    /// Removes all listeners of one event.
    pub fn remove_all_listeners_of<T: Payload + ?Sized>(&self, event: Event<T>) {
        if let Ok(number) = self.number(&event.key()) {
            self.inner.dispatcher.routes.update(|routes| routes.remove_all_listeners(Some(number)));
        }
    }

    /// Removes all listeners of all events. Handlers stay.
    pub fn remove_all_listeners(&self) {
        self.inner.dispatcher.routes.update(|routes| routes.remove_all_listeners(None));
    }

    // --- handling --------------------------------------------------------------------------------

    /// Answers a method's invokes at once, on the loop's thread.
    ///
    /// # Errors
    ///
    /// [`RegisterError::SecondHandler`] if the method has its handler.
    pub fn handle<A, R, E>(
        &self,
        method: Method<A, R, E>,
        handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        self.handle_times(method, Times::Always, handler)
    }

    /// Answers the next invoke only. The handler is removed before it runs.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_once<A, R, E>(
        &self,
        method: Method<A, R, E>,
        handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        self.handle_times(method, Times::Once, handler)
    }

    fn handle_times<A, R, E>(
        &self,
        method: Method<A, R, E>,
        times: Times,
        mut handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let number = self.number(&method.key())?;
        let handler =
            move |call: Call<'_>, arguments: &A| handler(&IpcMainInvokeEvent { call }, arguments);
        self.inner.dispatcher.handle(method, number, times, handler)
    }

    /// Answers a method's invokes later, or from other threads: the [`Responder`] goes wherever the
    /// answer is made. Invokes overlap, and replies go in any order.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_deferred<A, R, E>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A, Responder<R, E>) + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let number = self.number(&method.key())?;
        let handler = move |call: Call<'_>, arguments: &A, responder: Responder<R, E>| {
            handler(&IpcMainInvokeEvent { call }, arguments, responder);
        };
        self.inner.dispatcher.handle_deferred(method, number, handler)
    }

    /// Answers a method's invokes by futures, which the loop runs, many at a time. A future is dropped
    /// where it stands when its caller cancels, times out or goes.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_async<A, R, E, F>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcMainInvokeEvent<'_>, A::Owned) -> F + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized + 'static,
        E: HandlerError + ?Sized + 'static,
        F: Future<Output = Handled<R, E>> + Send + 'static,
    {
        let number = self.number(&method.key())?;
        let handler =
            move |call: Call<'_>, arguments| handler(&IpcMainInvokeEvent { call }, arguments);
        self.inner.dispatcher.handle_async(method, number, handler)
    }

    /// Removes a method's handler, if it has one. Calls that are under way still reply.
    pub fn remove_handler<A, R, E>(&self, method: Method<A, R, E>)
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: Payload + ?Sized,
    {
        if let Ok(number) = self.number(&method.key()) {
            self.inner.dispatcher.routes.update(|routes| routes.remove_handler(number));
        }
    }

    fn number(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        self.inner.channels.number(key).ok_or_else(|| unknown(key))
    }

    // --- publishing ------------------------------------------------------------------------------

    /// Publishes a message on a topic: one write, whatever the number of subscribers. Never waits for
    /// any of them; one that is lapped is told how many it lost.
    ///
    /// Returns the message's sequence number in its topic, from 1.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownChannel`], [`SendError::TooLarge`] or [`SendError::Encode`].
    pub fn publish<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        message: &T,
    ) -> Result<u64, SendError> {
        let channel = topic.name();
        let number = self.inner.channels.number(&topic.key());
        let topic = number.and_then(|number| self.inner.topics[usize::from(number)].as_ref());
        let topic = topic.ok_or(SendError::UnknownChannel { channel })?;
        let mut publishing = lock(&topic.publishing);
        let published = message
            .encode(|bytes| publishing.writer.publish(bytes))
            .map_err(|source| SendError::Encode { channel, source })?;
        let sequence = published.map_err(|error| SendError::TooLarge {
            channel,
            len: error.len,
            max: error.max,
        })?;
        self.inner.published.add_alone(1);
        // One fence for all of them: see `PeerBell::frames_committed`.
        fence_before_look();
        for port in publishing.subscribers.refresh(&topic.subscribers).iter() {
            port.bell.ring_if_asleep(&port.counters.wakes);
        }
        Ok(sequence)
    }

    // --- windows ---------------------------------------------------------------------------------

    /// Launches a renderer process. It finds its session by
    /// [`IpcRenderer::connect`](crate::IpcRenderer::connect); what is sent to it before waits in its
    /// ring. It dies with main.
    ///
    /// # Errors
    ///
    /// If it cannot be started or its memory cannot be had. A program that starts and never connects
    /// is reported by [`on_render_process_gone`](Self::on_render_process_gone).
    pub fn launch(&self, command: Command, policy: Policy) -> Result<WebContents, LaunchError> {
        self.launch_with(command, policy, LaunchOptions::default())
    }

    /// Launches a renderer process, with options.
    ///
    /// # Errors
    ///
    /// As [`launch`](Self::launch).
    pub fn launch_with(
        &self,
        mut command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> Result<WebContents, LaunchError> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.env(SOCKET_VARIABLE, CHILD_SOCKET.to_string());
        let session = self.inner.open_session(policy, 0)?;
        let port = session.port.clone();
        let (ours, theirs) = Socket::pair().map_err(resources("a socket"))?;
        let launched =
            self.inner.spawn(command, theirs.into(), options.die_with_main).and_then(|child| {
                let process = process::pidfd_open(child.id())?;
                Ok((child, process))
            });
        let (child, process) = match launched {
            Ok(launched) => launched,
            Err(source) => {
                self.inner.forget_window(&port);
                return Err(LaunchError::Spawn { program, source });
            }
        };
        port.peer_pid.store(child.id(), Ordering::Relaxed);
        lock(&self.inner.newcomers).push(Newcomer {
            session,
            socket: ours,
            child,
            process,
            die_with_main: options.die_with_main,
        });
        self.inner.interrupt();
        Ok(WebContents::new(port))
    }

    /// Admits renderers that attach by name: `hook` gives each its policy, or says why not. Without a
    /// hook nobody is admitted; processes of other users never are.
    pub fn on_attach(
        &self,
        hook: impl FnMut(&Candidate) -> Result<Policy, String> + Send + 'static,
    ) {
        *lock(&self.inner.admission) = Some(Box::new(hook));
    }

    /// Calls `listener` when a renderer has finished the handshake.
    pub fn on_did_connect(&self, mut listener: impl FnMut(&WebContents) + Send + 'static) {
        let hook = move |window: WebContents| listener(&window);
        lock(&self.inner.did_connect).push(Arc::new(Mutex::new(hook)));
    }

    /// Calls `listener` when a renderer went, however it went: Electron's `render-process-gone`.
    pub fn on_render_process_gone(
        &self,
        mut listener: impl FnMut(&WebContents, &RenderProcessGone) + Send + 'static,
    ) {
        let hook =
            move |(window, details): (WebContents, RenderProcessGone)| listener(&window, &details);
        lock(&self.inner.process_gone).push(Arc::new(Mutex::new(hook)));
    }

    /// The windows whose session is not over, in the order of their numbers.
    pub fn windows(&self) -> Vec<WebContents> {
        lock(&self.inner.windows).values().cloned().map(WebContents::new).collect()
    }

    // --- driving ---------------------------------------------------------------------------------

    /// Runs listeners, handlers and sessions until [`stop`](Self::stop) is called.
    ///
    /// # Errors
    ///
    /// If called inside a listener, if another thread runs the loop, or if the system refuses.
    pub fn run(&self) -> Result<(), RunError> {
        self.run_loop(None)
    }

    /// Runs the loop for so long, or until it is stopped.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&self, duration: Duration) -> Result<(), RunError> {
        self.run_loop(Some(duration))
    }

    fn run_loop(&self, duration: Option<Duration>) -> Result<(), RunError> {
        let _running = self.inner.running.begin()?;
        let ended = self.inner.seat.take().drive(&self.inner, None, duration);
        self.inner.stopped.store(false, Ordering::Relaxed);
        ended?;
        Ok(())
    }

    /// Takes what is there, and returns how many frames and tasks it was. Never sleeps.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll(&self) -> Result<usize, RunError> {
        let _running = self.inner.running.begin()?;
        Ok(self.inner.seat.take().poll(&self.inner)?)
    }

    /// Ends a [`run`](Self::run), from any thread or from inside a listener.
    pub fn stop(&self) {
        self.inner.stopped.store(true, Ordering::Relaxed);
        self.inner.interrupt();
    }

    /// Ends every session and gives the name up. Launched renderers see main go; those that are not
    /// gone after 2 s are killed. Their `render-process-gone` events are delivered before this returns.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run): it needs the loop, so [`stop`](Self::stop) it first.
    pub fn close(&self) -> Result<(), RunError> {
        let _running = self.inner.running.begin()?;
        // Relaxed: who launches at the same time is ended by the loop's close, or refused.
        self.inner.closed.store(true, Ordering::Relaxed);
        self.inner.seat.take().close(&self.inner);
        Ok(())
    }

    /// What happened so far to the endpoint as a whole.
    pub fn counters(&self) -> MainCounters {
        MainCounters { refused: self.inner.refused.get(), published: self.inner.published.get() }
    }
}

impl fmt::Debug for IpcMain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcMain({} windows)", lock(&self.inner.windows).len())
    }
}

impl Inner {
    /// Makes a session's memory and its window.
    pub(crate) fn open_session(&self, policy: Policy, pid: u32) -> Result<Session, LaunchError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(LaunchError::Closed);
        }
        let mut allowed = ChannelSet::default();
        for key in &policy.allowed {
            let number = self.channels.number(key);
            allowed.insert(number.ok_or(LaunchError::UnknownChannel { channel: key.name() })?);
        }
        let max = self.config.windows_max;
        if lock(&self.windows).len() >= max {
            return Err(LaunchError::TooManyWindows { max });
        }
        let Config { main_capacity, renderer_capacity, .. } = self.config;
        let region = |name, capacity, writer| {
            Region::create(name, Region::ring_len(capacity), writer, false)
                .map_err(resources("memory"))
        };
        let main_region = region("ringbridge-main", main_capacity, Writer::Creator)?;
        let renderer_region = region("ringbridge-renderer", renderer_capacity, Writer::Peer)?;
        let own = main_region.outbox().expect("made with a ring's length");
        let peer = renderer_region.outbox().expect("made with a ring's length");
        own.control.initialise(main_capacity);
        let event = EventFd::new().map_err(resources("an eventfd"))?;

        let window = self.next_window.fetch_add(1, Ordering::Relaxed);
        let driver: Weak<dyn Drive> = self.weak.clone();
        let limits = Limits {
            owed_max: policy.pending_invokes_max,
            pending_max: self.config.main_pending_max,
            send_timeout: self.config.send_timeout,
        };
        let consumer = Consumer::new(peer.data, own.control.clone(), 0);
        let port = Port::new(PortParts {
            side: Side::Main,
            window,
            peer_pid: pid,
            channels: self.channels.clone(),
            allowed,
            limits,
            bell: PeerBell::new(Signal::Futex, own.control.clone(), peer.control.clone()),
            producer: Producer::new(own.data, peer.control.clone(), 0),
            own: own.control,
            peer: peer.control,
            driver,
        });
        lock(&self.windows).insert(window, port.clone());
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
        };
        let theirs = event.try_clone().map_err(resources("an eventfd"))?;
        let handover = Handover { welcome, main_region, renderer_region, event: theirs };
        Ok(Session { port, policy, consumer, event, handover: Some(handover) })
    }

    /// Hands a session's memory over. Our descriptors of it are closed with that.
    pub(crate) fn send_welcome(
        &self,
        socket: &Socket,
        port: &Port,
        handover: Handover,
    ) -> io::Result<()> {
        let Handover { mut welcome, main_region, renderer_region, event } = handover;
        let missing = || io::Error::other("memory that was passed on before");
        let mut descriptors = vec![
            main_region.descriptor().ok_or_else(missing)?,
            renderer_region.descriptor().ok_or_else(missing)?,
            event.as_fd(),
        ];
        for (number, topic) in (0..).zip(&self.topics) {
            let Some(topic) = topic.as_ref().filter(|_| port.allowed.contains(number)) else {
                continue;
            };
            if welcome.topics.len() == TOPICS_MAX {
                return Err(io::Error::other(format!(
                    "more than {TOPICS_MAX} topics for one renderer"
                )));
            }
            welcome.topics.push((number, self.config.topic_capacity as u32));
            descriptors.push(topic.region.descriptor().ok_or_else(missing)?);
        }
        socket.try_send(&encode(&Answer::Welcome(welcome)), &descriptors)
    }

    pub(crate) fn admit(&self, candidate: &Candidate) -> Result<Policy, String> {
        if candidate.user_id != process::user_id() {
            return Err(format!("it belongs to the user {}, not to main's", candidate.user_id));
        }
        match &mut *lock(&self.admission) {
            Some(hook) => catch_unwind(AssertUnwindSafe(|| hook(candidate)))
                .unwrap_or_else(|_| Err("main's admission hook panicked".to_owned())),
            None => Err("this main process admits no renderers that it did not launch".to_owned()),
        }
    }

    /// What an interrupt may have been for.
    pub(crate) fn has_work(&self) -> bool {
        self.attention.load(Ordering::Relaxed)
            || self.stopped.load(Ordering::Relaxed)
            || self.dispatcher.executor.has_ready()
    }

    pub(crate) fn take_newcomers(&self) -> Vec<Newcomer> {
        std::mem::take(&mut *lock(&self.newcomers))
    }

    pub(crate) fn subscribe(&self, topic: u16, port: &Arc<Port>) {
        if let Some(Some(topic)) = self.topics.get(usize::from(topic)) {
            topic.subscribers.update(|ports| {
                if !ports.iter().any(|known| Arc::ptr_eq(known, port)) {
                    ports.push(port.clone());
                }
            });
            // What was published since the renderer's reader began has rung nobody.
            port.bell.frames_committed(&port.counters.wakes);
        }
    }

    pub(crate) fn unsubscribe(&self, topic: u16, port: &Arc<Port>) {
        if let Some(Some(topic)) = self.topics.get(usize::from(topic)) {
            topic.subscribers.update(|ports| ports.retain(|known| !Arc::ptr_eq(known, port)));
        }
    }

    /// The window's session is over.
    pub(crate) fn forget_window(&self, port: &Arc<Port>) {
        lock(&self.windows).remove(&port.window);
        for topic in 0..self.topics.len() {
            self.unsubscribe(topic as u16, port);
        }
    }

    pub(crate) fn emit_connected(&self, port: &Arc<Port>) {
        let hooks = lock(&self.did_connect).clone();
        for hook in hooks {
            run_hook(port, &hook, WebContents::new(port.clone()));
        }
    }

    pub(crate) fn emit_gone(&self, port: &Arc<Port>, exit_code: Option<i32>) {
        let reason = port.gone().cloned().unwrap_or(GoneReason::Disconnected);
        let hooks = lock(&self.process_gone).clone();
        for hook in hooks {
            let details = RenderProcessGone { reason: reason.clone(), exit_code };
            run_hook(port, &hook, (WebContents::new(port.clone()), details));
        }
    }

    /// Starts a process on the launcher's thread.
    fn spawn(&self, command: Command, socket: OwnedFd, die_with_main: bool) -> io::Result<Child> {
        let (done, result) = mpsc::sync_channel(1);
        let job = Box::new(move || {
            let _ =
                done.send(process::spawn_with_socket(command, socket, CHILD_SOCKET, die_with_main));
        });
        let mut launcher = lock(&self.launcher);
        let sender = match &*launcher {
            Some(sender) => sender,
            None => launcher.insert(start_launcher()?),
        };
        let gone = |_| io::Error::other("the launching thread is gone");
        sender.send(job).map_err(|_| gone(()))?;
        drop(launcher);
        result.recv().map_err(|_| gone(()))?
    }

    /// Ends the loop's sleep, unless this is the loop's own thread, which is awake.
    fn wake(&self) {
        if inside::now() != Inside::main(self) {
            // It fails only when its count is at the limit, and then it has rung.
            let _ = self.interrupt.ring();
        }
    }
}

/// A thread that lives as long as its endpoint: the kernel kills the renderers that it launched
/// (`die_with_main`) when it ends, so it must not be some thread of the application's.
fn start_launcher() -> io::Result<mpsc::Sender<LaunchJob>> {
    let (sender, jobs) = mpsc::channel::<LaunchJob>();
    thread::Builder::new()
        .name("ringbridge-launch".to_owned())
        .spawn(move || jobs.into_iter().for_each(|job| job()))?;
    Ok(sender)
}

fn run_hook<A>(port: &Port, hook: &Hook<A>, argument: A) {
    let run = || (lock(hook))(argument);
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        port.counters.panics.add();
    }
}

impl Drive for Inner {
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> Option<DriveEnd> {
        let mut driver = match me {
            Some(me) => self.seat.take_or_queue(me),
            None => self.seat.try_take(),
        }?;
        // If the system refuses to wait, the deadline has come early.
        Some(driver.drive(self, Some(awaited), timeout).unwrap_or(DriveEnd::Elapsed))
    }

    fn interrupt(&self) {
        // Relaxed: what it was raised for is behind locks; a loop that sees it late is rung.
        self.attention.store(true, Ordering::Relaxed);
        self.wake();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody drives: whoever does holds the endpoint.
        if let Some(mut driver) = self.seat.try_take() {
            driver.close(self);
        }
    }
}

impl TopicChannel {
    fn create(name: &str, capacity: usize) -> io::Result<Self> {
        let region = Region::create(
            &format!("ringbridge-topic-{name}"),
            Region::ring_len(capacity),
            Writer::Creator,
            false,
        )?;
        let memory = region.topic().expect("made with a ring's length");
        memory.control.initialise(capacity);
        let subscribers = Snapshot::new(Vec::new());
        let publishing =
            Publishing { writer: TopicWriter::new(memory, 0), subscribers: subscribers.cached() };
        Ok(Self { region, subscribers, publishing: Mutex::new(publishing) })
    }
}

fn resources(what: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Resources { what, source }
}

/// Locks a mutex whose data is consistent at every step, so that a panic elsewhere does not matter.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
