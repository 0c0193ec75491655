//! Endpoint names: where a main process is found by renderers that it did not launch.
//!
//! ```text
//!   $XDG_RUNTIME_DIR/ringbridge/     or /tmp/ringbridge-UID/; 0700, this user's
//!       NAME.lock    locked (flock) while its main process lives
//!       NAME.sock    0600; replaced by whoever has the lock
//! ```
//!
//! The kernel drops the lock when its holder dies, however it dies, so a name is never blocked by a
//! dead process. A child that the dead one was just launching has a copy of the lock, and of the listening
//! socket, until its exec or its end a moment later; so who finds a name in use looks again for
//! that long before it believes it. (Whether the socket answers says nothing: the child's copy does too.) Who
//! removes the lock file holds its lock, and who takes a lock checks that the file is still the one with that name.

use std::{
    env,
    fs::{self, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

#[cfg(not(target_os = "linux"))]
use crate::error::ContractError;
use crate::{
    config::Backend,
    error::{BindError, ConnectError},
    os::{
        Listener, Socket,
        files::{self, Lock, remove_if_there},
        process,
    },
    session::{control_channel::ControlChannel, meeting::Meeting},
};
#[cfg(feature = "portable")]
use crate::{
    portable::{self, Hub},
    primitives::Arc,
};

/// How long a name may be, in bytes: a socket's path has room for 107 in all.
pub(crate) const NAME_MAX: usize = 48;
#[cfg(feature = "portable")]
const _: () = assert!(NAME_MAX == portable::rendezvous::NAME_MAX);

/// A bound name: its lock, and by what renderers find it. Dropping it removes both.
pub(crate) struct Endpoint {
    door: Door,
    /// `None`: it is being dropped.
    lock: Option<Lock>,
}

/// By what renderers that main did not launch find it.
enum Door {
    #[cfg(target_os = "linux")]
    Socket { listener: Listener, path: PathBuf },
    #[cfg(feature = "portable")]
    Directory(Arc<Hub>),
}

impl Endpoint {
    pub(crate) fn bind(name: &str, backend: Backend) -> Result<Self, BindError> {
        if !is_name(name) {
            return Err(BindError::BadName { endpoint: name.to_owned(), max: NAME_MAX });
        }
        let io = |source| BindError::Io { endpoint: name.to_owned(), source };
        let folder = folder();
        make_folder(&folder)?;
        let lock_path = folder.join(format!("{name}.lock"));
        let socket_path = folder.join(format!("{name}.sock"));
        let lock = match take_lock_soon(&lock_path) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => {
                return Err(BindError::NameInUse { endpoint: name.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        };
        // With the lock in hand, a socket of that name is left over from the dead, and so are segments.
        remove_if_there(&socket_path).map_err(io)?;
        let door = match backend {
            #[cfg(target_os = "linux")]
            Backend::Sealed => {
                #[cfg(feature = "portable")]
                portable::sweep(name).map_err(io)?;
                let listener = Listener::bind(&socket_path).map_err(io)?;
                Door::Socket { listener, path: socket_path }
            }
            #[cfg(not(target_os = "linux"))]
            Backend::Sealed => return Err(ContractError::NoBackend.into()),
            #[cfg(feature = "portable")]
            Backend::Portable => Door::Directory(Hub::create(name)?),
        };
        Ok(Self { door, lock: Some(lock) })
    }

    pub(crate) fn meeting(&self) -> Meeting {
        match &self.door {
            #[cfg(target_os = "linux")]
            Door::Socket { .. } => Meeting::Sockets,
            #[cfg(feature = "portable")]
            Door::Directory(hub) => Meeting::Names(hub.clone()),
        }
    }

    /// Lets in the next one who waits. Never blocks.
    pub(crate) fn accept(&self) -> io::Result<Option<ControlChannel>> {
        match &self.door {
            #[cfg(target_os = "linux")]
            Door::Socket { listener, .. } => Ok(listener.accept()?.map(ControlChannel::Socket)),
            #[cfg(feature = "portable")]
            Door::Directory(hub) => Ok(hub.accept()?.map(ControlChannel::from)),
        }
    }

    /// What an epoll can listen to.
    pub(crate) fn listener(&self) -> Option<&Listener> {
        match &self.door {
            #[cfg(target_os = "linux")]
            Door::Socket { listener, .. } => Some(listener),
            #[cfg(feature = "portable")]
            Door::Directory(_) => None,
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // While the lock is held, so nobody else's files are meant. What cannot be removed is
        // recognised as stale.
        match &self.door {
            #[cfg(target_os = "linux")]
            Door::Socket { path, .. } => _ = remove_if_there(path),
            #[cfg(feature = "portable")]
            Door::Directory(hub) => hub.close(),
        }
        let _ = self.lock.take().map(Lock::remove);
    }
}

/// Connects to the main process behind `name`, if it is this user's.
pub(crate) fn connect(
    name: &str,
    backend: Backend,
    timeout: Duration,
) -> Result<ControlChannel, ConnectError> {
    if !is_name(name) {
        return Err(ConnectError::BadName { endpoint: name.to_owned() });
    }
    let found = match backend {
        Backend::Sealed => {
            let _ = timeout;
            connect_by_socket(name).map(ControlChannel::Socket)
        }
        #[cfg(feature = "portable")]
        Backend::Portable => portable::attach(name, timeout).map(ControlChannel::from),
    };
    match found {
        Err(ConnectError::NoSuchEndpoint { endpoint }) if has_other_backend(name, backend) => {
            Err(ConnectError::OtherBackend { endpoint })
        }
        found => found,
    }
}

/// Whether there is an endpoint of this name, to be found in another way.
#[cfg(feature = "portable")]
fn has_other_backend(name: &str, backend: Backend) -> bool {
    match backend {
        Backend::Sealed => portable::has_directory(name),
        Backend::Portable => folder().join(format!("{name}.sock")).exists(),
    }
}

#[cfg(not(feature = "portable"))]
fn has_other_backend(_name: &str, _backend: Backend) -> bool {
    false
}

/// Connects to the main process behind `name` by whichever way it is to be found.
pub(crate) fn connect_anyhow(
    name: &str,
    timeout: Duration,
) -> Result<ControlChannel, ConnectError> {
    match connect(name, Backend::Sealed, timeout) {
        #[cfg(feature = "portable")]
        Err(ConnectError::NoSuchEndpoint { .. } | ConnectError::OtherBackend { .. }) => {
            connect(name, Backend::Portable, timeout)
        }
        found => found,
    }
}

pub(crate) fn connect_by_socket(name: &str) -> Result<Socket, ConnectError> {
    let endpoint = || name.to_owned();
    let socket = Socket::connect(&folder().join(format!("{name}.sock"))).map_err(|error| {
        match error.kind() {
            ErrorKind::NotFound => ConnectError::NoSuchEndpoint { endpoint: endpoint() },
            ErrorKind::ConnectionRefused => ConnectError::Stale { endpoint: endpoint() },
            _ => ConnectError::Io(error),
        }
    })?;
    let uid = socket.peer_credentials()?.uid;
    if uid == process::user_id() {
        Ok(socket)
    } else {
        Err(ConnectError::ForeignServer { endpoint: endpoint(), uid })
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.starts_with('.')
        && name.bytes().all(allowed)
}

pub(super) fn folder() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        // A socket's path is short; a longer folder would make every bind fail.
        Some(runtime) if runtime.is_absolute() && runtime.as_os_str().len() <= 40 => {
            runtime.join("ringbridge")
        }
        _ => files::default_folder(),
    }
}

/// Makes the folder, or checks that the one that is there is this user's alone.
pub(super) fn make_folder(folder: &Path) -> Result<(), BindError> {
    let unsafe_folder = |why: String| BindError::UnsafeFolder { path: folder.to_owned(), why };
    match files::make_folder(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unsafe_folder(error.to_string())),
    }
    // Not following a link, which somebody else may have put there.
    let found = fs::symlink_metadata(folder).map_err(|error| unsafe_folder(error.to_string()))?;
    match files::strangers_may_enter(&found) {
        Some(why) => Err(unsafe_folder(why)),
        None => Ok(()),
    }
}

/// How long a child that a killed main process was launching may hold the lock: it has to be scheduled once.
const HALF_LAUNCHED_MAX: Duration = Duration::from_millis(500);
/// Between two looks at a lock that is held.
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(1);

/// Takes the lock, also if its holder is dead and only a child that it was launching still has a copy.
fn take_lock_soon(path: &Path) -> Result<Lock, TryLockError> {
    let began = Instant::now();
    loop {
        match Lock::take(path) {
            Err(TryLockError::WouldBlock) if began.elapsed() < HALF_LAUNCHED_MAX => {
                thread::sleep(LOCK_LOOK_EVERY);
            }
            taken => return taken,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use std::fs::DirBuilder;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

    pub(crate) fn unique(name: &str) -> String {
        format!("test-{}-{name}", std::process::id())
    }

    fn bind(name: &str) -> Result<Endpoint, BindError> {
        Endpoint::bind(name, Backend::Sealed)
    }

    fn socket_path(endpoint: &Endpoint) -> PathBuf {
        match &endpoint.door {
            Door::Socket { path, .. } => path.clone(),
            #[cfg(feature = "portable")]
            Door::Directory(_) => unreachable!("it is sealed"),
        }
    }

    #[test]
    fn a_name_in_use_is_refused_and_free_again_afterwards() {
        let name = unique("twice");
        let first = bind(&name).unwrap();
        assert!(matches!(bind(&name), Err(BindError::NameInUse { .. })));
        let lock = folder().join(format!("{name}.lock"));
        let paths = [socket_path(&first), lock];
        assert!(paths.iter().all(|path| path.exists()));
        drop(first);
        assert!(paths.iter().all(|path| !path.exists()));
        drop(bind(&name).unwrap());
    }

    #[test]
    fn nobody_there_and_nobody_there_any_more_are_told_apart() {
        let name = unique("stale");
        assert!(matches!(
            connect(&name, Backend::Sealed, Duration::ZERO),
            Err(ConnectError::NoSuchEndpoint { .. })
        ));
        let endpoint = bind(&name).unwrap();
        let path = socket_path(&endpoint);
        let kept = path.with_extension("kept");
        fs::hard_link(&path, &kept).unwrap();
        drop(endpoint);
        fs::rename(&kept, &path).unwrap();
        assert!(matches!(
            connect(&name, Backend::Sealed, Duration::ZERO),
            Err(ConnectError::Stale { .. })
        ));
        let rebound = bind(&name).expect("a stale socket is replaced");
        assert!(connect(&name, Backend::Sealed, Duration::ZERO).is_ok());
        drop(rebound);
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let name = unique("link");
        drop(bind(&name).unwrap());
        let (link, target) = (folder().join(format!("{name}.lock")), folder().join(&name));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let refused = bind(&name).map(drop);
        fs::remove_file(&link).unwrap();
        assert!(matches!(refused, Err(BindError::Io { .. })), "{refused:?}");
        assert!(!target.exists());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let long = "x".repeat(NAME_MAX + 1);
        for name in ["", ".", "..", "a/b", "a\0b", "ä", long.as_str()] {
            assert!(matches!(bind(name), Err(BindError::BadName { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_folder_open_to_others_is_refused() {
        let folder = env::temp_dir().join(unique("folder"));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        assert!(make_folder(&folder).is_ok());
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
        let refused = make_folder(&folder);
        fs::remove_dir(&folder).unwrap();
        assert!(matches!(refused, Err(BindError::UnsafeFolder { .. })));
    }
}
