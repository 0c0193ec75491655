//! Beginning and ending a renderer's session, and carrying its listeners over to the next one.

use std::{
    io,
    sync::{Arc, OnceLock, Weak},
    thread,
};

use fixedbitset::FixedBitSet;

use super::{
    inbox::Inbox,
    shared::{Origin, RendererShared, wake},
    topics::TopicList,
};
use crate::{
    config::Config,
    contract::{ChannelKind, channel_table::ChannelTable},
    event_loop::driver::SharedLoop,
    metrics::counters::SessionCounters,
    peer::{
        Link, Port, SessionLimits, Side,
        dispatch::{Dispatcher, Routes},
        large::{borrower::Borrower, limits::AttachmentLimits, outgoing::Attachments},
        router::Router,
    },
    primitives::AtomicU32,
    ring::{
        consumer::{Consumer, Writer},
        producer::Producer,
    },
    session::{control_channel::ControlChannel, joining::Joined, liveness::GoneReason},
    sync::{flag::Flag, loop_cell::LoopKey, snapshot::Snapshot},
    wake::{adaptive::Waiter, bell::PeerBell, executor::Executor},
};

/// A renderer's session: what its threads share, and the loop of its inbox.
pub(crate) type RendererSession = SharedLoop<Inbox>;

/// What an application has registered, on its way into another session.
pub(crate) struct Carried {
    pub(crate) registered: (Routes, LoopKey),
    /// Numbers in the new session, and whether only the newest message is of interest.
    pub(crate) topics: Vec<(u16, bool)>,
}

impl RendererSession {
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
        let session = Arc::new_cyclic(|event_loop: &Weak<Self>| {
            let pid = control.peer_credentials().map_or(0, |credentials| credentials.pid);
            let producer = Producer::new(own.data, main.control.clone(), 0)
                .limited_to(usize::try_from(welcome.message_max).unwrap_or(usize::MAX));
            let link = Link {
                side: Side::Renderer,
                window: welcome.window,
                peer_pid: AtomicU32::new(pid),
                channels: Arc::new(table),
                allowed,
                limits: SessionLimits {
                    owed_max: welcome.main_pending_max,
                    pending_max: welcome.renderer_pending_max,
                    send_timeout: config.send_timeout,
                    received_max: u64::MAX,
                    rejection_is_violation: false,
                },
                counters: SessionCounters::default(),
                bell: PeerBell::new(signal, own.control.clone(), main.control.clone()),
                interrupt,
                own: own.control.clone(),
                peer: main.control,
                event_loop: event_loop.clone(),
                gone: OnceLock::new(),
            };
            let port = Port::new(
                link,
                producer,
                welcome.main_capacity as usize,
                Attachments::Renderer(borrower.clone()),
                limits.lent_message_max().min(welcome.message_max),
            );
            let woken = port.clone();
            let executor = Executor::new(Arc::new(move || wake(&woken)));
            let routes = Snapshot::new(routes);
            let key_name = key.id();
            let consumer = Consumer::new(Writer::Main, main.data, own.control, 0);
            let inbox = Inbox::new(consumer, routes.cached(), key);
            let waiter =
                Waiter::foreseeing(config.wait, config.spin_ceiling, config.awake_percent_max);
            let shared = RendererShared {
                origin,
                config,
                port,
                dispatcher: Dispatcher { routes, executor, key: key_name },
                topics: TopicList::new(topics),
                control,
                hung_up: Flag::default(),
            };
            Self::new(Arc::new(shared), inbox, waiter)
        });
        session.watch(borrower)?;
        Ok(session)
    }

    /// Starts the thread that takes what main hands over, until main hangs up. Without it main's end would
    /// not be noticed.
    fn watch(self: &Arc<Self>, borrower: Arc<Borrower>) -> io::Result<()> {
        let session = Arc::downgrade(self);
        let watcher = move || {
            borrower.watch();
            drop(borrower);
            let Some(session) = session.upgrade() else { return };
            session.shared.hung_up.raise();
            session.shared.port.interrupt.raise();
            // The thread that drives sees that and ends the session. If none drives, it ends here.
            session.drain();
        };
        thread::Builder::new().name("ringbridge-watch".to_owned()).spawn(watcher)?;
        Ok(())
    }

    pub(crate) fn drive_in_background(self: &Arc<Self>) -> io::Result<()> {
        let session = self.clone();
        thread::Builder::new().name("ringbridge".to_owned()).spawn(move || {
            // If another thread runs the loop, it is driven already.
            let _ = session.run(None);
        })?;
        Ok(())
    }

    /// Ends a session that is over or about to be: delivers what main had committed, if main is gone, and
    /// settles everything that waits.
    pub(crate) fn finish(&self) {
        if self.shared.hung_up.is_raised() {
            self.drain();
        }
        self.hang_up();
    }

    /// Ends the session: main sees a hang-up, and so does the watching thread, which ends.
    pub(crate) fn hang_up(&self) {
        self.shared.port.end(GoneReason::Closed);
        let _ = self.shared.control.shutdown();
    }

    /// Gives up what the application has registered, for a session in which channels have the numbers of
    /// `table`. After the [end](Self::finish).
    pub(crate) fn hand_over(
        &self,
        table: &ChannelTable,
        allowed: &FixedBitSet,
    ) -> Result<Carried, &'static str> {
        let RendererShared { port, dispatcher, topics, .. } = &*self.shared;
        let channels = &port.channels;
        let number = |old: u16| {
            let declaration = channels.get(old)?;
            let new = table.number_of_hash(declaration.hash)?;
            // A method is handled here, which is no affair of the policy's.
            let permitted =
                declaration.kind == ChannelKind::Method || allowed.contains(usize::from(new));
            permitted.then_some(new)
        };
        let name = |old: u16| channels.get(old).map_or("", |declaration| declaration.name);
        self.with_source(|inbox| {
            inbox.topics.apply(topics);
            let routes = dispatcher.routes.load().renumbered(table.len(), number).map_err(name)?;
            let topics = inbox.topics.topics.iter().map(|(&old, topic)| {
                number(old).map(|number| (number, topic.conflate)).ok_or_else(|| name(old))
            });
            let topics = topics.collect::<Result<_, _>>()?;
            // The old loop calls no listener any more: it has lost the key, too.
            dispatcher.routes.update(|routes| *routes = Router::new(channels.len()));
            let key = std::mem::replace(&mut inbox.key, LoopKey::new());
            Ok(Carried { registered: (routes, key), topics })
        })
    }
}
