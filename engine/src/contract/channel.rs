//! Channels: constants that both processes share.

use std::{fmt, marker::PhantomData};

use crate::{
    contract::{
        error::ContractError,
        payload::{Failure, Payload},
    },
    wire::{
        fnv::{FNV_OFFSET, fnv1a},
        handshake::{CHANNEL_NAME_MAX, CHANNELS_MAX, ChannelKind},
    },
};

/// The channels of a process: a list of constants.
///
/// ```
/// use ringbridge::{Contract, Event, Method};
///
/// pub const LOG_MESSAGE: Event<str> = Event::new("log-message");
/// pub const ADD: Method<[u32; 2], u64> = Method::new("add");
/// pub const CONTRACT: Contract = &[&LOG_MESSAGE, &ADD];
/// ```
pub type Contract = &'static [&'static dyn Channel];

/// A channel's kind and name. The constant includes their hash, so that a look-up compares one number.
#[derive(Clone, Copy)]
pub struct ChannelKey {
    kind: ChannelKind,
    name: &'static str,
    hash: u64,
}

impl ChannelKey {
    const fn new(kind: ChannelKind, name: &'static str) -> Self {
        Self { kind, name, hash: channel_hash(kind, name) }
    }

    /// The channel's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The channel's kind.
    pub fn kind(&self) -> ChannelKind {
        self.kind
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.name)
    }
}

pub(crate) const fn channel_hash(kind: ChannelKind, name: &str) -> u64 {
    fnv1a(fnv1a(FNV_OFFSET, &[kind as u8]), name.as_bytes())
}

/// A channel of any kind, for lists of them. Implemented by the four channel types only.
pub trait Channel: sealed::Sealed + Sync {
    /// The channel's kind and name.
    fn key(&self) -> ChannelKey;

    /// Returns the schemas of all types that travel on it, as one text.
    fn schema(&self) -> String;
}

mod sealed {
    pub trait Sealed {}
}

/// Defines one channel type: a name, with the types that travel on it.
macro_rules! channel_type {
    ($(#[$attribute:meta])* $name:ident<$($parameter:ident $(= $default:ty)?),*>, $schema:expr) => {
        $(#[$attribute])*
        pub struct $name<$($parameter: ?Sized $(= $default)?),*> {
            key: ChannelKey,
            types: PhantomData<($(fn(&$parameter),)*)>,
        }

        impl<$($parameter: ?Sized),*> $name<$($parameter),*> {
            /// The channel called `name`.
            pub const fn new(name: &'static str) -> Self {
                Self { key: ChannelKey::new(ChannelKind::$name, name), types: PhantomData }
            }

            /// The channel's name.
            pub const fn name(&self) -> &'static str {
                self.key.name
            }
        }

        impl<$($parameter: ?Sized),*> Clone for $name<$($parameter),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter: ?Sized),*> Copy for $name<$($parameter),*> {}

        impl<$($parameter: ?Sized),*> fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.key.fmt(f)
            }
        }

        impl<$($parameter: ?Sized),*> sealed::Sealed for $name<$($parameter),*> {}

        impl<$($parameter: Payload + ?Sized),*> Channel for $name<$($parameter),*> {
            fn key(&self) -> ChannelKey {
                self.key
            }

            fn schema(&self) -> String {
                $schema
            }
        }
    };
}

channel_type! {
    /// Renderer to main, one way: `IpcRenderer::send` and `IpcMain::on`.
    Event<T>, T::schema()
}

channel_type! {
    /// A request and its reply: `invoke` and `handle`. `A` is the arguments; `R` or the handler's error `E` is the
    /// reply.
    Method<A, R, E = Failure>, format!("({}) -> {} or {}", A::schema(), R::schema(), E::schema())
}

channel_type! {
    /// Main to one renderer, reliable and ordered: `WebContents::send` and `IpcRenderer::on`.
    Push<T>, T::schema()
}

channel_type! {
    /// Main to every subscribed renderer, one write for all: `IpcMain::publish` and
    /// `IpcRenderer::subscribe`. Lossy: a reader that was lapped gets the number of lost messages.
    Topic<T>, T::schema()
}

/// A channel from a renderer to main: an [`Event`] or a [`Method`].
pub trait FromRenderer: Channel {
    /// The message, or the arguments.
    type Said: Payload + ?Sized;
}

impl<T: Payload + ?Sized> FromRenderer for Event<T> {
    type Said = T;
}

impl<A: Payload + ?Sized, R: Payload + ?Sized, E: Payload + ?Sized> FromRenderer
    for Method<A, R, E>
{
    type Said = A;
}

/// A channel in a table.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) kind: ChannelKind,
    pub(crate) name: &'static str,
    pub(crate) hash: u64,
    pub(crate) schema: String,
}

impl Declaration {
    /// The hash that two builds compare.
    pub(crate) fn fingerprint(&self) -> u64 {
        fnv1a(FNV_OFFSET, self.schema.as_bytes())
    }
}

/// Checks a contract, and returns its channels in its order.
pub(crate) fn declarations(contract: Contract) -> Result<Vec<Declaration>, ContractError> {
    if contract.len() > CHANNELS_MAX {
        return Err(ContractError::TooManyChannels { count: contract.len(), max: CHANNELS_MAX });
    }
    let mut declarations: Vec<Declaration> = Vec::with_capacity(contract.len());
    for channel in contract {
        let ChannelKey { kind, name, hash } = channel.key();
        if name.is_empty() || name.len() > CHANNEL_NAME_MAX {
            return Err(ContractError::BadName { channel: name.to_owned(), max: CHANNEL_NAME_MAX });
        }
        if let Some(twin) = declarations.iter().find(|twin| twin.hash == hash) {
            return Err(ContractError::Duplicate {
                channel: name.to_owned(),
                twin: twin.name.to_owned(),
            });
        }
        declarations.push(Declaration { kind, name, hash, schema: channel.schema() });
    }
    Ok(declarations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_may_be_an_event_and_a_method_but_not_two_events() {
        const EVENT: Event<str> = Event::new("x");
        const METHOD: Method<(), ()> = Method::new("x");
        assert_eq!(declarations(&[&EVENT, &METHOD]).unwrap().len(), 2);
        assert!(matches!(declarations(&[&EVENT, &EVENT]), Err(ContractError::Duplicate { .. })));
    }

    #[test]
    fn an_empty_name_is_refused() {
        const NAMELESS: Event<str> = Event::new("");
        assert!(matches!(declarations(&[&NAMELESS]), Err(ContractError::BadName { .. })));
    }

    #[test]
    fn a_changed_type_changes_the_fingerprint() {
        const NARROW: Event<u32> = Event::new("x");
        const WIDE: Event<u64> = Event::new("x");
        let fingerprint = |contract| declarations(contract).unwrap()[0].fingerprint();
        assert_ne!(fingerprint(&[&NARROW]), fingerprint(&[&WIDE]));
    }
}
