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
        responder::{Call, Reply, Responder},
        router::{ListenerId, Times},
        typed_handlers::Handled,
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

/// The first and the longest pause between two looks for a main that is gone. Each is twice the last.
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
    /// The session's. One load nearer, since every send reads it.
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

/// The circumstances of a message, for its listener.
#[derive(Clone, Copy)]
pub struct IpcRendererEvent<'a> {
    delivery: &'a Delivery<'a>,
}

impl IpcRendererEvent<'_> {
    /// The messages of this topic that were lost just before this one, because the writer lapped this
    /// reader. Always 0 for a push.
    pub fn lost(&self) -> u64 {
        self.delivery.lost
    }
}

/// The circumstances of an invoke, for its handler in a renderer.
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
    /// [`ConnectError::NotLaunched`] if no main process launched this one;
    /// [`ConnectError::TypeMismatch`] if a channel differs between the two builds.
    pub fn connect(contract: Contract) -> Result<Self, ConnectError> {
        Self::connect_with(contract, Config::default())
    }

    /// Connects to the main process that launched this one, with settings.
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

    /// Connects to the main process of the same user that has bound the endpoint `name`.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NoSuchEndpoint`] or [`ConnectError::Stale`] if no process listens there;
    /// [`ConnectError::Refused`] if main does not admit this process.
    pub fn attach(name: &str, contract: Contract) -> Result<Self, ConnectError> {
        Self::attach_with(name, contract, Config::default())
    }

    /// Connects by name, with settings.
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

    /// Waits up to `timeout` for a main process to bind the endpoint again, and begins a session with it.
    /// For use after [`RunError::MainGone`]; a session that still lives ends here.
    ///
    /// The new endpoint has the settings, listeners, handlers and subscriptions of this one, under the same
    /// ids. Messages that the old main had committed are delivered first. Pending invokes fail once, with
    /// [`InvokeError::Gone`]. This endpoint and its clones stay ends of the old session: give the new one
    /// to all code that sends, listeners among it.
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
    /// It finds main by the name with which it [attached](Self::attach), or by the name of the main that
    /// launched it. A launched renderer outlives its main only without
    /// [`LaunchOptions::die_with_main`](crate::LaunchOptions::die_with_main). The new main must admit it
    /// ([`IpcMain::on_attach`](crate::IpcMain::on_attach)).
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach), after the time-out if no main is there; at once if main refuses. Then
    /// this endpoint keeps its listeners, and the call may be repeated. [`ConnectError::ChannelMissing`] if
    /// something is registered on a channel that the new main lacks or does not allow.
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
            // It fails if main has gone again, which the loop reports.
            let _ = renderer.read_topic("topic", number, conflate);
        }
        Ok(renderer)
    }

    /// Returns whether a main process launched this one, so that [`connect`](Self::connect) can work.
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
    /// A message that is too long for the ring travels in memory that main provides, up to
    /// [`Policy::attachment_bytes_max`](crate::Policy::attachment_bytes_max) and
    /// [`Config::attachment_max`](crate::Config::attachment_max). Then this waits for main's answer too,
    /// within the same time.
    ///
    /// # Errors
    ///
    /// The reason why the message was not sent.
    #[inline]
    pub fn send<T: Payload + ?Sized>(&self, event: Event<T>, message: &T) -> Result<(), SendError> {
        self.inner.port.send(event.key(), message, Patience::Usual)
    }

    /// Sends many messages in order, each as [`send`](Self::send) would, at less cost: the outbox is
    /// locked and the peer woken once for many. Messages of other threads may come between.
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
    /// The reason why one of them was not sent, and how many were.
    pub fn send_all<T: Payload + ?Sized>(
        &self,
        event: Event<T>,
        messages: &[impl Borrow<T>],
    ) -> Result<(), SendAllError> {
        self.inner.port.send_all(event.key(), messages, Patience::Usual)
    }

    /// Sends a message to main, or fails at once with [`SendError::Full`]. If the message is too long for
    /// the ring, the first call asks main for memory, and calls fail until it has come.
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

    /// Sends a message to main. Waits for room no longer than `timeout`.
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

    /// Lends room in the ring for one message, to be written in place and then sent. A message that is too
    /// long for the ring is written in the memory that it travels in.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn loan<T: FixedLayout>(&self, event: Event<T>) -> Result<Loan<'_, T>, SendError> {
        Loan::begin(&self.inner.port, event.key(), Patience::Usual)
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
    /// lapped gets the number of lost messages: [`IpcRendererEvent::lost`].
    ///
    /// # Errors
    ///
    /// As [`on`](Self::on), or if main could not be notified.
    pub fn subscribe<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        self.subscribe_as(topic, false, listener)
    }

    /// Calls `listener` for the newest message only, whenever this process looks. Skipped messages count
    /// as lost. A process reads a topic in one way: the last subscription decides.
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
            return Err(RegisterError::unknown(&key));
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
        let topic = Some(ReadTopic { reader, conflate });
        self.change_topics(name, topic, Label::new(Kind::Subscribe, number))
    }

    /// Stops reading a topic and removes its listeners.
    ///
    /// # Errors
    ///
    /// If main could not be notified. The topic is not read any more all the same.
    pub fn unsubscribe<T: Payload + ?Sized>(&self, topic: Topic<T>) -> Result<(), SendError> {
        let key = topic.key();
        let number = self.inner.port.permitted(&key)?;
        self.inner.dispatcher.routes.update(|routes| routes.remove_all_listeners(Some(number)));
        self.change_topics(key.name(), None, Label::new(Kind::Unsubscribe, number))
    }

    fn change_topics(
        &self,
        name: &'static str,
        topic: Option<ReadTopic>,
        label: Label,
    ) -> Result<(), SendError> {
        self.inner.topics.change(label.channel, topic);
        self.inner.wake();
        // A new reader exists before main is told: what is published from here on is seen.
        self.inner.port.commit_patiently(name, label, &[], Patience::Usual)
    }

    fn listen<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        times: Times,
        mut listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> Result<ListenerId, RegisterError> {
        let number = self.registrable(&key)?;
        Ok(self.inner.dispatcher.listen(number, times, move |delivery, bytes| {
            T::decode(bytes, |value| listener(&IpcRendererEvent { delivery }, value))
        }))
    }

    pub(crate) fn registrable(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        let number = self.number(key)?;
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
        let number = self.number(&method.key())?;
        self.inner.dispatcher.handle(method, number, Times::Always, move |call, arguments| {
            handler(&IpcRendererInvokeEvent { call }, arguments)
        })
    }

    /// Answers main's invokes of a method at once, with values that the handler need not own.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_with<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcRendererInvokeEvent<'_>, &A, Reply<'_, R, E>) + Send + 'static,
    ) -> Result<(), RegisterError> {
        let number = self.number(&method.key())?;
        let times = Times::Always;
        self.inner.dispatcher.handle_with(method, number, times, move |call, arguments, reply| {
            handler(&IpcRendererInvokeEvent { call }, arguments, reply);
        })
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
        let number = self.number(&method.key())?;
        self.inner.dispatcher.handle_deferred(method, number, move |call, arguments, responder| {
            handler(&IpcRendererInvokeEvent { call }, arguments, responder);
        })
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
        let number = self.number(&method.key())?;
        self.inner.dispatcher.handle_async(method, number, move |call, arguments| {
            handler(&IpcRendererInvokeEvent { call }, arguments)
        })
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

    fn number(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        self.inner.port.channels.number(key).ok_or_else(|| RegisterError::unknown(key))
    }

    /// Returns whether this renderer's policy allows the channel: for a user interface that offers only
    /// what works. Main enforces the policy in any case.
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
    /// [`RunError::MainGone`] when main went. Everything that it sent before has been delivered.
    pub fn run(&self) -> Result<(), RunError> {
        self.inner.session.run(None)
    }

    /// Runs listeners and handlers for this time.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&self, duration: Duration) -> Result<(), RunError> {
        self.inner.session.run(Some(duration))
    }

    /// Runs the listeners and handlers of the messages that are there, and returns the number of messages.
    /// Never sleeps.
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

    /// Gives up every right that this process does not need to talk to main, for good: see
    /// [`Sandbox`](crate::Sandbox).
    ///
    /// From here on no thread of this process can open a file, make a socket, a process or shared memory,
    /// signal or inspect another process, or map memory as executable. Sending, invoking, listening,
    /// topics and large payloads work as before. So do threads, memory, clocks and open descriptors such
    /// as standard output. A refused call fails with `EPERM` or `EACCES`.
    ///
    /// Before this call, read files, load libraries, build an asynchronous runtime and connect other
    /// sessions. Close descriptors that hostile code must not have, since open ones stay open. A renderer
    /// that attached by name cannot reconnect.
    ///
    /// Missing kernel features are reported; the others are enforced. A second call does nothing, and
    /// returns the same.
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
    /// Running threads are interrupted for a moment by SIGURG.
    ///
    /// # Errors
    ///
    /// [`SandboxError::Trusted`](crate::SandboxError::Trusted) with a backend that trusts its renderers.
    /// Otherwise if a feature of this kernel could not be enforced, as when a thread blocks all signals.
    /// Then end the process, since a part of the sandbox may be in force.
    #[cfg(all(feature = "sandbox", target_os = "linux"))]
    pub fn sandbox(&self) -> Result<crate::Sandbox, crate::SandboxError> {
        if self.backend() != Backend::Sealed {
            return Err(crate::SandboxError::Trusted);
        }
        crate::sandbox::enter()
    }

    /// How this session's processes share memory: the backend with which main has bound its endpoint.
    pub fn backend(&self) -> Backend {
        self.inner.origin.backend
    }

    /// Returns whether main is there.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// The session's counters.
    pub fn counters(&self) -> Counters {
        self.inner.port.counters.read()
    }

    /// The session's state at this moment: what waits, and in which process.
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
