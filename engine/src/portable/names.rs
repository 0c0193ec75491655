//! The transport of processes that share nothing but names.

use std::{io, time::Duration};

use crate::{
    config::Backend,
    portable::directory::{self, Hub, VARIABLE},
    primitives::Arc,
    session::{
        control_channel::ControlChannel,
        error::{BindError, ConnectError},
        transport::{Leftovers, Meeting, Transport},
    },
};

pub(crate) struct Names;

impl Transport for Names {
    fn backend(&self) -> Backend {
        Backend::Portable
    }

    fn bind(&self, name: &str) -> Result<Arc<dyn Meeting>, BindError> {
        Ok(Arc::new(Hub::create(name)?))
    }

    fn connect(&self, name: &str, timeout: Duration) -> Result<ControlChannel, ConnectError> {
        Ok(directory::attach(name, timeout)?.into())
    }

    fn finds(&self, name: &str) -> bool {
        directory::has_directory(name)
    }

    fn variable(&self) -> &'static str {
        VARIABLE
    }

    fn inherit(&self, value: &str) -> Result<ControlChannel, ConnectError> {
        Ok(directory::launched(value)?.into())
    }

    fn sweep(&self, name: &str) -> io::Result<Option<Leftovers>> {
        directory::sweep(name)
    }

    fn orphans(&self) -> Vec<String> {
        directory::orphans()
    }
}
