//! Launching a renderer, for the application or again after a crash.

use std::{
    io,
    process::{Child, Command},
    sync::Arc,
    time::Instant,
};

use super::{
    connection::Session,
    launcher::{Arrival, Newcomer},
    opening::resources,
    restart::{LaunchOptions, Recipe},
    shared::MainShared,
};
use crate::{
    event_loop::error::LaunchError,
    os::process::Inherited,
    peer::Port,
    policy::Policy,
    primitives::Ordering,
    session::{
        control_channel::ControlChannel,
        transport::{self, ENDPOINT_VARIABLE},
    },
    web_contents::WebContents,
};

/// A session whose process does not run yet.
struct Prepared {
    session: Session,
    control: Arc<ControlChannel>,
}

impl MainShared {
    /// Launches a renderer, whose connection the loop takes over.
    pub(crate) fn launch(
        &self,
        mut command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> Result<WebContents, LaunchError> {
        // Of the session that this process itself may have been launched into.
        transport::variables().for_each(|variable| _ = command.env_remove(variable));
        command.env(ENDPOINT_VARIABLE, &self.name);
        let program = command.get_program().to_string_lossy().into_owned();
        let spawn = |source| LaunchError::Spawn { program: program.clone(), source };
        let mut recipe = Recipe::new(command, policy, options).map_err(spawn)?;
        let (prepared, theirs) = self.prepare(&recipe.policy)?;
        let started = self.launcher.run(move || {
            let child = recipe.start(theirs);
            (recipe, child)
        });
        match started {
            Ok((recipe, child)) => {
                self.take_in(prepared, recipe, child, None).map_err(|failed| failed.1)
            }
            Err(source) => {
                self.forget_window(&prepared.session.port);
                Err(spawn(source))
            }
        }
    }

    /// Launches a renderer again, without waiting for it. The outcome arrives in the loop.
    pub(super) fn relaunch(&self, mut recipe: Recipe, old: Arc<Port>) {
        let main = self.weak.clone();
        let posted = self.launcher.post(move || {
            let Some(main) = main.upgrade() else { return };
            let taken_in = match main.prepare(&recipe.policy) {
                Ok((prepared, theirs)) => {
                    let child = recipe.start(theirs);
                    main.take_in(prepared, recipe, child, Some(old.clone()))
                }
                Err(error) => Err(Box::new((recipe, error))),
            };
            if let Err(failed) = taken_in {
                main.arrive(Arrival::Failed { failed, old });
            }
        });
        // The thread runs since the first launch, and lives as long as the endpoint.
        debug_assert!(posted.is_ok());
    }

    /// Opens a session for a process that is about to be launched. Returns what that process finds it by.
    fn prepare(&self, policy: &Policy) -> Result<(Prepared, Inherited), LaunchError> {
        if self.is_closed() {
            return Err(LaunchError::Closed);
        }
        let (ours, theirs) = self.meeting.tie().map_err(resources("a control"))?;
        let control = Arc::new(ours);
        let session = self.open_session(policy.clone(), 0, &control)?;
        Ok((Prepared { session, control }, theirs))
    }

    /// Hands a launched process over to the loop.
    fn take_in(
        &self,
        prepared: Prepared,
        recipe: Recipe,
        child: io::Result<Child>,
        predecessor: Option<Arc<Port>>,
    ) -> Result<WebContents, Box<(Recipe, LaunchError)>> {
        let Prepared { session, control } = prepared;
        let port = session.port.clone();
        let launched = child.and_then(|mut child| match self.meeting.look_after(child.id()) {
            Ok(process) => Ok((child, process)),
            Err(error) => {
                // Its end would not be noticed. It fails only if it has ended.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        });
        let (child, process) = match launched {
            Ok(launched) => launched,
            Err(source) => {
                self.forget_window(&port);
                let program = recipe.program.name();
                return Err(Box::new((recipe, LaunchError::Spawn { program, source })));
            }
        };
        // Relaxed: a pid, for people.
        port.peer_pid.store(child.id(), Ordering::Relaxed);
        let launched = Instant::now();
        self.arrive(Arrival::Launched(Box::new(Newcomer {
            session,
            control,
            child,
            process,
            recipe,
            launched,
            predecessor,
        })));
        Ok(WebContents::new(port))
    }

    fn arrive(&self, arrival: Arrival) {
        self.launcher.arrive(arrival);
        self.notices.call();
    }
}
