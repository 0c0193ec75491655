//! Payloads: the types that may travel on a channel.
//!
//! A [`Payload`] has one of three shapes:
//!
//! | shape | examples | bytes |
//! | --- | --- | --- |
//! | fixed layout ([`FixedLayout`]) | `u64`, `[f32; 8]`, a [`payload!`](crate::payload) struct | its own, read in place |
//! | a slice of those | `str`, `[u8]`, `[Point]` | its own, read in place |
//! | any serde type | [`Dynamic<T>`](Dynamic) | MessagePack |
//!
//! Every payload has a *schema*: a text of names, types and offsets. Two builds whose schemas for a channel
//! differ cannot connect, and the error has both texts.
//!
//! This file reads no shared memory: no other process can write the bytes that `decode` gets.

use std::{borrow::Borrow, fmt, mem::size_of};

use serde::{Serialize, de::DeserializeOwned};
use zerocopy::{ConvertError, FromZeros, Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// The largest alignment of a payload, in bytes: payloads lie on multiples of it in a ring.
pub const PAYLOAD_ALIGN_MAX: usize = 16;

/// The deepest nesting of a [`Dynamic`] value.
const DYNAMIC_DEPTH_MAX: usize = 64;

/// A value that could not be encoded. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the value could not be encoded: {0}")]
pub struct EncodeError(String);

/// Bytes that are not a value of the channel's type.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are too few or too many bytes.
    #[error("expected {expected}, got {len} bytes")]
    Size {
        /// The schema of the expected type.
        expected: String,
        /// The number of bytes that came.
        len: usize,
    },
    /// The size is right, but the bytes are no value of the type (a `bool` of 2, text that is not UTF-8).
    #[error("expected {expected}, got {len} bytes that are no valid value of it")]
    Invalid {
        /// The schema of the expected type.
        expected: String,
        /// The number of bytes that came.
        len: usize,
    },
}

impl DecodeError {
    fn invalid<T: Payload + ?Sized>(len: usize) -> Self {
        Self::Invalid { expected: T::schema(), len }
    }

    /// Drops zerocopy's text, which contains addresses.
    #[cold]
    fn of<T: Payload + ?Sized, A, S, V>(error: ConvertError<A, S, V>, len: usize) -> Self {
        match error {
            ConvertError::Size(_) => Self::Size { expected: T::schema(), len },
            ConvertError::Alignment(_) | ConvertError::Validity(_) => Self::invalid::<T>(len),
        }
    }
}

const fn assert_alignment<T>() {
    assert!(align_of::<T>() <= PAYLOAD_ALIGN_MAX, "payloads are aligned to 16 bytes at most");
}

/// A type that may travel on a channel. Implemented for every [`FixedLayout`] type, `str`, slices
/// of fixed layouts and [`Dynamic`]; see the module's table.
pub trait Payload {
    /// The owned form of a received value: the type itself, or `String` and `Vec<T>` for `str` and `[T]`.
    type Owned: Borrow<Self> + Send + 'static;

    /// Returns the type's names, types and offsets as text.
    fn schema() -> String;

    /// Passes the value's bytes to `put`. Fixed layouts are not copied.
    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError>;

    /// Checks the bytes and passes the value to `take`. Fixed layouts are not copied.
    ///
    /// `bytes` starts on a multiple of [`PAYLOAD_ALIGN_MAX`].
    fn decode<R>(bytes: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError>;

    /// Checks the bytes and returns an owned value.
    fn decode_owned(bytes: &[u8]) -> Result<Self::Owned, DecodeError>;

    /// As [`decode_owned`](Self::decode_owned), but writes the value to `place`. Fixed layouts are copied there in
    /// one piece, not through a `Result`.
    fn decode_into(bytes: &[u8], place: &mut Option<Self::Owned>) -> Result<(), DecodeError> {
        *place = Some(Self::decode_owned(bytes)?);
        Ok(())
    }
}

/// A type whose bytes are its value: no pointers, no padding, the same in both processes.
///
/// Implemented by [`payload!`](crate::payload) for your structs and enums.
pub trait FixedLayout:
    TryFromBytes + FromZeros + IntoBytes + KnownLayout + Immutable + Copy + Send + 'static
{
    /// Returns the type's names, types and offsets as text.
    fn layout() -> String;
}

impl<T: FixedLayout> Payload for T {
    type Owned = T;

    fn schema() -> String {
        T::layout()
    }

    #[inline]
    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        const { assert_alignment::<T>() };
        Ok(put(self.as_bytes()))
    }

    #[inline]
    fn decode<R>(bytes: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        // A zero-sized value has no place among the bytes, so it is made, not found.
        if size_of::<T>() == 0 {
            return T::decode_owned(bytes).map(|value| take(&value));
        }
        match T::try_ref_from_bytes(bytes) {
            Ok(value) => Ok(take(value)),
            Err(error) => Err(DecodeError::of::<T, _, _, _>(error, bytes.len())),
        }
    }

    #[inline]
    fn decode_owned(bytes: &[u8]) -> Result<T, DecodeError> {
        let value = T::try_read_from_bytes(bytes);
        value.map_err(|error| DecodeError::of::<T, _, _, _>(error, bytes.len()))
    }

    #[inline]
    fn decode_into(bytes: &[u8], place: &mut Option<T>) -> Result<(), DecodeError> {
        T::decode(bytes, |value| *place = Some(*value))
    }
}

impl<T: FixedLayout> Payload for [T] {
    type Owned = Vec<T>;

    fn schema() -> String {
        format!("[{}]", T::layout())
    }

    #[inline]
    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        const { assert!(size_of::<T>() > 0, "a slice of nothing has no length on the wire") };
        const { assert_alignment::<T>() };
        Ok(put(self.as_bytes()))
    }

    #[inline]
    fn decode<R>(bytes: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        match <[T]>::try_ref_from_bytes(bytes) {
            Ok(values) => Ok(take(values)),
            Err(error) => Err(DecodeError::of::<[T], _, _, _>(error, bytes.len())),
        }
    }

    fn decode_owned(bytes: &[u8]) -> Result<Vec<T>, DecodeError> {
        Self::decode(bytes, <[T]>::to_vec)
    }
}

impl Payload for str {
    type Owned = String;

    fn schema() -> String {
        "str".to_owned()
    }

    #[inline]
    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(put(self.as_bytes()))
    }

    #[inline]
    fn decode<R>(bytes: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        let text = std::str::from_utf8(bytes);
        text.map(take).map_err(|_| DecodeError::invalid::<str>(bytes.len()))
    }

    fn decode_owned(bytes: &[u8]) -> Result<String, DecodeError> {
        Self::decode(bytes, str::to_owned)
    }
}

/// Any serde type, encoded as MessagePack, for values without a fixed layout.
///
/// Both sides allocate, so fixed layouts are faster. The schema is the type's Rust name, so the two builds must
/// agree on its definition.
///
/// ```
/// # use ringbridge::{Dynamic, Event};
/// # use std::collections::BTreeMap;
/// const SETTINGS: Event<Dynamic<BTreeMap<String, f64>>> = Event::new("settings");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dynamic<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + 'static> Payload for Dynamic<T> {
    type Owned = Self;

    fn schema() -> String {
        format!("Dynamic<{}>", std::any::type_name::<T>())
    }

    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        let bytes = rmp_serde::to_vec_named(&self.0);
        bytes.map(|bytes| put(&bytes)).map_err(|error| EncodeError(error.to_string()))
    }

    fn decode<R>(bytes: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        Self::decode_owned(bytes).map(|value| take(&value))
    }

    fn decode_owned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
        deserializer.set_max_depth(DYNAMIC_DEPTH_MAX);
        let value = T::deserialize(&mut deserializer)
            .map_err(|_| DecodeError::invalid::<Self>(bytes.len()))?;
        if rest.is_empty() {
            Ok(Self(value))
        } else {
            Err(DecodeError::Size { expected: Self::schema(), len: bytes.len() })
        }
    }
}

/// The error type of a handler whose method names no other: a message.
///
/// It prints as an `Error` does in Electron: `Error: <message>`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("Error: {message}")]
pub struct Failure {
    message: String,
}

impl Failure {
    /// An error with this message.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string() }
    }

    /// The message, without the `Error: ` before it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Payload for Failure {
    type Owned = Self;

    fn schema() -> String {
        "Failure".to_owned()
    }

    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        self.message.as_str().encode(put)
    }

    fn decode<R>(bytes: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        Self::decode_owned(bytes).map(|failure| take(&failure))
    }

    fn decode_owned(bytes: &[u8]) -> Result<Self, DecodeError> {
        let message = String::from_utf8(bytes.to_vec());
        message
            .map(|message| Self { message })
            .map_err(|_| DecodeError::invalid::<Self>(bytes.len()))
    }
}

macro_rules! fixed_layout_by_name {
    ($($type:ty),*) => {
        $(impl FixedLayout for $type {
            fn layout() -> String {
                stringify!($type).to_owned()
            }
        })*
    };
}

fixed_layout_by_name!((), bool, char, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl<T: FixedLayout, const N: usize> FixedLayout for [T; N] {
    fn layout() -> String {
        format!("[{}; {N}]", T::layout())
    }
}

/// Declares a struct or a field-less enum that may travel on a channel.
///
/// It adds `#[repr(C)]` and the derives, and makes the schema of names, types and offsets. A struct with padding does
/// not compile: reorder its fields or name the gap. An enum states its integer type and has a variant of value 0.
///
/// ```
/// ringbridge::payload! {
///     /// How warm it is.
///     pub struct Reading {
///         /// Degrees Celsius.
///         pub celsius: f32,
///         /// Which sensor.
///         pub sensor: Sensor,
///     }
/// }
/// ringbridge::payload! {
///     /// Where it was measured.
///     pub enum Sensor: u32 {
///         /// In the house.
///         Inside = 0,
///         /// In the garden.
///         Outside = 1,
///     }
/// }
/// use ringbridge::Payload;
/// assert_eq!(
///     Reading::schema(),
///     "Reading { celsius: f32 @0, sensor: Sensor: u32 { Inside = 0, Outside = 1 } @4 } of 8 bytes"
/// );
/// ```
///
/// ```compile_fail
/// ringbridge::payload! {
///     /// Three bytes of padding after `flag`: refused.
///     pub struct Padded {
///         /// One byte.
///         pub flag: bool,
///         /// Four bytes.
///         pub value: u32,
///     }
/// }
/// ```
#[macro_export]
macro_rules! payload {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(
            Clone, Copy, Debug, PartialEq,
            $crate::zerocopy::FromZeros, $crate::zerocopy::IntoBytes,
            $crate::zerocopy::KnownLayout, $crate::zerocopy::Immutable,
        )]
        #[zerocopy(crate = "ringbridge::zerocopy")]
        #[repr(C)]
        $visibility struct $name {
            $($(#[$field_attribute])* $field_visibility $field: $type,)*
        }

        impl $crate::FixedLayout for $name {
            fn layout() -> String {
                let fields: Vec<String> = vec![$(format!(
                    "{}: {} @{}",
                    stringify!($field),
                    <$type as $crate::FixedLayout>::layout(),
                    ::core::mem::offset_of!($name, $field),
                )),*];
                let size = ::core::mem::size_of::<$name>();
                format!("{} {{ {} }} of {size} bytes", stringify!($name), fields.join(", "))
            }
        }
    };
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident: $integer:ident {
        $($(#[$variant_attribute:meta])* $variant:ident = $value:tt),* $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash,
            $crate::zerocopy::FromZeros, $crate::zerocopy::IntoBytes,
            $crate::zerocopy::KnownLayout, $crate::zerocopy::Immutable,
        )]
        #[zerocopy(crate = "ringbridge::zerocopy")]
        #[repr($integer)]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant = $value,)*
        }

        impl $crate::FixedLayout for $name {
            fn layout() -> String {
                let variants: Vec<String> =
                    vec![$(format!("{} = {}", stringify!($variant), $value)),*];
                format!(
                    "{}: {} {{ {} }}",
                    stringify!($name), stringify!($integer), variants.join(", ")
                )
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::payload! {
        struct Switch {
            level: u32,
            on: bool,
            reserved: [u8; 3],
        }
    }

    #[repr(align(16))]
    struct Aligned([u8; 8]);

    #[test]
    fn a_bool_of_two_is_invalid_and_a_short_struct_is_a_wrong_size() {
        let lie = Aligned([7, 0, 0, 0, 2, 0, 0, 0]);
        assert!(matches!(Switch::decode_owned(&lie.0), Err(DecodeError::Invalid { len: 8, .. })));
        assert!(matches!(
            Switch::decode(&lie.0[..7], |_| ()),
            Err(DecodeError::Size { len: 7, .. })
        ));
    }

    #[test]
    fn text_that_is_not_utf8_is_invalid() {
        assert!(matches!(str::decode(&[0xff], |_| ()), Err(DecodeError::Invalid { .. })));
    }

    #[test]
    fn unit_takes_no_bytes_and_refuses_some() {
        assert_eq!(<()>::decode(&[], |()| 5), Ok(5));
        assert!(<()>::decode(&[1], |()| ()).is_err());
    }

    #[test]
    fn a_slice_of_half_an_element_is_refused() {
        assert!(<[u32]>::decode(&Aligned([0; 8]).0[..6], |_| ()).is_err());
        assert_eq!(<[u32]>::decode(&Aligned([1; 8]).0, <[u32]>::len), Ok(2));
    }

    #[test]
    fn a_dynamic_value_comes_back_whole_and_trailing_bytes_are_refused() {
        let mut bytes = Dynamic(vec![Some(1), None]).encode(<[u8]>::to_vec).unwrap();
        assert_eq!(
            Dynamic::<Vec<Option<i32>>>::decode_owned(&bytes),
            Ok(Dynamic(vec![Some(1), None]))
        );
        bytes.push(0);
        assert!(Dynamic::<Vec<Option<i32>>>::decode_owned(&bytes).is_err());
    }

    #[test]
    fn a_dynamic_value_nested_without_end_is_refused_not_followed() {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        struct Nested(Vec<Nested>);
        let nested = vec![0x91; 100_000];
        assert!(Dynamic::<Nested>::decode_owned(&nested).is_err());
    }
}
