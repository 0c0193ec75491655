//! Making a session's memory and its window, and handing them over.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Instant,
};

use fixedbitset::FixedBitSet;

use super::{
    connection::{Handover, Session},
    shared::MainShared,
};
use crate::{
    config::Config,
    event_loop::error::LaunchError,
    metrics::counters::SessionCounters,
    peer::{
        Link, Port, SessionLimits, Side,
        large::{
            limits::AttachmentLimits, main_attachments::MainAttachments, outgoing::Attachments,
        },
        link::Reason,
    },
    policy::{Policy, quota::Allowance},
    primitives::AtomicU32,
    ring::{
        consumer::{Consumer, Writer},
        producer::Producer,
    },
    session::control_channel::ControlChannel,
    shm::region::{Access, Region},
    trace,
    wake::bell::PeerBell,
    wire::{
        HEADER_LEN,
        frame::payload_max,
        handshake::{Answer, TOPICS_MAX, Welcome, encode},
        padded,
    },
};

impl MainShared {
    /// Opens a session for the process `pid`, or for one that is yet to be launched: 0.
    pub(super) fn open_session(
        &self,
        policy: Policy,
        pid: u32,
        control: &Arc<ControlChannel>,
    ) -> Result<Session, LaunchError> {
        if self.is_closed() {
            return Err(LaunchError::Closed);
        }
        let mut allowed = FixedBitSet::with_capacity(self.channels.len());
        for key in &policy.allowed {
            let number = self.channels.number(key);
            let number = number.ok_or(LaunchError::UnknownChannel { channel: key.name() })?;
            allowed.insert(usize::from(number));
        }
        let max = self.config.windows_max;
        if self.windows.len() >= max {
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

        let window = self.windows.next_number();
        let limits = SessionLimits {
            owed_max: policy.pending_invokes_max,
            pending_max: self.config.main_pending_max,
            send_timeout: self.config.send_timeout,
            received_max: policy.message_max as u64,
            rejection_is_violation: policy.rejection_is_violation,
        };
        let attached = AttachmentLimits {
            message_max: self.config.attachment_max as u64,
            lent_bytes_max: policy.attachment_bytes_max as u64,
            lent_max: policy.attachments_max,
        };
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
            limits,
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
        self.windows.insert(&port);
        if self.hooks.watches() {
            port.sender.tell_of_next_send();
        }
        let welcome = Welcome {
            window,
            // At most 2^30, by `Config::check`.
            main_capacity: main_capacity as u32,
            renderer_capacity: renderer_capacity as u32,
            channels: self.channels.len() as u16,
            grants: Vec::new(),
            topics: Vec::new(),
            renderer_pending_max: limits.owed_max,
            main_pending_max: limits.pending_max,
            attachment_max: attached.message_max,
            lent_bytes_max: attached.lent_bytes_max,
            lent_max: attached.lent_max,
            message_max: limits.received_max,
        };
        let payload_max = payload_max(renderer_capacity).min(policy.message_max);
        let frame_len_max = padded(HEADER_LEN + payload_max);
        let allowance = Allowance::new(policy.frames, policy.bytes, frame_len_max, Instant::now());
        let handover = Handover { welcome, main_region, renderer_region };
        let (opened, summary) = (Instant::now(), policy.summary());
        trace::session_opened(window, &summary);
        Ok(Session { port, policy, consumer, allowance, opened, summary, handover: Some(handover) })
    }

    /// Hands a session's memory over. Our handles of it are dropped with that.
    pub(super) fn send_welcome(
        &self,
        control: &ControlChannel,
        port: &Port,
        handover: Handover,
    ) -> io::Result<()> {
        let Handover { mut welcome, main_region, renderer_region } = handover;
        let bell = control.bell_to_hand_over()?;
        let mut handles = vec![main_region.handle(), renderer_region.handle()];
        handles.extend(&bell);
        for (number, handle) in
            self.topics.handles(|number| port.allowed.contains(usize::from(number)))
        {
            if welcome.topics.len() == TOPICS_MAX {
                let why = format!("more than {TOPICS_MAX} topics for one renderer");
                return Err(io::Error::other(why));
            }
            welcome.topics.push((number, self.config.topic_capacity as u32));
            handles.push(handle);
        }
        control.try_send(&encode(&Answer::Welcome(welcome)), &handles)
    }
}

pub(super) fn resources(what: &'static str) -> impl Fn(io::Error) -> LaunchError {
    move |source| LaunchError::Resources { what, source }
}
