//! Datagrams: the header between a SOCKS5 client and its relay, and the form of QUIC's headers.
use super::{Message, socks, text};
use core::net::SocketAddr;
use sansbox_protocols::socks::wire::udp;
use std::collections::BTreeSet;

/// Set in every header of QUIC version 1 (RFC 9000 17).
const FIXED_BIT: u8 = 0x40;
/// Set in long headers (RFC 9000 17.2).
const LONG_BIT: u8 = 0x80;
/// Bytes of payload that a label shows.
const PREVIEW_LEN: usize = 16;

/// Reads datagrams; remembers who spoke QUIC, for short headers do not tell.
#[derive(Debug, Default)]
pub(in crate::out) struct Datagrams {
    quic: BTreeSet<[SocketAddr; 2]>,
}

impl Datagrams {
    /// What a datagram says, if that can be told.
    pub(in crate::out) fn read(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        data: &[u8],
    ) -> Option<Message> {
        let ends = if from < to { [from, to] } else { [to, from] };
        let read = if self.quic.contains(&ends) {
            quic_short(data).or_else(|| quic_long(data))
        } else {
            quic_long(data).inspect(|_| {
                self.quic.insert(ends);
            })
        };
        let (name, fields) = read.or_else(|| socks5(data))?;
        Some(Message {
            name,
            fields,
            from: 0,
            to: data.len() as u64,
        })
    }
}

type Read = Option<(String, Vec<(&'static str, String)>)>;

fn socks5(data: &[u8]) -> Read {
    // RSV is ignored by the parser, but a datagram that is none has something there.
    if !data.starts_with(&[0, 0]) {
        return None;
    }
    let (header, len) = udp::Header::parse(data).ok()?;
    let payload = data.get(len..)?;
    let other = socks::address(&header.address);
    let preview = payload.get(..PREVIEW_LEN).unwrap_or(payload);
    let fields = vec![
        ("target", other.clone()),
        ("fragment", header.frag.to_string()),
        (
            "payload",
            format!("{} bytes \"{}\"", payload.len(), text(preview)),
        ),
    ];
    Some((format!("SOCKS5 datagram {other}"), fields))
}

fn quic_long(data: &[u8]) -> Read {
    let (first, rest) = data.split_first()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let version = u32::from_be_bytes(*version);
    let is_known = matches!(version, 0 | 1 | 0x6b33_43cf);
    if first & LONG_BIT == 0 || !is_known || (version != 0 && first & FIXED_BIT == 0) {
        return None;
    }
    let (destination, rest) = connection_id(rest)?;
    let (source, _) = connection_id(rest)?;
    // RFC 9000 17.2 and RFC 9369 3.2.
    let kind = match (version, (first >> 4) & 3) {
        (0, _) => "Version Negotiation",
        (1, 0) | (0x6b33_43cf, 1) => "Initial",
        (1, 1) | (0x6b33_43cf, 2) => "0-RTT",
        (1, 2) | (0x6b33_43cf, 3) => "Handshake",
        (_, _) => "Retry",
    };
    let fields = vec![
        ("version", format!("{version:#x}")),
        (
            "destination connection",
            crate::transcript::hex(destination),
        ),
        ("source connection", crate::transcript::hex(source)),
        ("length", format!("{} bytes", data.len())),
    ];
    Some((format!("QUIC {kind}"), fields))
}

fn connection_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

fn quic_short(data: &[u8]) -> Read {
    let first = data.first()?;
    // The fixed bit may be anything once both ends agreed to that (RFC 9287).
    if first & LONG_BIT != 0 {
        return None;
    }
    let spin = u8::from(first & 0x20 != 0).to_string();
    let fields = vec![
        ("spin bit", spin),
        ("length", format!("{} bytes", data.len())),
    ];
    Some(("QUIC 1-RTT".into(), fields))
}
