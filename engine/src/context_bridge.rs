//! The channels of a renderer that a page may use: Electron's `contextBridge`.
//!
//! A page is less trusted than the renderer process that shows it: a script in a browser, say. It knows channels by
//! name, and its values have a type of its own world, `V` (JSON, say). The bridge holds the exposed channels, each for
//! one use, and the conversions. A channel that main's policy does not allow this renderer cannot be exposed. Main
//! enforces that policy too.
//!
//! ```text
//!   page ── name, V ──▶ ContextBridge ── typed value ──▶ outbox ──▶ main
//!   page ◀── V, when it asks ── the newest value ◀── listener ◀──── pushes
//! ```
//!
//! A page takes pushes at its own pace. The loop's thread copies the newest one and counts it. A page converts it on its
//! own thread. So nothing queues up for a slow page, and the loop waits for none.
//!
//! Topics are not exposed: a page does not read main's memory.

pub(crate) mod error;

use std::{
    borrow::Borrow,
    collections::HashMap,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    context_bridge::error::{BridgeError, ExposeError},
    contract::{Channel, ChannelKey, ChannelKind, Event, Method, Push, payload::Payload},
    ipc_renderer::IpcRenderer,
    peer::{
        error::{HandlerError, RegisterError},
        router::ListenerId,
    },
    primitives::Mutex,
};

/// The channels of one renderer that a page may use.
///
/// `V` is the type of a page's values. With JSON:
///
/// ```no_run
/// # use ringbridge::{ContextBridge, Event, Exposed, IpcRenderer, Method, Push};
/// # #[derive(Clone)] enum Json { Null, Number(f64), Text(String) }
/// # const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// # const COUNT: Method<(), u32> = Method::new("count");
/// # const LOAD: Push<f32> = Push::new("load");
/// # fn f(ipc: &IpcRenderer) -> Result<(), Box<dyn std::error::Error>> {
/// let mut electron = ContextBridge::new(ipc);
/// electron.expose_in_main_world(Exposed::send(LOG_MESSAGE, |value| match value {
///     Json::Text(text) => Ok(text),
///     _ => Err("expected a text".to_owned()),
/// }))?;
/// electron.expose_in_main_world(Exposed::invoke(
///     COUNT,
///     |_nothing| Ok(()),
///     |count| Ok(Json::Number(count.into())),
/// ))?;
/// electron.expose_in_main_world(Exposed::on(LOAD, |load| Json::Number((*load).into())))?;
///
/// // On behalf of the page:
/// electron.send("log-message", Json::Text("User clicked a button!".to_owned()))?;
/// assert!(electron.send("format-disk", Json::Null).is_err());
/// # Ok(())
/// # }
/// ```
///
/// It belongs to one session. After [`IpcRenderer::reconnect`] make another, since the new main's policy may differ.
/// Dropping it removes its listeners.
pub struct ContextBridge<V> {
    ipc: IpcRenderer,
    exposed: HashMap<(ChannelKind, &'static str), Way<V>>,
    listeners: Vec<ListenerId>,
}

/// A page's use of a channel.
enum Way<V> {
    Send(Call<V, ()>),
    Invoke(Call<V, BridgeReply<V>>),
    On(Arc<dyn Newest<V>>),
}

type Call<V, R> = Box<dyn Fn(&IpcRenderer, V) -> Result<R, BridgeError> + Send + Sync>;

/// A channel, the one use that a page may make of it, and the conversions of its values.
pub struct Exposed<V> {
    key: ChannelKey,
    open: Box<Open<V>>,
}

/// Opens a channel for a page, with a listener if it needs one.
type Open<V> = dyn FnOnce(&IpcRenderer) -> Result<(Way<V>, Option<ListenerId>), RegisterError>;

/// A pending reply to a page. Dropping it cancels the invoke.
pub type BridgeReply<V> = Pin<Box<dyn Future<Output = Result<V, BridgeError>> + Send>>;

impl<V: 'static> Exposed<V> {
    /// Lets a page send on `event`. `from_page` converts the page's value to the message, or returns what is wrong.
    pub fn send<T>(
        event: Event<T>,
        from_page: impl Fn(V) -> Result<T::Owned, String> + Send + Sync + 'static,
    ) -> Self
    where
        T: Payload + ?Sized + 'static,
    {
        let channel = event.name();
        let send = move |ipc: &IpcRenderer, value: V| {
            let message =
                from_page(value).map_err(|why| bad_value(ChannelKind::Event, channel, why))?;
            Ok(ipc.try_send(event, message.borrow())?)
        };
        let way = Way::Send(Box::new(send));
        Self { key: event.key(), open: Box::new(|_| Ok((way, None))) }
    }

    /// Lets a page invoke `method`. `from_page` converts the page's value to the arguments, `to_page` the reply to the
    /// page's value. Each may return what is wrong.
    pub fn invoke<A, R, E>(
        method: Method<A, R, E>,
        from_page: impl Fn(V) -> Result<A::Owned, String> + Send + Sync + 'static,
        to_page: impl Fn(R::Owned) -> Result<V, String> + Send + Sync + 'static,
    ) -> Self
    where
        A: Payload + ?Sized + 'static,
        R: Payload + ?Sized + 'static,
        E: HandlerError + ?Sized + 'static,
    {
        let channel = method.name();
        let to_page = Arc::new(to_page);
        let invoke = move |ipc: &IpcRenderer, value: V| -> Result<BridgeReply<V>, BridgeError> {
            let arguments =
                from_page(value).map_err(|why| bad_value(ChannelKind::Method, channel, why))?;
            let invocation = ipc
                .invoke(method, arguments.borrow())
                .map_err(|error| BridgeError::Invoke { channel, message: error.to_string() })?;
            let to_page = to_page.clone();
            Ok(Box::pin(async move {
                let message = match invocation.await {
                    Ok(reply) => match to_page(reply) {
                        Ok(value) => return Ok(value),
                        Err(why) => why,
                    },
                    Err(error) => error.to_string(),
                };
                Err(BridgeError::Invoke { channel, message })
            }))
        };
        let way = Way::Invoke(Box::new(invoke));
        Self { key: method.key(), open: Box::new(|_| Ok((way, None))) }
    }

    /// Lets a page listen to `push`. `to_page` converts only the messages that a page takes.
    pub fn on<T>(push: Push<T>, to_page: impl Fn(&T) -> V + Send + Sync + 'static) -> Self
    where
        T: Payload + ToOwned<Owned = <T as Payload>::Owned> + ?Sized + 'static,
        <T as Payload>::Owned: Sync,
    {
        let open = move |ipc: &IpcRenderer| {
            let slot = Arc::new(Slot::<T, _> { state: Mutex::default(), to_page });
            let filled = slot.clone();
            let listener = ipc.on(push, move |_event, message| filled.put(message))?;
            Ok((Way::On(slot), Some(listener)))
        };
        Self { key: push.key(), open: Box::new(open) }
    }
}

impl<V> ContextBridge<V> {
    /// A bridge without channels.
    pub fn new(ipc: &IpcRenderer) -> Self {
        Self { ipc: ipc.clone(), exposed: HashMap::new(), listeners: Vec::new() }
    }

    /// Lets the page use a channel.
    ///
    /// # Errors
    ///
    /// [`ExposeError::UnknownChannel`] and [`ExposeError::Forbidden`] for a channel that this renderer
    /// may not use itself: main said so when the session began.
    pub fn expose_in_main_world(&mut self, exposed: Exposed<V>) -> Result<(), ExposeError> {
        let Exposed { key, open } = exposed;
        let (kind, channel) = (key.kind(), key.name());
        if self.exposed.contains_key(&(kind, channel)) {
            return Err(ExposeError::Twice { channel });
        }
        let opened = self.ipc.registrable(&key).and_then(|_number| open(&self.ipc));
        let (way, listener) = opened.map_err(|error| match error {
            RegisterError::Forbidden { channel } => ExposeError::Forbidden { channel },
            _ => ExposeError::UnknownChannel { channel },
        })?;
        self.exposed.insert((kind, channel), way);
        self.listeners.extend(listener);
        Ok(())
    }

    /// The exposed channels.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelKind, &'static str)> {
        self.exposed.keys().copied()
    }

    /// The page's `send`. Never waits for space.
    ///
    /// # Errors
    ///
    /// If the page may not, if its value is none for this channel, or as [`IpcRenderer::try_send`].
    pub fn send(&self, channel: &str, value: V) -> Result<(), BridgeError> {
        match self.exposed.get(&(ChannelKind::Event, channel)) {
            Some(Way::Send(send)) => send(&self.ipc, value),
            _ => Err(not_exposed(ChannelKind::Event, channel)),
        }
    }

    /// The page's `invoke`. The reply comes while a thread drives the renderer's loop, and is converted where it is
    /// awaited.
    ///
    /// # Errors
    ///
    /// If the page may not, or its value is none for this channel. Later errors are the reply's.
    pub fn invoke(&self, channel: &str, arguments: V) -> Result<BridgeReply<V>, BridgeError> {
        match self.exposed.get(&(ChannelKind::Method, channel)) {
            Some(Way::Invoke(invoke)) => invoke(&self.ipc, arguments),
            _ => Err(not_exposed(ChannelKind::Method, channel)),
        }
    }

    /// The page's `on`: main's pushes from now on.
    ///
    /// # Errors
    ///
    /// If the page may not.
    pub fn on(&self, channel: &str) -> Result<Latest<V>, BridgeError> {
        match self.exposed.get(&(ChannelKind::Push, channel)) {
            Some(Way::On(newest)) => Ok(Latest { seen: newest.count(), newest: newest.clone() }),
            _ => Err(not_exposed(ChannelKind::Push, channel)),
        }
    }
}

impl<V> Drop for ContextBridge<V> {
    fn drop(&mut self) {
        for listener in self.listeners.drain(..) {
            self.ipc.off(listener);
        }
    }
}

impl<V> fmt::Debug for ContextBridge<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.channels()).finish()
    }
}

#[cold]
fn not_exposed(kind: ChannelKind, channel: &str) -> BridgeError {
    BridgeError::NotExposed { kind, channel: channel.to_owned() }
}

#[cold]
fn bad_value(kind: ChannelKind, channel: &'static str, why: String) -> BridgeError {
    BridgeError::BadValue { kind, channel, why }
}

/// A page's position in the pushes of one channel.
pub struct Latest<V> {
    newest: Arc<dyn Newest<V>>,
    /// The number of pushes at the last look.
    seen: u64,
}

/// The newest push, for several that came since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflated<V> {
    /// The newest one.
    pub value: V,
    /// The number of pushes that came, this one included. The others were skipped.
    pub count: u64,
}

impl<V> Latest<V> {
    /// Takes the newest push, if one has come since the last look.
    pub fn take(&mut self) -> Option<Conflated<V>> {
        self.newest.take(&mut self.seen)
    }

    /// Waits until there is a push to take. Many tasks can wait at once.
    pub async fn changed(&mut self) {
        poll_fn(|context| self.poll_changed(context)).await;
    }

    /// Returns whether there is a push to take. If not, it wakes the task when there is.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.newest.poll(self.seen, context.waker())
    }
}

/// The newest message of a push of any type.
trait Newest<V>: Send + Sync {
    /// Returns the number of messages so far.
    fn count(&self) -> u64;
    fn take(&self, seen: &mut u64) -> Option<Conflated<V>>;
    fn poll(&self, seen: u64, waker: &Waker) -> Poll<()>;
}

/// The place in which the loop leaves the newest message for pages.
struct Slot<T: Payload + ?Sized, F> {
    /// Locked briefly: the loop copies a message, a page a pointer.
    state: Mutex<SlotState<<T as Payload>::Owned>>,
    to_page: F,
}

struct SlotState<O> {
    count: u64,
    newest: Option<Arc<O>>,
    /// The tasks that wait for the next message, each once.
    waiting: Vec<Waker>,
}

impl<O> Default for SlotState<O> {
    fn default() -> Self {
        Self { count: 0, newest: None, waiting: Vec::new() }
    }
}

impl<T, F> Slot<T, F>
where
    T: Payload + ToOwned<Owned = <T as Payload>::Owned> + ?Sized,
{
    /// On the loop's thread.
    fn put(&self, message: &T) {
        let mut state = self.state.lock();
        state.count += 1;
        // Reuses the memory of the last message, unless a page reads it.
        match state.newest.as_mut().and_then(Arc::get_mut) {
            Some(newest) => message.clone_into(newest),
            None => state.newest = Some(Arc::new(message.to_owned())),
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<V, T, F> Newest<V> for Slot<T, F>
where
    T: Payload + ToOwned<Owned = <T as Payload>::Owned> + ?Sized,
    <T as Payload>::Owned: Sync,
    F: Fn(&T) -> V + Send + Sync,
{
    fn count(&self) -> u64 {
        self.state.lock().count
    }

    fn take(&self, seen: &mut u64) -> Option<Conflated<V>> {
        let state = self.state.lock();
        let count = state.count - *seen;
        let newest = state.newest.clone().filter(|_| count > 0)?;
        *seen = state.count;
        drop(state);
        let newest: &<T as Payload>::Owned = &newest;
        Some(Conflated { value: (self.to_page)(newest.borrow()), count })
    }

    fn poll(&self, seen: u64, waker: &Waker) -> Poll<()> {
        let mut state = self.state.lock();
        if state.count > seen {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|other| other.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: Push<u32> = Push::new("push");

    fn slot() -> Arc<Slot<u32, impl Fn(&u32) -> String>> {
        Arc::new(Slot { state: Mutex::default(), to_page: u32::to_string })
    }

    fn latest<F: Fn(&u32) -> String + Send + Sync + 'static>(
        slot: &Arc<Slot<u32, F>>,
    ) -> Latest<String> {
        Latest { seen: Newest::<String>::count(&**slot), newest: slot.clone() }
    }

    fn is_pending(latest: &mut Latest<String>, waker: &Waker) -> bool {
        latest.poll_changed(&mut Context::from_waker(waker)).is_pending()
    }

    #[test]
    fn a_page_gets_the_newest_push_and_how_many_there_were() {
        let slot = slot();
        slot.put(&1);
        let mut page = latest(&slot);
        assert_eq!(page.take(), None, "what was before is past");
        (2..=5).for_each(|message| slot.put(&message));
        assert_eq!(page.take(), Some(Conflated { value: "5".to_owned(), count: 4 }));
        assert_eq!(page.take(), None);
    }

    #[test]
    fn pages_have_places_of_their_own() {
        let slot = slot();
        let (mut quick, mut slow) = (latest(&slot), latest(&slot));
        slot.put(&1);
        assert_eq!(quick.take().unwrap().count, 1);
        slot.put(&2);
        assert_eq!(quick.take().unwrap().count, 1);
        assert_eq!(slow.take(), Some(Conflated { value: "2".to_owned(), count: 2 }));
    }

    #[test]
    fn who_waits_is_woken_once_by_the_next_push_and_waits_in_one_place_only() {
        struct Count(std::sync::atomic::AtomicU32);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(0.into()));
        let waker = Waker::from(count.clone());
        let woken = || count.0.load(std::sync::atomic::Ordering::Relaxed);
        let slot = slot();
        let mut page = latest(&slot);
        assert!(is_pending(&mut page, &waker) && is_pending(&mut page, &waker));
        assert_eq!(slot.state.lock().waiting.len(), 1);
        slot.put(&1);
        slot.put(&2);
        assert_eq!(woken(), 1);
        assert!(!is_pending(&mut page, &waker), "there is something to take");
        assert_eq!(page.take().unwrap().count, 2);
        assert!(is_pending(&mut page, &waker));
    }

    #[test]
    fn an_error_of_an_invoke_reads_as_electrons() {
        let texts = [
            not_exposed(PUSH.key().kind(), "x").to_string(),
            not_exposed(ChannelKind::Method, "x").to_string(),
            BridgeError::Invoke { channel: "x", message: "no reply".to_owned() }.to_string(),
            BridgeError::Invoke {
                channel: "x",
                message: "Error invoking remote method 'x': Error: no".to_owned(),
            }
            .to_string(),
        ];
        assert_eq!(
            texts,
            [
                "the channel 'x' is not exposed to this page for 'on'",
                "Error invoking remote method 'x': Error: the channel 'x' is not exposed to this page for 'invoke'",
                "Error invoking remote method 'x': Error: no reply",
                "Error invoking remote method 'x': Error: no",
            ]
        );
    }
}
