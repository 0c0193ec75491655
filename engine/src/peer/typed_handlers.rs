//! Registering listeners and handlers: closures over an application's types in, closures over bytes out.
//!
//! Here the types are still known: decoding and encoding are put around the application's code. The
//! code below knows only bytes. Both endpoints register through these functions.

use std::{
    borrow::Borrow,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use crate::{
    contract::{
        Method,
        payload::{DecodeError, Payload},
    },
    peer::{
        dispatch::{Delivery, Dispatcher, Unwelcome},
        error::{HandlerError, RegisterError},
        requests::outcome::FailCode,
        responder::{Call, Responder},
        router::{ListenerId, Times},
    },
    sync::loop_cell::LoopCell,
    wake::executor::Executor,
};

/// The result of a handler: the method's reply or its own error.
pub(crate) type Handled<R, E> = Result<<R as Payload>::Owned, <E as Payload>::Owned>;

impl Dispatcher {
    pub(crate) fn listen<T: Payload + ?Sized>(
        &self,
        number: u16,
        times: Times,
        mut listener: impl FnMut(&Delivery<'_>, &T) + Send + 'static,
    ) -> ListenerId {
        let erased = move |delivery: &Delivery<'_>, bytes: &[u8]| {
            T::decode(bytes, |value| listener(delivery, value))
        };
        self.routes
            .update(|routes| routes.on(number, times, Arc::new(LoopCell::new(self.key, erased))))
    }

    pub(crate) fn validate<T: Payload + ?Sized>(
        &self,
        number: u16,
        mut validator: impl FnMut(&Delivery<'_>, &T) -> Result<(), String> + Send + 'static,
    ) {
        let erased = move |delivery: &Delivery<'_>, bytes: &[u8]| {
            T::decode(bytes, |value| validator(delivery, value))
                .map_err(Unwelcome::BadPayload)?
                .map_err(Unwelcome::Rejected)
        };
        self.routes
            .update(|routes| routes.validate(number, Arc::new(LoopCell::new(self.key, erased))));
    }

    pub(crate) fn handle<A, R, E>(
        &self,
        method: Method<A, R, E>,
        number: u16,
        times: Times,
        mut handler: impl FnMut(Call<'_>, &A) -> Handled<R, E> + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let erased = move |call: Call<'_>, _: &Arc<Executor>, bytes: &[u8]| {
            A::decode(bytes, |arguments| {
                let mut answered = false;
                let run = || {
                    // Answered in place: moving the result out of here first takes time.
                    let result = handler(call, arguments);
                    match &result {
                        Ok(value) => call.answer::<R, E>(Ok(value.borrow())),
                        Err(error) => call.answer::<R, E>(Err(error.borrow())),
                    }
                    answered = true;
                };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                    if !answered {
                        call.fail(FailCode::Panicked, "");
                    }
                    resume_unwind(panic);
                }
            })
        };
        self.register(method.name(), number, times, erased)
    }

    pub(crate) fn handle_deferred<A, R, E>(
        &self,
        method: Method<A, R, E>,
        number: u16,
        mut handler: impl FnMut(Call<'_>, &A, Responder<R, E>) + Send + 'static,
    ) -> Result<(), RegisterError>
    where
        A: Payload + ?Sized,
        R: Payload + ?Sized,
        E: HandlerError + ?Sized,
    {
        let erased = move |call: Call<'_>, _: &Arc<Executor>, bytes: &[u8]| {
            A::decode(bytes, |arguments| handler(call, arguments, call.defer()))
        };
        self.register(method.name(), number, Times::Always, erased)
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
        let erased = move |call: Call<'_>, executor: &Arc<Executor>, bytes: &[u8]| {
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
        };
        self.register(method.name(), number, Times::Always, erased)
    }

    fn register(
        &self,
        channel: &'static str,
        number: u16,
        times: Times,
        erased: impl FnMut(Call<'_>, &Arc<Executor>, &[u8]) -> Result<(), DecodeError> + Send + 'static,
    ) -> Result<(), RegisterError> {
        let handler = Arc::new(LoopCell::new(self.key, erased));
        self.routes
            .update(|routes| routes.handle(number, times, handler))
            .map_err(|_| RegisterError::SecondHandler { channel })
    }
}
