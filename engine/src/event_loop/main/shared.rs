//! The state that all threads of the main process share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    hooks::{Hooks, MainCounters},
    launcher::Launcher,
    notices::Notices,
    topics::Topics,
};
use crate::{
    config::Config,
    contract::{Channel, Topic, channel_table::ChannelTable, payload::Payload},
    event_loop::driver::SourceShared,
    metrics::{MainMetrics, counters::Counter, sleeps::SleepCounters},
    peer::{
        Port,
        dispatch::Dispatcher,
        error::SendError,
        link::{EventLoop, Reason},
    },
    primitives::{AtomicBool, AtomicU32, Mutex, Ordering},
    session::{control_channel::ControlChannel, transport::Meeting},
    sync::reentrancy::CurrentLoop,
    trace,
};

pub(crate) struct MainShared {
    pub(crate) config: Config,
    /// Of the endpoint.
    pub(super) name: String,
    pub(super) opened: Instant,
    pub(super) closed: AtomicBool,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) dispatcher: Dispatcher,
    pub(super) meeting: Arc<dyn Meeting>,
    pub(super) notices: Arc<Notices>,
    /// The windows whose session is not over, by number.
    pub(super) windows: Mutex<BTreeMap<u32, Arc<Port>>>,
    /// The number of the next window. None is given twice.
    pub(super) next_window: AtomicU32,
    pub(super) topics: Topics,
    pub(crate) hooks: Hooks,
    pub(super) launcher: Launcher,
    pub(super) refused: Counter,
    /// How long the loop slept.
    pub(crate) sleeps: SleepCounters,
    /// The number of inspectors that observe.
    pub(super) inspectors: AtomicU32,
    /// For the ports of its sessions.
    pub(super) event_loop: Weak<dyn EventLoop>,
    /// For jobs of the launching thread.
    pub(super) weak: Weak<Self>,
}

impl MainShared {
    pub(super) fn is_closed(&self) -> bool {
        // Relaxed: a launch at the same time is refused, or ended when the loop closes.
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn windows(&self) -> Vec<Arc<Port>> {
        self.windows.lock().values().cloned().collect()
    }

    pub(crate) fn windows_len(&self) -> usize {
        self.windows.lock().len()
    }

    pub(super) fn window(&self, number: u32) -> Option<Arc<Port>> {
        self.windows.lock().get(&number).cloned()
    }

    pub(super) fn add_window(&self, port: &Arc<Port>) {
        self.windows.lock().insert(port.window, port.clone());
        if self.hooks.watch_responsiveness() {
            port.sender.tell_of_next_send();
        }
    }

    /// Ends the state of a window whose session is over.
    pub(super) fn forget_window(&self, port: &Arc<Port>) {
        self.windows.lock().remove(&port.window);
        self.topics.unsubscribe_from_all(port);
    }

    /// Has the loop watch the windows to which something is sent. Call after adding a hook for that.
    pub(crate) fn watch_responsiveness(&self) {
        self.windows.lock().values().for_each(|port| port.sender.tell_of_next_send());
    }

    /// Counts, and reports, a connection that is not let in.
    pub(super) fn refuse(&self, control: &ControlChannel, why: &str) {
        self.refused.add();
        trace::refused(control.peer_credentials().map_or(0, |peer| peer.pid), why);
    }

    pub(crate) fn publish<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        message: &T,
    ) -> Result<u64, SendError> {
        let channel = topic.name();
        let unknown = SendError::UnknownChannel { channel };
        let Some(number) = self.channels.number(&topic.key()) else { return Err(unknown) };
        message
            .encode(|bytes| self.topics.publish(number, bytes))
            .map_err(|source| SendError::Encode { channel, source })?
            .ok_or(unknown)?
            .map_err(|error| SendError::TooLarge { channel, len: error.len, max: error.max })
    }

    pub(crate) fn counters(&self) -> MainCounters {
        MainCounters { refused: self.refused.get(), published: self.topics.published.get() }
    }

    pub(crate) fn metrics(&self) -> MainMetrics {
        let MainCounters { refused, published } = self.counters();
        MainMetrics {
            windows: self.windows_len() as u64,
            // Relaxed: for people.
            inspectors: self.inspectors.load(Ordering::Relaxed).into(),
            refused,
            published,
            sleeps: self.sleeps.read().count(),
            slept_ns: self.sleeps.total_ns(),
        }
    }
}

impl SourceShared for MainShared {
    fn current_loop(&self) -> CurrentLoop {
        self.notices.current_loop()
    }

    fn wake(&self) {
        self.notices.wake();
    }

    fn notice(&self, window: u32, reason: Reason) {
        self.notices.push(window, reason);
    }
}
