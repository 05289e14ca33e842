//! The MSS option of TCP that passes through.
use super::{Drop, budget::default_mss};
use crate::ip::{self, Field, Header, IPV6_HEADER_LEN, be16, byte, combine, len16, protocol, put};
use bytes::BytesMut;

/// What [`clamp_mss`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Nothing: no SYN, or an MSS that is small enough.
    Unchanged,
    /// The MSS is lower.
    Lowered,
    /// There was none, and what that means is too much: now there is one.
    Inserted,
    /// There was none, and what that means is too much, but there is no room for one.
    NoRoom,
}

const SYN: u8 = 2;
const HEADER_LEN: usize = 20;
const HEADER_LEN_MAX: usize = 60;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;
const MSS_LEN: usize = 4;

/// Lowers the MSS in a SYN or SYN-ACK to `limit` ([`super::Budget::clamped_mss`]), in place and
/// with its checksum; never raises it. Other packets stay as they are.
///
/// A SYN without the option means 536 (IPv4) or 1220 (IPv6), so one is inserted only where
/// `limit` is less than that. `field` says what the checksum field holds.
///
/// # Errors
/// [`Drop::BadTcpHeader`], and the packet is unchanged.
pub fn clamp_mss(
    packet: &mut BytesMut,
    header: &Header,
    limit: u16,
    field: Field,
) -> Result<Rewrite, Drop> {
    if header.protocol != protocol::TCP || !header.has_upper_header() {
        return Ok(Rewrite::Unchanged);
    }
    let segment = packet.get(header.payload_range()).unwrap_or_default();
    let flags = byte(segment, 13).ok_or(Drop::BadTcpHeader)?;
    if flags & SYN == 0 {
        return Ok(Rewrite::Unchanged);
    }
    let len = byte(segment, 12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    let head = segment.get(..len).ok_or(Drop::BadTcpHeader)?;
    if len < HEADER_LEN {
        return Err(Drop::BadTcpHeader);
    }
    match find_mss(head)? {
        Some(at) => Ok(lower(packet, header.payload_at, at, limit, field)),
        None if limit >= default_mss(header.is_v6()) => Ok(Rewrite::Unchanged),
        // A fragment cannot grow: what follows it is placed already.
        None if len + MSS_LEN > HEADER_LEN_MAX || header.fragment.is_some() => Ok(Rewrite::NoRoom),
        None => Ok(insert(packet, header, len, limit, field)),
    }
}

/// Where in a TCP header the value of its MSS option is.
fn find_mss(head: &[u8]) -> Result<Option<usize>, Drop> {
    let mut at = HEADER_LEN;
    while let Some(kind) = byte(head, at) {
        match kind {
            OPTION_END => break,
            OPTION_NOP => at += 1,
            _ => {
                let len = byte(head, at + 1).map(usize::from);
                let len = len.filter(|len| *len >= 2 && at + len <= head.len());
                let len = len.ok_or(Drop::BadTcpHeader)?;
                if kind == OPTION_MSS {
                    return if len == MSS_LEN {
                        Ok(Some(at + 2))
                    } else {
                        Err(Drop::BadTcpHeader)
                    };
                }
                at += len;
            }
        }
    }
    Ok(None)
}

fn lower(packet: &mut [u8], tcp_at: usize, at: usize, limit: u16, field: Field) -> Rewrite {
    let Some(mss) = be16(packet, tcp_at + at).filter(|mss| *mss > limit) else {
        return Rewrite::Unchanged;
    };
    put(packet, tcp_at + at, &limit.to_be_bytes());
    if field == Field::Complete {
        // Options have no alignment: at an odd place the value is the halves of two words.
        let (old, new) = if at.is_multiple_of(2) {
            (mss, limit)
        } else {
            (mss.swap_bytes(), limit.swap_bytes())
        };
        let check = be16(packet, tcp_at + 16).unwrap_or_default();
        let check = ip::update(check, old, new).to_be_bytes();
        put(packet, tcp_at + 16, &check);
    }
    Rewrite::Lowered
}

fn insert(packet: &mut BytesMut, header: &Header, len: usize, limit: u16, field: Field) -> Rewrite {
    let total = header.total_len + MSS_LEN;
    if total > ip::PACKET_LEN_MAX {
        return Rewrite::NoRoom;
    }
    let (tcp_at, options_at) = (header.payload_at, header.payload_at + HEADER_LEN);
    let segment_len = header.total_len - tcp_at;
    packet.resize(total, 0);
    packet.copy_within(options_at..header.total_len, options_at + MSS_LEN);
    let [high, low] = limit.to_be_bytes();
    put(packet, options_at, &[OPTION_MSS, 4, high, low]);
    let old = be16(packet, tcp_at + 12).unwrap_or_default();
    let units = u8::try_from((len + MSS_LEN) / 4).unwrap_or(15);
    let reserved = byte(packet, tcp_at + 12).unwrap_or_default() & 0x0f;
    put(packet, tcp_at + 12, &[units << 4 | reserved]);
    let new = be16(packet, tcp_at + 12).unwrap_or_default();
    let check = be16(packet, tcp_at + 16).unwrap_or_default();
    let (len_before, len_after) = (len16(segment_len), len16(segment_len + MSS_LEN));
    let option = u16::from_be_bytes([OPTION_MSS, 4]);
    let check = match field {
        Field::Complete => {
            let after = combine(&[new, len_after, option, limit]);
            ip::update(check, combine(&[old, len_before]), after)
        }
        Field::Partial => combine(&[check, !len_before, len_after]),
    };
    put(packet, tcp_at + 16, &check.to_be_bytes());
    if header.is_v6() {
        put(packet, 4, &len16(total - IPV6_HEADER_LEN).to_be_bytes());
    } else {
        put(packet, 2, &len16(total).to_be_bytes());
        put(packet, 10, &[0; 2]);
        let check = !ip::sum(packet.get(..tcp_at).unwrap_or_default());
        put(packet, 10, &check.to_be_bytes());
    }
    Rewrite::Inserted
}
