//! One queue of a TUN device.
use rustix::io::{ioctl_fionbio, read, retry_on_intr, writev};
use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// Most parts of one packet that a vectored write takes (`UIO_MAXIOV`).
const PARTS_MAX: usize = 1024;

/// One queue of a device, which never blocks. Each read and each write is one whole packet, with
/// its `virtio_net_hdr` before it where the device has one.
///
/// To wait for it, give its file to a [`Reactor`](crate::Reactor) (`OwnedFd::from`), and call
/// [`Self::read_from`] and [`Self::write_to`] with what the reactor made of it. A short read says
/// nothing about the next packet: only `WouldBlock` means that there is none
/// ([`Done::more`](crate::reactor::Done::more)).
#[derive(Debug)]
pub struct Queue {
    file: OwnedFd,
}

impl Queue {
    /// # Errors
    /// When the file cannot be told not to block.
    pub(super) fn new(file: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&file, true)?;
        Ok(Self { file })
    }

    /// Reads one packet and returns its length in bytes. What does not fit into `into` is lost, so
    /// it should hold 64 KiB and a header.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, also while the interface is down; `EBADFD` when it is
    /// gone.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        Self::read_from(&self.file, into)
    }

    /// Writes one packet, which is in parts, and returns its length in bytes.
    ///
    /// # Errors
    /// `InvalidInput` for no or more than 1024 parts, and for a packet or a header that the kernel
    /// refuses; `WouldBlock` when there is no room; `EIO` while the interface is down.
    pub fn write_vectored(&self, packet: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::write_to(&self.file, packet)
    }

    /// [`Self::read`] from a queue that a reactor watches.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_from(queue: impl AsFd, into: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| read(queue.as_fd(), &mut *into))?)
    }

    /// [`Self::write_vectored`] to a queue that a reactor watches.
    ///
    /// # Errors
    /// As [`Self::write_vectored`].
    pub fn write_to(queue: impl AsFd, packet: &[IoSlice<'_>]) -> io::Result<usize> {
        // The kernel would take the first parts for the whole packet.
        if packet.is_empty() || packet.len() > PARTS_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(retry_on_intr(|| writev(queue.as_fd(), packet))?)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<Queue> for OwnedFd {
    fn from(queue: Queue) -> Self {
        queue.file
    }
}
