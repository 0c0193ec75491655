//! System calls that reach for other processes, and the way to another user.

use std::{io, process};

use rustix::{
    process::getuid,
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

/// Which `libc` does not name: the same on all Linux architectures.
const F_SETSIG: libc::c_int = 10;

pub const NOBODY: u32 = 65534;

pub fn can_change_user() -> bool {
    getuid().is_root()
}

/// Becomes the user nobody, for good. Only while there is one thread, since each has its own user.
pub fn become_nobody() {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).expect("root may");
    set_thread_res_gid(group, group, group).expect("root may");
    set_thread_res_uid(user, user, user).expect("root may");
    assert_eq!((getuid(), rustix::process::geteuid()), (user, user));
}

pub fn seize(process_id: u32) -> io::Result<()> {
    // SAFETY: the request takes no pointer that is used.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, process_id as libc::pid_t, 0, 0) };
    if seized == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads, or writes, some bytes of another process's memory.
pub fn access_memory(process_id: u32, address: usize, write: bool) -> io::Result<usize> {
    let mut bytes = [0_u8; 16];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    let access = if write { libc::process_vm_writev } else { libc::process_vm_readv };
    // SAFETY: the local part is a buffer of this frame, of that length; the remote one is not this process's.
    let done = unsafe { access(process_id as libc::pid_t, &local, 1, &remote, 1, 0) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// Has the kernel send SIGKILL to another process for each event of a socket.
pub fn aim_signals(socket: impl std::os::fd::AsRawFd, process_id: u32) -> io::Result<()> {
    let socket = socket.as_raw_fd();
    // SAFETY: none of them takes a pointer.
    let results = unsafe {
        [
            libc::fcntl(socket, libc::F_SETOWN, process_id as libc::c_int),
            libc::fcntl(socket, F_SETSIG, libc::SIGKILL),
            libc::fcntl(socket, libc::F_SETFL, libc::O_ASYNC),
        ]
    };
    if results.contains(&-1) { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs `child` in a forked process, which shares all descriptors and mappings, and goes on here at once. Only while
/// there is one thread.
pub fn fork(child: impl FnOnce()) {
    // SAFETY: this process has one thread, so the child finds no lock taken.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", io::Error::last_os_error()),
        0 => {
            // It must never come back into the parent's code.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            process::exit(0);
        }
        _ => {}
    }
}
