//! The socket on which the two processes of a pair talk beside the subject. Both block in it.
//!
//! It is the renderer's standard input, so every way to launch a process can pass it.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write, stdin},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// The longest message, in bytes: histograms are a few thousand numbers.
const MESSAGE_MAX: usize = 16 << 20;
const DESCRIPTORS_MAX: usize = 4;

pub(crate) struct Control(UnixStream);

impl Control {
    /// Returns this process's end, and the end for the other process.
    pub(super) fn pair() -> Result<(Self, OwnedFd), Error> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs.into()))
    }

    /// Returns the end that this process was launched with.
    pub(super) fn of_stdin() -> Result<Self, Error> {
        Ok(Self::of(stdin().as_fd().try_clone_to_owned()?))
    }

    pub(super) fn of(socket: OwnedFd) -> Self {
        Self(socket.into())
    }

    pub(super) fn set_patience(&self, patience: Duration) -> Result<(), Error> {
        Ok(self.0.set_read_timeout(Some(patience))?)
    }

    /// Returns when both processes have called it.
    pub(crate) fn meet(&self) -> Result<(), Error> {
        self.say(&())?;
        self.hear()
    }

    pub(crate) fn say<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_vec(value)?;
        let mut message = u32::try_from(text.len())?.to_ne_bytes().to_vec();
        message.extend(text);
        (&self.0).write_all(&message).map_err(silent)
    }

    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut len = [0; 4];
        (&self.0).read_exact(&mut len).map_err(silent)?;
        let len = u32::from_ne_bytes(len) as usize;
        if len > MESSAGE_MAX {
            return Err(format!("the other process announced {len} bytes").into());
        }
        let mut text = vec![0; len];
        (&self.0).read_exact(&mut text).map_err(silent)?;
        Ok(serde_json::from_slice(&text)?)
    }

    pub(crate) fn give(&self, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(format!("no more than {DESCRIPTORS_MAX} descriptors at once").into());
        }
        sendmsg(&self.0, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    pub(crate) fn take<const N: usize>(&self) -> Result<[OwnedFd; N], Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let room = &mut [IoSliceMut::new(&mut byte)];
        recvmsg(&self.0, room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .map_err(|errno| silent(errno.into()))?;
        let mut taken = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                taken.extend(descriptors);
            }
        }
        let count = taken.len();
        taken.try_into().map_err(|_| format!("{N} descriptors expected, {count} came").into())
    }
}

/// Explains an error by what the other process did.
fn silent(error: io::Error) -> Error {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    match error.kind() {
        UnexpectedEof | BrokenPipe | ConnectionReset => "the other process ended early".into(),
        WouldBlock | TimedOut => "the other process does not answer".into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_descriptors_arrive_in_the_order_they_were_sent() {
        let (ours, theirs) = Control::pair().unwrap();
        let theirs = Control::of(theirs);
        ours.say("first").unwrap();
        ours.give(&[stdin().as_fd(), stdin().as_fd()]).unwrap();
        ours.say(&[1, 2]).unwrap();
        assert_eq!(theirs.hear::<String>().unwrap(), "first");
        let [_, _]: [OwnedFd; 2] = theirs.take().unwrap();
        assert_eq!(theirs.hear::<[i32; 2]>().unwrap(), [1, 2]);
        drop(theirs);
        assert!(ours.hear::<()>().unwrap_err().to_string().contains("ended early"));
    }
}
