//! The files of one folder, for renderers to read.
//!
//! The path comes from a renderer, which is not trusted. The kernel resolves it below the folder's descriptor (`openat2`
//! with `RESOLVE_BENEATH`), so neither `..` nor a link leads out. A thread of its own reads. The number of waiting requests
//! is bounded.

use std::{
    error::Error,
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    path::{Component, Path},
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread,
};

use contract::{FILE_LEN_MAX, ReadFileError};
use ringbridge::Responder;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

const WAITING_MAX: usize = 64;
/// The maximum number of attempts to resolve a path while the folder changes.
const RESOLVE_ATTEMPTS_MAX: usize = 8;

/// An open folder. A rename does not change it.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map(Self);
        opened.map_err(|error| format!("cannot serve the folder {}: {error}", path.display()))
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, ReadFileError> {
        let file = self.open_below(path)?;
        let metadata = file.metadata().map_err(|_| ReadFileError::Unreadable)?;
        if !metadata.is_file() {
            return Err(ReadFileError::NotAFile);
        }
        if metadata.len() > FILE_LEN_MAX as u64 {
            return Err(ReadFileError::TooLarge);
        }
        // The file may grow meanwhile, and the length of a file in /proc is 0.
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        file.take(FILE_LEN_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| ReadFileError::Unreadable)?;
        if bytes.len() > FILE_LEN_MAX { Err(ReadFileError::TooLarge) } else { Ok(bytes) }
    }

    fn open_below(&self, path: &str) -> Result<File, ReadFileError> {
        let path = Path::new(path);
        let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(stays) {
            return Err(ReadFileError::Outside);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RESOLVE_ATTEMPTS_MAX {
            match openat2(&self.0, path, flags, Mode::empty(), resolve) {
                Ok(descriptor) => return Ok(File::from(descriptor)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(why(error)),
            }
        }
        Err(ReadFileError::Unreadable)
    }
}

fn why(error: Errno) -> ReadFileError {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => ReadFileError::NotFound,
        Errno::XDEV | Errno::LOOP => ReadFileError::Outside,
        // A socket, or a device or pipe without its other end.
        Errno::NXIO | Errno::NODEV => ReadFileError::NotAFile,
        _ => ReadFileError::Unreadable,
    }
}

type Reply = Responder<[u8], ReadFileError>;

/// The reader of files, one after another. Its thread ends when this is dropped.
pub(crate) struct Reader(Option<SyncSender<(String, Reply)>>);

impl Reader {
    /// Starts the thread. Without a folder there is none, and every request is refused.
    pub(crate) fn start(folder: Option<Folder>) -> Result<Self, Box<dyn Error>> {
        let Some(folder) = folder else { return Ok(Self(None)) };
        let (requests, received) = mpsc::sync_channel(WAITING_MAX);
        let read = move || read_all(&folder, &received);
        thread::Builder::new().name("files".to_owned()).spawn(read)?;
        Ok(Self(Some(requests)))
    }

    /// Queues a request. Never waits.
    pub(crate) fn read(&self, path: &str, reply: Reply) {
        let Some(requests) = &self.0 else {
            reply.reject(&ReadFileError::NoFolder);
            return;
        };
        if let Err(TrySendError::Full((_, reply)) | TrySendError::Disconnected((_, reply))) =
            requests.try_send((path.to_owned(), reply))
        {
            reply.reject(&ReadFileError::Busy);
        }
    }
}

fn read_all(folder: &Folder, requests: &Receiver<(String, Reply)>) {
    for (path, reply) in requests.iter().filter(|(_, reply)| !reply.is_cancelled()) {
        match folder.read(&path) {
            Ok(bytes) => reply.reply(&bytes),
            Err(error) => reply.reject(&error),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        os::unix::{fs::symlink, net::UnixListener},
        process,
    };

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_below_the_folder_are_read_and_a_pipe_does_not_block() {
        let root = env::temp_dir().join(format!("ringbridge-files-{}", process::id()));
        let (served, secret) = (root.join("served"), root.join("secret"));
        fs::create_dir_all(served.join("below")).unwrap();
        fs::write(&secret, "secret").unwrap();
        fs::write(served.join("below/file"), "content").unwrap();
        let secret = secret.to_str().unwrap();
        for (link, target) in [
            ("link", "below/file"),
            ("absolute", secret),
            ("relative", "../secret"),
            ("up", ".."),
            ("magic", "/proc/self/cwd"),
        ] {
            symlink(target, served.join(link)).unwrap();
        }
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, served.join("pipe"), FileType::Fifo, mode, 0).unwrap();
        let _listener = UnixListener::bind(served.join("socket")).unwrap();
        assert!(Folder::open(&served.join("below/file")).is_err());
        assert!(Folder::open(&served.join("nothing")).is_err());

        let folder = Folder::open(&served).unwrap();
        // The folder stays the same.
        fs::rename(&served, root.join("elsewhere")).unwrap();
        let outside =
            "../secret below/../../secret absolute relative up/secret magic / .. below/..";
        let missing =
            format!(" nothing below/nothing below/file/deeper nul\0 {}", "x".repeat(5000));
        for (paths, expected) in [
            ("below/file ./below//file link", Ok(b"content".to_vec())),
            (outside, Err(ReadFileError::Outside)),
            (secret, Err(ReadFileError::Outside)),
            (&missing, Err(ReadFileError::NotFound)),
            ("pipe socket below .", Err(ReadFileError::NotAFile)),
        ] {
            for path in paths.split(' ') {
                assert_eq!(folder.read(path), expected, "{path:?}");
            }
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
