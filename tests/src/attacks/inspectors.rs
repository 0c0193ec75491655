//! Who says that it only wants to look.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, open},
    io::{Errno, pwrite},
    mm::ProtFlags,
};

use super::{AT_THE_DOOR, Attack, LAUNCHED, StoppedBy, Verdict};
use crate::attacker::{
    Attacker,
    door::Socket,
    memory::Mapped,
    until,
    wire::{self, CONTROL, INSPECTOR_VERSION, inspector_hello},
};

/// How many may watch at once.
const INSPECTORS_MAX: usize = 16;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "inspector-of-another-version",
        does: "asks to watch in versions that main does not have, and with a packet that goes on",
        run: |attacker| {
            for version in [0, INSPECTOR_VERSION + 1, u32::MAX] {
                let socket = attacker.knock();
                socket.say(&inspector_hello(version));
                socket.until_hung_up();
            }
            let socket = attacker.knock();
            socket.say(&[inspector_hello(INSPECTOR_VERSION), vec![0]].concat());
            socket.until_hung_up();
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "inspector-with-descriptors",
        does: "asks to watch, and brings descriptors with it",
        run: |attacker| {
            let (reader, _writer) = std::io::pipe().expect("descriptors are left");
            let socket = attacker.knock();
            let hello = inspector_hello(INSPECTOR_VERSION);
            socket.say_with(&hello, &[reader.as_fd()]);
            socket.until_hung_up();
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "inspector-that-speaks",
        does: "is let in to watch, and then talks: another hello, a renderer's ready, 100 KiB",
        run: |attacker| {
            let packets =
                [inspector_hello(INSPECTOR_VERSION), wire::ready(wire::MAGIC), vec![7; 100 * 1024]];
            for packet in packets {
                let (socket, _memory) = watch(attacker);
                socket.say(&packet);
                socket.until_hung_up();
            }
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "crowd-of-inspectors",
        does: "asks to watch 100 times at once, and comes and goes 500 times more",
        run: |attacker| {
            let crowd: Vec<_> = (0..100)
                .map(|_| {
                    let socket = attacker.knock();
                    socket.say(&inspector_hello(INSPECTOR_VERSION));
                    socket
                })
                .collect();
            until("all but some are turned away", || {
                crowd.iter().filter(|socket| socket.is_hung_up()).count() == 100 - INSPECTORS_MAX
            });
            drop(crowd);
            for _ in 0..500 {
                attacker.knock().say(&inspector_hello(INSPECTOR_VERSION));
            }
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "board-that-is-written",
        does: "writes, maps for writing, resizes, seals and opens again the memory that main shows",
        verdict: Verdict::TurnedAway,
        stopped_by: StoppedBy::Kernel,
        run: |attacker| {
            let (_socket, memory) = watch(attacker);
            let both = ProtFlags::READ.union(ProtFlags::WRITE);
            assert_eq!(Mapped::new(&memory, both).err(), Some(Errno::PERM));
            let mapped = Mapped::new(&memory, ProtFlags::READ).expect("it may be read");
            assert_eq!(mapped.make_writable(), Err(Errno::ACCESS));
            assert_eq!(pwrite(&memory, &[1; 8], CONTROL), Err(Errno::PERM));
            assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
            assert_eq!(ftruncate(&memory, 1 << 30), Err(Errno::PERM));
            assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM));
            let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
            if let Ok(again) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                assert_eq!(Mapped::new(&again, both).err(), Some(Errno::PERM));
                assert_eq!(pwrite(&again, &[1; 8], CONTROL), Err(Errno::PERM));
            }
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "renderer-that-asks-to-watch",
        does: "asks to watch over the socket with which main launched it",
        verdict: Verdict::Gone("launch-failed"),
        run: |attacker| {
            let socket = attacker.socket();
            socket.say(&inspector_hello(INSPECTOR_VERSION));
            socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "inspector-of-another-user",
        does: "is handed a way to the socket's file, whose mode an administrator has widened, and asks to watch",
        stopped_by: StoppedBy::AnotherUser,
        run: |attacker| {
            let way_in = attacker.way_in.as_ref().expect("it was opened before");
            let path = PathBuf::from(format!("/proc/self/fd/{}", way_in.0.as_raw_fd()));
            let socket = Socket::connect(&path).expect("anyone may");
            socket.say(&inspector_hello(INSPECTOR_VERSION));
            socket.wait(Duration::from_secs(5));
            assert!(socket.descriptors().is_none_or(|found| found.is_empty()), "main shows itself");
            socket.until_hung_up();
        },
        ..AT_THE_DOOR
    },
];

/// Is let in, and has the memory that main shows.
fn watch(attacker: &Attacker) -> (Socket, OwnedFd) {
    let socket = attacker.knock();
    socket.say(&inspector_hello(INSPECTOR_VERSION));
    let mut memory = None;
    until("main shows itself", || {
        socket.wait(Duration::from_millis(100));
        memory = socket.descriptors().and_then(|mut found| found.pop());
        memory.is_some()
    });
    (socket, memory.expect("it was found"))
}
