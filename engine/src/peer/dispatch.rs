//! What a frame from the peer means, and whether the peer may say it.
//!
//! The frame's header has been checked for what it is ([`WireHeader::check`]); here it is checked for
//! what *this* peer may do: the channel, its kind and direction, the policy, the quota. In main a failure is a
//! [`Violation`], since the library on the other side never sends such a frame. Payloads are
//! validated by the listener's or handler's own decoding, from bytes that nobody else can write, and by what
//! the application has registered to validate them; an invalid one is counted, and for an invoke it is the
//! caller's error.
//!
//! [`WireHeader::check`]: crate::wire::frame::WireHeader::check

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::peer::{
    Port, Side,
    invocation::{Awaited, Ending, FailCode},
    responder::Call,
};
use crate::{
    contract::{ChannelKind, payload::DecodeError},
    kill_points::{KillPoint, reach},
    peer::{
        large::OpenError,
        router::{ListenerId, Router, Times},
    },
    primitives::Ordering,
    sync::{
        loop_cell::{LoopCell, LoopKey, LoopKeyId},
        snapshot::Snapshot,
    },
    wake::executor::Executor,
    wire::{
        attached::Attached,
        frame::{Header, Kind, TimeoutCode, Violation},
        id::RequestId,
    },
};

/// A message on its way to a listener.
pub(crate) struct Delivery<'a> {
    pub(crate) port: &'a Arc<Port>,
    /// How many messages of a topic were lost before this one.
    pub(crate) lost: u64,
}

/// A listener with its payload's type erased. `Err`: the bytes are no value of it.
pub(crate) type Listener =
    Arc<LoopCell<dyn FnMut(&Delivery<'_>, &[u8]) -> Result<(), DecodeError> + Send>>;

/// A handler with its types erased. It sees to the answer itself, also if it panics. `Err`: the bytes are
/// no arguments.
pub(crate) type Handler =
    Arc<LoopCell<dyn FnMut(Call<'_>, &Arc<Executor>, &[u8]) -> Result<(), DecodeError> + Send>>;

/// What decides over a channel's messages before anyone hears them, with its payload's type erased.
pub(crate) type Validator =
    Arc<LoopCell<dyn FnMut(&Delivery<'_>, &[u8]) -> Result<(), Unwelcome> + Send>>;

/// Why a message is not passed on.
#[derive(Debug)]
pub(crate) enum Unwelcome {
    BadPayload(DecodeError),
    /// In the validator's words.
    Rejected(String),
}

pub(crate) type Routes = Router<Listener, Handler, Validator>;

/// What a process does with messages, whichever peer they come from.
pub(crate) struct Dispatcher {
    pub(crate) routes: Snapshot<Routes>,
    pub(crate) executor: Arc<Executor>,
    /// The key of the loop that calls the listeners and handlers.
    pub(crate) key: LoopKeyId,
}

/// What the driver itself has to do for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Nothing,
    /// Its sender waits to use its memory again: publish how far was read. Its attachment had so many bytes.
    Publish {
        len: u64,
    },
    Subscribe(u16),
    Unsubscribe(u16),
}

impl Dispatcher {
    /// Acts on one frame. `routes` is the driver's copy, refreshed for this frame.
    // Always inline: the header comes in registers then, and what is common is decided at once.
    #[inline(always)]
    pub(crate) fn receive(
        &self,
        port: &Arc<Port>,
        header: Header,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<Request, Violation> {
        port.counters.frames_received.add_alone(1);
        port.check_received_length(u64::from(header.payload_len))?;
        match header.kind {
            Kind::Send => {
                port.check(header, port.receives())?;
                self.deliver(&Delivery { port, lost: 0 }, header.channel, bytes, routes, key)?;
            }
            Kind::Invoke => {
                port.check(header, ChannelKind::Method)?;
                self.call(port, header, bytes, routes, key)?;
            }
            Kind::Reply => port.settle(requested(header)?, &Ending::Reply, bytes, awaited),
            _ => return self.receive_other(port, header, bytes, routes, key, awaited),
        }
        Ok(Request::Nothing)
    }

    /// Acts on a frame of a kind that is not of every day.
    #[cold]
    fn receive_other(
        &self,
        port: &Arc<Port>,
        header: Header,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<Request, Violation> {
        match header.kind {
            Kind::Reject => port.settle(requested(header)?, &Ending::Reject, bytes, awaited),
            Kind::Fail => {
                port.settle(requested(header)?, &Ending::Fail(header.flags), bytes, awaited)
            }
            Kind::Cancel => port.cancel_owed(requested(header)?),
            Kind::Subscribe => {
                port.check(header, ChannelKind::Topic)?;
                return Ok(Request::Subscribe(header.channel));
            }
            Kind::Unsubscribe => {
                port.check(header, ChannelKind::Topic)?;
                return Ok(Request::Unsubscribe(header.channel));
            }
            Kind::Attached => {
                return self.receive_attached(port, header.channel, bytes, routes, key, awaited);
            }
            Kind::Ask => port.lend_attachment(header.kind, bytes)?,
            Kind::GiveBack => port.take_attachment_back(header.kind, bytes)?,
            // `receive` does those; the consumer follows pads itself.
            Kind::Send | Kind::Invoke | Kind::Reply | Kind::Pad => {
                return Err(Violation::UnknownKind { kind: header.kind as u8 });
            }
        }
        Ok(Request::Nothing)
    }

    /// Acts on a message whose payload is attached, as on any other, once it is known that the peer may
    /// say it here and that the attachment is what it says.
    #[cold]
    fn receive_attached(
        &self,
        port: &Arc<Port>,
        channel: u16,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<Request, Violation> {
        let attached = Attached::parse(channel, bytes)?;
        let header = attached.header;
        port.check_received_length(attached.len)?;
        match header.kind {
            Kind::Send => port.check(header, port.receives())?,
            Kind::Invoke => port.check(header, ChannelKind::Method)?,
            _ => {}
        }
        let payload = match port.open_attachment(&attached) {
            Ok(payload) => payload,
            Err(OpenError::Violation(violation)) => return Err(violation),
            Err(OpenError::System(why)) => {
                port.counters.attachments_lost.add();
                self.lose(port, header, &why, awaited)?;
                return Ok(Request::Publish { len: attached.len });
            }
        };
        reach(KillPoint::AttachmentOpened);
        port.counters.attachments_received.add_alone(1);
        match header.kind {
            Kind::Send => {
                let delivery = Delivery { port, lost: 0 };
                self.deliver(&delivery, header.channel, &payload, routes, key)?;
            }
            Kind::Invoke => self.call(port, header, &payload, routes, key)?,
            Kind::Reject => {
                port.settle_attached(requested(header)?, &Ending::Reject, payload, awaited);
            }
            // `Attached::parse` lets nothing else through.
            _ => port.settle_attached(requested(header)?, &Ending::Reply, payload, awaited),
        }
        Ok(Request::Publish { len: attached.len })
    }

    /// Tells whoever waits that a payload is there and cannot be had.
    fn lose(
        &self,
        port: &Arc<Port>,
        header: Header,
        why: &str,
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<(), Violation> {
        match (header.kind, header.id) {
            (Kind::Invoke, Some(id)) => {
                port.check_owed(id)?;
                let timeout = TimeoutCode(header.flags);
                let call = Call { port, id, number: header.channel, timeout };
                call.fail(FailCode::BadArguments, why);
            }
            (_, Some(id)) => {
                let ending = Ending::Fail(FailCode::ReplyFailed as u8);
                port.settle(id, &ending, why.as_bytes(), awaited);
            }
            _ => {}
        }
        Ok(())
    }

    /// Passes a message on to those who listen, if nobody objects.
    #[inline]
    fn deliver(
        &self,
        delivery: &Delivery<'_>,
        channel: u16,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
    ) -> Result<(), Violation> {
        if let Some(route) = routes.route(channel)
            && !route.validators.is_empty()
            && let Err(unwelcome) = screen(delivery, &route.validators, bytes, key)
        {
            return delivery.port.judge(channel, &unwelcome);
        }
        self.emit(delivery, channel, bytes, routes, key);
        Ok(())
    }

    /// Runs the listeners of a channel, in order.
    #[inline]
    pub(crate) fn emit(
        &self,
        delivery: &Delivery<'_>,
        channel: u16,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
    ) {
        let counters = &delivery.port.counters;
        let Some(route) = routes.route(channel).filter(|route| !route.listeners.is_empty()) else {
            counters.unheard.add();
            return;
        };
        for listener in &route.listeners {
            // Taken out before it runs; another thread may have done so first.
            if listener.times == Times::Once
                && !self.routes.update(|routes| routes.off(listener.id))
            {
                continue;
            }
            let run = || (listener.function.open(key))(delivery, bytes);
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    // What is no value for one listener of the channel is none for the next.
                    counters.bad_payloads.add();
                    return;
                }
                Err(_) => counters.panics.add(),
            }
        }
    }

    #[inline]
    fn call(
        &self,
        port: &Arc<Port>,
        header: Header,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
    ) -> Result<(), Violation> {
        let id = requested(header)?;
        port.counters.invokes_received.add_alone(1);
        let call = Call { port, id, number: header.channel, timeout: TimeoutCode(header.flags) };
        if port.is_orphaned() {
            port.counters.orphaned.add();
            return Ok(());
        }
        port.check_owed(id)?;
        let route = routes.route(header.channel);
        if let Some(route) = route
            && !route.validators.is_empty()
            && let Err(unwelcome) =
                screen(&Delivery { port, lost: 0 }, &route.validators, bytes, key)
        {
            match &unwelcome {
                Unwelcome::BadPayload(error) => {
                    call.fail(FailCode::BadArguments, &error.to_string());
                }
                Unwelcome::Rejected(why) => call.fail(FailCode::Rejected, why),
            }
            return port.judge(header.channel, &unwelcome);
        }
        let Some(handler) = route.and_then(|route| route.handler.as_ref()) else {
            port.counters.unhandled.add();
            call.fail(FailCode::NoHandler, "");
            return Ok(());
        };
        if handler.times == Times::Once && !self.take_handler(header.channel, handler.id) {
            port.counters.unhandled.add();
            call.fail(FailCode::NoHandler, "");
            return Ok(());
        }
        let run = || (handler.function.open(key))(call, &self.executor, bytes);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                port.counters.bad_payloads.add();
                call.fail(FailCode::BadArguments, &error.to_string());
            }
            // A handler that answers later has a responder, and that has told the caller.
            Err(_) => port.counters.panics.add(),
        }
        Ok(())
    }

    #[cold]
    fn take_handler(&self, channel: u16, id: ListenerId) -> bool {
        self.routes.update(|routes| routes.take_handler(channel, id))
    }
}

/// Asks the validators of a channel, in order: the first that objects decides. One that panics objects.
fn screen(
    delivery: &Delivery<'_>,
    validators: &[Validator],
    bytes: &[u8],
    key: &mut LoopKey,
) -> Result<(), Unwelcome> {
    for validator in validators {
        let run = || (validator.open(key))(delivery, bytes);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(verdict) => verdict?,
            Err(_) => {
                delivery.port.counters.panics.add();
                return Err(Unwelcome::Rejected("its validator panicked".to_owned()));
            }
        }
    }
    Ok(())
}

/// The request that a frame names; its header was checked to name one.
#[inline]
fn requested(header: Header) -> Result<RequestId, Violation> {
    header.id.ok_or(Violation::BadRequestId { kind: header.kind as u8, id: 0 })
}

impl Port {
    /// The kind of channel on which the peer sends one way.
    #[inline]
    fn receives(&self) -> ChannelKind {
        match self.side {
            Side::Main => ChannelKind::Event,
            Side::Renderer => ChannelKind::Push,
        }
    }

    /// Whether the peer may use the channel in this way.
    #[inline]
    fn check(&self, header: Header, expected: ChannelKind) -> Result<(), Violation> {
        let channel = header.channel;
        match self.channels.kind(channel) {
            Some(kind) if kind == expected => {}
            Some(_) => return Err(Violation::WrongDirection { kind: header.kind as u8, channel }),
            None => return Err(Violation::UnknownChannel { channel }),
        }
        // The policy binds the renderer; main may invoke whatever the renderer handles.
        if self.side == Side::Main && !self.allowed.contains(usize::from(channel)) {
            return Err(Violation::ForbiddenChannel { channel });
        }
        Ok(())
    }

    /// Whether the policy allows so long a message.
    #[inline]
    fn check_received_length(&self, len: u64) -> Result<(), Violation> {
        let max = self.limits.received_max;
        if len <= max { Ok(()) } else { Err(Violation::MessageTooLong { len, max }) }
    }

    /// Counts what is not passed on, and says whether that is a violation.
    #[cold]
    fn judge(&self, channel: u16, unwelcome: &Unwelcome) -> Result<(), Violation> {
        match unwelcome {
            Unwelcome::BadPayload(_) => {
                self.counters.bad_payloads.add();
                Ok(())
            }
            Unwelcome::Rejected(_) => {
                self.counters.rejected.add();
                let counts = self.limits.rejection_is_violation;
                if counts { Err(Violation::Rejected { channel }) } else { Ok(()) }
            }
        }
    }

    /// A new request must not have the id of one that is still owed, nor exceed the quota.
    #[inline]
    fn check_owed(&self, id: RequestId) -> Result<(), Violation> {
        // Relaxed: only the driver adds requests, so it sees at least its own additions.
        if self.owed_count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let (duplicate, count) = self.owed(|owed| (owed.contains_key(&id), owed.len()));
        let max = self.limits.owed_max;
        if duplicate {
            Err(Violation::DuplicateRequest { id: id.to_wire() })
        } else if count >= usize::from(max) {
            Err(Violation::TooManyPending { max: u64::from(max) })
        } else {
            Ok(())
        }
    }

    /// The caller has given up. An id that is not owed was answered meanwhile, perhaps into the backlog,
    /// where nobody wants it any more.
    fn cancel_owed(&self, id: RequestId) {
        let owed = self.owed(|owed| owed.remove(&id));
        if let Some(owed) = owed {
            self.counters.cancelled.add();
            owed.cancel();
        } else {
            self.forget_backlogged(id);
        }
    }
}
