//! A renderer's part of the handshake: from a connected socket to mapped memory.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use crate::{
    contract::Declaration,
    error::ConnectError,
    kill_points::{KillPoint, reach},
    memory::{
        handle::Handle,
        region::{Access, Region},
        shared::{OutboxMemory, TopicMemory},
    },
    session::{
        handshake::{
            Answer, BadPacket, Hello, PACKET_MAX, PROTOCOL_VERSION, Ready, Refusal, TOPICS_MAX,
            Welcome, encode,
        },
        parcel::Parcel,
    },
    sys::{EventFd, Socket},
};

/// What main handed over.
pub(crate) struct Joined {
    pub(crate) welcome: Welcome,
    /// Main's outbox, which is read here.
    pub(crate) main: OutboxMemory,
    /// Our own, which main reads.
    pub(crate) own: OutboxMemory,
    /// Rings for main's loop.
    pub(crate) event: EventFd,
    /// The topics that the policy allows, by channel number.
    pub(crate) topics: Vec<(u16, TopicMemory)>,
    /// What main sent before its welcome.
    pub(crate) early: Vec<Early>,
}

/// A parcel with its handles.
pub(crate) type Early = (Parcel, Vec<Handle>);

/// Says hello, maps what main answers with, and says so.
pub(crate) fn join(
    socket: &Socket,
    declared: &[Declaration],
    timeout: Duration,
    prefault: bool,
) -> Result<Joined, ConnectError> {
    let mut early = Vec::new();
    let (welcome, descriptors) = shake_hands(socket, declared, timeout, &mut early)?;
    reach(KillPoint::WelcomeReceived);
    let mut descriptors = descriptors.into_iter();
    let mut map = |capacity: u32, access| {
        let descriptor = descriptors.next().ok_or_else(|| bad_answer("a descriptor is missing"))?;
        let len = Region::ring_len(capacity as usize);
        let region = Region::open(descriptor.into(), len, access).map_err(bad_answer)?;
        if prefault {
            region.prefault()?;
        }
        Ok::<_, ConnectError>(region)
    };
    let main = map(welcome.main_capacity, Access::Read)?.outbox().map_err(bad_answer)?;
    let own = map(welcome.renderer_capacity, Access::Write)?.outbox().map_err(bad_answer)?;
    own.control.initialise(welcome.renderer_capacity as usize);
    main.control.check_identity(welcome.main_capacity as usize).map_err(bad_answer)?;

    let event = descriptors.next().ok_or_else(|| bad_answer("the eventfd is missing"))?;
    let mut topics = Vec::with_capacity(welcome.topics.len());
    for &(number, capacity) in &welcome.topics {
        let descriptor = descriptors.next().ok_or_else(|| bad_answer("a topic is missing"))?;
        let len = Region::ring_len(capacity as usize);
        let region = Region::open(descriptor.into(), len, Access::Read).map_err(bad_answer)?;
        if prefault {
            region.prefault()?;
        }
        let topic = region.topic().map_err(bad_answer)?;
        topic.control.check_identity(capacity as usize).map_err(bad_answer)?;
        topics.push((number, topic));
    }
    reach(KillPoint::MemoryMapped);
    socket.send(&encode(&Ready::new()), &[]).map_err(hung_up)?;
    reach(KillPoint::ReadySent);
    Ok(Joined { welcome, main, own, event: event.into(), topics, early })
}

/// Says hello and reads main's answer.
fn shake_hands(
    socket: &Socket,
    declared: &[Declaration],
    timeout: Duration,
    early: &mut Vec<Early>,
) -> Result<(Welcome, Vec<OwnedFd>), ConnectError> {
    socket.send(&encode(&Hello::new(declared)), &[]).map_err(hung_up)?;
    reach(KillPoint::HelloSent);
    let deadline = Instant::now() + timeout;
    let mut packet = vec![0; PACKET_MAX];
    let (answer, descriptors) = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ConnectError::TimedOut(timeout));
        }
        let found = socket.poll_readable(Some(left))?;
        if !found.readable && !found.hangup {
            continue;
        }
        let received = socket.try_receive(&mut packet, TOPICS_MAX + 3).map_err(hung_up)?;
        if received.len == 0 {
            return Err(ConnectError::HungUp);
        }
        match Answer::parse(&packet[..received.len]).map_err(bad_answer)? {
            Answer::Parcel(parcel) => {
                let handles = received.descriptors.into_iter().map(Handle::from).collect();
                early.push((parcel, handles));
            }
            answer => break (answer, received.descriptors),
        }
    };
    match answer {
        Answer::Welcome(welcome) => Ok((welcome, descriptors)),
        Answer::Parcel(_) => Err(bad_answer("a parcel in place of an answer")),
        Answer::Refused(Refusal::Version { main }) => {
            Err(ConnectError::VersionMismatch { ours: PROTOCOL_VERSION, theirs: main })
        }
        Answer::Refused(Refusal::NotAdmitted { why }) => Err(ConnectError::Refused { why }),
        Answer::Refused(Refusal::TypeMismatch { kind, channel, main }) => {
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

fn bad_answer(why: impl fmt::Display) -> ConnectError {
    ConnectError::BadAnswer(why.to_string())
}

impl From<BadPacket> for ConnectError {
    fn from(error: BadPacket) -> Self {
        bad_answer(error)
    }
}
