//! The contract of the session target: a channel of every kind, and some that the policy or main leaves out.

use ringbridge::{Contract, Dynamic, Event, Method, Policy, Push, Topic};

use crate::payloads::{Switch, Value};

pub const TEXT: Event<str> = Event::new("text");
pub const SWITCH: Event<Switch> = Event::new("switch");
pub const NUMBERS: Event<[u64]> = Event::new("numbers");
pub const VALUE: Event<Dynamic<Value>> = Event::new("value");
/// Answered at once.
pub const ECHO: Method<[u8], [u8]> = Method::new("echo");
/// Answered when the input says so.
pub const LATER: Method<[u8], [u8]> = Method::new("later");
/// Answered by a future, in the turn after the next.
pub const SOON: Method<str, str> = Method::new("soon");
/// Main asks, the renderer answers.
pub const QUESTION: Method<[u8], [u8]> = Method::new("question");
pub const NOTE: Push<[u8]> = Push::new("note");
pub const NEWS: Topic<[u8]> = Topic::new("news");
/// Nobody listens or handles.
pub const UNHEARD: Event<u8> = Event::new("unheard");
pub const UNHANDLED: Method<(), ()> = Method::new("unhandled");
/// The policy does not name these.
pub const SECRET: Event<str> = Event::new("secret");
pub const SECRET_NEWS: Topic<u64> = Topic::new("secret news");

pub const CONTRACT: Contract = &[
    &TEXT,
    &SWITCH,
    &NUMBERS,
    &VALUE,
    &ECHO,
    &LATER,
    &SOON,
    &QUESTION,
    &NOTE,
    &NEWS,
    &UNHEARD,
    &UNHANDLED,
    &SECRET,
    &SECRET_NEWS,
];

/// What every renderer may do.
pub fn policy() -> Policy {
    Policy::deny_all()
        .allow_all(&[&TEXT, &SWITCH, &NUMBERS, &VALUE, &ECHO, &LATER, &SOON, &QUESTION])
        .allow_all(&[&NOTE, &NEWS, &UNHEARD, &UNHANDLED])
}
