//! Registration of listeners and handlers that must succeed, for main and for renderers.

use crate::prelude::*;

const ACCEPTED: &str = "the contract has the channel, and the policy allows it";

macro_rules! registering {
    ($side:ty, $channel:ident, $event:ident, $invoke:ident) => {
        impl $side {
            pub fn hear<T: Payload + ?Sized>(
                &self,
                channel: $channel<T>,
                listener: impl FnMut(&$event<'_>, &T) + Send + 'static,
            ) -> ListenerId {
                self.ipc.on(channel, listener).expect(ACCEPTED)
            }

            pub fn notes<T>(&self, channel: $channel<T>) -> Notes<<T as ToOwned>::Owned>
            where
                T: Payload + ToOwned<Owned: Send + 'static> + ?Sized,
            {
                self.note(channel, |_, message| message.to_owned())
            }

            /// Notes something of each message.
            pub fn note<T: Payload + ?Sized, N: Send + 'static>(
                &self,
                channel: $channel<T>,
                mut of: impl FnMut(&$event<'_>, &T) -> N + Send + 'static,
            ) -> Notes<N> {
                let notes = Notes::new();
                let noting = notes.clone();
                self.hear(channel, move |event, message| noting.add(of(event, message)));
                notes
            }

            pub fn answer<A, R, E>(
                &self,
                method: Method<A, R, E>,
                handler: impl FnMut(&$invoke<'_>, &A) -> Result<R::Owned, E::Owned> + Send + 'static,
            ) where
                A: Payload + ?Sized,
                R: Payload + ?Sized,
                E: HandlerError + ?Sized,
            {
                self.ipc.handle(method, handler).expect(ACCEPTED);
            }

            pub fn answer_with<A, R, E>(
                &self,
                method: Method<A, R, E>,
                handler: impl FnMut(&$invoke<'_>, &A, Reply<'_, R, E>) + Send + 'static,
            ) where
                A: Payload + ?Sized,
                R: Payload + ?Sized,
                E: HandlerError + ?Sized,
            {
                self.ipc.handle_with(method, handler).expect(ACCEPTED);
            }

            pub fn answer_later<A, R, E>(
                &self,
                method: Method<A, R, E>,
                handler: impl FnMut(&$invoke<'_>, &A, Responder<R, E>) + Send + 'static,
            ) where
                A: Payload + ?Sized,
                R: Payload + ?Sized,
                E: HandlerError + ?Sized,
            {
                self.ipc.handle_deferred(method, handler).expect(ACCEPTED);
            }

            pub fn answer_async<A, R, E, F>(
                &self,
                method: Method<A, R, E>,
                handler: impl FnMut(&$invoke<'_>, A::Owned) -> F + Send + 'static,
            ) where
                A: Payload + ?Sized,
                R: Payload + ?Sized + 'static,
                E: HandlerError + ?Sized + 'static,
                F: Future<Output = Result<R::Owned, E::Owned>> + Send + 'static,
            {
                self.ipc.handle_async(method, handler).expect(ACCEPTED);
            }
        }
    };
}

registering!(Stage, Event, IpcMainEvent, IpcMainInvokeEvent);
registering!(Renderer, Push, IpcRendererEvent, IpcRendererInvokeEvent);

impl Renderer {
    pub fn follow<T: Payload + ?Sized>(
        &self,
        topic: Topic<T>,
        listener: impl FnMut(&IpcRendererEvent<'_>, &T) + Send + 'static,
    ) -> ListenerId {
        self.ipc.subscribe(topic, listener).expect(ACCEPTED)
    }
}
