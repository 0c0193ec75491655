//! Renderers that send more than they may.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::FileExt,
    process,
};

use ringbridge::{ChannelKind, InvokeError, IpcRenderer, RunError, SendError};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tests::contract::{ASK, BYTES, CONTRACT, ECHO, NUMBER, TEXT};

use crate::{Scene, connect, number, report, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("sends-numbers-at-a-sign", sends_numbers_at_a_sign),
    ("sends-bytes-at-a-sign", sends_bytes_at_a_sign),
    ("dies-of-its-own-sending", dies_of_its_own_sending),
    ("rings-without-end", rings_without_end),
    ("asks-in-turn", asks_in_turn),
    ("sends-longer-messages", sends_longer_messages),
    ("forges-a-longer-message", forges_a_longer_message),
];

/// Says that all is sent, and lives on: what is left of the dead is delivered at once.
fn stay(ipc: &IpcRenderer) {
    report(ipc, "sent");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// `sends-numbers-at-a-sign COUNT`
fn sends_numbers_at_a_sign(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "ready");
    wait_for_input();
    for number in 0..number(arguments, 0) {
        ipc.send(NUMBER, &number).unwrap();
    }
    stay(&ipc);
}

/// `sends-bytes-at-a-sign COUNT LENGTH`
fn sends_bytes_at_a_sign(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "ready");
    wait_for_input();
    let message = vec![7; number(arguments, 1) as usize];
    for _ in 0..number(arguments, 0) {
        ipc.send(BYTES, &message).unwrap();
    }
    stay(&ipc);
}

/// `dies-of-its-own-sending COUNT`
fn dies_of_its_own_sending(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "ready");
    wait_for_input();
    for number in 0..number(arguments, 0) {
        ipc.send(NUMBER, &number).unwrap();
    }
    process::abort();
}

/// `rings-without-end COUNT`: sends so much, and then rings main's bell until it is killed.
fn rings_without_end(arguments: &[String]) {
    let ipc = connect();
    for number in 0..number(arguments, 0) {
        ipc.try_send(NUMBER, &number).unwrap();
    }
    let mut bell = bell_of_main();
    loop {
        bell.write_all(&1_u64.to_ne_bytes()).unwrap();
    }
}

/// The eventfd that main gave this process, which has no other.
fn bell_of_main() -> File {
    let numbers = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers: Vec<i32> = numbers
        .filter(|entry| {
            let link = fs::read_link(entry.path());
            link.is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let [number] = numbers[..] else { panic!("{numbers:?}") };
    // By way of its number in another process: the library's own descriptor stays what it is.
    let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(&me, number, PidfdGetfdFlags::empty()).unwrap().into()
}

/// `asks-in-turn COUNT`
fn asks_in_turn(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "asks");
    for number in 0..number(arguments, 0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    report(&ipc, "answered");
}

/// `sends-longer-messages MAX`: what may be so long and no longer.
fn sends_longer_messages(arguments: &[String]) {
    let ipc = connect();
    let max = number(arguments, 0) as usize;
    let (longest, longer) = (vec![1; max], vec![1; max + 1]);
    ipc.send(BYTES, &longest).unwrap();
    assert_eq!(ipc.invoke(ECHO, &longest).unwrap().wait(), Ok(longest));
    let too_large = |channel| SendError::TooLarge { channel, len: max + 1, max };
    assert_eq!(ipc.send(BYTES, &longer), Err(too_large("bytes")));
    assert_eq!(ipc.try_send(BYTES, &longer), Err(too_large("bytes")));
    let text = "x".repeat(max + 1);
    assert_eq!(ipc.send_all(TEXT, &[text.as_str()]).unwrap_err().source, too_large("text"));
    let asked = ipc.invoke(ECHO, &longer).map(drop);
    assert_eq!(asked, Err(InvokeError::Send(too_large("echo"))));
}

/// `forges-a-longer-message LENGTH`: writes it into its own ring, around the library, which would refuse it.
fn forges_a_longer_message(arguments: &[String]) {
    const CONTROL_PAGE: u64 = 4096;
    const SEND: u64 = 1;
    let _session = connect();
    let place = CONTRACT.iter().position(|channel| {
        let key = channel.key();
        (key.kind(), key.name()) == (ChannelKind::Event, BYTES.name())
    });
    let channel = place.expect("the contract has it") as u64;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapping = maps.lines().find(|line| line.contains("memfd:ringbridge-renderer")).unwrap();
    let address = u64::from_str_radix(mapping.split('-').next().unwrap(), 16).unwrap();
    let memory = OpenOptions::new().write(true).open("/proc/self/mem").unwrap();
    // A header of 16 bytes, of which the second half is no request's id, and a payload of zeroes. Nothing was
    // sent yet, so it is the first frame.
    let len = 16 + number(arguments, 0);
    let commit_word = len | SEND << 32 | channel << 48;
    memory.write_all_at(&commit_word.to_ne_bytes(), address + CONTROL_PAGE).unwrap();
    bell_of_main().write_all(&1_u64.to_ne_bytes()).unwrap();
    wait_for_input();
}
