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

/// What main handed over.
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
    /// What main sent before its welcome.
    pub(crate) early: Vec<Early>,
}

/// A parcel, and what it hands over.
pub(crate) type Early = (Parcel, Vec<MemoryHandle>);

/// Says hello, maps what main answers with, and says so.
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
    let mut map = |capacity: u32, access| {
        let handle = handles.next().ok_or_else(|| bad_answer("a ring is missing"))?;
        let region = Region::open(handle, Region::ring_len(capacity as usize), access)
            .map_err(not_mapped)?;
        if prefault {
            region.prefault()?;
        }
        Ok::<_, ConnectError>(region)
    };
    let main = map(welcome.main_capacity, Access::Read)?.outbox().map_err(bad_answer)?;
    let own = map(welcome.renderer_capacity, Access::Write)?.outbox().map_err(bad_answer)?;
    own.control.identity.initialise(welcome.renderer_capacity as usize);
    main.control.identity.check(welcome.main_capacity as usize).map_err(bad_answer)?;

    let signals = control.renderers_signals(&mut handles);
    let (signal, interrupt) = signals.ok_or_else(|| bad_answer("the eventfd is missing"))?;
    let mut topics = Vec::with_capacity(welcome.topics.len());
    for &(number, capacity) in &welcome.topics {
        let handle = handles.next().ok_or_else(|| bad_answer("a topic is missing"))?;
        let region = Region::open(handle, Region::ring_len(capacity as usize), Access::Read)
            .map_err(not_mapped)?;
        if prefault {
            region.prefault()?;
        }
        let topic = region.topic().map_err(bad_answer)?;
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
    let (answer, handles) = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::TimedOut(timeout));
        }
        let found = control.poll_readable(Some(left))?;
        if !found.readable && !found.hangup {
            continue;
        }
        let received = control.try_receive(&mut packet, TOPICS_MAX + 3).map_err(hung_up)?;
        if received.len == 0 {
            return Err(ConnectError::HungUp);
        }
        match Answer::parse(&packet[..received.len]).map_err(bad_answer)? {
            Answer::Parcel(parcel) => early.push((parcel, received.handles)),
            answer => break (answer, received.handles),
        }
    };
    match answer {
        Answer::Welcome(welcome) => Ok((welcome, handles)),
        Answer::Parcel(_) => Err(bad_answer("a parcel in place of an answer")),
        Answer::Refused(JoinRefusal::Version { main }) => {
            Err(ConnectError::VersionMismatch { ours: PROTOCOL_VERSION, theirs: main })
        }
        Answer::Refused(JoinRefusal::NotAdmitted { why }) => Err(ConnectError::Refused { why }),
        Answer::Refused(JoinRefusal::TypeMismatch { kind, channel, main }) => {
            let ours = declared.iter().find(|ours| ours.kind == kind && ours.name == channel);
            let ours = ours.map_or_else(|| "unknown".to_owned(), |ours| ours.schema.clone());
            Err(ConnectError::TypeMismatch { channel, ours, theirs: main })
        }
    }
}

/// A broken connection is main's hang-up.
fn hung_up(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectError::HungUp,
        _ => ConnectError::Io(error),
    }
}

/// What main has announced cannot be mapped; perhaps because main is dead, and the next one has removed it.
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
