//! What the engine asks of the kernel, asked once.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    ptr,
    sync::atomic::AtomicU32,
};

use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    io::{Errno, pwrite},
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt},
    process::{PidfdFlags, getpid, pidfd_open},
    thread::{
        MembarrierCommand,
        futex::{self, Wait, WaitFlags, WaitvFlags},
        membarrier,
    },
    time::ClockId,
};

use super::Finding;

/// What to do about whatever has long been there.
const NEWER: &str = "run Linux 5.16 or newer, or let the container's seccomp filter allow it";

pub(super) const CHECKS: &[fn() -> Vec<Finding>] = &[
    || vec![shared_memory()],
    || vec![memory_not_executable()],
    || vec![futex_waitv()],
    || vec![eventfd_in_epoll()],
    || vec![packet_sockets()],
    || vec![pidfd()],
    || vec![fences()],
    || vec![landlock()],
    || vec![seccomp()],
];

fn required(name: &'static str, tried: io::Result<String>) -> Finding {
    match tried {
        Ok(found) => Finding::good(name, found),
        Err(error) => Finding::fail(name, error.to_string(), NEWER),
    }
}

fn memory(flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("ringbridge-doctor", flags)?;
    ftruncate(&memory, 4096)?;
    Ok(memory)
}

/// Memory that its maker alone can write, and memory that nobody can any more.
fn shared_memory() -> Finding {
    let fixed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let tried = || {
        for (seal, name) in [(SealFlags::FUTURE_WRITE, "FUTURE_WRITE"), (SealFlags::WRITE, "WRITE")]
        {
            let memory = memory(MemfdFlags::empty())?;
            fcntl_add_seals(&memory, seal | fixed)?;
            let held = pwrite(&memory, &[1], 0) == Err(Errno::PERM)
                && ftruncate(&memory, 0) == Err(Errno::PERM)
                && ftruncate(&memory, 8192) == Err(Errno::PERM);
            if !held {
                return Err(io::Error::other(format!("the seal {name} does not hold")));
            }
        }
        Ok("sealed memory: FUTURE_WRITE, WRITE, SHRINK, GROW, SEAL hold".to_owned())
    };
    required("shared memory", tried())
}

fn memory_not_executable() -> Finding {
    const NAME: &str = "memory never executable";
    match memory(MemfdFlags::NOEXEC_SEAL) {
        Ok(_) => Finding::good(NAME, "MFD_NOEXEC_SEAL"),
        Err(error) => Finding::note(
            NAME,
            format!("MFD_NOEXEC_SEAL: {error}"),
            "Linux 6.3 has it: without it shared memory could be executed by a renderer outside the sandbox",
        ),
    }
}

/// Sleep on two words at once, of which one has changed.
fn futex_waitv() -> Finding {
    let tried = || {
        let words = [AtomicU32::new(0), AtomicU32::new(1)];
        let wait = |word: &AtomicU32| {
            let mut wait = Wait::new();
            wait.val = 0;
            wait.uaddr = ptr::from_ref(word).cast_mut().cast::<std::ffi::c_void>().into();
            wait.flags = WaitFlags::SIZE_U32 | WaitFlags::PRIVATE;
            wait
        };
        let waits = [wait(&words[0]), wait(&words[1])];
        let soon = Timespec { tv_sec: 0, tv_nsec: 0 };
        match futex::waitv(&waits, WaitvFlags::empty(), Some(&soon), ClockId::Monotonic) {
            // The second one is not as it was said to be.
            Err(Errno::AGAIN) => Ok("sleeps on two words at once".to_owned()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(io::Error::other("it slept on a word that had changed")),
        }
    };
    required("futex_waitv", tried())
}

/// A ring that is heard without being read.
fn eventfd_in_epoll() -> Finding {
    let tried = || {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&set, &bell, epoll::EventData::new_u64(7), flags)?;
        for _ in 0..2 {
            rustix::io::write(&bell, &1_u64.to_ne_bytes())?;
            let mut heard = Vec::with_capacity(4);
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            epoll::wait(&set, rustix::buffer::spare_capacity(&mut heard), Some(&now))?;
            if heard.len() != 1 {
                return Err(io::Error::other("a ring was not heard"));
            }
        }
        Ok("each ring is heard once".to_owned())
    };
    required("eventfd in epoll", tried())
}

fn packet_sockets() -> Finding {
    let tried = || {
        let flags = SocketFlags::CLOEXEC;
        let (ours, _theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let peer = sockopt::socket_peercred(&ours)?;
        if peer.pid != getpid() {
            return Err(io::Error::other("the kernel names another process as the peer"));
        }
        Ok("Unix packet sockets, with the peer's process and user".to_owned())
    };
    required("sockets", tried())
}

fn pidfd() -> Finding {
    let tried = pidfd_open(getpid(), PidfdFlags::empty());
    required(
        "pidfd",
        tried.map(|_| "the end of a renderer is heard".to_owned()).map_err(Into::into),
    )
}

fn fences() -> Finding {
    const NAME: &str = "membarrier";
    let tried = membarrier(MembarrierCommand::RegisterPrivateExpedited)
        .and_then(|()| membarrier(MembarrierCommand::PrivateExpedited));
    match tried {
        Ok(()) => Finding::good(NAME, "private expedited"),
        Err(error) => Finding::note(
            NAME,
            error.to_string(),
            "let the container's seccomp filter allow it: a stream of messages is up to ten times slower without it",
        ),
    }
}

/// The sandbox is tried out as a whole too; this says what of Landlock there is.
fn landlock() -> Finding {
    const NAME: &str = "Landlock";
    const VERSION: libc::c_uint = 1;
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: asked for the version, the call takes no pointer and no size, and makes nothing.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION) };
    let remedy = "Linux 6.12 has all of it, with 'landlock' in the boot parameter lsm=: the sandbox has one wall less \
                  without it";
    match abi {
        // Since then: files, devices, TCP ports, signals and abstract sockets.
        6.. => Finding::good(NAME, format!("version {abi} of its interface")),
        1..6 => Finding::note(NAME, format!("version {abi} of its interface"), remedy),
        _ => Finding::note(NAME, io::Error::last_os_error().to_string(), remedy),
    }
}

/// What this kernel can do with a filter, by its own words; the sandbox, tried below, uses one.
fn seccomp() -> Finding {
    const NAME: &str = "seccomp";
    let mut text = String::new();
    let path = "/proc/sys/kernel/seccomp/actions_avail";
    match File::open(path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) if text.split_whitespace().any(|action| action == "errno") => {
            Finding::good(NAME, "filters of system calls")
        }
        _ => Finding::note(
            NAME,
            "no filters of system calls",
            "run a kernel with CONFIG_SECCOMP_FILTER: the sandbox has one wall less without it",
        ),
    }
}
