//! A folder that only one user may enter, and files in it that are locked while their holder lives.
//!
//! The system drops a lock when its holder dies. No process may keep a lock on a file that was removed. So on Unix
//! a process that has taken a lock checks that the file still has its name. On Windows an open file cannot be
//! removed.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// The default folder of this user's endpoints.
pub(crate) use system::default_folder;

/// Attempts to lock a file that another process removes between opening and locking.
const LOCK_TRIES: usize = 16;

/// A lock file that this process holds.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, and makes the file if there is none. `WouldBlock`: another process has it.
    pub(crate) fn take(path: &Path) -> Result<Self, TryLockError> {
        for _ in 0..LOCK_TRIES {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            let file = system::open(&mut options, path).map_err(TryLockError::Error)?;
            file.try_lock()?;
            // Its last holder may have removed it before this lock.
            if system::has_name(&file, path).map_err(TryLockError::Error)? {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
        Err(TryLockError::WouldBlock)
    }

    /// Gives the lock up, and removes its file.
    pub(crate) fn remove(self) -> io::Result<()> {
        let Self { file, path } = self;
        // While it is locked, so that no other process has it by then. Windows removes no open file.
        if cfg!(unix) {
            return remove_if_there(&path);
        }
        drop(file);
        // It cannot be removed if another process has taken the lock by now, and need not be.
        let _ = remove_if_there(&path);
        Ok(())
    }
}

/// Opens a lock file to read its holder.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    system::open(OpenOptions::new().read(true), path)
}

/// Makes a folder that only this user may enter.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(path);
    #[cfg(not(unix))]
    fs::create_dir(path)
}

/// The reason why other users may enter a folder, if they may.
pub(crate) fn strangers_may_enter(found: &Metadata) -> Option<String> {
    if found.is_dir() {
        system::strangers_may_enter(found)
    } else {
        Some("it is no folder".to_owned())
    }
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
mod system {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    use super::*;
    use crate::os::process;

    /// `O_NOFOLLOW`.
    const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

    /// Follows no link: another process's link would make this one lock a file elsewhere.
    pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        options.mode(0o600).custom_flags(NO_FOLLOW).open(path)
    }

    pub(super) fn has_name(file: &File, path: &Path) -> io::Result<bool> {
        let ours = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn default_folder() -> PathBuf {
        PathBuf::from(format!("/tmp/ringbridge-{}", process::user_id()))
    }

    pub(super) fn strangers_may_enter(found: &Metadata) -> Option<String> {
        if found.uid() != process::user_id() {
            Some(format!("it belongs to the user {}", found.uid()))
        } else if found.mode() & 0o077 != 0 {
            Some(format!("its mode is {:o}; make it 700", found.mode() & 0o777))
        } else {
            None
        }
    }
}

/// On Windows other users cannot enter a user's folder for temporary files.
#[cfg(windows)]
mod system {
    use std::os::windows::fs::OpenOptionsExt;

    use super::*;

    /// `FILE_SHARE_READ | FILE_SHARE_WRITE`: others may open it, and none may remove it.
    const SHARED_BUT_NOT_REMOVED: u32 = 1 | 2;

    pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
        options.share_mode(SHARED_BUT_NOT_REMOVED).open(path)
    }

    /// An open file cannot be removed.
    pub(super) fn has_name(_: &File, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    pub(crate) fn default_folder() -> PathBuf {
        std::env::temp_dir().join("ringbridge")
    }

    pub(super) fn strangers_may_enter(_: &Metadata) -> Option<String> {
        None
    }
}
