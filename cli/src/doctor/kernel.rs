//! The features of the kernel that the engine uses.

use std::{fs, io, os::fd::OwnedFd, ptr, sync::atomic::AtomicU32};

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

use super::{Check, Found, Grade::*};

/// The remedy for features that have long existed.
const NEWER: &str = "run Linux 5.16 or newer, or let the container's seccomp filter allow it";

pub(super) const CHECKS: &[Check] = &[
    Check("shared memory", Fail, shared_memory, NEWER),
    Check(
        "memory never executable",
        Note,
        memory_not_executable,
        "Linux 6.3 has it: without it a renderer outside the sandbox can execute shared memory",
    ),
    Check("futex_waitv", Fail, futex_waitv, NEWER),
    Check("eventfd in epoll", Fail, eventfd_in_epoll, NEWER),
    Check("sockets", Fail, packet_sockets, NEWER),
    Check("pidfd", Fail, pidfd, NEWER),
    Check(
        "membarrier",
        Note,
        fences,
        "let the container's seccomp filter allow it: a stream of messages is up to ten times slower without it",
    ),
    Check(
        "Landlock",
        Note,
        landlock,
        "Linux 6.12 has all of it, with 'landlock' in the boot parameter lsm=: the sandbox has one wall less without it",
    ),
    Check(
        "seccomp",
        Note,
        seccomp,
        "run a kernel with CONFIG_SECCOMP_FILTER: the sandbox has one wall less without it",
    ),
];

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

fn memory(flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create("ringbridge-doctor", flags)?;
    ftruncate(&memory, 4096)?;
    Ok(memory)
}

/// Tries memory that only its creator can write, and memory that no process can write any more.
fn shared_memory() -> Found {
    let fixed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    for (seal, name) in [(SealFlags::FUTURE_WRITE, "FUTURE_WRITE"), (SealFlags::WRITE, "WRITE")] {
        let memory = memory(MemfdFlags::empty())?;
        fcntl_add_seals(&memory, seal | fixed)?;
        let holds = pwrite(&memory, &[1], 0) == Err(Errno::PERM)
            && ftruncate(&memory, 0) == Err(Errno::PERM)
            && ftruncate(&memory, 8192) == Err(Errno::PERM);
        if !holds {
            return Err(format!("the seal {name} does not hold").into());
        }
    }
    Ok("sealed memory: FUTURE_WRITE, WRITE, SHRINK, GROW, SEAL hold".to_owned())
}

fn memory_not_executable() -> Found {
    memory(MemfdFlags::NOEXEC_SEAL).map_err(|error| format!("MFD_NOEXEC_SEAL: {error}"))?;
    Ok("MFD_NOEXEC_SEAL".to_owned())
}

/// Sleeps on two words at once, of which the second has changed.
fn futex_waitv() -> Found {
    let words = [AtomicU32::new(0), AtomicU32::new(1)];
    let waits = [&words[0], &words[1]].map(|word| {
        let mut wait = Wait::new();
        wait.uaddr = ptr::from_ref(word).cast_mut().cast::<std::ffi::c_void>().into();
        wait.flags = WaitFlags::SIZE_U32 | WaitFlags::PRIVATE;
        wait
    });
    match futex::waitv(&waits, WaitvFlags::empty(), Some(&NOW), ClockId::Monotonic) {
        Err(Errno::AGAIN) => Ok("sleeps on two words at once".to_owned()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("it slept on a word that had changed".into()),
    }
}

/// Writes to an eventfd that nobody reads. Each write must wake an edge-triggered epoll.
fn eventfd_in_epoll() -> Found {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&set, &bell, epoll::EventData::new_u64(7), flags)?;
    for _ in 0..2 {
        rustix::io::write(&bell, &1_u64.to_ne_bytes())?;
        let mut events = Vec::with_capacity(4);
        epoll::wait(&set, rustix::buffer::spare_capacity(&mut events), Some(&NOW))?;
        if events.len() != 1 {
            return Err("a write to an eventfd did not wake epoll".into());
        }
    }
    Ok("each write wakes once".to_owned())
}

fn packet_sockets() -> Found {
    let flags = SocketFlags::CLOEXEC;
    let (ours, _theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    if sockopt::socket_peercred(&ours)?.pid != getpid() {
        return Err("the kernel names another process as the peer".into());
    }
    Ok("Unix packet sockets, with the peer's process and user".to_owned())
}

fn pidfd() -> Found {
    pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok("main notices the end of a renderer".to_owned())
}

fn fences() -> Found {
    membarrier(MembarrierCommand::RegisterPrivateExpedited)?;
    membarrier(MembarrierCommand::PrivateExpedited)?;
    Ok("private expedited".to_owned())
}

/// Asks for Landlock's version. The check of the sandbox tries Landlock itself.
fn landlock() -> Found {
    const VERSION: libc::c_uint = 1;
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: with the flag VERSION the call takes a null pointer and size 0, and creates nothing.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION) };
    match abi {
        // From 6 on: files, devices, TCP ports, signals and abstract sockets.
        6.. => Ok(format!("version {abi} of its interface")),
        1..6 => Err(format!("version {abi} of its interface").into()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Asks the kernel for the actions of a filter. The check of the sandbox installs one.
fn seccomp() -> Found {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    match actions.split_whitespace().any(|action| action == "errno") {
        true => Ok("filters of system calls".to_owned()),
        false => Err("no filters of system calls".into()),
    }
}
