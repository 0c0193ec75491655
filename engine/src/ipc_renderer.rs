//! A renderer process's endpoint: Electron's `ipcRenderer`.
//!
//! ```text
//!            any thread                      one thread at a time, in the driver lock
//!   send, invoke ──▶ outbox ──▶ main   ┌──▶ frames ──▶ listeners, handlers, replies
//!                                      │    topics ──▶ subscribers
//!   main's outbox and topics ──────────┘    nothing ──▶ spin, then sleep on the bell
//! ```
//!
//! A thread that waits drives: in [`IpcRenderer::run`], in [`IpcRenderer::poll`] or in a waiting
//! [`Invocation`]. One idle thread watches the control channel for main's end.

use std::{
    borrow::Borrow,
    env, fmt,
    future::Future,
    io,
    ops::Deref,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::{Backend, Config},
    contract::{
        Channel, ChannelKey, Contract, Declaration, Event, Method, Push, Topic, declarations,
        payload::{FixedLayout, Payload},
    },
    event_loop::{
        driver::SourceShared,
        error::RunError,
        renderer::{
            session::{Carried, RendererSession},
            shared::{Origin, RendererShared},
            topics::ReadTopic,
        },
    },
    metrics::{SessionMetrics, counters::Counters},
    peer::{
        Patience, Port,
        dispatch::Delivery,
        error::{HandlerError, InvokeError, RegisterError, SendAllError, SendError},
        invocation::Invocation,
        loan::Loan,
        responder::{Call, Responder},
        router::{ListenerId, Times},
        typed_handlers::{Handled, unknown},
    },
    ring::broadcast::TopicReader,
    session::{
        control_channel::ControlChannel,
        endpoint,
        error::ConnectError,
        joining::{Joined, join},
        offers::granted,
        transport,
    },
    sync::reentrancy,
    wire::frame::{Kind, Label},
};

/// The first pause between two looks for a main that is gone, and the longest: each is twice the last.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];

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
    inner: Arc<Handle>,
}

/// The handle that all clones share. A thread that drives in the background holds the session itself, so
/// that the last clone's end can end it.
struct Handle {
    /// Of the session, one step nearer for what is called often.
    port: Arc<Port>,
    session: Arc<RendererSession>,
}

impl Handle {
    fn new(session: Arc<RendererSession>) -> Arc<Self> {
        Arc::new(Self { port: session.shared.port.clone(), session })
    }
}

impl Deref for Handle {
    type Target = RendererShared;

    fn deref(&self) -> &RendererShared {
        &self.session.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.session.hang_up();
    }
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
        let control = transport::inherited_control()?;
        let endpoint = env::var(transport::ENDPOINT_VARIABLE).ok();
        let origin = Origin { contract, endpoint, backend: control.backend() };
        Self::begin(control, origin, config)
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
        let backend = config.backend()?;
        let origin = Origin { contract, endpoint: Some(name.to_owned()), backend };
        let control = endpoint::connect(name, backend, config.handshake_timeout)?;
        Self::begin(control, origin, config)
    }

    /// Waits up to `timeout` for a main process to bind the endpoint again, and begins a session with it: after
    /// main's end, when [`run`](Self::run) has said [`RunError::MainGone`]. (A session that still lives ends here.)
    ///
    /// The new endpoint has this one's listeners, handlers and subscriptions, under the same ids, and its settings.
    /// What main had committed is delivered first, and what was pending fails once, with
    /// [`InvokeError::Gone`]. This endpoint and its clones stay what they are, the ends of a session that is over;
    /// so what may still send, listeners among them, should be given the new one.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use ringbridge::{IpcRenderer, RunError};
    /// # fn f(mut ipc: IpcRenderer) -> Result<(), ringbridge::Error> {
    /// while let Err(RunError::MainGone) = ipc.run() {
    ///     ipc = ipc.reconnect(Duration::from_secs(30))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It finds main by name: by that with which it [attached](Self::attach), or that of the main which launched
    /// it ([`LaunchOptions::die_with_main`](crate::LaunchOptions::die_with_main) must be off for it to outlive
    /// that), which must admit it ([`IpcMain::on_attach`](crate::IpcMain::on_attach)).
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), after the time-out if nobody is there; at once if main refuses. Then this
    /// endpoint keeps its listeners, and the call may be repeated. [`ConnectError::ChannelMissing`] if the new main
    /// lacks a channel, or its policy does not allow one, on which something is registered.
    pub fn reconnect(&self, timeout: Duration) -> Result<Self, ConnectError> {
        if reentrancy::any() {
            return Err(ConnectError::InsideListener);
        }
        let RendererShared { origin, config, .. } = &**self.inner;
        let name = origin.endpoint.as_deref().ok_or(ConnectError::NoWayBack)?;
        self.inner.session.finish();
        let declared = declarations(origin.contract)?;
        let (control, joined) = find_again(name, origin.backend, &declared, config, timeout)?;
        let (table, allowed) = granted(&joined.welcome, declared)?;
        let carried = self.inner.session.hand_over(&table, &allowed);
        let Carried { registered, topics } =
            carried.map_err(|channel| ConnectError::ChannelMissing { channel })?;
        let session = RendererSession::start(
            control,
            config.clone(),
            joined,
            table,
            allowed,
            origin.clone(),
            Some(registered),
        )?;
        let renderer = Self { inner: Handle::new(session) };
        for (number, conflate) in topics {
            // Main has gone again if it cannot be told, and then its loop says so.
            let _ = renderer.read_topic("topic", number, conflate);
        }
        Ok(renderer)
    }

    /// Whether this process was launched by a main process, so that [`connect`](Self::connect) can work.
    pub fn was_launched() -> bool {
        transport::was_launched()
    }

    fn begin(
        control: ControlChannel,
        origin: Origin,
        config: Config,
    ) -> Result<Self, ConnectError> {
        let declared = declarations(origin.contract)?;
        let joined = join(&control, &declared, config.handshake_timeout, config.prefault)?;
        let (table, allowed) = granted(&joined.welcome, declared)?;
        let session =
            RendererSession::start(control, config, joined, table, allowed, origin, None)?;
        Ok(Self { inner: Handle::new(session) })
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
    /// A message longer than the ring carries travels in memory that main provides, up to
    /// [`Policy::attachment_bytes_max`](crate::Policy::attachment_bytes_max) and
    /// [`Config::attachment_max`](crate::Config::attachment_max): then this waits for main's answer too,
    /// in the same time.
    ///
    /// # Errors
    ///
    /// Why it was not sent; nothing was.
    #[inline]
    pub fn send<T: Payload + ?Sized>(&self, event: Event<T>, message: &T) -> Result<(), SendError> {
        let port = &self.inner.port;
        port.send(event.key(), message, Patience::Usual)
    }

    /// Sends many messages, in order, as [`send`](Self::send) would one after the other, but
    /// at less cost for each: the peer is looked after once for many, and small messages flow at the
    /// speed of the memory between the two processors.
    ///
    /// Messages of other threads may come between.
    ///
    /// ```no_run
    /// # use ringbridge::{Event, IpcRenderer};
    /// # const SAMPLE: Event<u64> = Event::new("sample");
    /// # fn f(ipc: &IpcRenderer) -> Result<(), ringbridge::SendAllError> {
    /// ipc.send_all(SAMPLE, &[1, 2, 3])
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Why one of them was not sent, and how many were.
    pub fn send_all<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        messages: &[impl Borrow<T>],
    ) -> Result<(), SendAllError> {
        self.inner.port.send_all(event.key(), messages, Patience::Usual)
    }

    /// Sends a message to main, or fails at once with [`SendError::Full`]. A message longer than the ring
    /// carries fails so until the memory for it has come from main, which the first call asks for.
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

    /// Lends room in the ring for one message, to be written in place and then sent. One that
    /// is longer than the ring carries is written in the memory that it travels in.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn loan<T: FixedLayout>(&self, event: Event<T>) -> Result<Loan<'_, T>, SendError> {
        let port = &self.inner.port;
        Loan::begin(port, event.key(), Patience::Usual)
    }

    /// Asks main to run a method, with the default deadline of
    /// [`Config::invoke_timeout`](crate::Config::invoke_timeout).
    ///
    /// # Errors
    ///
    /// If the request could not be sent.
    #[inline]
    pub fn invoke<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        arguments: &A,
    ) -> Result<Invocation<R, E>, InvokeError<E::Owned>> {
        self.invoke_with(method, arguments, Some(self.inner.config.invoke_timeout))
    }

    /// Asks main to run a method; `None` is no deadline.
    ///
    /// # Errors
    ///
    /// If the request could not be sent.
    #[inline]
    pub fn invoke_with<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        arguments: &A,
        timeout: Option<Duration>,
    ) -> Result<Invocation<R, E>, InvokeError<E::Owned>> {
        let number = self.inner.port.permitted(&method.key())?;
        Invocation::begin(&self.inner.port, method, number, arguments, timeout)
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
        if self.inner.topics.memory(number).is_none() {
            return Err(unknown(&key));
        }
        let id = self.listen(key, Times::Always, listener)?;
        self.read_topic(key.name(), number, conflate)?;
        Ok(id)
    }

    fn read_topic(&self, name: &'static str, number: u16, conflate: bool) -> Result<(), SendError> {
        let Some(memory) = self.inner.topics.memory(number) else {
            return Err(SendError::UnknownChannel { channel: name });
        };
        let reader = TopicReader::new(memory);
        self.change_topics(number, Some(ReadTopic { reader, conflate }));
        // The reader exists before main is told: what is published from here on is seen.
        self.tell_main(name, number, Kind::Subscribe)
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
        self.change_topics(number, None);
        self.tell_main(key.name(), number, Kind::Unsubscribe)
    }

    fn change_topics(&self, number: u16, topic: Option<ReadTopic>) {
        self.inner.topics.change(number, topic);
        self.inner.wake();
    }

    fn tell_main(&self, name: &'static str, number: u16, kind: Kind) -> Result<(), SendError> {
        let port = &self.inner.port;
        port.send_bare(name, Label::new(kind, number))
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

    pub(crate) fn registrable(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        let number = self.inner.port.channels.number(key).ok_or_else(|| unknown(key))?;
        if self.inner.port.allowed.contains(usize::from(number)) {
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
    pub fn handle<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcRendererInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError> {
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
    pub fn handle_deferred<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcRendererInvokeEvent<'_>, &A, Responder<R, E>) + Send + 'static,
    ) -> Result<(), RegisterError> {
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
    pub fn remove_handler<A: Payload + ?Sized, R: Payload + ?Sized, E: Payload + ?Sized>(
        &self,
        method: Method<A, R, E>,
    ) {
        if let Some(number) = self.inner.port.channels.number(&method.key()) {
            self.inner.dispatcher.routes.update(|routes| routes.remove_handler(number));
        }
    }

    fn handled(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        self.inner.port.channels.number(key).ok_or_else(|| unknown(key))
    }

    /// Whether this renderer's policy allows the channel: for a user interface that offers only what works. Main
    /// enforces the policy, whatever is asked here.
    ///
    /// ```no_run
    /// # use ringbridge::{Event, IpcRenderer};
    /// # const LOG_MESSAGE: Event<str> = Event::new("log-message");
    /// # fn f(ipc: &IpcRenderer) -> bool {
    /// ipc.allows(&LOG_MESSAGE)
    /// # }
    /// ```
    pub fn allows(&self, channel: &dyn Channel) -> bool {
        self.inner.port.allows(&channel.key())
    }

    // --- driving ---------------------------------------------------------------------------------

    /// Runs listeners and handlers until [`stop`](Self::stop) is called or main is gone.
    ///
    /// # Errors
    ///
    /// [`RunError::MainGone`] when main went; everything that it sent before has been delivered.
    pub fn run(&self) -> Result<(), RunError> {
        self.inner.session.run(None)
    }

    /// Runs listeners and handlers for so long.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&self, duration: Duration) -> Result<(), RunError> {
        self.inner.session.run(Some(duration))
    }

    /// Takes what is there, runs its listeners and handlers, and returns how much it was. Never sleeps.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll(&self) -> Result<usize, RunError> {
        self.inner.session.poll()
    }

    /// Ends a [`run`](Self::run), from any thread or from inside a listener.
    pub fn stop(&self) {
        self.inner.session.stop();
    }

    /// Starts a thread that runs the loop, for code that awaits its invocations. It ends with
    /// [`stop`](Self::stop), with main, or when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// If the thread could not be started.
    pub fn drive_in_background(&self) -> io::Result<()> {
        self.inner.session.drive_in_background()
    }

    // --- the sandbox -------------------------------------------------------------------------------

    /// Gives up what this process does not need to talk to main, for good: see [`Sandbox`](crate::Sandbox).
    ///
    /// From here on no file is opened, no socket, process or shared memory made, no other process
    /// signalled or looked into, and nothing mapped executable, by any thread of this process,
    /// whatever runs in it. Sending, invoking, listening, topics and large payloads work as before, and
    /// so do threads, memory, clocks, and what is open: standard output, say. What is refused is an
    /// error (`EPERM`, or `EACCES`), not the end.
    ///
    /// Do before what needs more: read files, load libraries, build an asynchronous runtime, connect
    /// other sessions; and close what hostile code must not have. Descriptors that are open stay open: they
    /// belong to whoever has opened them. A renderer that came by a name cannot come again.
    ///
    /// What the kernel does not have is missing, and said so; the rest is enforced all the same. Calling it again
    /// does nothing, and returns the same.
    ///
    /// ```no_run
    /// # use ringbridge::{Contract, IpcRenderer};
    /// # const CONTRACT: Contract = &[];
    /// # fn main() -> Result<(), ringbridge::Error> {
    /// let ipc = IpcRenderer::connect(CONTRACT)?;
    /// // Or without complete(): as much of it as this kernel has.
    /// let sandbox = ipc.sandbox()?.complete()?;
    /// println!("{sandbox}");
    /// assert!(std::fs::File::open("/etc/passwd").is_err());
    /// ipc.run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Threads that run already are interrupted for a moment by SIGURG.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Trusted`](crate::SandboxError::Trusted) with a backend that has no walls. Otherwise if something
    /// that the kernel has could not be enforced, as when a thread blocks all signals. Then end the process:
    /// some of it may be.
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    pub fn sandbox(&self) -> Result<crate::Sandbox, crate::SandboxError> {
        if self.backend() != Backend::Sealed {
            return Err(crate::SandboxError::Trusted);
        }
        crate::sandbox::enter()
    }

    /// How this session's processes share memory: as main has bound its endpoint.
    pub fn backend(&self) -> Backend {
        self.inner.origin.backend
    }

    /// Whether main is there.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.inner.port.counters.read()
    }

    /// How the session is doing at this moment: what waits, and for whom.
    pub fn metrics(&self) -> SessionMetrics {
        self.inner.port.metrics()
    }
}

/// Looks for a main process of this name until one answers or the time is over.
fn find_again(
    name: &str,
    backend: Backend,
    declared: &[Declaration],
    config: &Config,
    timeout: Duration,
) -> Result<(ControlChannel, Joined), ConnectError> {
    let deadline = Instant::now().checked_add(timeout);
    let left = || deadline.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
    let [mut pause, longest] = LOOK_AGAIN;
    loop {
        let handshake_timeout = config.handshake_timeout.min(left());
        let found = endpoint::connect(name, backend, handshake_timeout).and_then(|control| {
            let joined = join(&control, declared, handshake_timeout, config.prefault)?;
            Ok((control, joined))
        });
        match found {
            Err(
                ConnectError::NoSuchEndpoint { .. }
                | ConnectError::Stale { .. }
                | ConnectError::HungUp
                | ConnectError::TimedOut(_),
            ) if !left().is_zero() => {}
            found => return found,
        }
        thread::sleep(pause.min(left()));
        pause = (2 * pause).min(longest);
    }
}

impl fmt::Debug for IpcRenderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcRenderer(window {})", self.id())
    }
}
