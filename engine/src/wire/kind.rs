//! The kinds of frames: one entry each. The checks of a header, of the channel and of the direction
//! follow from the entry; `peer/dispatch.rs` acts on each kind.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelUse {
    /// The frame needs no channel: its request or its attachment says what it is about.
    None,
    /// An event towards main, a push towards a renderer.
    OneWay,
    Method,
    Topic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) names_request: bool,
    pub(crate) has_flags: bool,
    pub(crate) has_payload: bool,
    pub(crate) attachable: bool,
    pub(crate) from_renderer_only: bool,
    /// It asks something of its receiver, which is unresponsive until it takes the frame.
    pub(crate) asks_something: bool,
    pub(crate) channel: ChannelUse,
}

const BARE: Rules = Rules {
    names_request: false,
    has_flags: false,
    has_payload: false,
    attachable: false,
    from_renderer_only: false,
    asks_something: false,
    channel: ChannelUse::None,
};
const MESSAGE: Rules = Rules { has_payload: true, attachable: true, asks_something: true, ..BARE };
const ANSWER: Rules = Rules { names_request: true, has_payload: true, ..BARE };
const WORD: Rules = Rules { has_payload: true, from_renderer_only: true, ..BARE };

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal: $rules:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl Kind {
            #[inline]
            pub(crate) const fn from_wire(kind: u8) -> Option<Self> {
                match kind {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            #[inline]
            pub(crate) const fn rules(self) -> Rules {
                match self {
                    $(Self::$name => $rules,)*
                }
            }
        }
    };
}

kinds! {
    /// One way: an event of a renderer, or a push of main. No reply.
    Send = 1: Rules { channel: ChannelUse::OneWay, ..MESSAGE };
    /// A request. A [`TimeoutCode`](crate::wire::frame::TimeoutCode) is in the flags.
    Invoke = 2: Rules {
        names_request: true, has_flags: true, channel: ChannelUse::Method, ..MESSAGE
    };
    /// The handler's answer.
    Reply = 3: Rules { attachable: true, ..ANSWER };
    /// The handler's own, typed error.
    Reject = 4: Rules { attachable: true, ..ANSWER };
    /// No answer from a handler: a code in the flags, and why, in UTF-8.
    Fail = 5: Rules { has_flags: true, ..ANSWER };
    /// The caller of a request no longer waits.
    Cancel = 6: Rules { names_request: true, ..BARE };
    Subscribe = 7: Rules { from_renderer_only: true, channel: ChannelUse::Topic, ..BARE };
    Unsubscribe = 8: Rules { from_renderer_only: true, channel: ChannelUse::Topic, ..BARE };
    /// Fills the end of a lap that the next frame does not fit into.
    Pad = 9: BARE;
    /// A message whose payload is in an attachment, which this frame's payload names.
    Attached = 10: Rules { has_payload: true, ..BARE };
    /// A renderer asks main for memory that it can fill.
    Ask = 11: WORD;
    /// A renderer does not need memory that it asked for.
    GiveBack = 12: WORD;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_was_written_and_no_other_number_is_a_kind() {
        let kinds: Vec<_> = (0..=u8::MAX).filter_map(Kind::from_wire).collect();
        assert_eq!(kinds.len(), 12);
        assert!((1..).zip(&kinds).all(|(number, kind)| *kind as u8 == number));
    }
}
