//! Registering listeners and handlers: closures over an application's types in, closures over bytes out.
//!
//! Here the types are still known: decoding and encoding are put around the application's code. The
//! code below knows only bytes. Both endpoints register through these functions.

use std::{borrow::Borrow, future::Future, sync::Arc};

use crate::{
    contract::{
        Method,
        payload::{DecodeError, Payload},
    },
    peer::{
        dispatch::{Delivery, Dispatcher, Unwelcome},
        error::{HandlerError, RegisterError},
        responder::{Call, Reply, Responder},
        router::{ListenerId, Times},
    },
    sync::loop_cell::LoopCell,
    wake::executor::Executor,
};

/// The result of a handler: the method's reply or its own error.
pub(crate) type Handled<R, E> = Result<<R as Payload>::Owned, <E as Payload>::Owned>;

impl Dispatcher {
    /// Registers a listener, which decodes the message itself.
    pub(crate) fn listen(
        &self,
        number: u16,
        times: Times,
        listener: impl FnMut(&Delivery<'_>, &[u8]) -> Result<(), DecodeError> + Send + 'static,
    ) -> ListenerId {
        let listener = Arc::new(LoopCell::new(self.key, listener));
        self.routes.update(|routes| routes.on(number, times, listener))
    }

    /// Registers a validator, which decodes the message itself. The inner error is its objection.
    pub(crate) fn validate(
        &self,
        number: u16,
        mut validator: impl FnMut(&Delivery<'_>, &[u8]) -> Result<Result<(), String>, DecodeError>
        + Send
        + 'static,
    ) {
        let validator = move |delivery: &Delivery<'_>, bytes: &[u8]| {
            let verdict = validator(delivery, bytes).map_err(Unwelcome::BadPayload)?;
            verdict.map_err(Unwelcome::Rejected)
        };
        let validator = Arc::new(LoopCell::new(self.key, validator));
        self.routes.update(|routes| routes.validate(number, validator));
    }

    pub(crate) fn handle<A: Payload + ?Sized, R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
        method: Method<A, R, E>,
        number: u16,
        times: Times,
        mut handler: impl FnMut(Call<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError> {
        self.handle_with(method, number, times, move |call, arguments, reply| {
            // Answered in place: moving the result out of here first takes time.
            match &handler(call, arguments) {
                Ok(value) => reply.send(value.borrow()),
                Err(error) => reply.reject(error.borrow()),
            }
        })
    }

    pub(crate) fn handle_with<
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    >(
        &self,
        method: Method<A, R, E>,
        number: u16,
        times: Times,
        mut handler: impl FnMut(Call<'_>, &A, Reply<'_, R, E>) + Send + 'static,
    ) -> Result<(), RegisterError> {
        self.register(method.name(), number, times, move |call, _, bytes| {
            A::decode(bytes, |arguments| handler(call, arguments, Reply::new(call)))
        })
    }

    pub(crate) fn handle_deferred<
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    >(
        &self,
        method: Method<A, R, E>,
        number: u16,
        mut handler: impl FnMut(Call<'_>, &A, Responder<R, E>) + Send + 'static,
    ) -> Result<(), RegisterError> {
        self.register(method.name(), number, Times::Always, move |call, _, bytes| {
            A::decode(bytes, |arguments| handler(call, arguments, call.defer()))
        })
    }

    pub(crate) fn handle_async<A, R, E, F>(
        &self,
        method: Method<A, R, E>,
        number: u16,
        mut handler: impl FnMut(Call<'_>, A::Owned) -> F + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized + 'static,
        E: HandlerError + ?Sized + 'static,
        F: Future<Output = Handled<R, E>> + Send + 'static,
    {
        self.register(method.name(), number, Times::Always, move |call, executor, bytes| {
            let arguments = A::decode_owned(bytes)?;
            // Before the handler runs, so that the caller hears of its panic as of any other.
            let responder = call.defer::<R, E>();
            let future = handler(call, arguments);
            let request = responder.request().clone();
            let task = executor.spawn(async move {
                match future.await {
                    Ok(value) => responder.reply(value.borrow()),
                    Err(error) => responder.reject(error.borrow()),
                };
            });
            request.drop_on_cancel(&task);
            Ok(())
        })
    }

    fn register(
        &self,
        channel: &'static str,
        number: u16,
        times: Times,
        handler: impl FnMut(Call<'_>, &Arc<Executor>, &[u8]) -> Result<(), DecodeError> + Send + 'static,
    ) -> Result<(), RegisterError> {
        let handler = Arc::new(LoopCell::new(self.key, handler));
        let is_set = self.routes.update(|routes| routes.handle(number, times, handler));
        if is_set { Ok(()) } else { Err(RegisterError::SecondHandler { channel }) }
    }
}
