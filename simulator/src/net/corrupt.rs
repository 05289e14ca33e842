//! Damage to packets on the way.
use super::{
    hop::HopCx,
    packet::{Body, Packet},
};
use bytes::BytesMut;
use sansbox_protocols::{
    http::wire as http,
    socks::wire::{udp, v5},
};

/// A field of a message of ours, found by the parsers of the protocols themselves. It is hit where
/// a packet holds the whole message that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The methods of a SOCKS5 greeting become one that nobody knows.
    Socks5Methods,
    /// The command of a SOCKS5 request, or the code of a reply, becomes one that nobody knows.
    Socks5Command,
    /// The port of a SOCKS5 request or reply becomes another.
    Socks5Port,
    /// The fragment number of a SOCKS5 datagram is no longer zero.
    Socks5Fragment,
    /// The port of a SOCKS5 datagram becomes another.
    Socks5DatagramPort,
    /// The method of an HTTP request is no method any more.
    HttpMethod,
    /// The target of an HTTP request gets another last character.
    HttpTarget,
    /// The status of an HTTP response becomes 599.
    HttpStatus,
}

/// What is done to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// So many bits are flipped.
    Bits(u32),
    /// The payload ends early.
    Truncate,
    /// Up to so many octets follow the payload.
    Extend(usize),
    /// A field is changed.
    Field(Field),
}

/// A rule by which packets are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// What is done.
    pub damage: Damage,
    /// To how many, in millionths.
    pub rate: u32,
    /// The checksum is right again afterwards, as behind a broken router: the damage reaches the
    /// program. Otherwise the packet is lost.
    pub is_unnoticed: bool,
}

/// The last value of everything of one octet that no protocol here has given a meaning.
const UNKNOWN: u8 = 0xee;

impl Corruption {
    /// Damages a packet, or not; true when it was.
    pub(super) fn apply(self, cx: &mut HopCx<'_>, packet: &mut Packet) -> bool {
        let id = packet.id;
        let data = match &mut packet.body {
            Body::Udp(data) | Body::Raw(data) => data,
            Body::Tcp(segment) => &mut segment.data,
            Body::Icmp(_) => return false,
        };
        if data.is_empty() || !self.can_hit(data) || !cx.hazard(self.rate) {
            return false;
        }
        match self.damage {
            Damage::Bits(count) => {
                for _ in 0..count {
                    let bit = cx.below(data.len() as u64 * 8) as usize;
                    if let Some(octet) = data.get_mut(bit / 8) {
                        *octet ^= 1 << (bit % 8);
                    }
                }
            }
            Damage::Truncate => data.truncate(cx.below(data.len() as u64) as usize),
            Damage::Extend(max) => {
                let more = 1 + cx.below(max.max(1) as u64);
                for _ in 0..more {
                    let octet = cx.below(256) as u8;
                    data.extend_from_slice(&[octet]);
                }
            }
            Damage::Field(field) => {
                if let Some(changed) = change(field, data) {
                    *data = changed;
                }
            }
        }
        cx.note(id, format!("{:?}", self.damage));
        true
    }

    fn can_hit(self, data: &[u8]) -> bool {
        match self.damage {
            Damage::Field(field) => change(field, data).is_some(),
            Damage::Bits(_) | Damage::Truncate | Damage::Extend(_) => true,
        }
    }
}

/// The same message with another value in a field; `None`: there is no such message.
fn change(field: Field, data: &[u8]) -> Option<BytesMut> {
    let mut out = BytesMut::with_capacity(data.len());
    match field {
        Field::Socks5Methods => {
            let (greeting, len) = v5::Greeting::parse(data).ok()??;
            let count = greeting.methods.as_bytes().len();
            (len == data.len() && count > 0).then_some(())?;
            out.extend_from_slice(data.get(..len - count)?);
            out.resize(len, UNKNOWN);
        }
        Field::Socks5Command | Field::Socks5Port => {
            let (mut request, len) = v5::Request::parse(data).ok()??;
            (len == data.len()).then_some(())?;
            if field == Field::Socks5Command {
                request.command = UNKNOWN;
            } else {
                request.address.port ^= 1;
            }
            request.emit(&mut out);
        }
        Field::Socks5Fragment | Field::Socks5DatagramPort => {
            let (mut header, len) = udp::Header::parse(data).ok()?;
            if field == Field::Socks5Fragment {
                header.frag = header.frag.wrapping_add(1).max(1);
            } else {
                header.address.port ^= 1;
            }
            header.emit(&mut out);
            out.extend_from_slice(data.get(len..)?);
        }
        Field::HttpMethod | Field::HttpTarget => {
            let (request, _) = http::Request::parse(data).ok()??;
            let text = if field == Field::HttpMethod {
                request.method
            } else {
                request.target
            };
            let at = offset(data, text)?;
            out.extend_from_slice(data);
            let last = out.get_mut(at + text.len() - 1)?;
            *last = match (field, *last) {
                (Field::HttpMethod, _) => b'@',
                (_, b'0') => b'1',
                _ => b'0',
            };
        }
        Field::HttpStatus => {
            http::Response::parse(data).ok()??;
            // Behind "HTTP/1.1 ".
            out.extend_from_slice(data);
            out.get_mut(9..12)?.copy_from_slice(b"599");
        }
    }
    Some(out)
}

/// Where a part of `data` begins in it.
fn offset(data: &[u8], part: &str) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    (!part.is_empty() && at + part.len() <= data.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(field: Field, data: &[u8]) -> Option<Vec<u8>> {
        change(field, data).map(|out| out.to_vec())
    }

    #[test]
    fn fields_are_hit_and_nothing_else_is() {
        let request = [5, 1, 0, 1, 10, 0, 0, 3, 0, 80];
        let datagram = [0, 0, 0, 1, 10, 0, 0, 3, 0, 7, b'h', b'i'];
        let get = b"GET http://o.test/ HTTP/1.1\r\nHost: o.test\r\n\r\n";
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for (field, data, at, value) in [
            (Field::Socks5Methods, &[5, 1, 0][..], 2, UNKNOWN),
            (Field::Socks5Command, &request[..], 1, UNKNOWN),
            (Field::Socks5Port, &request[..], 9, 81),
            (Field::Socks5Fragment, &datagram[..], 2, 1),
            (Field::Socks5DatagramPort, &datagram[..], 9, 6),
            (Field::HttpMethod, &get[..], 2, b'@'),
            (Field::HttpTarget, &get[..], 17, b'0'),
        ] {
            let mut expected = data.to_vec();
            expected[at] = value;
            assert_eq!(changed(field, data), Some(expected), "{field:?}");
        }
        let status = changed(Field::HttpStatus, ok).unwrap();
        assert!(status.starts_with(b"HTTP/1.1 599 OK\r\n") && status.ends_with(b"ok"));
    }

    #[test]
    fn what_is_no_such_message_is_left_alone() {
        for (field, data) in [
            (Field::Socks5Methods, &[5, 2, 0][..]),
            (Field::Socks5Command, &[5, 1, 0][..]),
            (
                Field::Socks5Command,
                &[5, 1, 0, 1, 1, 1, 1, 1, 0, 80, 9][..],
            ),
            (Field::Socks5Fragment, &[0, 0, 0][..]),
            (Field::HttpMethod, b"GET / HTTP/1.1\r\n"),
            (Field::HttpStatus, b"GET / HTTP/1.1\r\n\r\n"),
        ] {
            assert_eq!(changed(field, data), None, "{field:?}");
        }
    }
}
