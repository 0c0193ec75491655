//! What all threads of a renderer process share.

use std::sync::Arc;

use super::topics::TopicList;
use crate::{
    config::{Backend, Config},
    contract::Contract,
    event_loop::driver::SourceShared,
    peer::{Port, dispatch::Dispatcher, link::Reason},
    session::control_channel::ControlChannel,
    sync::{
        flag::Flag,
        reentrancy::{self, CurrentLoop},
    },
};

/// How a session was begun, to begin it again.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) contract: Contract,
    /// The endpoint's name, if it is known.
    pub(crate) endpoint: Option<String>,
    pub(crate) backend: Backend,
}

pub(crate) struct RendererShared {
    pub(crate) origin: Origin,
    pub(crate) config: Config,
    pub(crate) port: Arc<Port>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) topics: TopicList,
    pub(super) control: Arc<ControlChannel>,
    /// Main hung up: what it committed before is delivered, then the session ends.
    pub(super) hung_up: Flag,
}

impl RendererShared {
    /// Returns whether main is there.
    pub(crate) fn is_connected(&self) -> bool {
        self.port.gone().is_none() && !self.hung_up.is_raised()
    }
}

impl SourceShared for RendererShared {
    fn current_loop(&self) -> CurrentLoop {
        CurrentLoop::renderer(&*self.port)
    }

    fn wake(&self) {
        wake(&self.port);
    }

    /// There is one window, and the driver looks after it before each sleep.
    fn notice(&self, _window: u32, reason: Reason) {
        if reason != Reason::Begun {
            self.wake();
        }
    }
}

/// Ends the sleep of the loop of this port, unless this is the loop's own thread, which looks at everything
/// before it sleeps.
pub(super) fn wake(port: &Port) {
    if reentrancy::now() != CurrentLoop::renderer(port) {
        port.interrupt.raise();
    }
}
