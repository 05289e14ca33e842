//! Errors from upstream, on to the client whose packet caused them (RFC 5508 section 4.2).
use super::error::emit_raw;
use super::quote::{Report, Transport};
use super::{Drop, ERROR_LEN_MAX_V6, sums_up};
use crate::ip::{Header, be16, put, sum, update};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};

/// Appends to `out` the error that `packet` (with header `header`) is, as `client` is to see it,
/// and returns its length. The quoted packet, which left upstream from another address and port,
/// becomes the client's again, its checksums included; for echo the port is the identifier. The
/// reporter stays who it is (RFC 5508 REQ-4), and so does a next-hop MTU: it holds for what left.
///
/// # Errors
/// [`Drop::BadChecksum`]; [`Drop::BadQuote`] if the packet is no error that can be read, or the
/// family is not the client's.
pub fn translate(
    packet: &[u8],
    header: &Header,
    client: SocketAddr,
    out: &mut BytesMut,
) -> Result<usize, Drop> {
    if !sums_up(packet, header) {
        return Err(Drop::BadChecksum);
    }
    let report = Report::parse(packet, header)?;
    let quote = packet
        .get(report.quoted_at..header.total_len)
        .ok_or(Drop::BadQuote)?;
    if client.is_ipv6() != header.is_v6() {
        return Err(Drop::BadQuote);
    }
    let mut mine = [0; ERROR_LEN_MAX_V6];
    let len = quote.len().min(mine.len());
    let mine = mine.get_mut(..len).ok_or(Drop::BadQuote)?;
    for (to, from) in mine.iter_mut().zip(quote) {
        *to = *from;
    }
    rewrite(mine, &report, client);
    let fields = (report.kind, report.code, report.rest);
    let ends = [report.reporter, client.ip()];
    emit_raw(ends, fields, mine, out).ok_or(Drop::BadQuote)
}

/// Makes the quoted packet one that the client sent.
fn rewrite(quote: &mut [u8], report: &Report, client: SocketAddr) {
    let quoted = &report.quoted;
    let (old, new) = (address_sum(quoted.source), address_sum(client.ip()));
    match client.ip() {
        IpAddr::V4(address) => {
            put(quote, 12, &address.octets());
            // In place: a header that a router spoilt is not made right.
            patch(quote, 10, old, new);
        }
        IpAddr::V6(address) => {
            put(quote, 8, &address.octets());
        }
    }
    let at = quoted.transport_at;
    let (port_at, check_at, has_pseudo) = match quoted.transport {
        Transport::Udp { .. } => (at, at + 6, true),
        Transport::Tcp { .. } => (at, at + 16, true),
        Transport::Echo { .. } => (at + 4, at + 2, client.is_ipv6()),
    };
    let before = be16(quote, port_at).unwrap_or_default();
    put(quote, port_at, &client.port().to_be_bytes());
    let is_udp = matches!(quoted.transport, Transport::Udp { .. });
    if is_udp && be16(quote, check_at) == Some(0) {
        return;
    }
    if has_pseudo {
        patch(quote, check_at, old, new);
    }
    patch(quote, check_at, before, client.port());
    if is_udp && be16(quote, check_at) == Some(0) {
        put(quote, check_at, &[0xff, 0xff]);
    }
}

/// Updates the checksum at `at`, if it is quoted.
fn patch(quote: &mut [u8], at: usize, old: u16, new: u16) {
    if let Some(check) = be16(quote, at) {
        put(quote, at, &update(check, old, new).to_be_bytes());
    }
}

fn address_sum(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}
