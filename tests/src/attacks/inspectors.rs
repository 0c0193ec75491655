//! Inspectors that do more than look.

use super::{door::hung_up, *};

/// The most inspectors at once.
const INSPECTORS_MAX: usize = 16;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    door("inspector-of-another-version", Refused, |a| {
            for version in [0, INSPECTOR_VERSION + 1, u32::MAX] {
                a.turned_away(&inspector_hello(version));
            }
            a.turned_away(&[inspector_hello(INSPECTOR_VERSION), vec![0]].concat());
        },
        "asks to watch in versions that main does not have, and with a packet that goes on"),
    door("inspector-with-descriptors", Refused, |a| {
            let (reader, _writer) = io::pipe().expect("descriptors are left");
            let socket = a.knock();
            socket.say_with(&inspector_hello(INSPECTOR_VERSION), &[reader.as_fd()]);
            socket.until_hung_up();
        },
        "asks to watch, and brings descriptors with it"),
    door("inspector-that-speaks", Refused, |a| {
            for packet in [inspector_hello(INSPECTOR_VERSION), ready(MAGIC), vec![7; 100 * 1024]] {
                let (socket, _memory) = watch(a);
                socket.say(&packet);
                socket.until_hung_up();
            }
        },
        "is let in to watch, and then talks: another hello, a renderer's ready, 100 KiB"),
    door("crowd-of-inspectors", Refused, |a| {
            let hello = inspector_hello(INSPECTOR_VERSION);
            let crowd: Vec<_> = (0..100).map(|_| a.says(&hello)).collect();
            hung_up(&crowd, 100 - INSPECTORS_MAX);
            assert_eq!(crowd.iter().filter(|socket| socket.is_hung_up()).count(), 100 - INSPECTORS_MAX);
            drop(crowd);
            (0..500).for_each(|_| drop(a.says(&hello)));
        },
        "asks to watch 100 times at once, and comes and goes 500 times more"),
    door("board-that-is-written", TurnedAway, board_that_is_written,
        "writes, maps for writing, resizes, seals and opens again the memory that main shows").by_the_kernel(),
    launched("renderer-that-asks-to-watch", Gone("launch-failed"), |a| {
            let socket = a.socket();
            socket.say(&inspector_hello(INSPECTOR_VERSION));
            socket.until_hung_up();
        },
        "asks to watch over the socket with which main launched it"),
    door("inspector-of-another-user", Refused, |a| {
            let socket = a.sneaks_in();
            socket.say(&inspector_hello(INSPECTOR_VERSION));
            socket.wait(Duration::from_secs(5));
            assert!(socket.descriptors().is_none_or(|found| found.is_empty()), "main shows itself");
            socket.until_hung_up();
        },
        "is handed a way to the socket's file, whose mode an administrator has widened, and asks to watch")
        .by_another_user(),
];

fn board_that_is_written(attacker: &mut Attacker) {
    let (_socket, memory) = watch(attacker);
    assert_eq!(Mapped::new(&memory, BOTH).err(), Some(Errno::PERM));
    let mapped = Mapped::new(&memory, ProtFlags::READ).expect("it may be read");
    assert_eq!(mapped.make_writable(), Err(Errno::ACCESS));
    assert_eq!(pwrite(&memory, &[1; 8], CONTROL), Err(Errno::PERM));
    assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&memory, 1 << 30), Err(Errno::PERM));
    assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM));
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    if let Ok(again) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        assert_eq!(Mapped::new(&again, BOTH).err(), Some(Errno::PERM));
        assert_eq!(pwrite(&again, &[1; 8], CONTROL), Err(Errno::PERM));
    }
}

/// Is admitted, and returns the memory that main shows.
fn watch(attacker: &Attacker) -> (Socket, OwnedFd) {
    let socket = attacker.says(&inspector_hello(INSPECTOR_VERSION));
    let memory = socket.next_descriptors().remove(0);
    (socket, memory)
}
