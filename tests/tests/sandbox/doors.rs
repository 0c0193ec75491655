//! The doors that a sandbox must shut: the attempts of hostile code in a renderer.
//!
//! An attempt gives `ok`, or the name of the kernel's error. An attempt that would do harm where the door is open is
//! [`Open::NotTried`] without a sandbox.

#![allow(unsafe_code, reason = "hostile code does not use the standard library's doors")]

use std::{
    fs::{self, File},
    io,
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    path::PathBuf,
    process::Command,
    ptr,
};

use libc::{c_int, c_long};
use serde::{Deserialize, Serialize};

/// The targets of the attempts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Targets {
    /// The main process.
    pub main: i32,
    /// A folder in which this user may make files. A Unix socket listens there as `socket`.
    pub folder: PathBuf,
    /// The name of an abstract Unix socket that listens.
    pub abstract_socket: String,
    /// A TCP port of this machine that listens.
    pub port: u16,
}

/// One door.
pub(crate) struct Door {
    pub name: &'static str,
    /// The outcome where only Landlock and the lack of capabilities protect, if they shut this door.
    pub landlock: Option<&'static str>,
    pub open: Open,
    attempt: fn(&Targets) -> io::Result<()>,
}

/// The outcome without a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// It works for everyone.
    ToAll,
    /// It works for root. Settings of the machine may refuse others.
    ToRoot,
    /// For root it fails with another error than lack of permission. Settings of the machine may refuse others.
    ToRootInVain,
    /// It would do harm.
    NotTried,
}

impl Door {
    pub(crate) fn attempt(&self, targets: &Targets) -> String {
        match (self.attempt)(targets) {
            Ok(()) => "ok".to_owned(),
            Err(error) => match error.raw_os_error() {
                Some(libc::EPERM) => "EPERM".to_owned(),
                Some(libc::EACCES) => "EACCES".to_owned(),
                Some(number) => format!("errno {number}"),
                None => error.to_string(),
            },
        }
    }
}

const fn door(
    name: &'static str,
    landlock: Option<&'static str>,
    open: Open,
    attempt: fn(&Targets) -> io::Result<()>,
) -> Door {
    Door { name, landlock, open, attempt }
}

/// The outcome of every attempt in a complete sandbox.
pub(crate) const SHUT: &str = "EPERM";
const EACCES: Option<&str> = Some("EACCES");
const REFUSED: Option<&str> = Some("EPERM");

use Open::{NotTried, ToAll, ToRoot, ToRootInVain};

/// All of them.
#[rustfmt::skip]
pub(crate) const DOORS: &[Door] = &[
    // files
    door("read a file", EACCES, ToAll, |_| File::open("/etc/passwd").map(drop)),
    door("create a file", EACCES, ToAll, |t| File::create(t.folder.join("made")).map(drop)),
    door("list a folder", EACCES, ToAll, |t| fs::read_dir(&t.folder).map(drop)),
    door("make a folder", EACCES, ToAll,
        |t| fs::create_dir(t.folder.join("inner")).and_then(|()| fs::remove_dir(t.folder.join("inner")))),
    door("look at a file", None, ToAll, |_| fs::metadata("/etc/passwd").map(drop)),
    door("open its own descriptors again", EACCES, ToAll, |_| File::open("/proc/self/fd").map(drop)),
    door("openat2", EACCES, ToAll, |_| {
        let how = [0_u64; 3];
        call(libc::SYS_openat2, [at(libc::AT_FDCWD), address(c"/etc/passwd".as_ptr()), address(how.as_ptr()), 24])
    }),
    door("execute a program", EACCES, ToAll, |_| Command::new("/bin/true").status().map(drop)),
    door("execve", EACCES, NotTried, |_| {
        let arguments = [c"true".as_ptr(), ptr::null()];
        call(libc::SYS_execve, [address(c"/bin/true".as_ptr()), address(arguments.as_ptr())])
    }),
    // sockets
    door("connect to a port", EACCES, ToAll, |t| TcpStream::connect(("127.0.0.1", t.port)).map(drop)),
    door("listen at a port", EACCES, ToAll, |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    door("connect to a Unix socket", None, ToAll, |t| UnixStream::connect(t.folder.join("socket")).map(drop)),
    door("connect to an abstract socket", REFUSED, ToAll, |t| {
        let address = SocketAddr::from_abstract_name(&t.abstract_socket)?;
        UnixStream::connect_addr(&address).map(drop)
    }),
    door("make a pair of sockets", None, ToAll, |_| UnixStream::pair().map(drop)),
    door("send over a socket", None, ToRootInVain, |_| call(libc::SYS_sendmsg, [usize::MAX])),
    // other processes
    door("look whether main is there", REFUSED, ToAll, |t| call(libc::SYS_kill, [at(t.main)])),
    door("end main", REFUSED, NotTried, |t| call(libc::SYS_kill, [at(t.main), at(libc::SIGTERM)])),
    door("signal a thread of main", REFUSED, ToAll,
        |t| call(libc::SYS_tgkill, [at(t.main), at(t.main)])),
    door("queue a signal for main", REFUSED, NotTried, |t| {
        // SAFETY: all zeroes are a value of this plain struct.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        info.si_code = libc::SI_QUEUE;
        call(libc::SYS_rt_sigqueueinfo, [at(t.main), at(libc::SIGTERM), address(&info)])
    }),
    door("signal its process group", None, ToAll, |_| call(libc::SYS_kill, [])),
    door("have main signalled by a descriptor", None, ToAll,
        |t| call(libc::SYS_fcntl, [1, at(libc::F_SETOWN), at(t.main)])),
    door("trace main", REFUSED, ToRoot,
        |t| { const PTRACE_SEIZE: usize = 0x4206; call(libc::SYS_ptrace, [PTRACE_SEIZE, at(t.main)]) }),
    door("read main's memory", REFUSED, ToRoot, |t| vm(libc::SYS_process_vm_readv, t)),
    door("write main's memory", REFUSED, NotTried, |t| vm(libc::SYS_process_vm_writev, t)),
    door("open main's memory", EACCES, ToRoot,
        |t| File::options().read(true).write(true).open(format!("/proc/{}/mem", t.main)).map(drop)),
    door("get a descriptor of main", REFUSED, ToRoot, |t| {
        let process = system_call(libc::SYS_pidfd_open, [at(t.main)])?;
        call(libc::SYS_pidfd_getfd, [process])
    }),
    door("pidfd_getfd by itself", None, ToRootInVain, |_| call(libc::SYS_pidfd_getfd, [usize::MAX])),
    door("change main's limits", None, ToRoot, |t| {
        let mut limits = [0_u64; 2];
        let place = limits.as_mut_ptr().addr();
        call(libc::SYS_prlimit64, [at(t.main), 7, 0, place])
    }),
    door("move main to other processors", None, ToAll, |t| {
        // Where main runs now, so that no harm is done.
        let mut allowed = [0_u64; 16];
        let place = [at(t.main), size_of_val(&allowed), allowed.as_mut_ptr().addr()];
        call(libc::SYS_sched_getaffinity, place)?;
        call(libc::SYS_sched_setaffinity, place)
    }),
    door("fork", None, ToAll, |_| {
        // SAFETY: the child makes one system call and is gone.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: as above.
            0 => unsafe { libc::_exit(0) },
            // SAFETY: it is this process's child, and nobody else waits for it.
            child => match unsafe { libc::waitpid(child, ptr::null_mut(), 0) } {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            },
        }
    }),
    door("clone into a new namespace of users", None, NotTried,
        |_| call(libc::SYS_clone, [at(libc::CLONE_NEWUSER | libc::SIGCHLD)])),
    door("move a sleeper to another futex", None, ToAll, |_| {
        let words = [0_u32; 2];
        call(
            libc::SYS_futex,
            [address(&words[0]), at(libc::FUTEX_CMP_REQUEUE), 0, 1, address(&words[1]), 0],
        )
    }),
    // memory
    door("map executable memory", None, ToAll, |_| map(libc::PROT_READ | libc::PROT_EXEC).map(drop)),
    door("make memory executable", None, ToAll, |_| {
        let place = map(libc::PROT_READ | libc::PROT_WRITE)?;
        call(libc::SYS_mprotect, [place, PAGE, at(libc::PROT_READ | libc::PROT_EXEC)])
    }),
    door("make memory executable with a key", None, ToAll, |_| {
        let place = map(libc::PROT_READ | libc::PROT_WRITE)?;
        call(libc::SYS_pkey_mprotect, [place, PAGE, at(libc::PROT_READ | libc::PROT_EXEC), usize::MAX])
    }),
    door("make a memfd", None, ToAll, |_| call(libc::SYS_memfd_create, [address(c"mine".as_ptr())])),
    door("make System V memory", None, ToRootInVain, |_| call(libc::SYS_shmget, [])),
    door("userfaultfd", None, ToRootInVain, |_| call(libc::SYS_userfaultfd, [usize::MAX])),
    // rights and the kernel
    door("leave its namespaces", REFUSED, ToRoot,
        |_| call(libc::SYS_unshare, [at(libc::CLONE_NEWNS)])),
    door("mount", REFUSED, NotTried, |_| {
        let [what, to, kind] = [c"none", c"/mnt", c"tmpfs"].map(|text| address(text.as_ptr()));
        call(libc::SYS_mount, [what, to, kind])
    }),
    door("become another user", REFUSED, NotTried, |_| call(libc::SYS_setuid, [1])),
    door("be dumpable again", None, ToAll, |_| call(libc::SYS_prctl, [at(libc::PR_SET_DUMPABLE), 1])),
    door("outlive main", None, NotTried, |_| call(libc::SYS_prctl, [at(libc::PR_SET_PDEATHSIG)])),
    door("type into the terminal", None, NotTried,
        |_| call(libc::SYS_ioctl, [0, libc::TIOCSTI as usize, address(c"x".as_ptr())])),
    door("select and paste on the console", None, NotTried,
        |_| call(libc::SYS_ioctl, [0, libc::TIOCLINUX as usize, address(c"\x03".as_ptr())])),
    door("take a terminal for its own", None, NotTried,
        |_| call(libc::SYS_ioctl, [0, libc::TIOCSCTTY as usize, 1])),
    door("say who may read from the terminal", None, NotTried,
        |_| { let group = 1_i32; call(libc::SYS_ioctl, [0, libc::TIOCSPGRP as usize, address(&group)]) }),
    door("change the terminal's line discipline", None, NotTried, |_| {
        let discipline = 0_i32;
        call(libc::SYS_ioctl, [0, libc::TIOCSETD as usize, address(&discipline)])
    }),
    door("take what is written to the console", None, NotTried,
        |_| call(libc::SYS_ioctl, [0, libc::TIOCCONS as usize])),
    door("io_uring", None, ToRootInVain, |_| call(libc::SYS_io_uring_setup, [])),
    door("perf_event_open", None, ToRootInVain,
        |_| call(libc::SYS_perf_event_open, [0, 0, 0, usize::MAX])),
    door("bpf", None, ToRootInVain, |_| call(libc::SYS_bpf, [usize::MAX])),
    door("keyctl", None, ToRootInVain, |_| call(libc::SYS_keyctl, [999])),
    #[cfg(target_arch = "x86_64")]
    door("an allowed call by its x32 number", None, NotTried,
        |_| { call(0x4000_0000 | libc::SYS_getpid, [0; 4]) }),
    door("another filter", None, ToRootInVain, |_| call(libc::SYS_seccomp, [usize::MAX])),
];

const PAGE: usize = 4096;

fn map(protection: c_int) -> io::Result<usize> {
    let flags = at(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    system_call(libc::SYS_mmap, [0, PAGE, at(protection), flags, usize::MAX])
}

/// Reads or writes a word of main's, at an address where nothing is: an error that is not about permission is
/// a door that was open.
fn vm(number: c_long, targets: &Targets) -> io::Result<()> {
    let mut word = 0_u64;
    let ours = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: 8 };
    let theirs = libc::iovec { iov_base: ptr::without_provenance_mut(8), iov_len: 8 };
    let arguments = [at(targets.main), address(&ours), 1, address(&theirs), 1, 0];
    match call(number, arguments) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        result => result,
    }
}

fn at(value: c_int) -> usize {
    value as usize
}

fn address<T>(place: *const T) -> usize {
    place.expose_provenance()
}

fn call<const N: usize>(number: c_long, arguments: [usize; N]) -> io::Result<()> {
    system_call(number, arguments).map(drop)
}

/// Makes a system call that the standard library lacks. Missing arguments are 0.
fn system_call<const N: usize>(number: c_long, arguments: [usize; N]) -> io::Result<usize> {
    let mut six = [0; 6];
    six[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = six;
    // SAFETY: each attempt passes numbers, and addresses of values in its own frame, as the call expects them. New
    // mappings are at addresses of the kernel's choice.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result as usize),
    }
}
