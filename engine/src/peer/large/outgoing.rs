//! A payload of ours in memory of its own, until a frame has named it.

use std::{io, sync::Arc};

use super::{
    borrower::{Borrower, Grant},
    main_attachments::{Content, MainAttachments},
    pool::Buffer,
};
use crate::{
    kill_points::{KillPoint, reach},
    shm::attachment::{Blank, Writable},
};

/// One end of a session's attachments.
#[derive(Clone)]
pub(crate) enum Attachments {
    Main(Arc<MainAttachments>),
    Renderer(Arc<Borrower>),
}

/// A payload of ours in its memory. Dropped before a frame names it, the memory is free again; a
/// renderer's is [given back](Borrower::next_return) to main.
pub(in crate::peer) struct OutgoingPayload {
    /// `None` once a frame has named it.
    memory: Option<Memory>,
    len: usize,
}

enum Memory {
    /// Main's buffer, which the renderer maps.
    Pooled(Arc<MainAttachments>, Buffer),
    /// Memory that main has lent to this renderer.
    Lent {
        borrower: Arc<Borrower>,
        id: u64,
        size: usize,
        /// `None` once it is sealed.
        blank: Option<Blank>,
        /// While it is written in place.
        mapped: Option<Writable>,
    },
}

impl OutgoingPayload {
    pub(super) fn pooled(main: &Arc<MainAttachments>, buffer: Buffer, len: usize) -> Self {
        Self { memory: Some(Memory::Pooled(main.clone(), buffer)), len }
    }

    /// Fills memory that main has lent, and seals it unless it is to be written in place.
    pub(super) fn lent(
        borrower: &Arc<Borrower>,
        Grant { id, blank }: Grant,
        content: Content<'_>,
    ) -> io::Result<Self> {
        let memory = Memory::Lent {
            borrower: borrower.clone(),
            id,
            size: blank.size(),
            blank: Some(blank),
            mapped: None,
        };
        let mut payload = Self { memory: Some(memory), len: content.len() };
        if let Some(Memory::Lent { blank: Some(blank), mapped, .. }) = &mut payload.memory {
            match content {
                Content::Bytes(bytes) => {
                    blank.fill(bytes)?;
                    payload.seal()?;
                }
                Content::Zeroes(len) => *mapped = Some(blank.map(len)?),
            }
        }
        Ok(payload)
    }

    pub(in crate::peer) fn len(&self) -> usize {
        self.len
    }

    /// Returns the attachment's number.
    pub(in crate::peer) fn id(&self) -> u64 {
        match &self.memory {
            Some(Memory::Pooled(_, buffer)) => buffer.id,
            Some(Memory::Lent { id, .. }) => *id,
            None => unreachable!("it is consumed by what names it"),
        }
    }

    /// Ends all writing to it. For a renderer's, after it was written in place.
    pub(in crate::peer) fn seal(&mut self) -> io::Result<()> {
        let Some(Memory::Lent { blank, mapped, .. }) = &mut self.memory else { return Ok(()) };
        let Some(blank) = blank.take() else { return Ok(()) };
        reach(KillPoint::AttachmentFilled);
        // Sealing fails while a writable mapping is left.
        *mapped = None;
        blank.seal()
    }

    /// Hands new memory of main's to the renderer, before a frame names it. `false`: no room now.
    pub(in crate::peer) fn announce(&mut self) -> bool {
        match &mut self.memory {
            Some(Memory::Pooled(main, buffer)) => main.announce(buffer),
            _ => true,
        }
    }

    /// Notes that a frame that ends at `until` has named it. Returns whether the loop should free the
    /// memory as soon as it was read.
    pub(in crate::peer) fn named(mut self, until: u64) -> bool {
        match self.memory.take() {
            Some(Memory::Pooled(main, buffer)) => main.named(buffer, until),
            Some(Memory::Lent { borrower, size, .. }) => {
                borrower.named(size, until);
                false
            }
            None => false,
        }
    }

    /// Returns the payload while it is written in place.
    pub(in crate::peer) fn bytes(&self) -> &[u8] {
        match &self.memory {
            Some(Memory::Pooled(_, buffer)) => &buffer.memory[..self.len],
            Some(Memory::Lent { mapped: Some(mapped), .. }) => &mapped[..self.len],
            _ => unreachable!("only a loan reads it, before it is sealed"),
        }
    }

    pub(in crate::peer) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Some(Memory::Pooled(_, buffer)) => &mut buffer.memory[..self.len],
            Some(Memory::Lent { mapped: Some(mapped), .. }) => &mut mapped[..self.len],
            _ => unreachable!("only a loan writes it, before it is sealed"),
        }
    }
}

impl Drop for OutgoingPayload {
    fn drop(&mut self) {
        match self.memory.take() {
            Some(Memory::Pooled(main, buffer)) => main.discard(buffer),
            Some(Memory::Lent { borrower, id, size, .. }) => borrower.not_needed(id, size),
            None => {}
        }
    }
}
