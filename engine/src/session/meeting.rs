//! How the processes of one endpoint meet, as main sees it: over sockets, with memory that is handed over by
//! descriptor, or by name.

#[cfg(feature = "portable")]
use std::sync::Arc;
use std::{env, io};

#[cfg(feature = "portable")]
use crate::portable::{self, Hub};
use crate::{
    error::ConnectError,
    os::{EventFd, Socket, process::Inherited},
    session::control_channel::ControlChannel,
    shm::backing::Backing,
};

/// The environment variable by which a launched renderer learns the number of its socket ...
pub(crate) const SOCKET_VARIABLE: &str = "RINGBRIDGE_SOCKET";
/// ... or the name of its session's segment.
pub(crate) const SEGMENT_VARIABLE: &str = "RINGBRIDGE_SEGMENT";

/// Whether main has launched this process into a session.
pub(crate) fn was_launched() -> bool {
    [SOCKET_VARIABLE, SEGMENT_VARIABLE].iter().any(|variable| env::var_os(variable).is_some())
}

/// The control to the main process that has launched this one.
pub(crate) fn inherited_tether() -> Result<ControlChannel, ConnectError> {
    #[cfg(feature = "portable")]
    if let Ok(segment) = env::var(SEGMENT_VARIABLE) {
        return portable::launched(&segment).map(ControlChannel::from);
    }
    let number = env::var(SOCKET_VARIABLE).map_err(|_| ConnectError::NotLaunched)?;
    let number = number.parse().map_err(|_| ConnectError::NotLaunched)?;
    Ok(ControlChannel::Socket(Socket::inherited(number)?))
}

/// How an endpoint's processes meet.
#[derive(Clone)]
pub(crate) enum Meeting {
    #[cfg(target_os = "linux")]
    Sockets,
    #[cfg(feature = "portable")]
    Names(Arc<Hub>),
}

/// Ends the sleep of main's loop, from any of its threads.
pub(crate) enum LoopBell {
    /// Of this process alone.
    Event(EventFd),
    #[cfg(feature = "portable")]
    Hub(Arc<Hub>),
}

impl Meeting {
    /// How main makes memory for those whom it meets.
    pub(crate) fn backing(&self) -> Backing {
        match self {
            #[cfg(target_os = "linux")]
            Self::Sockets => Backing::Sealed,
            #[cfg(feature = "portable")]
            Self::Names(hub) => Backing::Named(hub.segments.clone()),
        }
    }

    pub(crate) fn loop_bell(&self) -> io::Result<LoopBell> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Sockets => Ok(LoopBell::Event(EventFd::new()?)),
            #[cfg(feature = "portable")]
            Self::Names(hub) => Ok(LoopBell::Hub(hub.clone())),
        }
    }

    /// The control to a process that is about to be launched, and what that one needs for its end.
    pub(crate) fn tie(&self) -> io::Result<(ControlChannel, Inherited)> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Sockets => {
                let (ours, theirs) = Socket::pair()?;
                let theirs =
                    Inherited::Descriptor { variable: SOCKET_VARIABLE, descriptor: theirs.into() };
                Ok((ControlChannel::Socket(ours), theirs))
            }
            #[cfg(feature = "portable")]
            Self::Names(hub) => {
                let mailbox = hub.open_session()?;
                let value = mailbox.page_name().as_str().to_owned();
                let theirs = Inherited::Name { variable: SEGMENT_VARIABLE, value };
                Ok((mailbox.into(), theirs))
            }
        }
    }
}

impl LoopBell {
    pub(crate) fn ring(&self) {
        match self {
            // It fails only when its count is at the limit, and then it has rung.
            Self::Event(event) => _ = event.ring(),
            #[cfg(feature = "portable")]
            Self::Hub(hub) => hub.sleepers.wake(),
        }
    }
}
