//! Every shape of payload, from bytes that a renderer chose.

use std::collections::BTreeMap;

use contract::{ReadFileError, Statistics, SystemInfo, Text};
use ringbridge::{Dynamic, Failure, PAYLOAD_ALIGN_MAX, Payload, fuzzing::Input};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

ringbridge::payload! {
    /// Bytes of which not all are a value.
    pub struct Switch {
        /// Any number.
        pub level: f64,
        /// 0 or 1.
        pub on: bool,
        /// 0, 1 or 5.
        pub mode: Mode,
        /// Any bytes.
        pub reserved: [u8; 2],
        /// Most numbers are none.
        pub letter: char,
    }
}

ringbridge::payload! {
    /// Not every byte is one.
    pub enum Mode: u8 {
        /// The first.
        Off = 0,
        /// The second.
        On = 1,
        /// Behind a gap.
        Blinking = 5,
    }
}

/// A value that nests, and has every shape that serde knows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Letter(char),
    Text(String),
    Bytes(Vec<u8>),
    Maybe(Option<Box<Value>>),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    Pair(Box<(Value, Value)>),
    Record { id: u32, inner: Box<Value>, tags: Vec<String> },
}

/// A list of lists without end: what overflows a stack that nobody watches.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

/// One of the fixed layouts, texts and slices: what is a value becomes the same bytes again.
pub fn fixed(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(choice) = input.byte() else { return };
    let bytes = input.rest();
    match choice % 27 {
        0 => round_trip::<()>(bytes),
        1 => round_trip::<bool>(bytes),
        2 => round_trip::<char>(bytes),
        3 => round_trip::<u8>(bytes),
        4 => round_trip::<i16>(bytes),
        5 => round_trip::<u32>(bytes),
        6 => round_trip::<u64>(bytes),
        7 => round_trip::<i128>(bytes),
        8 => round_trip::<f32>(bytes),
        9 => round_trip::<[f64; 3]>(bytes),
        10 => round_trip::<[bool; 17]>(bytes),
        11 => round_trip::<[[char; 2]; 2]>(bytes),
        12 => round_trip::<Switch>(bytes),
        13 => round_trip::<Mode>(bytes),
        14 => round_trip::<[Switch; 2]>(bytes),
        15 => round_trip::<[Switch]>(bytes),
        16 => round_trip::<[u8]>(bytes),
        17 => round_trip::<[u128]>(bytes),
        18 => round_trip::<[char]>(bytes),
        19 => round_trip::<[[u8; 3]]>(bytes),
        20 => round_trip::<str>(bytes),
        21 => round_trip::<Failure>(bytes),
        22 => round_trip::<Text<7>>(bytes),
        23 => round_trip::<ReadFileError>(bytes),
        24 => round_trip::<Statistics>(bytes),
        25 => round_trip::<SystemInfo>(bytes),
        _ => demo(bytes),
    }
}

/// What the demo's two programs do with a value of fixed layout that another process wrote.
fn demo(bytes: &[u8]) {
    let bytes = &*aligned(bytes);
    let _ = Text::<7>::decode(bytes, |text| assert!(text.as_str().len() <= 7));
    let _ = Statistics::decode(bytes, |statistics| {
        assert!(statistics.cores().len() <= contract::CORES_MAX);
    });
}

/// One of the types that travel as MessagePack: what is a value is the same value after another journey.
pub fn dynamic(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(choice) = input.byte() else { return };
    let bytes = &*if choice & 0x80 == 0 { input.rest().to_vec() } else { steep(&mut input) };
    match choice % 8 {
        0 => journey::<Nested>(bytes),
        1 => journey::<BTreeMap<String, Vec<Option<i32>>>>(bytes),
        2 => journey::<(u8, String, [u16; 2])>(bytes),
        3 => journey::<Option<Box<Nested>>>(bytes),
        4 => journey::<Result<String, u64>>(bytes),
        5 => journey::<Vec<()>>(bytes),
        _ => journey::<Value>(bytes),
    }
}

/// The same byte very often, and then the rest: a short input that nests deeper than any stack.
fn steep(input: &mut Input<'_>) -> Vec<u8> {
    let (times, byte) = (input.short(), input.byte().unwrap_or(0));
    let mut bytes = vec![byte; times.into()];
    bytes.extend(input.rest());
    bytes
}

fn round_trip<T: Payload + ?Sized>(bytes: &[u8]) {
    let bytes = &*aligned(bytes);
    let same = |value: &T| value.encode(|encoded| assert_eq!(encoded, bytes));
    let borrowed = T::decode(bytes, |value| same(value).expect("a value can be encoded"));
    let owned = T::decode_owned(bytes);
    // The same answer by both ways, with the same reason.
    assert_eq!(borrowed.err(), owned.as_ref().err().cloned());
    if let Ok(owned) = owned {
        same(std::borrow::Borrow::borrow(&owned)).expect("a value can be encoded");
    }
}

fn journey<T: Serialize + DeserializeOwned + Send + 'static>(bytes: &[u8]) {
    let Ok(value) = Dynamic::<T>::decode_owned(bytes) else { return };
    let encoded = value.encode(<[u8]>::to_vec).expect("what was decoded can be encoded");
    // Encoded again, not compared: a NaN is not equal to itself.
    let again = Dynamic::<T>::decode_owned(&encoded).expect("what we encode can be decoded");
    assert_eq!(again.encode(<[u8]>::to_vec).as_ref(), Ok(&encoded));
}

/// Bytes where the engine has them, on a multiple of [`PAYLOAD_ALIGN_MAX`]; and, from that many on, in an
/// allocation of exactly their length, so that a look beyond is seen.
fn aligned(bytes: &[u8]) -> Vec<u8> {
    let mut aligned = Vec::with_capacity(bytes.len().max(PAYLOAD_ALIGN_MAX));
    aligned.extend_from_slice(bytes);
    assert!(aligned.as_ptr().addr().is_multiple_of(PAYLOAD_ALIGN_MAX), "so malloc aligns");
    aligned
}
