//! Endpoint names, by which renderers find a main process that did not launch them.
//!
//! ```text
//!   $XDG_RUNTIME_DIR/ringbridge/     or /tmp/ringbridge-UID/; 0700, this user's
//!       NAME.lock    locked (flock) while its main process lives
//!       NAME.sock    0600; replaced by the holder of the lock
//! ```
//!
//! The kernel drops the lock however its holder dies, so a dead process blocks no name. A child that the dead
//! process was launching has a copy of the lock and of the listening socket until its exec or its end. So a
//! process that finds a name in use looks again for that long. (An answer of the socket proves nothing: the
//! child's copy answers too.) A lock file is removed under its lock, and a process that takes a lock checks that
//! the file still has that name.

use std::{
    env,
    fs::{self, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    TRANSPORTS,
    config::Backend,
    os::files::{self, Lock},
    primitives::Arc,
    session::{
        control_channel::ControlChannel,
        error::{BindError, ConnectError},
        transport::{self, Meeting},
    },
};

/// The longest name, in bytes: a socket's path has room for 107 in all.
pub(crate) const NAME_MAX: usize = 48;

/// A bound name: its lock, and the means by which renderers find it. Dropping it removes both.
pub(crate) struct Endpoint {
    meeting: Arc<dyn Meeting>,
    /// `None`: it is being dropped.
    lock: Option<Lock>,
}

impl Endpoint {
    pub(crate) fn bind(name: &str, backend: Backend) -> Result<Self, BindError> {
        if !is_name(name) {
            return Err(BindError::BadName { endpoint: name.to_owned(), max: NAME_MAX });
        }
        let transport = transport::of(backend)?;
        let io = |source| BindError::Io { endpoint: name.to_owned(), source };
        let in_use = || BindError::NameInUse { endpoint: name.to_owned() };
        let folder = folder();
        make_folder(&folder)
            .map_err(|why| BindError::UnsafeFolder { path: folder.clone(), why })?;
        let lock = match take_lock_soon(&folder.join(format!("{name}.lock"))) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        };
        // Under the lock, all that there is of that name is left over from the dead.
        for each in TRANSPORTS {
            if each.sweep(name).map_err(io)?.is_none() && each.backend() == backend {
                return Err(in_use());
            }
        }
        Ok(Self { meeting: transport.bind(name)?, lock: Some(lock) })
    }

    pub(crate) fn meeting(&self) -> &Arc<dyn Meeting> {
        &self.meeting
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // While the lock is held, so these are no other process's files.
        self.meeting.close();
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
    let has_other_backend =
        || TRANSPORTS.iter().any(|other| other.backend() != backend && other.finds(name));
    match transport::of(backend)?.connect(name, timeout) {
        Err(ConnectError::NoSuchEndpoint { endpoint }) if has_other_backend() => {
            Err(ConnectError::OtherBackend { endpoint })
        }
        found => found,
    }
}

/// Connects to the main process behind `name` by the first transport that finds it.
pub(crate) fn connect_anyhow(
    name: &str,
    timeout: Duration,
) -> Result<ControlChannel, ConnectError> {
    let found = TRANSPORTS.iter().find(|transport| transport.finds(name)).unwrap_or(&TRANSPORTS[0]);
    connect(name, found.backend(), timeout)
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

/// Makes the folder, or checks that the one that is there is this user's alone. The error is the reason.
pub(super) fn make_folder(folder: &Path) -> Result<(), String> {
    match files::make_folder(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Not following a link, which another user may have put there.
            let found = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
            files::strangers_may_enter(&found).map_or(Ok(()), Err)
        }
        made => made.map_err(|error| error.to_string()),
    }
}

/// The time for which the child of a killed main process may hold the lock: it has to be scheduled once.
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

    fn socket_path(name: &str) -> PathBuf {
        folder().join(format!("{name}.sock"))
    }

    #[test]
    fn a_name_in_use_is_refused_and_free_again_afterwards() {
        let name = unique("twice");
        let first = bind(&name).unwrap();
        assert!(matches!(bind(&name), Err(BindError::NameInUse { .. })));
        let lock = folder().join(format!("{name}.lock"));
        let paths = [socket_path(&name), lock];
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
        let path = socket_path(&name);
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
        assert_eq!(refused, Err("its mode is 755; make it 700".to_owned()));
    }
}
