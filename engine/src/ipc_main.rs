//! The main process's endpoint: Electron's `ipcMain`, with the windows that belong to it.

mod events;

use std::{fmt, future::Future, process::Command, sync::Arc, time::Duration};

pub use events::{IpcMainEvent, IpcMainInvokeEvent};

use crate::event_loop::main::{endpoint::MainEndpoint, shared::MainShared};
pub use crate::event_loop::main::{
    hooks::{Candidate, MainCounters, RenderProcessGone},
    restart::{LaunchOptions, RestartPolicy, Restarts},
};

use crate::{
    config::Config,
    contract::{
        Channel, ChannelKey, Contract, Event, FromRenderer, Method, Topic, payload::Payload,
    },
    event_loop::error::{LaunchError, RunError},
    metrics::{MainMetrics, sleeps::Sleeps},
    peer::{
        error::{HandlerError, RegisterError, SendError},
        responder::{Reply, Responder},
        router::{ListenerId, Times},
        typed_handlers::Handled,
    },
    policy::Policy,
    session::error::BindError,
    web_contents::WebContents,
};

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
/// A listener that holds an `IpcMain` keeps the endpoint alive for ever. Hold a [`WebContents`] instead,
/// or [`close`](IpcMain::close) the endpoint.
#[derive(Clone)]
pub struct IpcMain {
    endpoint: Arc<MainEndpoint>,
}

impl IpcMain {
    /// Opens the endpoint `name` with the default settings.
    ///
    /// # Errors
    ///
    /// [`BindError::NameInUse`] if another main process keeps the name for half a second.
    pub fn bind(name: &str, contract: Contract) -> Result<Self, BindError> {
        Self::bind_with(name, contract, Config::default())
    }

    /// Opens the endpoint `name`.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_with(name: &str, contract: Contract, config: Config) -> Result<Self, BindError> {
        Ok(Self { endpoint: MainEndpoint::open(name, contract, config)? })
    }

    fn shared(&self) -> &Arc<MainShared> {
        &self.endpoint.shared
    }

    // --- listening -------------------------------------------------------------------------------

    /// Calls `listener` for every message on the channel, from any renderer. Listeners of one channel run
    /// in the order of their registration; the same one may be registered twice.
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
        Ok(self.shared().dispatcher.listen(number, times, move |delivery, bytes| {
            T::decode(bytes, |value| listener(&IpcMainEvent { delivery }, value))
        }))
    }

    /// Removes one listener; `false` if it was not there any more.
    pub fn off(&self, listener: ListenerId) -> bool {
        self.shared().dispatcher.routes.update(|routes| routes.off(listener))
    }

    /// Removes all listeners of one event.
    pub fn remove_all_listeners_of<T: Payload + ?Sized>(&self, event: Event<T>) {
        if let Ok(number) = self.number(&event.key()) {
            self.shared()
                .dispatcher
                .routes
                .update(|routes| routes.remove_all_listeners(Some(number)));
        }
    }

    /// Removes all listeners of all events. Handlers stay.
    pub fn remove_all_listeners(&self) {
        self.shared().dispatcher.routes.update(|routes| routes.remove_all_listeners(None));
    }

    /// Calls `validator` for every message of an event, or the arguments of every invoke of a method, before
    /// a listener or handler gets them.
    ///
    /// `Err` is an objection. A message is then dropped and counted
    /// ([`Counters::rejected`](crate::Counters::rejected)); an invoke fails with
    /// [`InvokeError::Rejected`](crate::InvokeError::Rejected). With
    /// [`Policy::rejection_is_violation`] it is a violation too. Validators of one channel run in the order
    /// of their registration, until one objects or panics. They stay for good. Each decodes the payload.
    ///
    /// ```no_run
    /// # use ringbridge::{IpcMain, Method};
    /// # const READ_FILE: Method<str, [u8]> = Method::new("read-file");
    /// # fn f(ipc: &IpcMain) -> Result<(), ringbridge::RegisterError> {
    /// ipc.validate(READ_FILE, |_event, path| {
    ///     if path.contains("..") { Err("the path leads upwards".to_owned()) } else { Ok(()) }
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the contract does not have the channel.
    pub fn validate<C: FromRenderer>(
        &self,
        channel: C,
        mut validator: impl FnMut(&IpcMainEvent<'_>, &C::Said) -> Result<(), String> + Send + 'static,
    ) -> Result<(), RegisterError> {
        let number = self.number(&channel.key())?;
        self.shared().dispatcher.validate(number, move |delivery, bytes| {
            C::Said::decode(bytes, |said| validator(&IpcMainEvent { delivery }, said))
        });
        Ok(())
    }

    // --- handling --------------------------------------------------------------------------------

    /// Answers a method's invokes at once, on the loop's thread.
    ///
    /// # Errors
    ///
    /// [`RegisterError::SecondHandler`] if the method has a handler.
    pub fn handle<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError> {
        self.handle_times(method, Times::Always, handler)
    }

    /// Answers the next invoke only. The handler is removed before it runs.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_once<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError> {
        self.handle_times(method, Times::Once, handler)
    }

    fn handle_times<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        times: Times,
        mut handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError> {
        let number = self.number(&method.key())?;
        self.shared().dispatcher.handle(method, number, times, move |call, arguments| {
            handler(&IpcMainInvokeEvent { call }, arguments)
        })
    }

    /// Answers a method's invokes at once, with values that the handler need not own: a part of the arguments, or a
    /// buffer that it keeps. [`handle`](Self::handle) returns owned values, which for a slice means an allocation.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    ///
    /// ```no_run
    /// use ringbridge::{IpcMain, Method, RegisterError};
    /// const FRAME: Method<u64, [u8]> = Method::new("frame");
    ///
    /// fn serve(ipc: &IpcMain) -> Result<(), RegisterError> {
    ///     let mut picture = vec![0; 640 * 480];
    ///     ipc.handle_with(FRAME, move |_event, number, reply| {
    ///         picture.fill(*number as u8);
    ///         reply.send(&picture);
    ///     })
    /// }
    /// ```
    pub fn handle_with<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A, Reply<'_, R, E>) + Send + 'static,
    ) -> Result<(), RegisterError> {
        let number = self.number(&method.key())?;
        self.shared().dispatcher.handle_with(
            method,
            number,
            Times::Always,
            move |call, arguments, reply| handler(&IpcMainInvokeEvent { call }, arguments, reply),
        )
    }

    /// Answers a method's invokes later, or from other threads, with a [`Responder`]. Invokes overlap, and
    /// replies go in any order.
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    pub fn handle_deferred<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        mut handler: impl FnMut(&IpcMainInvokeEvent<'_>, &A, Responder<R, E>) + Send + 'static,
    ) -> Result<(), RegisterError> {
        let number = self.number(&method.key())?;
        self.shared().dispatcher.handle_deferred(
            method,
            number,
            move |call, arguments, responder| {
                handler(&IpcMainInvokeEvent { call }, arguments, responder);
            },
        )
    }

    /// Answers a method's invokes by futures, which the loop runs, many at a time. A future is dropped
    /// when its caller cancels, times out or goes.
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
        self.shared().dispatcher.handle_async(method, number, move |call, arguments| {
            handler(&IpcMainInvokeEvent { call }, arguments)
        })
    }

    /// Removes a method's handler, if it has one. Calls that are under way still reply.
    pub fn remove_handler<A: Payload + ?Sized, R: Payload + ?Sized, E: Payload + ?Sized>(
        &self,
        method: Method<A, R, E>,
    ) {
        if let Ok(number) = self.number(&method.key()) {
            self.shared().dispatcher.routes.update(|routes| routes.remove_handler(number));
        }
    }

    fn number(&self, key: &ChannelKey) -> Result<u16, RegisterError> {
        self.shared().channels.number(key).ok_or_else(|| RegisterError::unknown(key))
    }

    // --- publishing ------------------------------------------------------------------------------

    /// Publishes a message on a topic with one write for all subscribers. It waits for none of them. A
    /// subscriber that is lapped gets the number of lost messages.
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
        self.shared().publish(topic, message)
    }

    // --- windows ---------------------------------------------------------------------------------

    /// Launches a renderer process. It finds its session by
    /// [`IpcRenderer::connect`](crate::IpcRenderer::connect); earlier messages wait in its ring. It dies
    /// with main.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or there is no memory for it. A program that starts and never connects
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
        command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> Result<WebContents, LaunchError> {
        self.shared().launch(command, policy, options)
    }

    /// Admits renderers that attach by name: `hook` returns the policy of each, or the reason for a refusal.
    /// Without a hook no process is admitted; processes of other users never are.
    pub fn on_attach(
        &self,
        hook: impl FnMut(&Candidate) -> Result<Policy, String> + Send + 'static,
    ) {
        self.shared().hooks.set_admission(hook);
    }

    /// Calls `listener` when a renderer has finished the handshake.
    pub fn on_did_connect(&self, mut listener: impl FnMut(&WebContents) + Send + 'static) {
        self.shared().hooks.did_connect.add(move |window, ()| listener(window));
    }

    /// Calls `listener` when a renderer went for any reason: Electron's `render-process-gone`.
    pub fn on_render_process_gone(
        &self,
        listener: impl FnMut(&WebContents, &RenderProcessGone) + Send + 'static,
    ) {
        self.shared().hooks.process_gone.add(listener);
    }

    /// Calls `listener` when main has launched a crashed renderer again ([`LaunchOptions::restart`]), with
    /// the window that went and the one in its place. The new one has not connected yet; messages to it
    /// wait in its ring.
    ///
    /// `Err`: it could not be launched. The first window's
    /// [`restarts_in`](WebContents::restarts_in) tells whether there is another attempt.
    pub fn on_render_process_restarted(
        &self,
        mut listener: impl FnMut(&WebContents, Result<&WebContents, &LaunchError>) + Send + 'static,
    ) {
        self.shared().hooks.restarted.add(move |old, new| listener(old, new.as_ref()));
    }

    /// Calls `listener` when a renderer has taken nothing for
    /// [`Config::unresponsive_after`](crate::Config::unresponsive_after), although a message or an invoke of
    /// main's waits for it: Electron's `unresponsive`. Main may [`close`](WebContents::close) it.
    ///
    /// A renderer that takes a backlog slowly publishes its position at least after each eighth of its ring.
    pub fn on_unresponsive(&self, mut listener: impl FnMut(&WebContents) + Send + 'static) {
        self.shared().hooks.unresponsive.add(move |window, ()| listener(window));
        self.shared().watch_responsiveness();
    }

    /// Calls `listener` when a renderer that was [unresponsive](Self::on_unresponsive) takes something again:
    /// Electron's `responsive`.
    pub fn on_responsive(&self, mut listener: impl FnMut(&WebContents) + Send + 'static) {
        self.shared().hooks.responsive.add(move |window, ()| listener(window));
        self.shared().watch_responsiveness();
    }

    /// The windows whose session is not over, in the order of their numbers.
    pub fn windows(&self) -> Vec<WebContents> {
        self.shared().windows().into_iter().map(WebContents::new).collect()
    }

    // --- driving ---------------------------------------------------------------------------------

    /// Runs listeners, handlers and sessions until [`stop`](Self::stop) is called.
    ///
    /// # Errors
    ///
    /// If called inside a listener, if another thread runs the loop, or if the system refuses.
    pub fn run(&self) -> Result<(), RunError> {
        self.endpoint.run(None)
    }

    /// Runs the loop for this time, or until it is stopped.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_for(&self, duration: Duration) -> Result<(), RunError> {
        self.endpoint.run(Some(duration))
    }

    /// Takes the frames and tasks that are there, and returns their number. Never sleeps.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn poll(&self) -> Result<usize, RunError> {
        self.endpoint.poll()
    }

    /// Ends a [`run`](Self::run), from any thread or from inside a listener.
    pub fn stop(&self) {
        self.endpoint.stop();
    }

    /// Ends every session and gives the name up. Launched renderers see main go, and are killed after 2 s.
    /// Their `render-process-gone` events are delivered before this returns.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run): it needs the loop, so [`stop`](Self::stop) it first.
    pub fn close(&self) -> Result<(), RunError> {
        self.endpoint.close()
    }

    /// The counters of the endpoint as a whole.
    pub fn counters(&self) -> MainCounters {
        self.shared().counters()
    }

    /// The state of the endpoint as a whole at this moment. Each window has its own
    /// [`metrics`](WebContents::metrics).
    ///
    /// ```no_run
    /// # fn f(ipc: &ringbridge::IpcMain) {
    /// for (name, value) in ipc.metrics().iter() {
    ///     println!("{name} {value}");
    /// }
    /// # }
    /// ```
    pub fn metrics(&self) -> MainMetrics {
        self.shared().metrics()
    }

    /// How long the loop slept, each time that it did.
    pub fn sleeps(&self) -> Sleeps {
        self.shared().sleeps.read()
    }
}

impl fmt::Debug for IpcMain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IpcMain({} windows)", self.shared().windows_len())
    }
}
