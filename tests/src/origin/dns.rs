//! A DNS responder that knows one answer, and the client's half of the same messages (RFC 1035).
use super::udp::{UdpServer, socket};
use std::net::Ipv4Addr;

const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];
const CLASS_IN: [u8; 2] = [0, 1];

/// Answers every query for an A record with `ip`, and others with an empty answer.
#[must_use]
pub fn responder(ip: Ipv4Addr) -> UdpServer {
    UdpServer::serve(socket(), move |query| respond(query, ip))
}

fn respond(query: &[u8], ip: Ipv4Addr) -> Option<Vec<u8>> {
    let question = question(query)?;
    let is_a = question.get(question.len() - 4..question.len() - 2)? == TYPE_A;
    let mut out = query.get(..2)?.to_vec();
    out.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    out.extend(question);
    if is_a {
        out.extend([0xc0, 0x0c]);
        out.extend(TYPE_A);
        out.extend(CLASS_IN);
        out.extend(60_u32.to_be_bytes());
        out.extend([0, 4]);
        out.extend(ip.octets());
    }
    Some(out)
}

/// Name, type and class of the one question.
fn question(message: &[u8]) -> Option<&[u8]> {
    let mut at = HEADER;
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1 + len;
        if len == 0 {
            return message.get(HEADER..at + 4);
        }
    }
}

/// A query for the A record of `name`.
///
/// # Panics
/// When a label is longer than 63 bytes.
#[must_use]
pub fn query(id: u16, name: &str) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        assert!(label.len() < 64, "a label has at most 63 bytes");
        out.push(u8::try_from(label.len()).expect("just checked"));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(TYPE_A);
    out.extend(CLASS_IN);
    out
}

/// The address in the last record of a reply to [`query`] with the same `id`.
#[must_use]
pub fn address(reply: &[u8], id: u16) -> Option<Ipv4Addr> {
    let no_error = reply.get(3)? & 0xf == 0;
    let answers = u16::from_be_bytes([*reply.get(6)?, *reply.get(7)?]);
    if reply.get(..2)? != id.to_be_bytes() || !no_error || answers != 1 {
        return None;
    }
    let record = HEADER + question(reply)?.len();
    // A pointer to the name, type, class, time to live, length.
    let octets: [u8; 4] = reply.get(record + 12..record + 16)?.try_into().ok()?;
    Some(octets.into())
}
