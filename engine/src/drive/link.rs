//! What a stream slot is joined to: a socket of the driver's, or a stream of a carrier's.
use super::{
    Driver, Sockets,
    buffers::{Buffers, SMALL},
    joint::Joint,
};
use bytes::BytesMut;
use core::{net::SocketAddr, task::Poll};
use sansbox_core::{End, Refusal};
use std::io::{self, IoSlice};

/// What a stream slot is joined to.
#[derive(Debug)]
pub(crate) enum Link<T> {
    /// A socket.
    Socket(T),
    /// A stream of a carrier's.
    Joint(Joint),
}

impl<T> Link<T> {
    /// The stream of a carrier's.
    pub(crate) const fn joint(&self) -> Option<&Joint> {
        match self {
            Self::Joint(joint) => Some(joint),
            Self::Socket(_) => None,
        }
    }

    /// The socket, through which bytes may pass unseen.
    pub(crate) const fn socket(&mut self) -> Option<&mut T> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Joint(_) => None,
        }
    }

    pub(crate) fn poll_decided<K: Sockets<Stream = T>>(
        &mut self,
        driver: &mut impl Driver<K>,
    ) -> Poll<Result<SocketAddr, Refusal>> {
        match self {
            Self::Socket(socket) => driver.poll_dial(socket),
            Self::Joint(joint) => joint.poll_decided(),
        }
    }

    /// Reads once; an empty segment is the end.
    pub(crate) fn poll_segment<K: Sockets<Stream = T>>(
        &mut self,
        driver: &mut impl Driver<K>,
        buffers: &Buffers,
    ) -> Poll<io::Result<BytesMut>> {
        match self {
            Self::Socket(socket) => buffers.receive(|room| driver.poll_read(socket, room)),
            Self::Joint(joint) => joint.poll_segment(SMALL),
        }
    }

    pub(crate) fn poll_write<K: Sockets<Stream = T>>(
        &mut self,
        driver: &mut impl Driver<K>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Socket(socket) => driver.poll_write(socket, bytes),
            Self::Joint(joint) => joint.poll_write(bytes),
        }
    }

    pub(crate) fn poll_writable<K: Sockets<Stream = T>>(
        &mut self,
        driver: &mut impl Driver<K>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Socket(socket) => driver.poll_writable(socket),
            Self::Joint(joint) => joint.poll_writable(),
        }
    }

    pub(crate) fn shut<K: Sockets<Stream = T>>(
        &mut self,
        driver: &mut impl Driver<K>,
    ) -> io::Result<()> {
        match self {
            Self::Socket(socket) => driver.shut(socket),
            Self::Joint(joint) => {
                joint.shut();
                Ok(())
            }
        }
    }

    pub(crate) fn close<K: Sockets<Stream = T>>(self, driver: &mut impl Driver<K>, end: End) {
        match self {
            Self::Socket(socket) => driver.close(socket, end),
            Self::Joint(joint) => joint.close(end),
        }
    }
}
