//! Before there is a session, and what comes over its socket afterwards.

use std::{io::Write, os::fd::AsFd, time::Duration};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    net::{Shutdown, shutdown},
};

use super::{AT_THE_DOOR, Attack, LAUNCHED, Verdict};
use crate::attacker::{
    Attacker,
    door::{DESCRIPTORS_MAX, Socket},
    session::Session,
    until,
    wire::{self, MAGIC, VERSION, hello},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "hello-in-another-tongue",
        does: "opens with HTTP, zeroes, an empty map, and a list that claims 2^32 - 1 entries",
        run: |attacker| {
            let mut endless = vec![0x93, 0xce];
            endless.extend(MAGIC.to_be_bytes());
            endless.extend([0xce, 0, 0, 0, 2, 0xdd, 0xff, 0xff, 0xff, 0xff]);
            let packets: [&[u8]; 5] =
                [b"GET / HTTP/1.1\r\n\r\n", &[0], &[0; 1000], &[0x80], &endless];
            packets.into_iter().for_each(|packet| turned_away(attacker, packet));
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-a-wrong-magic",
        does: "says hello with another magic number",
        run: |attacker| turned_away(attacker, &hello(MAGIC + 1, VERSION, &[])),
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-of-another-version",
        does: "says hello in versions before and after main's",
        run: |attacker| {
            for version in [0, VERSION - 1, VERSION + 1, u32::MAX] {
                turned_away(attacker, &hello(MAGIC, version, &[]));
            }
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-a-wrong-fingerprint",
        does: "offers a channel of main's with another type",
        run: |attacker| turned_away(attacker, &hello(MAGIC, VERSION, &[("Event", "number", 1)])),
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-a-channel-of-no-kind",
        does: "offers a channel of a kind that there is none of",
        run: |attacker| turned_away(attacker, &hello(MAGIC, VERSION, &[("Pipe", "number", 1)])),
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-too-many-channels",
        does: "offers 513 channels, each with a name of its own, again and again",
        run: |attacker| {
            for turn in 0..50 {
                let names: Vec<_> =
                    (0..=wire::CHANNELS_MAX).map(|n| format!("{turn}-{n}")).collect();
                let offers: Vec<_> = names.iter().map(|name| ("Event", name.as_str(), 0)).collect();
                turned_away(attacker, &hello(MAGIC, VERSION, &offers));
            }
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-a-name-too-long",
        does: "offers a channel with a name of 129 bytes",
        run: |attacker| {
            let name = "x".repeat(wire::NAME_MAX + 1);
            turned_away(attacker, &hello(MAGIC, VERSION, &[("Event", &name, 0)]));
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-that-is-too-long",
        does: "says hello in 160 KiB",
        run: |attacker| turned_away(attacker, &vec![0x90; 160 * 1024]),
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-that-goes-on",
        does: "says hello, and goes on behind its end",
        run: |attacker| {
            let packet = [hello(MAGIC, VERSION, &[]), vec![0; 100]].concat();
            turned_away(attacker, &packet);
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-descriptors",
        does: "brings memory that is not sealed and a pipe with its hello, as if main should map them",
        run: |attacker| {
            let memory = memfd_create("own", MemfdFlags::ALLOW_SEALING).expect("memory is left");
            ftruncate(&memory, 1 << 20).expect("it is its own");
            let (reader, mut writer) = std::io::pipe().expect("descriptors are left");
            let socket = attacker.knock();
            socket.say_with(&hello(MAGIC, VERSION, &[]), &[memory.as_fd(), reader.as_fd()]);
            drop(reader);
            socket.until_hung_up();
            // Closed everywhere, or this would succeed.
            writer.write_all(b"x").expect_err("main has kept a descriptor");
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-with-all-the-descriptors-there-can-be",
        does: "brings 253 descriptors with each of 20 hellos",
        run: |attacker| {
            let (reader, mut writer) = std::io::pipe().expect("descriptors are left");
            for _ in 0..20 {
                let socket = attacker.knock();
                let many = [reader.as_fd(); DESCRIPTORS_MAX];
                socket.say_with(&hello(MAGIC, VERSION, &[]), &many);
                socket.until_hung_up();
            }
            drop(reader);
            writer.write_all(b"x").expect_err("main has kept a descriptor");
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "descriptors-without-a-message",
        does: "sends descriptors with a packet of no byte",
        run: |attacker| {
            let (reader, mut writer) = std::io::pipe().expect("descriptors are left");
            let socket = attacker.knock();
            socket.say_with(&[], &[reader.as_fd()]);
            drop(reader);
            socket.until_hung_up();
            writer.write_all(b"x").expect_err("main has kept a descriptor");
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "packet-of-no-byte",
        does: "sends a packet of no byte, which reads as the end",
        verdict: Verdict::TurnedAway,
        run: |attacker| {
            let socket = attacker.knock();
            socket.say(&[]);
            socket.until_hung_up();
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "ready-before-the-hello",
        does: "begins with the last word of the handshake",
        run: |attacker| turned_away(attacker, &wire::ready(MAGIC)),
        ..AT_THE_DOOR
    },
    Attack {
        name: "hello-twice",
        does: "says hello again in the place of ready",
        verdict: Verdict::Gone("launch-failed"),
        run: |attacker| {
            let socket = attacker.socket();
            let session = Session::begin_without_ready(socket);
            session.socket.say(&hello(MAGIC, VERSION, &[]));
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "says-nothing",
        does: "was launched and never says a word",
        verdict: Verdict::Gone("launch-failed"),
        policy: |policy| policy.handshake_timeout(Duration::from_millis(200)),
        run: |attacker| attacker.socket().until_hung_up(),
        ..LAUNCHED
    },
    Attack {
        name: "is-never-ready",
        does: "takes the welcome with its memory, sends messages, and never says the last word",
        verdict: Verdict::Gone("launch-failed"),
        policy: |policy| policy.handshake_timeout(Duration::from_millis(500)),
        run: |attacker| {
            let mut session = Session::begin_without_ready(attacker.socket());
            until("main hangs up", || {
                std::thread::sleep(Duration::from_millis(1));
                !session.send("number", &[0; 8]) || session.socket.is_hung_up()
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "storm-of-connections",
        does: "connects and hangs up 2,000 times, as fast as it can",
        verdict: Verdict::TurnedAway,
        run: |attacker| (0..2000).for_each(|_| drop(attacker.knock())),
        ..AT_THE_DOOR
    },
    Attack {
        name: "crowd-at-the-door",
        does: "opens 300 connections and says nothing on any of them",
        verdict: Verdict::TurnedAway,
        run: |attacker| {
            let mut crowd = Vec::new();
            for _ in 0..300 {
                until("main accepts", || {
                    let knocked = Socket::try_connect(&attacker.path);
                    let got_through = knocked.is_ok();
                    crowd.extend(knocked);
                    got_through
                });
            }
            until("those beyond the limit are turned away", || {
                crowd.iter().filter(|socket| socket.is_hung_up()).count() >= 200
            });
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "crowd-that-shakes-hands",
        does: "opens 40 sessions by name, where main allows 16 windows in all",
        run: |attacker| {
            let sessions: Vec<_> = (0..40)
                .map(|_| {
                    let socket = attacker.knock();
                    socket.say(&hello(MAGIC, VERSION, &[]));
                    socket
                })
                .collect();
            until("most are refused", || {
                sessions.iter().filter(|socket| socket.is_hung_up()).count() >= 24
            });
        },
        ..AT_THE_DOOR
    },
    Attack {
        name: "packet-after-the-handshake",
        does: "speaks over the socket where a renderer never does",
        verdict: Verdict::Violation(&["unexpected-packet"]),
        run: |attacker| {
            let session = attacker.session();
            session.socket.say(b"attachment 1");
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "descriptor-after-the-handshake",
        does: "hands memory of its own over, as main does",
        verdict: Verdict::Violation(&["unexpected-packet"]),
        run: |attacker| {
            let session = attacker.session();
            let (reader, _writer) = std::io::pipe().expect("descriptors are left");
            session.socket.say_with(b"take this", &[reader.as_fd()]);
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "half-of-a-hang-up",
        does: "shuts its half of the socket and goes on sending frames",
        verdict: Verdict::Gone("disconnected"),
        run: |attacker| {
            let mut session = attacker.session();
            shutdown(&session.socket, Shutdown::Write).expect("it is its own");
            until("main hangs up", || {
                std::thread::sleep(Duration::from_millis(1));
                !session.send("number", &[0; 8]) || session.socket.is_hung_up()
            });
            // Main waits for its end, and then sees to it.
            loop {
                std::thread::park();
            }
        },
        ..LAUNCHED
    },
];

fn turned_away(attacker: &Attacker, packet: &[u8]) {
    let socket = attacker.knock();
    socket.say(packet);
    socket.until_hung_up();
}
