//! A renderer process's endpoint: Electron's `ipcRenderer`.
//!
//! ```text
//!            any thread                      one thread at a time, in the seat
//!   send, invoke ──▶ outbox ──▶ main   ┌──▶ frames ──▶ listeners, handlers, replies
//!                                      │    topics ──▶ subscribers
//!   main's outbox and topics ──────────┘    nothing ──▶ spin, then sleep on the bell
//! ```
//!
//! Whoever waits drives: [`IpcRenderer::run`], [`IpcRenderer::poll`] or a waiting
//! [`Invocation`]. One quiet thread watches the socket for main's end.

use std::{
    env, fmt,
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{
    channels::ChannelTable,
    config::Config,
    contract::{
        Channel, ChannelKey, Contract, Declaration, Event, Method, Push, Topic, declarations,
    },
    counters::Counters,
    error::{
        ConnectError, GoneReason, HandlerError, InvokeError, RegisterError, RunError, SendError,
    },
    executor::Executor,
    inside::{self, Inside},
    layout::frame::{Kind, Label},
    memory::{
        aligned::AlignedBuf,
        region::{Access, Region},
    },
    payload::{FixedLayout, Payload},
    policy::ChannelSet,
    port::{
        Limits, Patience, Port, PortParts, Side,
        incoming::{Delivery, Dispatcher, Routes},
        invocation::{Awaited, Drive, DriveEnd, Invocation},
        loan::Loan,
        responder::{Call, Responder},
    },
    register::{Handled, unknown},
    ring::{consumer::Consumer, producer::Producer},
    router::{ListenerId, Router, Times},
    seat::{Driving, Seat},
    session::{
        endpoint,
        handshake::{
            Answer, BadPacket, Hello, PACKET_MAX, PROTOCOL_VERSION, Ready, Refusal, TOPICS_MAX,
            Welcome, encode,
        },
    },
    signal::{PeerBell, Signal},
    snapshot::{Cached, Snapshot},
    sync::{AtomicBool, Ordering},
    sys::{EventFd, Socket},
    topic::TopicReader,
    wait::{Step, Waiter},
};

/// The environment variable by which a launched renderer learns the number of its socket.
pub(crate) const SOCKET_VARIABLE: &str = "RINGBRIDGE_SOCKET";
/// Frames taken in one go before anything else is looked at.
const BATCH: usize = 64;
/// Time between two looks at the deadlines of requests while the loop is busy.
const EXPIRE_EVERY: Duration = Duration::from_millis(1);
/// Turns of the loop between two looks at the clock while there is always something to do.
const BUSY_TURNS: u32 = 256;

/// A renderer process's endpoint. Cheap to clone; all clones are the same session.
///
/// ```no_run
/// use ringbridge::{Contract, Event, IpcRenderer, Method, Push};
///
/// const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// const ADD: Method<[u32; 2], u64> = Method::new("add");
/// const STATISTICS: Push<[f32; 4]> = Push::new("statistics");
/// const CONTRACT: Contract = &[&LOG_MESSAGE, &ADD, &STATISTICS];
///
/// # fn main() -> Result<(), ringbridge::Error> {
/// let ipc = IpcRenderer::connect(CONTRACT)?;
/// ipc.send(LOG_MESSAGE, "User clicked a button!")?;
/// let sum = ipc.invoke(ADD, &[2, 3])?.wait()?;
/// ipc.on(STATISTICS, |_event, statistics| println!("{statistics:?}"))?;
/// ipc.run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct IpcRenderer {
    inner: Arc<Inner>,
}

/// What a listener learns beside the message.
#[derive(Clone, Copy)]
pub struct IpcRendererEvent<'a> {
    delivery: &'a Delivery<'a>,
}

impl IpcRendererEvent<'_> {
    /// How many messages of this topic were lost just before this one, because the writer lapped
    /// this reader. Always 0 for a push.
    pub fn lost(&self) -> u64 {
        self.delivery.lost
    }
}

/// What a handler in a renderer learns beside the arguments.
#[derive(Clone, Copy)]
pub struct IpcRendererInvokeEvent<'a> {
    call: Call<'a>,
}

impl IpcRendererInvokeEvent<'_> {
    /// How long main waits for the reply, from when it asked.
    pub fn timeout(&self) -> Option<Duration> {
        self.call.timeout.duration()
    }
}

struct Inner {
    port: Arc<Port>,
    dispatcher: Dispatcher,
    seat: Seat<RendererLoop>,
    socket: Socket,
    config: Config,
    /// Main hung up: what it committed before is delivered, then the session ends.
    hung_up: AtomicBool,
    stopped: AtomicBool,
    /// Topic readers on their way into or out of the loop, and whether there are any.
    topic_changes: Mutex<Vec<TopicChange>>,
    topics_changed: AtomicBool,
    /// The memory of the topics that the policy allows, by channel number.
    topics: Vec<(u16, Region)>,
}

enum TopicChange {
    Add { number: u16, reader: TopicReader, conflate: bool },
    Remove { number: u16 },
}

/// What only the driver touches.
struct RendererLoop {
    consumer: Consumer,
    topics: Vec<Subscribed>,
    routes: Cached<Routes>,
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

impl IpcRenderer {
    /// Connects to the main process that launched this one.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NotLaunched`] if none did; [`ConnectError::TypeMismatch`] if a channel differs
    /// between the two builds.
    pub fn connect(contract: Contract) -> Result<Self, ConnectError> {
        Self::connect_with(contract, Config::default())
    }

    /// Connects to the main process that launched this one, with settings of its own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_with(contract: Contract, config: Config) -> Result<Self, ConnectError> {
        let number = env::var(SOCKET_VARIABLE).map_err(|_| ConnectError::NotLaunched)?;
        let number = number.parse().map_err(|_| ConnectError::NotLaunched)?;
        let socket = Socket::inherited(number)?;
        Self::begin(socket, contract, config)
    }

    /// Connects to the main process that has bound the endpoint `name`, as this same user.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NoSuchEndpoint`] or [`ConnectError::Stale`] if nobody listens there;
    /// [`ConnectError::Refused`] if main does not admit this process.
    pub fn attach(name: &str, contract: Contract) -> Result<Self, ConnectError> {
        Self::attach_with(name, contract, Config::default())
    }

    /// Connects by name, with settings of its own.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach).
    pub fn attach_with(
        name: &str,
        contract: Contract,
        config: Config,
    ) -> Result<Self, ConnectError> {
        Self::begin(endpoint::connect(name)?, contract, config)
    }

    /// Whether this process was launched by a main process, so that [`connect`](Self::connect) can work.
    pub fn was_launched() -> bool {
        env::var_os(SOCKET_VARIABLE).is_some()
    }

    fn begin(socket: Socket, contract: Contract, config: Config) -> Result<Self, ConnectError> {
        let declared = declarations(contract)?;
        let (welcome, mut descriptors) = shake_hands(&socket, &declared, config.handshake_timeout)?;
        let (table, allowed) = welcome.table(declared).map_err(bad_answer)?;

        let mut next = || descriptors.next().ok_or_else(|| bad_answer("a descriptor is missing"));
        let mut map = |capacity: u32, access| {
            Region::open(next()?, Region::ring_len(capacity as usize), access).map_err(bad_answer)
        };
        let main_region = map(welcome.main_capacity, Access::Read)?;
        let own_region = map(welcome.renderer_capacity, Access::Write)?;
        let event = EventFd::from(next()?);
        let mut topics = Vec::with_capacity(welcome.topics.len());
        for &(number, capacity) in &welcome.topics {
            let descriptor =
                descriptors.next().ok_or_else(|| bad_answer("a topic's descriptor is missing"))?;
            let region =
                Region::open(descriptor, Region::ring_len(capacity as usize), Access::Read);
            topics.push((number, region.map_err(bad_answer)?));
        }

        let main = main_region.outbox().map_err(bad_answer)?;
        let own = own_region.outbox().map_err(bad_answer)?;
        own.control.initialise(welcome.renderer_capacity as usize);
        main.control.check_identity(welcome.main_capacity as usize).map_err(bad_answer)?;

        socket.send(&encode(&Ready::new()), &[])?;
        Ok(Self::start(socket, config, &welcome, table, allowed, main, own, event, topics))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one session, used here only")]
    fn start(
        socket: Socket,
        config: Config,
        welcome: &Welcome,
        table: ChannelTable,
        allowed: ChannelSet,
        main: crate::memory::shared::OutboxMemory,
        own: crate::memory::shared::OutboxMemory,
        event: EventFd,
        mut topics: Vec<(u16, Region)>,
    ) -> Self {
        topics.iter_mut().for_each(|(_, region)| region.drop_descriptor());
        let channels = table.len();
        let inner = Arc::new_cyclic(|weak: &Weak<Inner>| {
            let interrupting = weak.clone();
            let executor = Executor::new(Arc::new(move || {
                if let Some(inner) = interrupting.upgrade() {
                    inner.interrupt();
                }
            }));
            let driver: Weak<dyn Drive> = weak.clone();
            let port = Port::new(PortParts {
                side: Side::Renderer,
                window: welcome.window,
                peer_pid: socket.peer_credentials().map_or(0, |credentials| credentials.pid),
                channels: Arc::new(table),
                allowed,
                limits: Limits {
                    owed_max: welcome.main_pending_max,
                    pending_max: welcome.renderer_pending_max,
                    send_timeout: config.send_timeout,
                },
                bell: PeerBell::new(
                    Signal::Event(event),
                    own.control.clone(),
                    main.control.clone(),
                ),
                producer: Producer::new(own.data, main.control.clone(), 0),
                own: own.control.clone(),
                peer: main.control,
                driver,
            });
            let routes = Snapshot::new(Router::new(channels));
            let seat = Seat::new(RendererLoop {
                consumer: Consumer::trusting(main.data, own.control, 0),
                topics: Vec::new(),
                routes: routes.cached(),
                waiter: Waiter::new(config.wait),
                copy: AlignedBuf::new(),
                turns: 0,
                expired_at: None,
            });
            Inner {
                port,
                dispatcher: Dispatcher { routes, executor },
                seat,
                socket,
                config,
                hung_up: AtomicBool::new(false),
                stopped: AtomicBool::new(false),
                topic_changes: Mutex::new(Vec::new()),
                topics_changed: AtomicBool::new(false),
                topics,
            }
        });
        watch(&inner);
        Self { inner }
    }

    /// The number of this renderer's window in main.
    pub fn id(&self) -> u32 {
        self.inner.port.window
    }

    // --- sending ---------------------------------------------------------------------------------

    /// Sends a message to main. Waits while the ring is full, up to
    /// [`Config::send_timeout`](crate::Config::send_timeout).
    ///
    /// Messages and invokes of one renderer arrive in the order of the calls.
    ///
    /// # Errors
    ///
    /// Why it was not sent; nothing was.
    #[inline]
    pub fn send<T: Payload + ?Sized>(&self, event: Event<T>, message: &T) -> Result<(), SendError> {
        let port = &self.inner.port;
        port.send(event.key(), message, port.patience())
    }

    /// Sends a message to main, or fails at once with [`SendError::Full`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn try_send<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        message: &T,
    ) -> Result<(), SendError> {
        self.inner.port.send(event.key(), message, Patience::None)
    }

    /// Sends a message to main; waits for room no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_timeout<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        message: &T,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.inner.port.send(event.key(), message, Patience::For(timeout))
    }

    /// Lends room in the ring for one message, to be written in place and then sent.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn loan<T: FixedLayout>(&self, event: Event<T>) -> Result<Loan<'_, T>, SendError> {
        let port = &self.inner.port;
        port.loan(event.key(), port.patience())
    }

    /// Asks main to run a method, with the default deadline of
    /// [`Config::invoke_timeout`](crate::Config::invoke_timeout).
    ///
    /// # Errors
    ///
    /// If the request could not be sent.
    #[inline]
    pub fn invoke<A, R, E>(
        &self,
        method: Method<A, R, E>,
        arguments: &A,
    ) -> Result<Invocation<R, E>, InvokeError<E::Owned>>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        self.invoke_with(method, arguments, Some(self.inner.config.invoke_timeout))
    }

    /// Asks main to run a method; `None` is no deadline.
    ///
    /// # Errors
    ///
    /// If the request could not be sent.
    #[inline]
    pub fn invoke_with<A, R, E>(
        &self,
        method: Method<A, R, E>,
        arguments: &A,
        timeout: Option<Duration>,
    ) -> Result<Invocation<R, E>, InvokeError<E::Owned>>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let number = self.inner.port.permitted(&method.key())?;
        self.inner.port.invoke(method, number, arguments, timeout)
    }

    // --- listening -------------------------------------------------------------------------------

    /// Calls `listener` for every message that main pushes on the channel.
    ///
    /// # Errors
    ///
    /// If the contracts or the policy do not have the channel.
    pub fn on<T: Payload + ?Sized>(
        &self,
        push: Push<T>,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.listen(push.key(), Times::Always, listener)
    }

    /// Calls `listener` for the next message only. It is removed before it runs.
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on).
    pub fn once<T: Payload + ?Sized>(
        &self,
        push: Push<T>,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.listen(push.key(), Times::Once, listener)
    }

    /// Removes one listener of a push; `false` if it was not there any more.
    pub fn off(&self, listener: ListenerId) -> bool {
        self.inner.dispatcher.routes.update(|routes| routes.off(listener))
    }

    /// Removes all listeners of one push.
    pub fn remove_all_listeners_of<T: Payload + ?Sized>(&self, push: Push<T>) {
        if let Some(number) = self.inner.port.channels.number(&push.key()) {
            self.inner.dispatcher.routes.update(|routes| routes.remove_all_listeners(Some(number)));
        }
    }

    /// Removes all listeners of all channels. Handlers stay.
    pub fn remove_all_listeners(&self) {
        self.inner.dispatcher.routes.update(|routes| routes.remove_all_listeners(None));
    }

    /// Calls `listener` for every message published on the topic from now on. A reader that is
    /// lapped is told how many it lost: [`IpcRendererEvent::lost`].
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on), or if main could not be told.
    pub fn subscribe<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.subscribe_as(topic, false, listener)
    }

    /// Calls `listener` for the newest message only, whenever this process gets to look; what was
    /// skipped counts as lost.
    ///
    /// A topic is read in one way in one process: the last subscription decides.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    pub fn subscribe_latest<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.subscribe_as(topic, true, listener)
    }

    fn subscribe_as<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        conflate: bool,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        let key = topic.key();
        let number = self.registrable(&key)?;
        let region = self.inner.topics.iter().find(|(topic, _)| *topic == number);
        let (_, region) = region.ok_or_else(|| unknown(&key))?;
        // A region that was mapped with a ring's length has a ring's layout.
        let memory = region.topic().map_err(|_| unknown(&key))?;
        let id = self.listen(key, Times::Always, listener)?;
        self.inner.change_topics(TopicChange::Add {
            number,
            reader: TopicReader::new(memory),
            conflate,
        });
        // The reader exists before main is told: what is published from here on is seen.
        self.tell_main(key, number, Kind::Subscribe)?;
        Ok(id)
    }

    /// Stops reading a topic and removes its listeners.
    ///
    /// # Errors
    ///
    /// If main could not be told; it is not read any more all the same.
    pub fn unsubscribe<T: Payload + ?Sized>(&self, topic: Topic<T>) -> Result<(), SendError> {
        let key = topic.key();
        let number = self.inner.port.permitted(&key)?;
        self.inner.dispatcher.routes.update(|routes| routes.remove_all_listeners(Some(number)));
        self.inner.change_topics(TopicChange::Remove { number });
        self.tell_main(key, number, Kind::Unsubscribe)
    }

    fn tell_main(&self, key: ChannelKey, number: u16, kind: Kind) -> Result<(), SendError> {
        let port = &self.inner.port;
        let label = Label { kind, flags: 0, channel: number, id: None };
        port.commit(key.name(), label, &[], port.patience())
    }

    fn listen<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        times: Times,
        mut listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        let number = self.registrable(&key)?;
        let listener = move |delivery: &Delivery<'_>, value: &T| {
            listener(&IpcRendererEvent { delivery }, value)
        };
        Ok(self.inner.dispatcher.listen(number, times, listener))
    }

    fn registrable(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        let number = self.inner.port.channels.number(key).ok_or_else(|| unknown(key))?;
        if self.inner.port.allowed.contains(number) {
            Ok(number)
        } else {
            Err(RegisterError::Forbidden { channel: key.name() })
        }
    }

    // --- handling main's invokes -------------------------------------------------------------------

    /// Answers main's invokes of a method.
    ///
    /// # Errors
    ///
    /// [`RegisterError::SecondHandler`] if the method has its handler.
    pub fn handle<A, R, E>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcRendererInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let number = self.handled(&method.key())?;
        let handler = move |call: Call<'_>, arguments: &A| {
            handler(&IpcRendererInvokeEvent { call }, arguments)
        };
        self.inner.dispatcher.handle(method, number, Times::Always, handler)
    }

    /// Answers main's invokes of a method later, or from another thread.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_deferred<A, R, E>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcRendererInvokeEvent<'_>, &A, Responder<R, E>) + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let number = self.handled(&method.key())?;
        let handler = move |call: Call<'_>, arguments: &A, responder: Responder<R, E>| {
            handler(&IpcRendererInvokeEvent { call }, arguments, responder);
        };
        self.inner.dispatcher.handle_deferred(method, number, handler)
    }

    /// Answers main's invokes of a method by a future, which the loop runs. It is dropped when main
    /// gives up.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_async<A, R, E, F>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcRendererInvokeEvent<'_>, A::Owned) -> F + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized + 'static,
        E: HandlerError + ?Sized + 'static,
        F: Future<Output = Handled<R, E>> + Send + 'static,
    {
        let number = self.handled(&method.key())?;
        let handler =
            move |call: Call<'_>, arguments| handler(&IpcRendererInvokeEvent { call }, arguments);
        self.inner.dispatcher.handle_async(method, number, handler)
    }

    /// Removes a method's handler, if it has one. Calls that are under way still reply.
    pub fn remove_handler<A, R, E>(&self, method: Method<A, R, E>)
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: Payload + ?Sized,
    {
        if let Some(number) = self.inner.port.channels.number(&method.key()) {
            self.inner.dispatcher.routes.update(|routes| routes.remove_handler(number));
        }
    }

    fn handled(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        self.inner.port.channels.number(key).ok_or_else(|| unknown(key))
    }

    // --- driving ---------------------------------------------------------------------------------

    /// Runs listeners and handlers until [`stop`](Self::stop) is called or main is gone.
    ///
    /// # Errors
    ///
    /// [`RunError::MainGone`] when main went; everything that it sent before has been delivered.
    pub fn run(&self) -> Result<(), RunError> {
        let mut driver = self.take_seat()?;
        self.inner.drive(&mut driver, None, None);
        self.inner.stopped.store(false, Ordering::Relaxed);
        if self.inner.port.gone().is_some() { Err(RunError::MainGone) } else { Ok(()) }
    }

    /// Runs listeners and handlers for so long.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&self, duration: Duration) -> Result<(), RunError> {
        let mut driver = self.take_seat()?;
        self.inner.drive(&mut driver, None, Some(duration));
        if self.inner.port.gone().is_some() { Err(RunError::MainGone) } else { Ok(()) }
    }

    /// Takes what is there, runs its listeners and handlers, and returns how much it was. Never sleeps.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll(&self) -> Result<usize, RunError> {
        let mut driver = self.take_seat()?;
        let _inside = inside::mark(Inside::renderer(&*self.inner));
        let taken = self.inner.turn(&mut driver, &mut None);
        self.inner.end_turn(&mut driver, Instant::now());
        if taken == 0 && self.inner.port.gone().is_some() {
            Err(RunError::MainGone)
        } else {
            Ok(taken)
        }
    }

    fn take_seat(&self) -> Result<Driving<'_, RendererLoop>, RunError> {
        if inside::any() {
            return Err(RunError::InsideListener);
        }
        // A waiting invocation leaves soon, and whoever runs the loop for good does not.
        self.inner.seat.try_take().ok_or(RunError::AlreadyRunning)
    }

    /// Ends a [`run`](Self::run), from any thread or from inside a listener.
    pub fn stop(&self) {
        self.inner.stopped.store(true, Ordering::Relaxed);
        self.inner.interrupt();
    }

    /// Starts a thread that runs the loop, for code that awaits its invocations. It ends with
    /// [`stop`](Self::stop), with main, or when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// If the thread could not be started.
    pub fn drive_in_background(&self) -> io::Result<()> {
        let inner = Arc::downgrade(&self.inner);
        thread::Builder::new().name("ringbridge".to_owned()).spawn(move || {
            // A strong handle only for a slice of time, so that dropping the last one ends it.
            while let Some(inner) = inner.upgrade() {
                let Some(mut driver) = inner.seat.take_or_queue(&thread::current()) else {
                    drop(inner);
                    thread::park_timeout(BACKGROUND_SLICE);
                    continue;
                };
                inner.drive(&mut driver, None, Some(BACKGROUND_SLICE));
                let ended =
                    inner.stopped.swap(false, Ordering::Relaxed) || inner.port.gone().is_some();
                drop(driver);
                if ended {
                    return;
                }
            }
        })?;
        Ok(())
    }

    /// Whether main is there.
    pub fn is_connected(&self) -> bool {
        self.inner.port.gone().is_none() && !self.inner.hung_up.load(Ordering::Acquire)
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.inner.port.counters.read()
    }
}

/// How long a background driver holds a handle at a stretch.
const BACKGROUND_SLICE: Duration = Duration::from_millis(250);

impl fmt::Debug for IpcRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcRenderer(window {})", self.id())
    }
}

impl Inner {
    /// Drives until the awaited request is settled, the time is over, the loop is stopped, or main is gone.
    fn drive(
        &self,
        driver: &mut RendererLoop,
        mut awaited: Option<&mut Awaited<'_>>,
        timeout: Option<Duration>,
    ) -> DriveEnd {
        let _inside = inside::mark(Inside::renderer(self));
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
            if awaited.as_ref().is_some_and(|awaited| awaited.settled) {
                return DriveEnd::Settled;
            }
            if taken > 0 {
                driver.waiter.found();
                driver.turns = driver.turns.wrapping_add(1);
                if !driver.turns.is_multiple_of(BUSY_TURNS) {
                    continue;
                }
            }
            if self.port.gone().is_some() || (!waits && self.stopped.load(Ordering::Relaxed)) {
                // What waits was settled by the end of the session: one more look finds it.
                if let Some(awaited) = &mut awaited {
                    self.port.take_stored(awaited);
                }
                self.publish(driver);
                return DriveEnd::Elapsed;
            }
            let step = if taken > 0 { Step::LookAt(Instant::now()) } else { driver.waiter.step() };
            let now = match step {
                Step::Look => continue,
                Step::LookAt(now) | Step::Park(now) => now,
            };
            let deadline = *deadline
                .get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.publish(driver);
                return DriveEnd::Elapsed;
            }
            if matches!(step, Step::Park(_)) {
                let next = self.port.expire(now);
                let until = [deadline, next].into_iter().flatten().min();
                self.park(driver, until);
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
        if taken == 0 {
            self.port.flush();
            taken += self.dispatcher.executor.run_ready();
            // Found empty: main may have waited for the room.
            if self.publish(driver) {
                taken += usize::from(self.has_news(driver));
            }
            if self.hung_up.load(Ordering::Acquire) && taken == 0 && !self.has_news(driver) {
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
            let routes = driver.routes.refresh(&self.dispatcher.routes);
            let bytes = driver.consumer.payload(&frame);
            let received = self.dispatcher.receive(
                &self.port,
                frame.header,
                bytes,
                routes,
                awaited.as_deref_mut(),
            );
            if received.is_err() {
                self.port.counters.violations.add();
            }
            driver.consumer.advance(frame);
            if driver.consumer.publish_due() {
                self.publish(driver);
            }
            if awaited.as_ref().is_some_and(|awaited| awaited.settled) {
                return taken + 1;
            }
        }
        BATCH
    }

    fn take_topics(&self, driver: &mut RendererLoop) -> usize {
        let RendererLoop { topics, routes, copy, .. } = driver;
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
                let routes = routes.refresh(&self.dispatcher.routes);
                let delivery = Delivery { port: &self.port, lost: received.lost };
                self.dispatcher.emit(&delivery, topic.number, copy.as_slice(), routes);
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

    /// Sleeps until main rings, someone interrupts, or the deadline passes.
    fn park(&self, driver: &mut RendererLoop, deadline: Option<Instant>) {
        let port = &self.port;
        // Read before the last look, so that whatever comes after it ends the sleep.
        let (bell, interrupt) = (port.peer.bell.read(), port.interrupt.read());
        port.own.parked.announce();
        if !self.has_news(driver) && !self.has_work() {
            port.counters.parks.add_alone(1);
            port.interrupt.sleep(&port.peer.bell, bell, interrupt, deadline);
        }
        port.own.parked.withdraw();
    }

    fn has_news(&self, driver: &mut RendererLoop) -> bool {
        !matches!(driver.consumer.peek(), Ok(None))
            || driver.topics.iter().any(|topic| topic.reader.has_news())
    }

    /// What an interrupt may have been for.
    fn has_work(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
            || self.hung_up.load(Ordering::Acquire)
            || self.topics_changed.load(Ordering::Relaxed)
            || self.port.gone().is_some()
    }

    fn change_topics(&self, change: TopicChange) {
        self.topic_changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        // Relaxed: the lock hands over the change; a driver that sees the flag late is interrupted.
        self.topics_changed.store(true, Ordering::Relaxed);
        self.interrupt();
    }

    #[cold]
    fn apply_topic_changes(&self, driver: &mut RendererLoop) {
        let mut changes = self.topic_changes.lock().unwrap_or_else(PoisonError::into_inner);
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
        Some(self.drive(&mut driver, Some(awaited), timeout))
    }

    fn interrupt(&self) {
        // The driver itself looks at everything before it sleeps.
        if inside::now() != Inside::renderer(self) {
            self.port.interrupt.raise();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.port.end(GoneReason::Closed);
        // Main sees the hang-up, and so does the watcher, which ends.
        let _ = self.socket.shutdown();
    }
}

/// Starts the thread that waits for main to hang up.
fn watch(inner: &Arc<Inner>) {
    let weak = Arc::downgrade(inner);
    let socket = inner.socket.try_clone();
    let watcher = move || {
        // Without a descriptor to watch, main's end is noticed by deadlines only; see `Config`.
        let Ok(socket) = socket else { return };
        while socket.poll_readable(None).is_ok_and(|found| !found.hangup && !found.readable) {}
        let Some(inner) = weak.upgrade() else { return };
        inner.hung_up.store(true, Ordering::Release);
        inner.port.interrupt.raise();
        // If nobody drives, what waits would wait on: end the session here.
        if let Some(mut driver) = inner.seat.try_take() {
            inner.drive(&mut driver, None, None);
        }
    };
    let _ = thread::Builder::new().name("ringbridge-watch".to_owned()).spawn(watcher);
}

/// Says hello and reads main's answer.
fn shake_hands(
    socket: &Socket,
    declared: &[Declaration],
    timeout: Duration,
) -> Result<(Welcome, std::vec::IntoIter<std::os::fd::OwnedFd>), ConnectError> {
    socket.send(&encode(&Hello::new(declared)), &[]).map_err(hung_up)?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::TimedOut(timeout));
        }
        let found = socket.poll_readable(Some(left))?;
        if found.readable || found.hangup {
            break;
        }
    }
    let mut packet = vec![0; PACKET_MAX];
    let received = socket.try_receive(&mut packet, TOPICS_MAX + 3).map_err(hung_up)?;
    if received.len == 0 {
        return Err(ConnectError::HungUp);
    }
    match Answer::parse(&packet[..received.len]).map_err(bad_answer)? {
        Answer::Welcome(welcome) => Ok((welcome, received.descriptors.into_iter())),
        Answer::Refused(Refusal::Version { main }) => {
            Err(ConnectError::VersionMismatch { ours: PROTOCOL_VERSION, theirs: main })
        }
        Answer::Refused(Refusal::NotAdmitted { why }) => Err(ConnectError::Refused { why }),
        Answer::Refused(Refusal::TypeMismatch { kind, channel, main }) => {
            let ours = declared.iter().find(|ours| ours.kind == kind && ours.name == channel);
            let ours = ours.map_or_else(|| "unknown".to_owned(), |ours| ours.schema.clone());
            Err(ConnectError::TypeMismatch { channel, ours, theirs: main })
        }
    }
}

/// A broken connection is main's hang-up.
fn hung_up(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectError::HungUp,
        _ => ConnectError::Io(error),
    }
}

fn bad_answer(why: impl fmt::Display) -> ConnectError {
    ConnectError::BadAnswer(why.to_string())
}

impl From<BadPacket> for ConnectError {
    fn from(error: BadPacket) -> Self {
        bad_answer(error)
    }
}
