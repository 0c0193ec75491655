//! Opening a session: its memory, its window, and the process of a renderer that main launches.

use std::{
    io,
    process::Command,
    sync::{Arc, OnceLock},
    time::Instant,
};

use fixedbitset::FixedBitSet;

use super::{
    connection::{Connection, Launched, Session},
    launcher::{Arrival, FailedLaunch},
    restart::{LaunchOptions, Recipe},
    shared::MainShared,
};
use crate::{
    config::Config,
    event_loop::error::LaunchError,
    metrics::counters::SessionCounters,
    os::process::Inherited,
    peer::{
        Link, Port, SessionLimits, Side,
        large::{
            limits::AttachmentLimits, main_attachments::MainAttachments, outgoing::Attachments,
        },
        link::Reason,
    },
    policy::{Policy, quota::Allowance},
    primitives::{AtomicU32, Ordering},
    ring::{
        consumer::{Consumer, Writer},
        producer::Producer,
    },
    session::{
        control_channel::ControlChannel,
        transport::{self, ENDPOINT_VARIABLE},
    },
    shm::region::{Access, Region},
    trace,
    wake::bell::PeerBell,
    web_contents::WebContents,
    wire::{
        HEADER_LEN,
        frame::payload_max,
        handshake::{Answer, Grant, TOPICS_MAX, Welcome, encode},
        padded,
    },
};

/// A session whose process does not run yet.
struct Opened {
    session: Session,
    control: Arc<ControlChannel>,
    inherited: Inherited,
}

impl MainShared {
    /// Opens a session for the process `pid`, or for one that is yet to be launched: 0.
    pub(super) fn open_session(
        &self,
        policy: Policy,
        pid: u32,
        control: &Arc<ControlChannel>,
    ) -> Result<Session, LaunchError> {
        let mut allowed = FixedBitSet::with_capacity(self.channels.len());
        for key in &policy.allowed {
            let number = self.channels.number(key);
            let number = number.ok_or(LaunchError::UnknownChannel { channel: key.name() })?;
            allowed.insert(usize::from(number));
        }
        let max = self.config.windows_max;
        if self.windows_len() >= max {
            return Err(LaunchError::TooManyWindows { max });
        }
        let Config { main_capacity, renderer_capacity, prefault, .. } = self.config;
        let backing = self.meeting.backing();
        let region = |name, capacity, access| {
            let region = Region::create(&backing, name, Region::ring_len(capacity), access)
                .map_err(resources("memory"))?;
            if prefault {
                region.prefault().map_err(resources("memory"))?;
            }
            Ok::<_, LaunchError>(region)
        };
        let main_region = region("ringbridge-main", main_capacity, Access::Write)?;
        let renderer_region = region("ringbridge-renderer", renderer_capacity, Access::Read)?;
        let own = main_region.outbox().expect("made with a ring's length");
        let peer = renderer_region.outbox().expect("made with a ring's length");
        own.control.identity.initialise(main_capacity);
        let signals = control.mains_signals().map_err(resources("an eventfd"))?;

        // Relaxed: only that no two are the same matters.
        let window = self.next_window.fetch_add(1, Ordering::Relaxed);
        let attached = self.attachment_limits(&policy);
        let kept_max = self.config.attachment_pool_max as u64;
        let consumer = Consumer::new(Writer::Renderer, peer.data, own.control.clone(), 0);
        let (signal, interrupt) = signals;
        let notices = self.notices.clone();
        let tell = move || notices.push(window, Reason::Untidy);
        let main = MainAttachments::new(control.clone(), backing, attached, kept_max, tell);
        let producer = Producer::new(own.data, peer.control.clone(), 0);
        let link = Link {
            side: Side::Main,
            window,
            peer_pid: AtomicU32::new(pid),
            channels: self.channels.clone(),
            allowed,
            limits: SessionLimits {
                owed_max: policy.pending_invokes_max,
                pending_max: self.config.main_pending_max,
                send_timeout: self.config.send_timeout,
                received_max: policy.message_max as u64,
                rejection_is_violation: policy.rejection_is_violation,
            },
            counters: SessionCounters::default(),
            bell: PeerBell::new(signal, own.control.clone(), peer.control.clone()),
            interrupt,
            own: own.control,
            peer: peer.control,
            event_loop: self.event_loop.clone(),
            gone: OnceLock::new(),
        };
        let attachments = Attachments::Main(Arc::new(main));
        let port = Port::new(link, producer, renderer_capacity, attachments, attached.message_max);
        self.add_window(&port);
        let payload_max = payload_max(renderer_capacity).min(policy.message_max);
        let frame_len_max = padded(HEADER_LEN + payload_max);
        let allowance = Allowance::new(policy.frames, policy.bytes, frame_len_max, Instant::now());
        let (opened, summary) = (Instant::now(), policy.summary());
        trace::session_opened(window, &summary);
        let regions = Some([main_region, renderer_region]);
        Ok(Session { port, policy, consumer, allowance, opened, summary, regions })
    }

    fn attachment_limits(&self, policy: &Policy) -> AttachmentLimits {
        AttachmentLimits {
            message_max: self.config.attachment_max as u64,
            lent_bytes_max: policy.attachment_bytes_max as u64,
            lent_max: policy.attachments_max,
        }
    }

    /// Hands over the memory of a session, `regions`, and that of its topics.
    pub(super) fn send_welcome(
        &self,
        control: &ControlChannel,
        session: &Session,
        regions: &[Region; 2],
        grants: Vec<Grant>,
    ) -> io::Result<()> {
        let Session { port, policy, .. } = session;
        let bell = control.bell_to_hand_over()?;
        let mut handles: Vec<_> = regions.iter().map(Region::handle).collect();
        handles.extend(&bell);
        let mut topics = Vec::new();
        let is_allowed = |(number, _): &(u16, _)| port.allowed.contains(usize::from(*number));
        for (number, handle) in self.topics.handles().filter(is_allowed) {
            if topics.len() == TOPICS_MAX {
                let why = format!("more than {TOPICS_MAX} topics for one renderer");
                return Err(io::Error::other(why));
            }
            topics.push((number, self.config.topic_capacity as u32));
            handles.push(handle);
        }
        let attached = self.attachment_limits(policy);
        let welcome = Welcome {
            window: port.window,
            // At most 2^30, by `Config::check`.
            main_capacity: self.config.main_capacity as u32,
            renderer_capacity: self.config.renderer_capacity as u32,
            channels: self.channels.len() as u16,
            grants,
            topics,
            renderer_pending_max: port.limits.owed_max,
            main_pending_max: port.limits.pending_max,
            attachment_max: attached.message_max,
            lent_bytes_max: attached.lent_bytes_max,
            lent_max: attached.lent_max,
            message_max: port.limits.received_max,
        };
        control.try_send(&encode(&Answer::Welcome(welcome)), &handles)
    }

    /// Launches a renderer, whose connection the loop takes over.
    pub(crate) fn launch(
        self: &Arc<Self>,
        mut command: Command,
        policy: Policy,
        options: LaunchOptions,
    ) -> Result<WebContents, LaunchError> {
        // Of the session that this process itself may have been launched into.
        transport::variables().for_each(|variable| _ = command.env_remove(variable));
        command.env(ENDPOINT_VARIABLE, &self.name);
        let program = command.get_program().to_string_lossy().into_owned();
        let spawn = |source| LaunchError::Spawn { program: program.clone(), source };
        let recipe = Recipe::new(command, policy, options).map_err(spawn)?;
        let opened = self.open_for_launch(&recipe.policy)?;
        let (main, port) = (self.clone(), opened.session.port.clone());
        let started = self.launcher.run(move || main.start(recipe, opened, None));
        let started = started.map_err(|source| {
            self.forget_window(&port);
            spawn(source)
        });
        started?.map_err(|failed| failed.1)
    }

    /// Launches a renderer again, without waiting for it. The outcome arrives in the loop.
    pub(super) fn relaunch(&self, recipe: Recipe, old: Arc<Port>) {
        let main = self.weak.clone();
        let posted = self.launcher.post(move || {
            let Some(main) = main.upgrade() else { return };
            let started = match main.open_for_launch(&recipe.policy) {
                Ok(opened) => main.start(recipe, opened, Some(old.clone())),
                Err(error) => Err(Box::new((recipe, error))),
            };
            if let Err(failed) = started {
                main.arrive(Arrival::Failed { failed, old });
            }
        });
        // The thread runs since the first launch, and lives as long as the endpoint.
        debug_assert!(posted.is_ok());
    }

    fn open_for_launch(&self, policy: &Policy) -> Result<Opened, LaunchError> {
        if self.is_closed() {
            return Err(LaunchError::Closed);
        }
        let (ours, inherited) = self.meeting.tie().map_err(resources("a control"))?;
        let control = Arc::new(ours);
        let session = self.open_session(policy.clone(), 0, &control)?;
        Ok(Opened { session, control, inherited })
    }

    /// Starts the process of a session, and hands both over to the loop. Only the launching thread calls it.
    fn start(
        &self,
        mut recipe: Recipe,
        opened: Opened,
        old: Option<Arc<Port>>,
    ) -> Result<WebContents, FailedLaunch> {
        let Opened { session, control, inherited } = opened;
        let started = recipe.program.start(inherited).and_then(|mut child| {
            let process = self.meeting.look_after(child.id()).inspect_err(|_| {
                // Its end would not be noticed. It fails only if it has ended.
                let _ = child.kill();
                let _ = child.wait();
            })?;
            Ok((child, process))
        });
        let port = &session.port;
        let (child, process) = match started {
            Ok(started) => started,
            Err(source) => {
                self.forget_window(port);
                let program = recipe.program.name();
                return Err(Box::new((recipe, LaunchError::Spawn { program, source })));
            }
        };
        // Relaxed: a pid, for people.
        port.peer_pid.store(child.id(), Ordering::Relaxed);
        let window = WebContents::new(port.clone());
        let launched = Some(Box::new(Launched { child, process, recipe, at: Instant::now() }));
        let connection = Box::new(Connection { launched, ..Connection::new(control) });
        self.arrive(Arrival::Launched { connection, session: Box::new(session), old });
        Ok(window)
    }

    fn arrive(&self, arrival: Arrival) {
        self.launcher.arrive(arrival);
        self.notices.call();
    }
}

fn resources(what: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Resources { what, source }
}
