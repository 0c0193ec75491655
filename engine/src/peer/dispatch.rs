//! Acts on a frame of the peer, after checking that this peer may send it.
//!
//! [`WireHeader::check`] has checked the header by itself. [`Link`](crate::peer::link::Link) checks it
//! for *this* peer, by the kind's entry in [`wire/kind`](crate::wire::kind): the direction, the channel
//! and the policy. In main a failure is a [`Violation`], since the library on the other side never
//! sends such a frame. The listener's or handler's own decoding checks the payload, in bytes that no
//! other process can write, and so do the application's validators. An invalid payload is counted; of
//! an invoke it is the caller's error.
//!
//! [`WireHeader::check`]: crate::wire::frame::WireHeader::check

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    contract::payload::DecodeError,
    peer::{
        large::limits::OpenError,
        port::Port,
        requests::outcome::{Awaited, Ending, FailCode},
        responder::Call,
        router::{ListenerId, Router, Times},
    },
    sync::{
        loop_cell::{LoopCell, LoopKey, LoopKeyId},
        snapshot::Snapshot,
    },
    wake::executor::Executor,
    wire::{
        attached::Attached,
        frame::{Header, TimeoutCode, Violation},
        id::RequestId,
        kind::Kind,
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

/// A handler with its types erased. It sends the answer itself, also if it panics. `Err`: the bytes are
/// no arguments.
pub(crate) type Handler =
    Arc<LoopCell<dyn FnMut(Call<'_>, &Arc<Executor>, &[u8]) -> Result<(), DecodeError> + Send>>;

/// Accepts or refuses a channel's messages before any listener, with its payload's type erased.
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

/// The listeners and handlers of one process, for the messages of every peer.
pub(crate) struct Dispatcher {
    pub(crate) routes: Snapshot<Routes>,
    pub(crate) executor: Arc<Executor>,
    /// The key of the loop that calls the listeners and handlers.
    pub(crate) key: LoopKeyId,
}

/// The driver's own part in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Nothing,
    /// Publish the read position: the sender waits to use its memory again. Its attachment had `len`
    /// bytes.
    Publish {
        len: u64,
    },
    Subscribe(u16),
    Unsubscribe(u16),
}

impl Dispatcher {
    /// Acts on one frame. `routes` is the driver's copy, refreshed for this frame.
    // Always inline: the header comes in registers then, and the common kinds are decided at once.
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
        port.check_length(u64::from(header.payload_len))?;
        match header.kind {
            // Each arm names its kind, so that the compiler evaluates the kind's `Rules`.
            Kind::Send => {
                port.check(Kind::Send, header.channel)?;
                self.deliver(port, header.channel, bytes, routes, key)?;
            }
            Kind::Invoke => {
                port.check(Kind::Invoke, header.channel)?;
                self.call(port, header, bytes, routes, key)?;
            }
            Kind::Reply => {
                port.check(Kind::Reply, header.channel)?;
                port.settle(requested(header)?, &Ending::Reply, bytes, awaited);
            }
            _ => return self.receive_rare(port, header, bytes, routes, key, awaited),
        }
        Ok(Request::Nothing)
    }

    /// Acts on a frame of a rare kind.
    #[cold]
    fn receive_rare(
        &self,
        port: &Arc<Port>,
        header: Header,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<Request, Violation> {
        port.check(header.kind, header.channel)?;
        match header.kind {
            Kind::Reject => {
                port.settle(requested(header)?, &Ending::Reject, bytes, awaited);
            }
            Kind::Fail => {
                let ending = Ending::Fail(header.flags);
                port.settle(requested(header)?, &ending, bytes, awaited);
            }
            Kind::Cancel => cancel(port, requested(header)?),
            Kind::Subscribe => return Ok(Request::Subscribe(header.channel)),
            Kind::Unsubscribe => return Ok(Request::Unsubscribe(header.channel)),
            Kind::Attached => {
                return self.receive_attached(port, header.channel, bytes, routes, key, awaited);
            }
            Kind::Ask | Kind::GiveBack => port.large.act_on_word(port, header.kind, bytes)?,
            // `receive` acts on the first three; the consumer follows pads itself.
            Kind::Send | Kind::Invoke | Kind::Reply | Kind::Pad => {
                return Err(Violation::UnknownKind { kind: header.kind as u8 });
            }
        }
        Ok(Request::Nothing)
    }

    /// Acts on a message whose payload is attached, after checking the message and the attachment.
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
        let (header, len) = (attached.header, attached.len);
        port.check_length(len)?;
        port.check(header.kind, channel)?;
        let body = match port.large.open(port, &attached) {
            Ok(body) => body,
            Err(OpenError::Violation(violation)) => return Err(violation),
            Err(OpenError::System(why)) => {
                port.counters.attachments_lost.add();
                lose(port, header, &why, awaited)?;
                return Ok(Request::Publish { len });
            }
        };
        match header.kind {
            Kind::Send => self.deliver(port, header.channel, &body, routes, key)?,
            Kind::Invoke => self.call(port, header, &body, routes, key)?,
            Kind::Reject => {
                port.settle_attached(requested(header)?, &Ending::Reject, body, awaited);
            }
            // `Attached::parse` lets no other kind through.
            _ => port.settle_attached(requested(header)?, &Ending::Reply, body, awaited),
        }
        Ok(Request::Publish { len })
    }

    /// Passes a message on to the listeners, if no validator refuses it.
    #[inline]
    fn deliver(
        &self,
        port: &Arc<Port>,
        channel: u16,
        bytes: &[u8],
        routes: &Routes,
        key: &mut LoopKey,
    ) -> Result<(), Violation> {
        let delivery = Delivery { port, lost: 0 };
        if let Some(route) = routes.route(channel)
            && !route.validators.is_empty()
            && let Err(unwelcome) = validate(&delivery, &route.validators, bytes, key)
        {
            return refuse(port, channel, &unwelcome);
        }
        self.emit(&delivery, channel, bytes, routes, key);
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
                    // Bytes that are no value for one listener of the channel are none for the next.
                    counters.bad_payloads.add();
                    return;
                }
                Err(_) => counters.panics.add(),
            }
        }
    }

    /// Runs the handler of an invoke.
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
        if port.incoming.is_orphaned() {
            port.counters.orphaned.add();
            return Ok(());
        }
        port.incoming.check(id)?;
        let route = routes.route(header.channel);
        if let Some(route) = route
            && !route.validators.is_empty()
            && let Err(unwelcome) =
                validate(&Delivery { port, lost: 0 }, &route.validators, bytes, key)
        {
            match &unwelcome {
                Unwelcome::BadPayload(error) => {
                    call.fail(FailCode::BadArguments, &error.to_string());
                }
                Unwelcome::Rejected(why) => call.fail(FailCode::Rejected, why),
            }
            return refuse(port, header.channel, &unwelcome);
        }
        let handler = route.and_then(|route| route.handler.as_ref()).filter(|handler| {
            handler.times != Times::Once || self.take_handler(header.channel, handler.id)
        });
        let Some(handler) = handler else {
            port.counters.unhandled.add();
            call.fail(FailCode::NoHandler, "");
            return Ok(());
        };
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
fn validate(
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

/// Counts a message that is not passed on. `Err`: the policy makes it a violation.
#[cold]
fn refuse(port: &Port, channel: u16, unwelcome: &Unwelcome) -> Result<(), Violation> {
    match unwelcome {
        Unwelcome::BadPayload(_) => port.counters.bad_payloads.add(),
        Unwelcome::Rejected(_) => {
            port.counters.rejected.add();
            if port.limits.rejection_is_violation {
                return Err(Violation::Rejected { channel });
            }
        }
    }
    Ok(())
}

/// Tells the caller that waits that a payload has come and cannot be mapped.
fn lose(
    port: &Arc<Port>,
    header: Header,
    why: &str,
    awaited: Option<&mut Awaited<'_>>,
) -> Result<(), Violation> {
    match (header.kind, header.id) {
        (Kind::Invoke, Some(id)) => {
            port.incoming.check(id)?;
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

/// Cancels a request of the peer. If it was answered, its reply may be in the backlog, and is dropped.
fn cancel(port: &Port, id: RequestId) {
    if let Some(request) = port.incoming.remove(id) {
        port.counters.cancelled.add();
        request.cancel();
    } else if port.sender.forget_reply(id) {
        port.counters.late_replies.add();
        port.large.give_back(&port.sender);
    }
}

/// Returns the request that a frame names. Its header was checked to name one.
#[inline]
fn requested(header: Header) -> Result<RequestId, Violation> {
    header.id.ok_or(Violation::BadRequestId { kind: header.kind as u8, id: 0 })
}
