//! Main's parcels for one renderer, over the session's control channel.
//!
//! Never waits. A full channel means that the renderer does not read. Answers to its requests then wait
//! here, up to a limit; a further request is a violation. Main's own parcels wait where they come from.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    session::control_channel::ControlChannel,
    shm::handle::MemoryHandle,
    wire::{
        frame::Violation,
        handshake::{Answer, encode},
        parcel::{FORGET_MAX, Parcel},
    },
};

/// The most answers that wait for a renderer that does not take them.
const UNSENT_MAX: usize = 64;

pub(super) struct Post {
    /// `None` after the end.
    control: Option<Arc<ControlChannel>>,
    unsent: VecDeque<(Vec<u8>, Option<MemoryHandle>)>,
}

impl Post {
    pub(crate) fn new(control: Arc<ControlChannel>) -> Self {
        Self { control: Some(control), unsent: VecDeque::new() }
    }

    /// Sends a parcel with its handle. `false`: there is no room.
    pub(crate) fn send(&mut self, parcel: Parcel, handle: &MemoryHandle) -> bool {
        self.flush();
        self.unsent.is_empty() && self.try_send(&encode(&Answer::Parcel(parcel)), Some(handle))
    }

    /// Sends an answer, or keeps it until there is room. Returns whether it was kept.
    pub(crate) fn send_or_keep(
        &mut self,
        parcel: Parcel,
        handle: Option<MemoryHandle>,
    ) -> Result<bool, Violation> {
        self.flush();
        let packet = encode(&Answer::Parcel(parcel));
        if self.unsent.is_empty() && self.try_send(&packet, handle.as_ref()) {
            return Ok(false);
        }
        if self.unsent.len() >= UNSENT_MAX {
            return Err(Violation::UnreadAttachments { max: UNSENT_MAX as u64 });
        }
        self.unsent.push_back((packet, handle));
        Ok(true)
    }

    /// Tells the renderer which buffers to unmap, as far as there is room, and takes them off the list.
    pub(crate) fn forget(&mut self, ids: &mut Vec<u64>) {
        while !ids.is_empty() && self.unsent.is_empty() {
            let some = ids.len().min(FORGET_MAX);
            let parcel = Parcel::Forget { ids: ids[..some].to_vec() };
            if !self.try_send(&encode(&Answer::Parcel(parcel)), None) {
                return;
            }
            ids.drain(..some);
        }
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some((packet, handle)) = self.unsent.pop_front() {
            if !self.try_send(&packet, handle.as_ref()) {
                self.unsent.push_front((packet, handle));
                return;
            }
        }
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(crate) fn end(&mut self) {
        self.control = None;
        self.unsent.clear();
    }

    /// Any failure counts as a lack of room: the loop notices by itself that the channel has ended.
    fn try_send(&self, packet: &[u8], handle: Option<&MemoryHandle>) -> bool {
        let Some(control) = &self.control else { return false };
        control.try_send(packet, handle.as_slice()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::os::Socket;

    fn post() -> (Post, Socket) {
        let (ours, theirs) = Socket::pair().unwrap();
        (Post::new(Arc::new(ours.into())), theirs)
    }

    fn next(socket: &Socket) -> Option<(u64, usize)> {
        let mut packet = [0; 1024];
        let received = socket.try_receive(&mut packet, 1).ok()?;
        match Answer::parse(&packet[..received.len]).unwrap() {
            Answer::Parcel(Parcel::Lent { id, .. }) => Some((id, received.descriptors.len())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_that_nobody_takes_wait_in_order_and_one_too_many_is_a_violation() {
        let (mut post, theirs) = post();
        let handle = || Some(MemoryHandle::from(OwnedFd::from(std::io::pipe().unwrap().0)));
        let mut sent = 0;
        let violation = loop {
            match post.send_or_keep(Parcel::Lent { id: sent, size: 4096 }, handle()) {
                Ok(_) => sent += 1,
                Err(violation) => break violation,
            }
        };
        assert_eq!(violation, Violation::UnreadAttachments { max: UNSENT_MAX as u64 });
        assert!(sent > UNSENT_MAX as u64 && post.has_unsent());
        let unwanted = handle().unwrap();
        assert!(!post.send(Parcel::Pooled { id: 1, size: 4096 }, &unwanted), "not out of turn");
        for id in 0..sent {
            post.flush();
            assert_eq!(next(&theirs), Some((id, 1)));
        }
        assert!(!post.has_unsent());
        assert_eq!(next(&theirs), None);
    }

    #[test]
    fn nothing_is_sent_or_kept_after_the_end() {
        let (mut post, theirs) = post();
        post.end();
        let handle = MemoryHandle::from(OwnedFd::from(std::io::pipe().unwrap().0));
        assert!(!post.send(Parcel::Pooled { id: 1, size: 4096 }, &handle));
        assert_eq!(theirs.try_receive(&mut [0; 64], 0).unwrap().len, 0, "it is closed");
    }
}
