//! What listeners, handlers and hooks of the main process are told.

use std::time::Duration;

use crate::{
    contract::{Channel, Push},
    error::{GoneReason, SendError},
    payload::Payload,
    port::{Patience, incoming::Delivery, responder::Call},
    web_contents::WebContents,
};

/// What a listener in main learns beside the message. Who sent it comes from the connection.
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
        let port = self.delivery.port;
        port.send(push.key(), message, Patience::Usual)
    }
}

/// What a handler in main learns beside the arguments.
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

    /// How long the caller waits for the reply, from when it asked; up to an eighth more than it
    /// said. `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        self.call.timeout.duration()
    }
}

/// How a renderer went: Electron's `render-process-gone` details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderProcessGone {
    /// Why.
    pub reason: GoneReason,
    /// The exit code, or the signal's number; `None` if main did not launch it.
    pub exit_code: Option<i32>,
}

/// A process that wants to attach. All of it comes from the kernel.
#[derive(Clone, Debug)]
pub struct Candidate {
    process_id: u32,
    user_id: u32,
    group_id: u32,
}

impl Candidate {
    pub(crate) fn new(process_id: u32, user_id: u32, group_id: u32) -> Self {
        Self { process_id, user_id, group_id }
    }

    /// Its process id; 0 if it is in a namespace that main does not see.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Its user.
    pub fn user_id(&self) -> u32 {
        self.user_id
    }

    /// Its group.
    pub fn group_id(&self) -> u32 {
        self.group_id
    }
}
