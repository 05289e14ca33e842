//! What a TLS ClientHello tells whoever reads along: the name and the protocols it asks for
//! (RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301).
use super::{Look, cursor::Cursor};

const RECORD_HANDSHAKE: u64 = 22;
const RECORD_LEN_MAX: usize = 16_384 + 256;
const CLIENT_HELLO: u64 = 1;
const EXTENSION_SERVER_NAME: u64 = 0;
const EXTENSION_ALPN: u64 = 16;
const NAME_TYPE_HOST: u64 = 0;

/// The readable part of a ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) server_name: Option<String>,
    pub(super) alpn: Vec<Vec<u8>>,
}

/// From the begin of a TCP stream: records, of which the hello may need several.
pub(super) fn from_records(stream: &[u8]) -> Look<ClientHello> {
    let mut rest = Cursor(stream);
    let mut message = Vec::new();
    loop {
        let (Some(kind), major) = (rest.number(1), rest.number(1)) else {
            return from_handshake(&message);
        };
        if kind != RECORD_HANDSHAKE || major.is_some_and(|major| major != 3) {
            return Look::Never;
        }
        let (Some(_minor), Some(len)) = (rest.number(1), rest.number(2)) else {
            return from_handshake(&message);
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len == 0 || len > RECORD_LEN_MAX {
            return Look::Never;
        }
        // What is there of a record that is not whole tells as much.
        message.extend_from_slice(rest.0.get(..len).unwrap_or(rest.0));
        if rest.take(len).is_none() {
            return from_handshake(&message);
        }
    }
}

/// From the begin of a stream of handshake messages, as QUIC carries it.
pub(super) fn from_handshake(message: &[u8]) -> Look<ClientHello> {
    let mut rest = Cursor(message);
    match rest.number(1) {
        None => return Look::More,
        Some(CLIENT_HELLO) => {}
        Some(_) => return Look::Never,
    }
    let Some(body) = rest.vector(3) else {
        return Look::More;
    };
    client_hello(body).map_or(Look::Never, Look::Seen)
}

fn client_hello(mut body: Cursor<'_>) -> Option<ClientHello> {
    let (_version, _random) = (body.take(2)?, body.take(32)?);
    let (_session_id, _suites, _compression) = (body.vector(1)?, body.vector(2)?, body.vector(1)?);
    let mut hello = ClientHello::default();
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = body.vector(2)?;
    while !extensions.0.is_empty() {
        let (kind, mut extension) = (extensions.number(2)?, extensions.vector(2)?);
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = server_name(extension.vector(2)?),
            EXTENSION_ALPN => {
                let mut list = extension.vector(2)?;
                while !list.0.is_empty() {
                    hello.alpn.push(list.vector(1)?.0.to_vec());
                }
            }
            _ => {}
        }
    }
    Some(hello)
}

fn server_name(mut list: Cursor<'_>) -> Option<String> {
    while !list.0.is_empty() {
        let (kind, name) = (list.number(1)?, list.vector(2)?);
        if kind == NAME_TYPE_HOST {
            return String::from_utf8(name.0.to_vec()).ok();
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn vector(len: usize, bytes: &[u8]) -> Vec<u8> {
        let size = (bytes.len() as u64).to_be_bytes();
        [&size[8 - len..], bytes].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector(2, body)].concat()
    }

    /// A ClientHello as a handshake message.
    pub(in crate::net::boxes) fn handshake(name: &str, alpn: &[&str]) -> Vec<u8> {
        let entry = [&[0][..], &vector(2, name.as_bytes())].concat();
        let protocols: Vec<u8> = alpn.iter().flat_map(|p| vector(1, p.as_bytes())).collect();
        let extensions = [
            extension(0x0a0a, b""),
            extension(0, &vector(2, &entry)),
            extension(43, &[2, 3, 4]),
            extension(16, &vector(2, &protocols)),
        ];
        let body = [
            &[3, 3][..],
            &[9; 32],
            &vector(1, &[5; 32]),
            &vector(2, &[0x13, 0x01]),
            &vector(1, &[0]),
            &vector(2, &extensions.concat()),
        ];
        [&[1][..], &vector(3, &body.concat())].concat()
    }

    /// The same in records of at most `len` bytes.
    pub(in crate::net::boxes) fn records(name: &str, alpn: &[&str], len: usize) -> Vec<u8> {
        let message = handshake(name, alpn);
        let record = |part: &[u8]| [&[22, 3, 1][..], &vector(2, part)].concat();
        message.chunks(len).flat_map(record).collect()
    }

    #[test]
    fn name_and_protocols_are_read() {
        let expected = ClientHello {
            server_name: Some("www.example.com".into()),
            alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        for len in [1, 7, 100, 16_384] {
            let stream = records("www.example.com", &["h2", "http/1.1"], len);
            assert_eq!(from_records(&stream), Look::Seen(expected.clone()), "{len}");
        }
    }

    #[test]
    fn every_part_of_a_hello_asks_for_more() {
        let stream = records("www.example.com", &["h2"], 50);
        for len in 0..stream.len() {
            assert_eq!(from_records(&stream[..len]), Look::More, "{len}");
        }
    }

    #[test]
    fn what_is_no_hello_is_known_at_once() {
        for other in [
            &b"GET / HTTP/1.1"[..],
            &[5, 1, 0],
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 1, 2],
        ] {
            assert_eq!(from_records(other), Look::Never, "{other:?}");
        }
    }

    #[test]
    fn damage_never_panics() {
        let stream = records("www.example.com", &["h2"], 16_384);
        for at in 0..stream.len() {
            for bit in 0..8 {
                let mut damaged = stream.clone();
                damaged[at] ^= 1 << bit;
                from_records(&damaged);
                from_handshake(&damaged[5.min(at)..]);
            }
        }
    }
}
