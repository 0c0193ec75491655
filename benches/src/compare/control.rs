//! How the two processes of a slice talk beside the subject: a socket, on which both sleep.
//!
//! It is the renderer's standard input, since that reaches it however it is launched.

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

/// How long one process waits for a word of the other beyond the length of a slice.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest message: histograms are a few thousand numbers.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// The most descriptors that travel together.
const DESCRIPTORS_MAX: usize = 4;

/// One end.
pub(crate) struct Control {
    socket: UnixStream,
}

impl Control {
    /// This process's end, and the other's.
    pub(crate) fn pair() -> Result<(Self, OwnedFd), Error> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self::of(ours), theirs.into()))
    }

    /// The end that this process was launched with.
    pub(crate) fn of_stdin() -> Result<Self, Error> {
        Ok(Self::of(stdin().as_fd().try_clone_to_owned()?.into()))
    }

    pub(crate) fn of(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Bounds every wait here to a little more than `slice`.
    pub(crate) fn set_patience(&self, slice: Duration) -> Result<(), Error> {
        Ok(self.socket.set_read_timeout(Some(slice.saturating_add(PATIENCE)))?)
    }

    /// Returns when the other process is here too.
    pub(crate) fn meet(&self) -> Result<(), Error> {
        self.say(&())?;
        self.hear()
    }

    /// Sends a value.
    pub(crate) fn say<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        let text = serde_json::to_vec(value)?;
        let mut message = u32::try_from(text.len())?.to_ne_bytes().to_vec();
        message.extend(text);
        (&self.socket).write_all(&message).map_err(silent)
    }

    /// Waits for a value.
    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut len = [0; 4];
        (&self.socket).read_exact(&mut len).map_err(silent)?;
        let len = u32::from_ne_bytes(len) as usize;
        if len > MESSAGE_MAX {
            return Err(format!("the other process announced {len} bytes").into());
        }
        let mut text = vec![0; len];
        (&self.socket).read_exact(&mut text).map_err(silent)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Gives the other process copies of some descriptors.
    pub(crate) fn give(&self, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(format!("no more than {DESCRIPTORS_MAX} descriptors at once").into());
        }
        sendmsg(&self.socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Takes the `N` descriptors that the other process gives.
    pub(crate) fn take<const N: usize>(&self) -> Result<[OwnedFd; N], Error> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
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
        let theirs = Control::of(theirs.into());
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
