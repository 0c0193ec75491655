//! A renderer's part of the handshake: from a control to mapped memory.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use crate::{
    contract::Declaration,
    kill_points::{KillPoint, reach},
    session::{control_channel::ControlChannel, error::ConnectError, offers::offers},
    shm::{
        handle::MemoryHandle,
        region::{Access, Region, RegionError},
        shared::{OutboxMemory, TopicMemory},
    },
    wake::bell::{Interrupt, Signal},
    wire::{
        handshake::{
            Answer, BadPacket, Hello, JoinRefusal, PACKET_MAX, PROTOCOL_VERSION, Ready, TOPICS_MAX,
            Welcome, encode,
        },
        parcel::Parcel,
    },
};

/// The memory and the signals that main handed over.
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    /// Main's outbox, which is read here.
    pub(crate) main: OutboxMemory,
    /// Our own, which main reads.
    pub(crate) own: OutboxMemory,
    /// Wakes main.
    pub(crate) signal: Box<dyn Signal>,
    /// Ends the sleeps of this process's threads.
    pub(crate) interrupt: Interrupt,
    /// The topics that the policy allows, by channel number.
    pub(crate) topics: Vec<(u16, TopicMemory)>,
    /// The parcels that main sent before its welcome.
    pub(crate) early: Vec<Early>,
}

/// A parcel, and the memory that it hands over.
pub(crate) type Early = (Parcel, Vec<MemoryHandle>);

/// Says hello, maps the memory that main answers with, and says so.
pub(crate) fn join(
    control: &ControlChannel,
    declared: &[Declaration],
    timeout: Duration,
    prefault: bool,
) -> Result<Joined, ConnectError> {
    let mut early = Vec::new();
    let (welcome, handles) = shake_hands(control, declared, timeout, &mut early)?;
    reach(KillPoint::WelcomeReceived);
    let mut handles = handles.into_iter();
    let map = |handle: Option<MemoryHandle>, capacity: u32, access| {
        let handle = handle.ok_or_else(|| bad_answer("a memory is missing"))?;
        let region = Region::open(handle, Region::ring_len(capacity as usize), access)
            .map_err(not_mapped)?;
        if prefault {
            region.prefault()?;
        }
        Ok::<_, ConnectError>(region)
    };
    let main = map(handles.next(), welcome.main_capacity, Access::Read)?;
    let own = map(handles.next(), welcome.renderer_capacity, Access::Write)?;
    let (main, own) = (main.outbox().map_err(bad_answer)?, own.outbox().map_err(bad_answer)?);
    own.control.identity.initialise(welcome.renderer_capacity as usize);
    main.control.identity.check(welcome.main_capacity as usize).map_err(bad_answer)?;

    let signals = control.renderers_signals(&mut handles);
    let (signal, interrupt) = signals.ok_or_else(|| bad_answer("the eventfd is missing"))?;
    let mut topics = Vec::with_capacity(welcome.topics.len());
    for &(number, capacity) in &welcome.topics {
        let topic = map(handles.next(), capacity, Access::Read)?.topic().map_err(bad_answer)?;
        topic.control.identity.check(capacity as usize).map_err(bad_answer)?;
        topics.push((number, topic));
    }
    reach(KillPoint::MemoryMapped);
    control.send(&encode(&Ready::new()), &[]).map_err(hung_up)?;
    reach(KillPoint::ReadySent);
    Ok(Joined { welcome, main, own, signal, interrupt, topics, early })
}

/// Says hello and reads main's answer.
fn shake_hands(
    control: &ControlChannel,
    declared: &[Declaration],
    timeout: Duration,
    early: &mut Vec<Early>,
) -> Result<(Welcome, Vec<MemoryHandle>), ConnectError> {
    control.send(&encode(&Hello::new(offers(declared))), &[]).map_err(hung_up)?;
    reach(KillPoint::HelloSent);
    let deadline = Instant::now() + timeout;
    let mut packet = vec![0; PACKET_MAX];
    let refusal = loop {
        let received = control.receive_before(deadline, &mut packet, TOPICS_MAX + 3);
        let received = received.map_err(hung_up)?.ok_or(ConnectError::TimedOut(timeout))?;
        if received.len == 0 {
            return Err(ConnectError::HungUp);
        }
        match Answer::parse(&packet[..received.len]).map_err(bad_answer)? {
            Answer::Parcel(parcel) => early.push((parcel, received.handles)),
            Answer::Welcome(welcome) => return Ok((welcome, received.handles)),
            Answer::Refused(refusal) => break refusal,
        }
    };
    Err(match refusal {
        JoinRefusal::Version { main } => {
            ConnectError::VersionMismatch { ours: PROTOCOL_VERSION, theirs: main }
        }
        JoinRefusal::NotAdmitted { why } => ConnectError::Refused { why },
        JoinRefusal::TypeMismatch { kind, channel, main } => {
            let ours = declared.iter().find(|ours| ours.kind == kind && ours.name == channel);
            let ours = ours.map_or_else(|| "unknown".to_owned(), |ours| ours.schema.clone());
            ConnectError::TypeMismatch { channel, ours, theirs: main }
        }
    })
}

/// A broken connection is main's hang-up.
fn hung_up(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectError::HungUp,
        _ => ConnectError::Io(error),
    }
}

/// The error of memory that cannot be mapped; perhaps main is dead, and the next main has removed it.
pub(crate) fn not_mapped(error: RegionError) -> ConnectError {
    if error.is_removed() { ConnectError::HungUp } else { bad_answer(error) }
}

fn bad_answer(why: impl fmt::Display) -> ConnectError {
    ConnectError::BadAnswer(why.to_string())
}

impl From<BadPacket> for ConnectError {
    fn from(error: BadPacket) -> Self {
        bad_answer(error)
    }
}
