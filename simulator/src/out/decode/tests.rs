//! Messages come out the same however their bytes are cut.
use super::{Datagrams, Dialogue, Message};
use crate::tcp::Side::{Acceptor, Dialer};
use core::net::SocketAddr;

/// Feeds turns in pieces of so many bytes.
fn read(turns: &[(crate::tcp::Side, &[u8])], piece: usize) -> [Vec<Message>; 2] {
    let mut dialogue = Dialogue::default();
    let mut offsets = [0, 0];
    for (side, bytes) in turns {
        for part in bytes.chunks(piece) {
            let offset = &mut offsets[usize::from(*side == Acceptor)];
            dialogue.feed(*side, *offset, part);
            // A segment that is sent again says nothing new.
            dialogue.feed(*side, *offset, part);
            *offset += part.len() as u64;
        }
    }
    [Dialer, Acceptor].map(|side| dialogue.messages(side).to_vec())
}

fn names(messages: &[Message]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.name.as_str())
        .collect()
}

/// The same at all sizes of pieces; returns it.
fn read_all(turns: &[(crate::tcp::Side, &[u8])]) -> [Vec<Message>; 2] {
    let whole = read(turns, usize::MAX);
    for piece in [1, 2, 7] {
        let cut = read(turns, piece);
        assert_eq!(
            [names(&cut[0]), names(&cut[1])],
            [names(&whole[0]), names(&whole[1])]
        );
    }
    whole
}

#[test]
fn socks5_with_a_password_then_http_inside() {
    let turns: &[(_, &[u8])] = &[
        (Dialer, &[5, 2, 0, 2]),
        (Acceptor, &[5, 2]),
        (Dialer, b"\x01\x03ann\x06secret"),
        (Acceptor, &[1, 0]),
        (Dialer, b"\x05\x01\x00\x03\x04a.de\x00\x50"),
        (Acceptor, &[5, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40]),
        (
            Dialer,
            b"GET / HTTP/1.1\r\nHost: a.de\r\nAuthorization: Basic c2VjcmV0\r\n\r\n",
        ),
        (Acceptor, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ];
    let [up, down] = read_all(turns);
    assert_eq!(
        names(&up),
        [
            "SOCKS5 greeting",
            "SOCKS5 login",
            "SOCKS5 CONNECT a.de:80",
            "HTTP GET /"
        ]
    );
    assert_eq!(
        names(&down),
        [
            "SOCKS5 method 2",
            "SOCKS5 login accepted",
            "SOCKS5 reply: succeeded",
            "HTTP 204 No Content"
        ]
    );
    assert_eq!((up[2].from, up[2].to), (16, 27));
    let all = format!("{up:?}");
    assert!(
        !all.contains("secret") && !all.contains("ann") && !all.contains("c2VjcmV0"),
        "{all}"
    );
}

#[test]
fn socks4a_and_refusals() {
    let turns: &[(_, &[u8])] = &[
        (Dialer, b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00a.de\x00"),
        (Acceptor, &[0, 91, 0, 0, 0, 0, 0, 0]),
    ];
    let [up, down] = read_all(turns);
    assert_eq!(names(&up), ["SOCKS4 CONNECT a.de:80"]);
    assert_eq!(names(&down), ["SOCKS4 reply: rejected"]);
    assert!(!format!("{up:?}").contains("me\""));
}

#[test]
fn http_bodies_keep_alive_and_tunnels_with_tls() {
    let turns: &[(_, &[u8])] = &[
        (
            Dialer,
            b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            Acceptor,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
        (Dialer, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        (Acceptor, b"HTTP/1.1 200 Connection established\r\n\r\n"),
        (Dialer, &[22, 3, 1, 0, 2, 1, 0]),
        (
            Acceptor,
            &[22, 3, 3, 0, 1, 2, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 1, 9],
        ),
    ];
    let [up, down] = read(turns, usize::MAX);
    assert_eq!(
        names(&up),
        [
            "HTTP POST http://a/",
            "HTTP body",
            "HTTP CONNECT a:443",
            "TLS ClientHello"
        ]
    );
    assert_eq!(
        names(&down),
        [
            "HTTP 100 Continue",
            "HTTP 200 OK",
            "HTTP body",
            "HTTP 200 Connection established",
            "TLS ServerHello",
            "TLS ChangeCipherSpec",
            "TLS data, 1 bytes"
        ]
    );
}

#[test]
fn what_is_no_protocol_is_no_message_and_costs_nothing() {
    let noise = vec![0xee; 200_000];
    let [up, down] = read(&[(Dialer, &noise), (Acceptor, &noise)], 1000);
    assert!(up.is_empty() && down.is_empty());
    // A gap ends the reading, and hurts nobody.
    let mut dialogue = Dialogue::default();
    dialogue.feed(Dialer, 10, &[5, 1, 0]);
    dialogue.feed(Dialer, 0, &[5, 1, 0]);
    assert!(dialogue.messages(Dialer).is_empty());
}

#[test]
fn datagrams_of_socks5_and_quic() {
    let ends = |n: u16| {
        (
            SocketAddr::from(([10, 0, 0, 1], n)),
            SocketAddr::from(([10, 0, 0, 2], 443)),
        )
    };
    let mut datagrams = Datagrams::default();
    let mut name = |n, data: &[u8]| datagrams.read(ends(n), data).map(|message| message.name);
    let wrapped = [0, 0, 0, 1, 10, 0, 0, 3, 0, 7, b'h', b'i'];
    assert_eq!(
        name(1, &wrapped).as_deref(),
        Some("SOCKS5 datagram 10.0.0.3:7")
    );
    let initial = [0xc3, 0, 0, 0, 1, 1, 0xaa, 1, 0xbb, 0];
    assert_eq!(
        name(2, &[0x43; 30]),
        None,
        "nobody has said that this is QUIC"
    );
    assert_eq!(name(2, &initial).as_deref(), Some("QUIC Initial"));
    assert_eq!(name(2, &[0x43; 30]).as_deref(), Some("QUIC 1-RTT"));
    let negotiation = [0x80, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        name(3, &negotiation).as_deref(),
        Some("QUIC Version Negotiation")
    );
    assert_eq!(
        name(4, &[0xc3, 0, 0, 0, 1, 200, 1]),
        None,
        "a connection id that is cut short"
    );
    assert_eq!(name(5, &[]), None);
}
