//! The circumstances of a message or invoke, for listeners and handlers of the main process.

use std::time::Duration;

use crate::{
    contract::{Channel, Push, payload::Payload},
    peer::{Patience, dispatch::Delivery, error::SendError, responder::Call},
    web_contents::WebContents,
};

/// The circumstances of a message, for its listener in main. The sender comes from the connection.
#[derive(Clone, Copy)]
pub struct IpcMainEvent<'a> {
    pub(super) delivery: &'a Delivery<'a>,
}

impl IpcMainEvent<'_> {
    /// The renderer that sent the message.
    pub fn sender(&self) -> WebContents {
        WebContents::new(self.delivery.port.clone())
    }

    /// The number of its window.
    pub fn sender_id(&self) -> u32 {
        self.delivery.port.window
    }

    /// Pushes a message back to exactly the renderer that sent this one.
    ///
    /// # Errors
    ///
    /// As [`WebContents::send`] inside the loop: never waits.
    pub fn reply<T: Payload + ?Sized>(&self, push: Push<T>, message: &T) -> Result<(), SendError> {
        self.delivery.port.send(push.key(), message, Patience::Usual)
    }
}

/// The circumstances of an invoke, for its handler in main.
#[derive(Clone, Copy)]
pub struct IpcMainInvokeEvent<'a> {
    pub(super) call: Call<'a>,
}

impl IpcMainInvokeEvent<'_> {
    /// The renderer that asks.
    pub fn sender(&self) -> WebContents {
        WebContents::new(self.call.port.clone())
    }

    /// The number of its window.
    pub fn sender_id(&self) -> u32 {
        self.call.port.window
    }

    /// How long the caller waits for the reply, from its request on. Up to an eighth more than it set.
    /// `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        self.call.timeout.duration()
    }
}
