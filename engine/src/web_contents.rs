//! Main's handle of one renderer: Electron's `webContents`.

use std::{borrow::Borrow, fmt, sync::Arc, time::Duration};

use crate::{
    contract::{
        Channel, Method, Push,
        payload::{FixedLayout, Payload},
    },
    metrics::{SessionMetrics, counters::Counters},
    peer::{
        Patience, Port,
        error::{HandlerError, InvokeError, SendAllError, SendError},
        invocation::Invocation,
        loan::Loan,
    },
    primitives::Ordering,
    session::liveness::GoneReason,
};

/// One renderer, as main sees it. Cheap to clone, `Send` and `Sync`. It outlives the renderer; then
/// every send fails with [`SendError::Gone`].
///
/// Pushes to one window arrive in the order of the calls. A message that is sent before the renderer
/// has connected waits in its ring.
#[derive(Clone)]
pub struct WebContents {
    port: Arc<Port>,
}

impl WebContents {
    pub(crate) fn new(port: Arc<Port>) -> Self {
        Self { port }
    }

    /// The window's number. A main process never uses it again.
    pub fn id(&self) -> u32 {
        self.port.window
    }

    /// The renderer's process id, from the kernel. 0 if this process does not see its namespace.
    pub fn os_process_id(&self) -> u32 {
        // Relaxed: a process id, for display.
        self.port.peer_pid.load(Ordering::Relaxed)
    }

    /// Pushes a message to the renderer. Waits while its ring is full, up to
    /// [`Config::send_timeout`](crate::Config::send_timeout). A listener or handler of main must not wait
    /// for a renderer: there it fails at once with [`SendError::Full`].
    ///
    /// A message that is too long for the ring travels in memory of its own. At most
    /// [`Config::attachment_max`](crate::Config::attachment_max) bytes may be on their way, and this
    /// waits for room among them too.
    ///
    /// # Errors
    ///
    /// The reason why the message was not sent.
    #[inline]
    pub fn send<T: Payload + ?Sized>(&self, push: Push<T>, message: &T) -> Result<(), SendError> {
        self.port.send(push.key(), message, Patience::Usual)
    }

    /// Pushes many messages in order, each as [`send`](Self::send) would, at less cost: the outbox is
    /// locked and the peer woken once for many. Messages of other threads may come between.
    ///
    /// ```no_run
    /// # use ringbridge::{Push, WebContents};
    /// # const TICK: Push<u64> = Push::new("tick");
    /// # fn f(window: &WebContents) -> Result<(), ringbridge::SendAllError> {
    /// window.send_all(TICK, &[1, 2, 3])
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason why one of them was not sent, and how many were.
    pub fn send_all<T: Payload + ?Sized>(
        &self,
        push: Push<T>,
        messages: &[impl Borrow<T>],
    ) -> Result<(), SendAllError> {
        self.port.send_all(push.key(), messages, Patience::Usual)
    }

    /// Pushes a message, or fails at once with [`SendError::Full`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn try_send<T: Payload + ?Sized>(
        &self,
        push: Push<T>,
        message: &T,
    ) -> Result<(), SendError> {
        self.port.send(push.key(), message, Patience::None)
    }

    /// Pushes a message. Waits for room no longer than `timeout`, and not at all inside main's loop.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_timeout<T: Payload + ?Sized>(
        &self,
        push: Push<T>,
        message: &T,
        timeout: Duration,
    ) -> Result<(), SendError> {
        self.port.send(push.key(), message, Patience::For(timeout))
    }

    /// Lends room in the renderer's ring for one message, to be written in place and then sent. A message
    /// that is too long for the ring is written in the memory that it travels in.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn loan<T: FixedLayout>(&self, push: Push<T>) -> Result<Loan<'_, T>, SendError> {
        Loan::begin(&self.port, push.key(), Patience::Usual)
    }

    /// Asks the renderer to run a method. The deadline is mandatory: a renderer may never answer.
    ///
    /// # Errors
    ///
    /// If the request could not be sent.
    pub fn invoke<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        arguments: &A,
        timeout: Duration,
    ) -> Result<Invocation<R, E>, InvokeError<E::Owned>> {
        let number = self.port.known(&method.key())?;
        Invocation::begin(&self.port, method, number, arguments, Some(timeout))
    }

    /// The longest payload that can ever be pushed to this renderer, in bytes.
    pub fn payload_max(&self) -> usize {
        self.port.large.message_max()
    }

    /// Ends the session. The renderer sees main go, and `render-process-gone` has the reason `closed`. A
    /// renderer that main launched is killed if it does not end by itself within 2 s.
    pub fn close(&self) {
        self.port.request_close();
    }

    /// How the renderer went, or `None` while it is there.
    pub fn gone(&self) -> Option<GoneReason> {
        self.port.gone().cloned()
    }

    /// The time after a crash at which main launches the renderer again, by
    /// [`LaunchOptions::restart`](crate::LaunchOptions::restart). `None`: it does not. Known from
    /// `render-process-gone` on. [`close`](Self::close) before that time prevents the launch.
    pub fn restarts_in(&self) -> Option<Duration> {
        *self.port.restarts_in.lock()
    }

    /// The session's counters, seen from main.
    pub fn counters(&self) -> Counters {
        self.port.counters.read()
    }

    /// The session's state at this moment: what waits, and in which process.
    pub fn metrics(&self) -> SessionMetrics {
        self.port.metrics()
    }
}

impl fmt::Debug for WebContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebContents({}, pid {})", self.id(), self.os_process_id())
    }
}

impl fmt::Display for WebContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "renderer {}", self.id())
    }
}

impl PartialEq for WebContents {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.port, &other.port)
    }
}

impl Eq for WebContents {}
