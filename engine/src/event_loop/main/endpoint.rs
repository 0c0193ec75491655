//! Opening main's endpoint.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    hooks::Hooks, launcher::Launcher, notices::Notices, shared::MainShared, topics::Topics,
    windows::Windows,
};
use crate::{
    config::Config,
    contract::{Contract, channel_table::ChannelTable, declarations},
    event_loop::driver::SharedLoop,
    metrics::{counters::Counter, sleeps::SleepCounters},
    os::process,
    peer::{dispatch::Dispatcher, router::Router},
    primitives::{AtomicBool, AtomicU32, Mutex},
    session::{endpoint::Endpoint, error::BindError},
    sync::{loop_cell::LoopKey, snapshot::Snapshot},
    trace,
    wake::{adaptive::Waiter, executor::Executor},
};

/// Main's endpoint: what its threads share, and the loop of its windows.
pub(crate) type MainEndpoint = SharedLoop<Windows>;

impl MainEndpoint {
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
        // Each window needs a few descriptors. The launch that meets the limit reports it.
        let _ = process::raise_descriptor_limit();

        let topics = Topics::create(&meeting.backing(), &declared, &config).map_err(io)?;
        let channels = Arc::new(ChannelTable::new(declared.into_iter().map(Some).collect()));
        let routes = Snapshot::new(Router::new(channels.len()));
        let key = LoopKey::new();
        let key_name = key.id();
        let after = config.unresponsive_after;
        let windows = Windows::new(endpoint, routes.cached(), key, after).map_err(io)?;
        let notices = Arc::new(Notices::new(meeting.clone()));
        let waking = notices.clone();
        let executor = Executor::new(Arc::new(move || waking.wake()));
        let waiter = Waiter::new(config.wait, config.spin_ceiling);

        trace::endpoint_opened(name);
        Ok(Arc::new_cyclic(|event_loop: &Weak<Self>| {
            let shared = Arc::new_cyclic(|weak| MainShared {
                config,
                name: name.to_owned(),
                opened: Instant::now(),
                closed: AtomicBool::new(false),
                channels,
                dispatcher: Dispatcher { routes, executor, key: key_name },
                meeting,
                notices,
                windows: Mutex::new(BTreeMap::new()),
                next_window: AtomicU32::new(1),
                topics,
                hooks: Hooks::default(),
                launcher: Launcher::default(),
                refused: Counter::default(),
                sleeps: SleepCounters::default(),
                inspectors: AtomicU32::new(0),
                event_loop: event_loop.clone(),
                weak: weak.clone(),
            });
            Self::new(shared, windows, waiter)
        }))
    }
}
