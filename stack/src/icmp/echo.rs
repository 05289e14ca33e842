//! Echo requests and replies (RFC 792, RFC 4443 section 4).
use super::{HEADER_LEN, echo_fields};
use crate::ip::{self, Header, be16, protocol};
use bytes::BytesMut;
use core::net::IpAddr;
use core::ops::Range;

/// What becomes of echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoMode {
    /// Nothing.
    Off,
    /// The stack answers for every address, at once.
    Reply,
    /// They are carried upstream, and the true answer comes back.
    Relay,
    /// They are answered with unreachable, prohibited.
    Reject,
}

/// An echo request to carry upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Identifier: with the client's address, who asks.
    pub identifier: u16,
    /// Sequence number.
    pub sequence: u16,
    /// Where in the packet the data is.
    pub data: Range<usize>,
}

impl Echo {
    pub(super) fn parse(packet: &[u8], header: &Header) -> Option<Self> {
        let (identifier, sequence) = echo_fields(header.payload(packet))?;
        Some(Self {
            identifier,
            sequence,
            data: header.payload_at + HEADER_LEN..header.total_len,
        })
    }
}

/// Appends the reply to a request.
pub(super) fn reply(packet: &[u8], header: &Header, out: &mut BytesMut) -> Option<usize> {
    let echo = Echo::parse(packet, header)?;
    let data = packet.get(echo.data)?;
    // The request's own identification: no client has another one like it on the way.
    let id = if header.is_v6() { 0 } else { be16(packet, 4)? };
    let asked = (echo.identifier, echo.sequence);
    emit_echo_reply(header.destination, header.source, asked, data, id, out)
}

/// Appends to `out` the reply of `remote` to `client`: `asked` is the identifier that the client
/// used and the sequence number; `id` is the identification of an IPv4 packet. Returns the length;
/// `None` if families differ or it is longer than a packet.
pub fn emit_echo_reply(
    remote: IpAddr,
    client: IpAddr,
    asked: (u16, u16),
    data: &[u8],
    id: u16,
    out: &mut BytesMut,
) -> Option<usize> {
    let (kind, protocol) = if remote.is_ipv6() {
        (129, protocol::ICMPV6)
    } else {
        (0, protocol::ICMP)
    };
    let [a, b] = asked.0.to_be_bytes();
    let [c, d] = asked.1.to_be_bytes();
    let head = [kind, 0, 0, 0, a, b, c, d];
    ip::emit([remote, client], protocol, id, [&head, data], 2, out)
}

/// Appends to `out` the request that a client would have sent, without its data: `asked` is the
/// identifier and the sequence number.
pub(super) fn emit_request(
    client: IpAddr,
    remote: IpAddr,
    asked: (u16, u16),
    out: &mut BytesMut,
) -> Option<usize> {
    let (kind, protocol) = if remote.is_ipv6() {
        (128, protocol::ICMPV6)
    } else {
        (8, protocol::ICMP)
    };
    let [a, b] = asked.0.to_be_bytes();
    let [c, d] = asked.1.to_be_bytes();
    let head = [kind, 0, 0, 0, a, b, c, d];
    ip::emit([client, remote], protocol, 0, [&head, &[]], 2, out)
}
