//! Parsers: bytes become a value or a named error.

use std::sync::LazyLock;

use fixedbitset::FixedBitSet;

use crate::fuzzing::Input;
use crate::{
    contract::{
        Contract, Declaration, Event, Method, Push, Topic, channel_table::ChannelTable,
        declarations,
    },
    inspection::attach::InspectorHello,
    session::offers::{granted, grants, offers},
    wire::{
        HEADER_LEN,
        attached::{Attached, parse_word},
        frame::{Kind, Label, Place, WireHeader, frame_max},
        handshake::{Answer, Hello, PACKET_MAX, Ready, Welcome, encode},
        parcel::Parcel,
    },
};

/// Checks two words as a frame's header. A valid one encodes to the same words, and stays inside the ring.
pub fn frame(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(size) = input.byte() else { return };
    let capacity = 256 << (size % 24);
    let cells = capacity / 64;
    let to_end = (1 + input.word() as usize % cells) * 64;
    let place = Place { to_end, frame_max: frame_max(capacity) };
    let wire = WireHeader(input.word());
    let id_word = input.word();
    let Ok(header) = wire.check(id_word, place) else { return };
    assert_eq!(WireHeader(header.to_commit_word()), wire);
    assert_eq!(header.to_id_word(), id_word);
    assert!(header.padded_len() <= to_end);
    if header.kind == Kind::Pad {
        assert_eq!(header.padded_len(), to_end);
        assert!(to_end < place.frame_max);
    } else {
        assert!(header.payload_len as usize + HEADER_LEN <= place.frame_max);
    }
}

/// Parses the payload of a frame about an attachment. A valid one encodes to the same bytes.
pub fn attached(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let channel = input.short();
    let payload = input.rest();
    if let Ok(word) = parse_word(payload) {
        assert_eq!(word.to_le_bytes(), payload);
    }
    let Ok(parsed) = Attached::parse(channel, payload) else { return };
    let Attached { header, attachment, len } = parsed;
    assert!(len > 0 && header.payload_len == 0 && header.channel == channel);
    let label = Label { kind: header.kind, flags: header.flags, channel, id: header.id };
    assert_eq!(Attached::encode(label, attachment, len), payload);
}

/// Parses packets of the handshake and parcels: the fuzzer's bytes, or an honest packet with some bytes changed, which
/// stays useful when the protocol changes.
pub fn handshake(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(choice) = input.byte() else { return };
    let packet = match HONEST.get(usize::from(choice >> 4)) {
        Some(honest) => changed(honest.clone(), &mut input),
        None => input.rest().to_vec(),
    };
    match choice & 3 {
        0 => hear_hello(&packet),
        1 => _ = Ready::parse(&packet),
        _ => hear_answer(&packet),
    }
}

const EVENT: Event<str> = Event::new("event");
const METHOD: Method<[u32], u64> = Method::new("method");
const PUSH: Push<[u8; 32]> = Push::new("push");
const TOPIC: Topic<u64> = Topic::new("topic");
const CONTRACT: Contract = &[&EVENT, &METHOD, &PUSH, &TOPIC];

static DECLARED: LazyLock<Vec<Declaration>> =
    LazyLock::new(|| declarations(CONTRACT).expect("the contract is one"));

static HONEST: LazyLock<[Vec<u8>; 5]> = LazyLock::new(|| {
    [
        encode(&Hello::new(offers(&DECLARED))),
        encode(&Ready::new()),
        encode(&Answer::Welcome(welcome())),
        encode(&Answer::Parcel(Parcel::Forget { ids: vec![1, 1 << 40] })),
        encode(&InspectorHello::new()),
    ]
});

fn hear_hello(packet: &[u8]) {
    if InspectorHello::parse(packet).is_some() {
        assert!(Hello::parse(packet).is_err(), "nobody is both");
    }
    let Ok(Ok(hello)) = Hello::parse(packet) else { return };
    let mut allowed = FixedBitSet::with_capacity(CONTRACT.len());
    allowed.insert(1);
    let table = ChannelTable::new(DECLARED.iter().cloned().map(Some).collect());
    match grants(&hello.offers, &table, &allowed) {
        Ok(grants) => {
            for (number, is_allowed) in grants.into_iter().flatten() {
                assert!(usize::from(number) < CONTRACT.len());
                assert_eq!(is_allowed, number == 1);
            }
        }
        // It travels back in one packet.
        Err(refusal) => assert!(encode(&Answer::Refused(refusal)).len() < PACKET_MAX),
    }
    assert!(matches!(Hello::parse(&encode(&hello)), Ok(Ok(_))));
}

/// A renderer trusts main, but must not panic.
fn hear_answer(packet: &[u8]) {
    if let Ok(Answer::Welcome(welcome)) = Answer::parse(packet) {
        let Ok((table, _allowed)) = granted(&welcome, DECLARED.clone()) else { return };
        assert!(table.len() <= usize::from(welcome.channels));
    }
}

fn welcome() -> Welcome {
    Welcome {
        window: 1,
        main_capacity: 1 << 16,
        renderer_capacity: 1 << 16,
        channels: CONTRACT.len() as u16,
        grants: vec![Some((0, true)), Some((1, false)), Some((2, true)), None],
        topics: vec![(3, 1 << 16)],
        renderer_pending_max: 256,
        main_pending_max: 256,
        attachment_max: 1 << 30,
        lent_bytes_max: 1 << 28,
        lent_max: 32,
        message_max: 1 << 16,
    }
}

/// Changes bytes of a packet at given places, cuts it, and appends the rest of the input.
fn changed(mut packet: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    let changes = input.byte().unwrap_or(0) % 8;
    for _ in 0..changes {
        let place = usize::from(input.short()) % packet.len();
        packet[place] = input.byte().unwrap_or(0);
    }
    let cut = usize::from(input.byte().unwrap_or(0));
    packet.truncate(packet.len().saturating_sub(cut));
    packet.extend(input.rest());
    packet
}
