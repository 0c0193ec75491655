//! Which endpoints this user has, which of them are alive, and the removal of those that are not.
//!
//! Alive is whose lock file is locked: the kernel drops the lock with its holder. Looking takes a shared lock for a
//! moment where nobody holds one; a main process that is just binding that name tries again, as it does for any other.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::Path,
};

use crate::{
    TRANSPORTS,
    os::files::{Lock, open_lock, strangers_may_enter},
    session::{
        endpoint::{folder, is_name, make_folder},
        error::EndpointsError,
    },
};
/// A name that a main process of this user has bound, or had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointInfo {
    /// The endpoint's name.
    pub name: String,
    /// Whether its main process is there; else it was killed, and its files are what is left.
    pub alive: bool,
    /// That process's id, if it is alive and can be seen from here.
    pub pid: Option<u32>,
}

/// The endpoints of this user, in the order of their names.
///
/// # Errors
///
/// If the folder that they are in cannot be read, or is not this user's alone.
pub fn endpoints() -> Result<Vec<EndpointInfo>, EndpointsError> {
    let folder = folder();
    let info = |name: String| {
        let holder = holder(&folder.join(format!("{name}.lock")))?;
        Ok(EndpointInfo { alive: holder.is_some(), pid: holder.flatten(), name })
    };
    let found: io::Result<Vec<_>> = names(&folder)?.into_iter().map(info).collect();
    found.map_err(|source| EndpointsError::Io { path: folder.clone(), source })
}

/// What a main process that was killed had left of its endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweptEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// How many segments of shared memory it had left ([`Backend::Portable`](crate::Backend)): with the sealed
    /// backend memory goes with its last user.
    pub segments: usize,
    /// How large they were, in bytes.
    pub bytes: u64,
}

/// Removes what main processes of this user that were killed have left: the sockets and lock files of
/// their endpoints, and segments of shared memory. Never those of one that is alive, or just coming to be. Returns
/// what was removed, by name, in order.
///
/// # Errors
///
/// As [`endpoints`], or if a file cannot be removed.
pub fn sweep_endpoints() -> Result<Vec<SweptEndpoint>, EndpointsError> {
    let folder = folder();
    let mut swept = Vec::new();
    for name in names(&folder)?.union(&orphans(&folder)?) {
        let found = sweep(&folder, name);
        swept.extend(
            found.map_err(|source| EndpointsError::Io { path: folder.join(name), source })?,
        );
    }
    Ok(swept)
}

/// The names that have lost their lock files, or that are looked for from elsewhere.
fn orphans(folder: &Path) -> Result<BTreeSet<String>, EndpointsError> {
    let orphans: BTreeSet<_> =
        TRANSPORTS.iter().flat_map(|transport| transport.orphans()).collect();
    if !orphans.is_empty() {
        // Their locks are to be taken there.
        make_folder(folder).map_err(|error| EndpointsError::Io {
            path: folder.to_owned(),
            source: io::Error::other(error),
        })?;
    }
    Ok(orphans)
}

/// Removes a name's files if nobody has it. Under its lock, as whoever binds it would.
fn sweep(folder: &Path, name: &str) -> io::Result<Option<SweptEndpoint>> {
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = match Lock::take(&lock_path) {
        Ok(lock) => lock,
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let mut swept = SweptEndpoint { name: name.to_owned(), ..SweptEndpoint::default() };
    for transport in TRANSPORTS {
        let Some(left) = transport.sweep(name)? else { return Ok(None) };
        swept.segments += left.segments;
        swept.bytes += left.bytes;
    }
    lock.remove()?;
    Ok(Some(swept))
}

/// The names that there are files of.
fn names(folder: &Path) -> Result<BTreeSet<String>, EndpointsError> {
    let io = |source| EndpointsError::Io { path: folder.to_owned(), source };
    match fs::symlink_metadata(folder) {
        Ok(found) => {
            if let Some(why) = strangers_may_enter(&found) {
                return Err(EndpointsError::UnsafeFolder { path: folder.to_owned(), why });
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(io(error)),
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let file = entry.map_err(io)?.file_name();
        let Some((name, kind)) = file.to_str().and_then(|file| file.rsplit_once('.')) else {
            continue;
        };
        if matches!(kind, "lock" | "sock") && is_name(name) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// Who holds a lock file: `None`: nobody, `Some(None)`: somebody whom this process cannot see.
fn holder(path: &Path) -> io::Result<Option<Option<u32>>> {
    let file = match open_lock(path) {
        Ok(file) => file,
        // A socket without a lock is one that nobody has.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(locker_of(&file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The process that has locked the file, as the kernel tells anyone.
#[cfg(target_os = "linux")]
fn locker_of(file: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{major, minor};

    let found = file.metadata().ok()?;
    let (device, inode) = (found.dev(), found.ino());
    let id = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    // "1: FLOCK  ADVISORY  WRITE 4711 00:1b:2342 0 EOF"; who waits for a lock has an arrow in front.
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, locked, ..] if locked == id => pid.parse().ok(),
            _ => None,
        }
    })
}

/// Other kernels tell it to nobody.
#[cfg(not(target_os = "linux"))]
fn locker_of(_: &File) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backend;
    use crate::session::endpoint::{Endpoint, tests::unique};

    fn found(name: &str) -> Option<EndpointInfo> {
        endpoints().unwrap().into_iter().find(|endpoint| endpoint.name == name)
    }

    #[test]
    fn an_endpoint_is_listed_while_it_is_bound_with_the_process_that_has_it() {
        let name = unique("listed");
        assert_eq!(found(&name), None);
        let endpoint = Endpoint::bind(&name, Backend::Sealed).unwrap();
        let pid = Some(std::process::id());
        assert_eq!(found(&name), Some(EndpointInfo { name: name.clone(), alive: true, pid }));
        drop(endpoint);
        assert_eq!(found(&name), None);
    }

    #[test]
    fn what_nobody_has_is_stale_and_swept_and_what_somebody_has_is_not() {
        let (dead, socket_only, alive) = (unique("dead"), unique("socket"), unique("alive"));
        let kept = Endpoint::bind(&alive, Backend::Sealed).unwrap();
        let folder = folder();
        for file in [format!("{dead}.lock"), format!("{dead}.sock"), format!("{socket_only}.sock")]
        {
            File::create(folder.join(file)).unwrap();
        }
        for name in [&dead, &socket_only] {
            assert_eq!(found(name).map(|endpoint| endpoint.alive), Some(false));
            assert!(sweep(&folder, name).unwrap().is_some());
            assert_eq!(found(name), None);
        }
        assert_eq!(sweep(&folder, &alive).unwrap(), None);
        assert_eq!(found(&alive).map(|endpoint| endpoint.alive), Some(true));
        drop(kept);
    }

    #[test]
    fn files_that_are_no_endpoints_are_neither_listed_nor_touched() {
        let name = unique("other");
        let path = folder().join(format!("{name}.txt"));
        drop(Endpoint::bind(&name, Backend::Sealed).unwrap());
        File::create(&path).unwrap();
        assert_eq!(found(&name), None);
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }
}
