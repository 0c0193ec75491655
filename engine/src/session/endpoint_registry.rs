//! The list of this user's endpoints, and the removal of dead ones.
//!
//! An endpoint is alive while its lock file is locked: the kernel drops the lock with its holder. A look takes a
//! shared lock for a moment if there is no holder. A main process that binds that name meanwhile tries again.

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
    /// Its main process is there. Otherwise it was killed and has left its files.
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

/// The remains of an endpoint whose main process was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweptEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// Segments of shared memory that were left ([`Backend::Portable`](crate::Backend)): with the sealed backend
    /// memory goes with its last user.
    pub segments: usize,
    /// Their size, in bytes.
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
    let mut names = names(&folder)?;
    let orphans: Vec<_> = TRANSPORTS.iter().flat_map(|transport| transport.orphans()).collect();
    if !orphans.is_empty() {
        // Their locks are taken there.
        make_folder(&folder)
            .map_err(|why| EndpointsError::UnsafeFolder { path: folder.clone(), why })?;
    }
    names.extend(orphans);
    let sweep = |name: &String| {
        let io = |source| EndpointsError::Io { path: folder.join(name), source };
        sweep(&folder, name).map_err(io).transpose()
    };
    names.iter().filter_map(sweep).collect()
}

/// Removes a name's files if no process has it. Under its lock, as a process that binds it would.
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

/// The names that have files.
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

/// The process that holds a lock file. `None`: there is none. `Some(None)`: it is not visible from here.
fn holder(path: &Path) -> io::Result<Option<Option<u32>>> {
    let file = match open_lock(path) {
        Ok(file) => file,
        // A socket without a lock has no owner.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(locker_of(&file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The process that has locked the file, by the kernel's public list.
#[cfg(target_os = "linux")]
fn locker_of(file: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{major, minor};

    let found = file.metadata().ok()?;
    let (device, inode) = (found.dev(), found.ino());
    let id = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    // "1: FLOCK  ADVISORY  WRITE 4711 00:1b:2342 0 EOF"; a process that waits has an arrow in front.
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, locked, ..] if locked == id => pid.parse().ok(),
            _ => None,
        }
    })
}

/// Other kernels have no such list.
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
