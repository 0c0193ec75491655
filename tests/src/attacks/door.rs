//! Handshakes, and packets over the socket afterwards.

use std::io::{PipeReader, PipeWriter, Write, pipe};

use rustix::net::{Shutdown, shutdown};

use super::*;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    door("hello-in-another-tongue", Refused, |a| {
            let mut endless = vec![0x93, 0xce];
            endless.extend(MAGIC.to_be_bytes());
            endless.extend([0xce, 0, 0, 0, 2, 0xdd, 0xff, 0xff, 0xff, 0xff]);
            let packets: [&[u8]; 5] = [b"GET / HTTP/1.1\r\n\r\n", &[0], &[0; 1000], &[0x80], &endless];
            packets.into_iter().for_each(|packet| a.turned_away(packet));
        },
        "opens with HTTP, zeroes, an empty map, and a list that claims 2^32 - 1 entries"),
    door("hello-with-a-wrong-magic", Refused, |a| a.turned_away(&hello(MAGIC + 1, VERSION, &[])),
        "says hello with another magic number"),
    door("hello-of-another-version", Refused, |a| for version in [0, VERSION - 1, VERSION + 1, u32::MAX] {
            a.turned_away(&hello(MAGIC, version, &[]));
        },
        "says hello in versions before and after main's"),
    door("hello-with-a-wrong-fingerprint", Refused,
        |a| a.turned_away(&hello(MAGIC, VERSION, &[("Event", "number", 1)])),
        "offers a channel of main's with another type"),
    door("hello-with-a-channel-of-no-kind", Refused,
        |a| a.turned_away(&hello(MAGIC, VERSION, &[("Pipe", "number", 1)])),
        "offers a channel of a kind that there is none of"),
    door("hello-with-too-many-channels", Refused, |a| for turn in 0..50 {
            let names: Vec<_> = (0..=CHANNELS_MAX).map(|n| format!("{turn}-{n}")).collect();
            let offers: Vec<_> = names.iter().map(|name| ("Event", name.as_str(), 0)).collect();
            a.turned_away(&hello(MAGIC, VERSION, &offers));
        },
        "offers 513 channels, each with a name of its own, again and again"),
    door("hello-with-a-name-too-long", Refused,
        |a| a.turned_away(&hello(MAGIC, VERSION, &[("Event", &"x".repeat(NAME_MAX + 1), 0)])),
        "offers a channel with a name of 129 bytes"),
    door("hello-that-is-too-long", Refused, |a| a.turned_away(&vec![0x90; 160 * 1024]),
        "says hello in 160 KiB"),
    door("hello-that-goes-on", Refused, |a| a.turned_away(&[hello(MAGIC, VERSION, &[]), vec![0; 100]].concat()),
        "says hello, and goes on behind its end"),
    door("hello-with-descriptors", Refused, |a| {
            let memory = memfd_create("own", MemfdFlags::ALLOW_SEALING).expect("memory is left");
            ftruncate(&memory, 1 << 20).expect("it is its own");
            let (reader, writer) = pipe().expect("descriptors are left");
            let socket = a.knock();
            socket.say_with(&hello(MAGIC, VERSION, &[]), &[memory.as_fd(), reader.as_fd()]);
            socket.until_hung_up();
            closed_everywhere(reader, writer);
        },
        "brings memory that is not sealed and a pipe with its hello, as if main should map them"),
    door("hello-with-all-the-descriptors-there-can-be", Refused, |a| {
            let (reader, writer) = pipe().expect("descriptors are left");
            for _ in 0..20 {
                let socket = a.knock();
                socket.say_with(&hello(MAGIC, VERSION, &[]), &[reader.as_fd(); DESCRIPTORS_MAX]);
                socket.until_hung_up();
            }
            closed_everywhere(reader, writer);
        },
        "brings 253 descriptors with each of 20 hellos"),
    door("descriptors-without-a-message", Refused, |a| {
            let (reader, writer) = pipe().expect("descriptors are left");
            let socket = a.knock();
            socket.say_with(&[], &[reader.as_fd()]);
            socket.until_hung_up();
            closed_everywhere(reader, writer);
        },
        "sends descriptors with a packet of no byte"),
    door("packet-of-no-byte", TurnedAway, |a| a.turned_away(&[]),
        "sends a packet of no byte, which reads as the end"),
    door("ready-before-the-hello", Refused, |a| a.turned_away(&ready(MAGIC)),
        "begins with the last word of the handshake"),
    launched("hello-twice", Gone("launch-failed"), |a| {
            let session = Session::begin_without_ready(a.socket());
            session.socket.say(&hello(MAGIC, VERSION, &[]));
            session.socket.until_hung_up();
        },
        "says hello again in the place of ready"),
    launched("says-nothing", Gone("launch-failed"), |a| a.socket().until_hung_up(),
        "was launched and never says a word")
        .policy(|policy| policy.handshake_timeout(Duration::from_millis(200))),
    launched("is-never-ready", Gone("launch-failed"), |a| sends_until_hung_up(&mut Session::begin_without_ready(a.socket())),
        "takes the welcome with its memory, sends messages, and never says the last word")
        .policy(|policy| policy.handshake_timeout(Duration::from_millis(500))),
    door("storm-of-connections", TurnedAway, |a| (0..2000).for_each(|_| drop(a.knock())),
        "connects and hangs up 2,000 times, as fast as it can"),
    door("crowd-at-the-door", TurnedAway, |a| {
            let mut crowd = Vec::new();
            for _ in 0..300 {
                until("main accepts", || {
                    let knocked = Socket::try_connect(&a.path);
                    let got_through = knocked.is_ok();
                    crowd.extend(knocked);
                    got_through
                });
            }
            hung_up(&crowd, 200);
        },
        "opens 300 connections and says nothing on any of them"),
    door("crowd-that-shakes-hands", Refused, |a| {
            let crowd: Vec<_> = (0..40).map(|_| a.says(&hello(MAGIC, VERSION, &[]))).collect();
            hung_up(&crowd, 24);
        },
        "opens 40 sessions by name, where main allows 16 windows in all"),
    session("packet-after-the-handshake", Violation(&["unexpected-packet"]), |s| {
            s.socket.say(b"attachment 1");
            s.socket.until_hung_up();
        },
        "speaks over the socket where a renderer never does"),
    session("descriptor-after-the-handshake", Violation(&["unexpected-packet"]), |s| {
            let (reader, _writer) = pipe().expect("descriptors are left");
            s.socket.say_with(b"take this", &[reader.as_fd()]);
            s.socket.until_hung_up();
        },
        "hands memory of its own over, as main does"),
    session("half-of-a-hang-up", Gone("disconnected"), |s| {
            shutdown(&s.socket, Shutdown::Write).expect("it is its own");
            sends_until_hung_up(s);
            // Main waits for its end, and then sees to it.
            loop {
                thread::park();
            }
        },
        "shuts its half of the socket and goes on sending frames"),
];

impl Attacker {
    /// Connects by name, and says this.
    pub(super) fn says(&self, packet: &[u8]) -> Socket {
        let socket = self.knock();
        socket.say(packet);
        socket
    }

    /// Connects by name, says this, and is turned away.
    pub(super) fn turned_away(&self, packet: &[u8]) {
        self.says(packet).until_hung_up();
    }

    /// Connects by the way that an administrator has left open.
    pub(super) fn sneaks_in(&self) -> Socket {
        let way_in = self.way_in.as_ref().expect("it was opened before");
        let path = format!("/proc/self/fd/{}", way_in.0.as_raw_fd());
        Socket::connect(path.as_ref()).expect("anyone may")
    }
}

/// Checks that main has kept no descriptor of the pipe.
fn closed_everywhere(reader: PipeReader, mut writer: PipeWriter) {
    drop(reader);
    writer.write_all(b"x").expect_err("main has kept a descriptor");
}

fn sends_until_hung_up(session: &mut Session) {
    until("main hangs up", || {
        thread::sleep(Duration::from_millis(1));
        !session.send("number", &[0; 8]) || session.socket.is_hung_up()
    });
}

/// Waits until main has hung up on at least this number of sockets.
pub(super) fn hung_up(crowd: &[Socket], least: usize) {
    until("those beyond the limit are turned away", || {
        crowd.iter().filter(|socket| socket.is_hung_up()).count() >= least
    });
}
