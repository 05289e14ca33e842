//! Packets cut to an MTU.
use super::Drop;
use crate::ip::{
    self, FRAGMENT_HEADER_LEN, Header, IPV4_HEADER_LEN, IPV4_HEADER_LEN_MAX, IPV6_HEADER_LEN, be16,
    byte, len16, put,
};
use bytes::BytesMut;

/// The fragments of one packet, made one at a time.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    packet: &'a [u8],
    /// What is cut.
    data: &'a [u8],
    kind: Kind,
    /// Data that was made into fragments.
    made: usize,
    /// Data of each fragment but the last.
    size: usize,
    is_done: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    /// It fits as it is.
    Whole,
    V4 {
        head_len: usize,
        /// The header of fragments after the first, with the options that are copied.
        later: [u8; IPV4_HEADER_LEN_MAX],
        later_len: usize,
        offset: usize,
        more: bool,
    },
    V6 {
        head_len: usize,
        next_header_at: usize,
        next_header: u8,
        id: u32,
    },
}

/// Cuts `packet`, whose header is `header`, so that no fragment is longer than `mtu`. A packet
/// that fits comes out as it is. `id` identifies IPv6 fragments; IPv4 packets have one already.
///
/// Only the source of an IPv6 packet may cut it: whoever forwards it answers with packet too big.
///
/// # Errors
/// [`Drop::DontFragment`], [`Drop::AlreadyFragment`] or [`Drop::MtuTooSmall`].
pub fn fragment<'a>(
    packet: &'a [u8],
    header: &Header,
    mtu: usize,
    id: u32,
) -> Result<Fragments<'a>, Drop> {
    let packet = packet.get(..header.total_len).unwrap_or(packet);
    if packet.len() <= mtu {
        return Ok(Fragments {
            packet,
            data: &[],
            kind: Kind::Whole,
            made: 0,
            size: 0,
            is_done: false,
        });
    }
    let (kind, first_len, head_len) = if header.is_v6() {
        let (head_len, next_header_at) = unfragmentable(packet).ok_or(Drop::AlreadyFragment)?;
        let next_header = byte(packet, next_header_at).unwrap_or(ip::protocol::NONE);
        let kind = Kind::V6 {
            head_len,
            next_header_at,
            next_header,
            id,
        };
        (kind, head_len, head_len + FRAGMENT_HEADER_LEN)
    } else {
        if header.dont_fragment {
            return Err(Drop::DontFragment);
        }
        let head_len = header.fragment.map_or(header.payload_at, |f| f.data_at);
        (later_head(packet, header, head_len), head_len, head_len)
    };
    let size = mtu.saturating_sub(head_len) & !7;
    let data = packet.get(first_len..).unwrap_or_default();
    if size == 0 {
        return Err(Drop::MtuTooSmall);
    }
    Ok(Fragments {
        packet,
        data,
        kind,
        made: 0,
        size,
        is_done: false,
    })
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Length of what every IPv6 fragment repeats, and where the number of what follows stands
/// (RFC 8200 section 4.5): everything up to the hop-by-hop options or the last routing header.
/// `None` if there is a fragment header.
fn unfragmentable(packet: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut next_at) = (IPV6_HEADER_LEN, 6);
    let mut found = (at, next_at);
    while let (Some(kind), Some(units)) = (byte(packet, next_at), byte(packet, at + 1)) {
        match kind {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return None,
            _ => break,
        }
        next_at = at;
        at += usize::from(units) * 8 + 8;
        if kind != DESTINATION_OPTIONS {
            found = (at, next_at);
        }
    }
    Some(found)
}

fn later_head(packet: &[u8], header: &Header, head_len: usize) -> Kind {
    let mut later = [0; IPV4_HEADER_LEN_MAX];
    for (to, from) in later.iter_mut().zip(packet.iter().take(IPV4_HEADER_LEN)) {
        *to = *from;
    }
    let options = packet.get(..head_len).unwrap_or_default();
    let (mut at, mut later_len) = (IPV4_HEADER_LEN, IPV4_HEADER_LEN);
    while let Some(kind) = byte(options, at).filter(|kind| *kind != 0) {
        let len = match kind {
            1 => 1,
            _ => byte(options, at + 1).map_or(1, usize::from).max(1),
        };
        // The first bit says that every fragment carries the option.
        if kind & 0x80 != 0 {
            let option = options.get(at..at + len).unwrap_or_default();
            if put(&mut later, later_len, option) {
                later_len += option.len();
            }
        }
        at += len;
    }
    later_len = later_len.next_multiple_of(4);
    let first = 0x40 | u8::try_from(later_len / 4).unwrap_or(15);
    put(&mut later, 0, &[first]);
    Kind::V4 {
        head_len,
        later,
        later_len,
        offset: header.fragment.map_or(0, |fragment| fragment.offset),
        more: header.fragment.is_some_and(|fragment| fragment.more),
    }
}

impl Fragments<'_> {
    /// Appends the next fragment to `out` and returns its length; `None` after the last.
    pub fn next_into(&mut self, out: &mut BytesMut) -> Option<usize> {
        if self.is_done {
            return None;
        }
        let start = out.len();
        let from = self.made;
        let end = (from + self.size).min(self.data.len());
        let data = self.data.get(from..end)?;
        self.made = end;
        self.is_done = end == self.data.len();
        let is_last = self.is_done;
        match &self.kind {
            Kind::Whole => out.extend_from_slice(self.packet),
            Kind::V4 {
                head_len,
                later,
                later_len,
                offset,
                more,
            } => {
                let head = if from == 0 {
                    self.packet.get(..*head_len)?
                } else {
                    later.get(..*later_len)?
                };
                out.extend_from_slice(head);
                out.extend_from_slice(data);
                let packet = out.get_mut(start..)?;
                set_v4(packet, head.len(), offset + from, *more || !is_last);
            }
            Kind::V6 {
                head_len,
                next_header_at,
                next_header,
                id,
            } => {
                let field = len16(from) | u16::from(!is_last);
                out.extend_from_slice(self.packet.get(..*head_len)?);
                out.extend_from_slice(&[*next_header, 0]);
                out.extend_from_slice(&field.to_be_bytes());
                out.extend_from_slice(&id.to_be_bytes());
                out.extend_from_slice(data);
                let packet = out.get_mut(start..)?;
                let len = len16(packet.len() - IPV6_HEADER_LEN);
                put(packet, 4, &len.to_be_bytes());
                put(packet, *next_header_at, &[FRAGMENT]);
            }
        }
        Some(out.len() - start)
    }
}

fn set_v4(packet: &mut [u8], head_len: usize, offset: usize, more: bool) {
    const MORE_FRAGMENTS: u16 = 0x2000;
    const KEPT: u16 = 0xc000;
    put(packet, 2, &len16(packet.len()).to_be_bytes());
    let flags = be16(packet, 6).unwrap_or_default() & KEPT;
    let more = if more { MORE_FRAGMENTS } else { 0 };
    put(packet, 6, &(flags | more | len16(offset / 8)).to_be_bytes());
    put(packet, 10, &[0; 2]);
    let check = !ip::sum(packet.get(..head_len).unwrap_or_default());
    put(packet, 10, &check.to_be_bytes());
}
