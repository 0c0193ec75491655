//! The transport of the sealed backend: sockets, sealed memory, eventfds, and one `epoll` for main's loop.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
    vec,
};

use crate::{
    config::Backend,
    os::{
        Epoll, EventFd, Listener, Socket,
        epoll::Trigger,
        files::remove_if_there,
        process::{self, CHILD_SOCKET, Inherited},
        report::{Credentials, Event, Readiness},
    },
    primitives::Mutex,
    session::{
        control_channel::{ControlChannel, ControlPacket, PacketLink},
        endpoint::folder,
        error::{BindError, ConnectError},
        transport::{
            INTERRUPT, LaunchedProcess, Leftovers, Meeting, PollSource, Poller, Transport,
        },
    },
    shm::{backing::Backing, handle::MemoryHandle, sealed::SealedMemory},
    wake::bell::{FutexSignal, Interrupt, Signal},
    wire::words::Bell,
};

pub(crate) struct Sockets;

impl Transport for Sockets {
    fn backend(&self) -> Backend {
        Backend::Sealed
    }

    fn bind(&self, name: &str) -> Result<Arc<dyn Meeting>, BindError> {
        let io = |source| BindError::Io { endpoint: name.to_owned(), source };
        let path = path(name);
        let door = Arc::new(Mutex::new(Some(Listener::bind(&path).map_err(io)?)));
        let bell = EventFd::new().map_err(io)?;
        Ok(Arc::new(SocketMeeting { door, path, bell }))
    }

    fn connect(&self, name: &str, _timeout: Duration) -> Result<ControlChannel, ConnectError> {
        connect(name).map(ControlChannel::from)
    }

    fn finds(&self, name: &str) -> bool {
        path(name).exists()
    }

    fn variable(&self) -> &'static str {
        "RINGBRIDGE_SOCKET"
    }

    fn inherit(&self, value: &str) -> Result<ControlChannel, ConnectError> {
        let number = value.parse().map_err(|_| ConnectError::NotLaunched)?;
        Ok(Socket::inherited(number)?.into())
    }

    /// Memory goes with its last user.
    fn sweep(&self, name: &str) -> io::Result<Option<Leftovers>> {
        remove_if_there(&path(name))?;
        Ok(Some(Leftovers::default()))
    }

    fn orphans(&self) -> Vec<String> {
        Vec::new()
    }
}

pub(crate) fn connect(name: &str) -> Result<Socket, ConnectError> {
    let endpoint = name.to_owned();
    let socket = match Socket::connect(&path(name)) {
        Ok(socket) => socket,
        Err(error) => {
            return Err(match error.kind() {
                ErrorKind::NotFound => ConnectError::NoSuchEndpoint { endpoint },
                ErrorKind::ConnectionRefused => ConnectError::Stale { endpoint },
                _ => ConnectError::Io(error),
            });
        }
    };
    match socket.peer_credentials()?.uid {
        uid if uid == process::user_id() => Ok(socket),
        uid => Err(ConnectError::ForeignServer { endpoint, uid }),
    }
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.sock"))
}

/// `None`: it is closed, and connections that wait are refused.
type Door = Arc<Mutex<Option<Listener>>>;

struct SocketMeeting {
    door: Door,
    path: PathBuf,
    /// Of this process alone.
    bell: EventFd,
}

impl Meeting for SocketMeeting {
    fn backing(&self) -> Backing {
        Backing::sealed()
    }

    fn accept(&self) -> io::Result<Option<ControlChannel>> {
        let door = self.door.lock();
        let Some(listener) = &*door else { return Ok(None) };
        Ok(listener.accept()?.map(ControlChannel::from))
    }

    fn tie(&self) -> io::Result<(ControlChannel, Inherited)> {
        let (ours, theirs) = Socket::pair()?;
        let inherited = Inherited {
            variable: Sockets.variable(),
            value: CHILD_SOCKET.to_string(),
            descriptor: Some(theirs.0),
        };
        Ok((ours.into(), inherited))
    }

    fn poller(&self) -> io::Result<Box<dyn Poller>> {
        let epoll = Epoll::new()?;
        epoll.add(&self.bell, INTERRUPT, Trigger::Edge)?;
        Ok(Box::new(SocketPoller { epoll, door: self.door.clone() }))
    }

    fn ring(&self) {
        // It fails only if its count is at the limit, and then it has rung.
        let _ = self.bell.ring();
    }

    fn look_after(&self, pid: u32) -> io::Result<LaunchedProcess> {
        Ok(LaunchedProcess(Box::new(process::pidfd_open(pid)?)))
    }

    fn close(&self) {
        // What cannot be removed is recognised as stale.
        let _ = remove_if_there(&self.path);
        *self.door.lock() = None;
    }
}

/// A socket, and at main's end what the renderer rings.
struct SocketLink {
    socket: Socket,
    /// In main's epoll. Shared with the peer, so never read here.
    bell: OnceLock<EventFd>,
}

impl From<Socket> for ControlChannel {
    fn from(socket: Socket) -> Self {
        SocketLink { socket, bell: OnceLock::new() }.into()
    }
}

impl PacketLink for SocketLink {
    fn send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        self.socket.send(bytes, &descriptors(handles)?)
    }

    fn try_send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        self.socket.try_send(bytes, &descriptors(handles)?)
    }

    fn try_receive(&self, buffer: &mut [u8], handles_max: usize) -> io::Result<ControlPacket> {
        let received = self.socket.try_receive(buffer, handles_max)?;
        let handles = received.descriptors.into_iter().map(MemoryHandle::from).collect();
        Ok(ControlPacket { len: received.len, handles })
    }

    fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<Readiness> {
        self.socket.poll_readable(timeout)
    }

    fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown()
    }

    fn peer_credentials(&self) -> io::Result<Credentials> {
        self.socket.peer_credentials()
    }

    fn mains_signals(&self) -> io::Result<(Box<dyn Signal>, Interrupt)> {
        let _ = self.bell.set(EventFd::new()?);
        Ok((Box::new(FutexSignal), Interrupt::default()))
    }

    fn bell_to_hand_over(&self) -> io::Result<Option<MemoryHandle>> {
        let bell = self.bell.get().map(|bell| bell.0.try_clone()).transpose()?;
        Ok(bell.map(MemoryHandle::from))
    }

    fn renderers_signals(
        &self,
        handed_over: &mut vec::IntoIter<MemoryHandle>,
    ) -> Option<(Box<dyn Signal>, Interrupt)> {
        let bell = handed_over.next()?;
        let bell = bell.of_kind::<SealedMemory>().ok()?.0.try_clone().ok()?;
        Some((Box::new(EventSignal(EventFd(bell))), Interrupt::default()))
    }

    fn backend(&self) -> Backend {
        Backend::Sealed
    }
}

fn descriptors<'a>(handles: &[&'a MemoryHandle]) -> io::Result<Vec<BorrowedFd<'a>>> {
    handles.iter().map(|handle| Ok(handle.of_kind::<SealedMemory>()?.0.as_fd())).collect()
}

/// Wakes main: its loop by an eventfd, and its threads that wait for room by their futex.
struct EventSignal(EventFd);

impl Signal for EventSignal {
    fn wake_driver(&self, _bell: &Bell) {
        // It fails only when the peer has broken its own eventfd.
        let _ = self.0.ring();
    }

    fn wake_all(&self, bell: &Bell) {
        FutexSignal.wake_all(bell);
        // Main's loop may want the room, for its backlog, and it does not sleep on the bell.
        self.wake_driver(bell);
    }
}

struct SocketPoller {
    epoll: Epoll,
    door: Door,
}

impl Poller for SocketPoller {
    fn add(&mut self, source: PollSource<'_>, token: u64) -> io::Result<()> {
        let trigger = match source {
            PollSource::Bell(_) => Trigger::Edge,
            _ => Trigger::Level,
        };
        let door = self.door.lock();
        self.epoll.add(descriptor(source, &door).ok_or(ErrorKind::NotFound)?, token, trigger)
    }

    fn remove(&mut self, source: PollSource<'_>, _token: u64) -> io::Result<()> {
        let door = self.door.lock();
        self.epoll.remove(descriptor(source, &door).ok_or(ErrorKind::NotFound)?)
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.epoll.wait(events, timeout)
    }
}

fn descriptor<'a>(source: PollSource<'a>, door: &'a Option<Listener>) -> Option<BorrowedFd<'a>> {
    Some(match source {
        PollSource::Door => door.as_ref()?.as_fd(),
        PollSource::Bell(control) => control.link::<SocketLink>()?.bell.get()?.as_fd(),
        PollSource::ControlChannel(control) => control.link::<SocketLink>()?.socket.as_fd(),
        PollSource::Process(process) => process.0.downcast_ref::<OwnedFd>()?.as_fd(),
    })
}
