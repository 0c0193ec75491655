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
        requests::outcome::{Awaited, Ending, FailCode, ReplyBytes},
        responder::Call,
        router::{self, Router, Times},
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
pub(crate) type Route = router::Route<Listener, Handler, Validator>;

/// The listeners and handlers of one process, for the messages of every peer.
pub(crate) struct Dispatcher {
    pub(crate) routes: Snapshot<Routes>,
    pub(crate) executor: Arc<Executor>,
    /// The key of the loop that calls the listeners and handlers.
    pub(crate) key: LoopKeyId,
}

/// The driver's own part in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowUp {
    Nothing,
    /// Publish the read position: the sender waits to use its memory again. Its attachment had `len`
    /// bytes.
    GiveRoomBack {
        len: u64,
    },
    Subscribe(u16),
    Unsubscribe(u16),
}

/// The dispatch of one frame of one peer, to the application's code.
struct FrameDispatch<'a> {
    dispatcher: &'a Dispatcher,
    port: &'a Arc<Port>,
    routes: &'a Routes,
    key: &'a mut LoopKey,
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
    ) -> Result<FollowUp, Violation> {
        port.counters.frames_received.add_alone(1);
        let len = u64::from(header.payload_len);
        let mut dispatch = FrameDispatch { dispatcher: self, port, routes, key };
        match header.kind {
            // Each arm names its kind, so that the compiler evaluates the kind's `Rules`.
            Kind::Send => {
                port.check(Kind::Send, header.channel, len)?;
                dispatch.deliver(header.channel, bytes)?;
            }
            Kind::Invoke => {
                // For the answer, which in most cases follows at once.
                port.sender.will_commit();
                port.check(Kind::Invoke, header.channel, len)?;
                dispatch.call(header, bytes)?;
            }
            Kind::Reply => {
                port.check(Kind::Reply, header.channel, len)?;
                let reply = ReplyBytes::InBand(bytes);
                port.settle(requested(header)?, &Ending::Reply, reply, awaited);
            }
            kind => {
                port.check(kind, header.channel, len)?;
                return dispatch.receive_rare(header, bytes, awaited);
            }
        }
        Ok(FollowUp::Nothing)
    }

    /// Runs the listeners of a channel, in order.
    #[inline]
    pub(crate) fn emit(
        &self,
        delivery: &Delivery<'_>,
        route: Option<&Route>,
        bytes: &[u8],
        key: &mut LoopKey,
    ) {
        let counters = &delivery.port.counters;
        let Some(route) = route.filter(|route| !route.listeners.is_empty()) else {
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
}

impl FrameDispatch<'_> {
    /// Acts on a frame of a rare kind.
    #[cold]
    fn receive_rare(
        &mut self,
        header: Header,
        bytes: &[u8],
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<FollowUp, Violation> {
        let (port, reply) = (self.port, ReplyBytes::InBand(bytes));
        match header.kind {
            Kind::Reject => port.settle(requested(header)?, &Ending::Reject, reply, awaited),
            Kind::Fail => {
                port.settle(requested(header)?, &Ending::Fail(header.flags), reply, awaited);
            }
            Kind::Cancel => cancel(port, requested(header)?),
            Kind::Subscribe => return Ok(FollowUp::Subscribe(header.channel)),
            Kind::Unsubscribe => return Ok(FollowUp::Unsubscribe(header.channel)),
            Kind::Attached => return self.receive_attached(header.channel, bytes, awaited),
            Kind::Ask | Kind::GiveBack => port.large.act_on_word(port, header.kind, bytes)?,
            // `receive` acts on the first three; the consumer follows pads itself.
            Kind::Send | Kind::Invoke | Kind::Reply | Kind::Pad => {
                return Err(Violation::UnknownKind { kind: header.kind as u8 });
            }
        }
        Ok(FollowUp::Nothing)
    }

    /// Acts on a message whose payload is attached, after checking the message and the attachment.
    fn receive_attached(
        &mut self,
        channel: u16,
        bytes: &[u8],
        awaited: Option<&mut Awaited<'_>>,
    ) -> Result<FollowUp, Violation> {
        let port = self.port;
        let attached = Attached::parse(channel, bytes)?;
        let (header, len) = (attached.header, attached.len);
        port.check(header.kind, channel, len)?;
        match port.large.open(port, &attached) {
            Ok(body) => match header.kind {
                Kind::Send => self.deliver(channel, &body)?,
                Kind::Invoke => self.call(header, &body)?,
                // `Attached::parse` lets no other kind through.
                kind => {
                    let ending = if kind == Kind::Reject { Ending::Reject } else { Ending::Reply };
                    port.settle(requested(header)?, &ending, ReplyBytes::Attached(body), awaited);
                }
            },
            Err(OpenError::Violation(violation)) => return Err(violation),
            Err(OpenError::System(why)) => {
                port.counters.attachments_lost.add();
                lose(port, header, &why, awaited)?;
            }
        }
        Ok(FollowUp::GiveRoomBack { len })
    }

    /// Passes a message on to the listeners, if no validator refuses it.
    #[inline]
    fn deliver(&mut self, channel: u16, bytes: &[u8]) -> Result<(), Violation> {
        let (port, route) = (self.port, self.routes.route(channel));
        let delivery = Delivery { port, lost: 0 };
        if let Some(route) = route
            && !route.validators.is_empty()
            && let Some(unwelcome) = validate(&delivery, &route.validators, bytes, self.key)
        {
            return refuse(port, channel, &unwelcome);
        }
        self.dispatcher.emit(&delivery, route, bytes, self.key);
        Ok(())
    }

    /// Runs the handler of an invoke.
    #[inline]
    fn call(&mut self, header: Header, bytes: &[u8]) -> Result<(), Violation> {
        let (port, channel, id) = (self.port, header.channel, requested(header)?);
        port.counters.invokes_received.add_alone(1);
        let call = Call { port, id, number: channel, timeout: TimeoutCode(header.flags) };
        if port.incoming.is_orphaned() {
            port.counters.orphaned.add();
            return Ok(());
        }
        port.incoming.check(id)?;
        let route = self.routes.route(channel);
        let delivery = Delivery { port, lost: 0 };
        if let Some(route) = route
            && !route.validators.is_empty()
            && let Some(unwelcome) = validate(&delivery, &route.validators, bytes, self.key)
        {
            match &unwelcome {
                Unwelcome::BadPayload(error) => {
                    call.fail(FailCode::BadArguments, &error.to_string());
                }
                Unwelcome::Rejected(why) => call.fail(FailCode::Rejected, why),
            }
            return refuse(port, channel, &unwelcome);
        }
        let Dispatcher { routes, executor, .. } = self.dispatcher;
        let handler = route.and_then(|route| route.handler.as_ref()).filter(|handler| {
            handler.times != Times::Once
                || routes.update(|routes| routes.take_handler(channel, handler.id))
        });
        let Some(handler) = handler else {
            port.counters.unhandled.add();
            call.fail(FailCode::NoHandler, "");
            return Ok(());
        };
        let run = || (handler.function.open(self.key))(call, executor, bytes);
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
}

/// Asks the validators of a channel, in order: the first that objects decides. One that panics objects.
#[cold]
fn validate(
    delivery: &Delivery<'_>,
    validators: &[Validator],
    bytes: &[u8],
    key: &mut LoopKey,
) -> Option<Unwelcome> {
    validators.iter().find_map(|validator| {
        let run = || (validator.open(key))(delivery, bytes);
        catch_unwind(AssertUnwindSafe(run)).map_or_else(
            |_| {
                delivery.port.counters.panics.add();
                Some(Unwelcome::Rejected("its validator panicked".to_owned()))
            },
            Result::err,
        )
    })
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
    let Some(id) = header.id else { return Ok(()) };
    if header.kind == Kind::Invoke {
        port.incoming.check(id)?;
        let timeout = TimeoutCode(header.flags);
        let call = Call { port, id, number: header.channel, timeout };
        call.fail(FailCode::BadArguments, why);
    } else {
        let ending = Ending::Fail(FailCode::ReplyFailed as u8);
        port.settle(id, &ending, ReplyBytes::InBand(why.as_bytes()), awaited);
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
