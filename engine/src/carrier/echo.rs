//! Echo requests (ping) that a carrier sends by sockets of the system, and what comes back.
use bytes::{Bytes, BytesMut};
use core::net::IpAddr;
use sansbox_core::Refusal;

/// An echo request to send. The socket has the identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    /// Whom it asks.
    pub to: IpAddr,
    /// Its number.
    pub sequence: u16,
    /// Hops that it may go, at least 1.
    pub hop_limit: u8,
    /// What the reply repeats.
    pub data: Bytes,
}

/// What became of an echo request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EchoAnswer {
    /// A reply.
    Reply {
        /// Who answers.
        from: IpAddr,
        /// The number of the request.
        sequence: u16,
        /// What it repeats.
        data: BytesMut,
    },
    /// An ICMP error about it.
    Error {
        /// Whom it asked.
        to: IpAddr,
        /// Its number.
        sequence: u16,
        /// Who says so; a router on the way, or the destination.
        reporter: Option<IpAddr>,
        /// Type of the message.
        kind: u8,
        /// Code of the message.
        code: u8,
        /// Longest packet in bytes that goes through, of a message that says so.
        mtu: u32,
    },
    /// It was not sent.
    Refused {
        /// Whom it would have asked.
        to: IpAddr,
        /// Its number.
        sequence: u16,
        /// Why.
        why: Refusal,
    },
}
