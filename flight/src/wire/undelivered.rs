//! Datagrams that did not arrive.
use super::{Cursor, Malformed, no, put_ip, put_number, put_socket_addr};
use bytes::BufMut as _;
use core::net::SocketAddr;
use sansbox_engine::machine::{Cause, Undelivered};

/// Appends where a datagram was sent, and what is said of it.
pub(super) fn put(out: &mut Vec<u8>, (to, error): (SocketAddr, Undelivered)) {
    put_socket_addr(out, to);
    let (code, mtu) = match error.cause {
        Cause::PortUnreachable => (0, None),
        Cause::HostUnreachable => (1, None),
        Cause::NetUnreachable => (2, None),
        Cause::ProtocolUnreachable => (3, None),
        Cause::AdminProhibited => (4, None),
        Cause::TooBig { mtu } => (5, Some(mtu)),
        Cause::HopLimitExceeded => (6, None),
        Cause::ReassemblyTimeExceeded => (7, None),
    };
    out.put_u8(code);
    if let Some(mtu) = mtu {
        put_number(out, mtu.into());
    }
    match error.reporter {
        Some(reporter) => put_ip(out, reporter),
        None => out.put_u8(0),
    }
}

/// The same, parsed.
pub(super) fn parse(from: &mut Cursor<'_>) -> Result<(SocketAddr, Undelivered), Malformed> {
    let to = from.socket_addr()?;
    let cause = match from.byte("cause")? {
        0 => Cause::PortUnreachable,
        1 => Cause::HostUnreachable,
        2 => Cause::NetUnreachable,
        3 => Cause::ProtocolUnreachable,
        4 => Cause::AdminProhibited,
        5 => Cause::TooBig {
            mtu: from.number_as("MTU")?,
        },
        6 => Cause::HopLimitExceeded,
        7 => Cause::ReassemblyTimeExceeded,
        value => return Err(no("cause", value)),
    };
    let reporter = from.ip_or_none()?;
    Ok((to, Undelivered { cause, reporter }))
}
