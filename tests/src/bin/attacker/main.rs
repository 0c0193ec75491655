//! A hostile renderer: `attacker ATTACK SOCKET MAIN BYSTANDER`.
//!
//! It does what the catalogue says under that name, and fails by panicking if something succeeds that must not.

use std::{
    env,
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::fs::{Mode, OFlags, open};
use tests::{
    attacker::{Attacker, door::Socket, system},
    attacks::{self, StoppedBy},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, path, main, bystander] = &arguments[..] else {
        panic!("usage: attacker ATTACK SOCKET MAIN BYSTANDER")
    };
    let attack = attacks::find(name);
    let path = PathBuf::from(path);
    let mut attacker = Attacker {
        // Its file can be opened while this process is still of main's user, but not connected to: that is
        // looked at when it is tried.
        way_in: open(&path, OFlags::PATH, Mode::empty()).ok().map(Socket),
        path,
        main: main.parse().expect("it is a number"),
        bystander: bystander.parse().expect("it is a number"),
        inherited: inherited().map(Socket),
    };
    if attack.stopped_by == StoppedBy::AnotherUser {
        system::become_nobody();
    }
    (attack.run)(&mut attacker);
}

/// The socket with which main launched this process.
fn inherited() -> Option<OwnedFd> {
    let number = env::var("RINGBRIDGE_SOCKET").ok()?.parse().expect("it is a number");
    // SAFETY: main has left it open for this process, and nothing here closes it.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    Some(rustix::io::fcntl_dupfd_cloexec(inherited, 0).expect("main has left it open"))
}
