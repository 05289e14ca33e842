use super::{
    Address, Malformed, Name, Short,
    udp::Header,
    v4::{self, Destination, Text},
    v5,
};
use crate::socks::tests::hex;
use bytes::BytesMut;
use proptest::prelude::*;
use sansbox_core::Target;
use std::{
    fmt::Debug,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
};

fn emitted(buffer_len: usize, emit: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    emit(&mut out);
    assert_eq!(out.len(), buffer_len, "buffer_len is what emit appends");
    out
}

/// `bytes` is `expected` and seven bytes more; no strict prefix of it is anything.
fn check<'a, T: Debug + PartialEq>(
    bytes: &'a [u8],
    expected: &T,
    parse: impl Fn(&'a [u8]) -> Result<Option<(T, usize)>, Malformed>,
) {
    let len = bytes.len() - 7;
    match parse(bytes).unwrap() {
        Some((message, n)) => assert_eq!((&message, n), (expected, len)),
        None => panic!("a whole message was taken for a part"),
    }
    for n in 0..len {
        assert_eq!(parse(&bytes[..n]), Ok(None), "{n} of {len} bytes");
    }
}

fn with_tail(mut bytes: BytesMut) -> BytesMut {
    bytes.extend_from_slice(b"\x05\x00\xffpipe");
    bytes
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..=Short::LEN_MAX)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1..=255_u8, 0..=Text::LEN_MAX)
}

fn short(bytes: &[u8]) -> Short<'_> {
    Short::new(bytes).unwrap()
}

/// An address, or else a name.
fn name() -> impl Strategy<Value = (Option<IpAddr>, Vec<u8>)> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| (Some(ip.into()), Vec::new())),
        any::<[u8; 16]>().prop_map(|ip| (Some(ip.into()), Vec::new())),
        string().prop_map(|name| (None, name)),
    ]
}

fn address((ip, name): &(Option<IpAddr>, Vec<u8>), port: u16) -> Address<'_> {
    let name = ip.map_or_else(|| Name::Domain(short(name)), Name::Ip);
    Address { name, port }
}

proptest! {
    #[test]
    fn greetings_survive_the_wire(methods in string()) {
        let message = v5::Greeting { methods: short(&methods) };
        let bytes = with_tail(emitted(message.buffer_len(), |out| message.emit(out)));
        prop_assert!(message.buffer_len() <= v5::Greeting::LEN_MAX);
        check(&bytes, &message, v5::Greeting::parse);
    }

    #[test]
    fn answers_survive_the_wire(octet in any::<u8>()) {
        let message = v5::MethodSelection { method: octet };
        let bytes = with_tail(emitted(v5::MethodSelection::LEN, |out| message.emit(out)));
        check(&bytes, &message, v5::MethodSelection::parse);
        let message = v5::AuthStatus { status: octet };
        let bytes = with_tail(emitted(v5::AuthStatus::LEN, |out| message.emit(out)));
        check(&bytes, &message, v5::AuthStatus::parse);
    }

    #[test]
    fn logins_survive_the_wire(username in string(), password in string()) {
        let message = v5::AuthRequest { username: short(&username), password: short(&password) };
        let bytes = with_tail(emitted(message.buffer_len(), |out| message.emit(out)));
        prop_assert!(message.buffer_len() <= v5::AuthRequest::LEN_MAX);
        check(&bytes, &message, v5::AuthRequest::parse);
    }

    #[test]
    fn requests_and_replies_survive_the_wire(
        octet in any::<u8>(), name in name(), port in any::<u16>(),
    ) {
        let address = address(&name, port);
        let message = v5::Request { command: octet, address };
        let bytes = with_tail(emitted(message.buffer_len(), |out| message.emit(out)));
        prop_assert!(message.buffer_len() <= v5::Request::LEN_MAX);
        check(&bytes, &message, v5::Request::parse);
        let message = v5::Reply { code: octet, address };
        let bytes = with_tail(emitted(message.buffer_len(), |out| message.emit(out)));
        check(&bytes, &message, v5::Reply::parse);
        prop_assert_eq!(v5::Reply::parse_code(&bytes), Ok(Some(octet)));
    }

    #[test]
    fn socks4_messages_survive_the_wire(
        octet in any::<u8>(), port in any::<u16>(), ip in any::<[u8; 4]>(),
        user_id in text(), name in proptest::option::of(text()),
    ) {
        let ip = Ipv4Addr::from(ip);
        prop_assume!(!v4::is_marker(ip));
        let domain = name.as_deref().and_then(Text::new).map(Destination::Domain);
        let message = v4::Request {
            command: octet,
            port,
            destination: domain.unwrap_or(Destination::Ip(ip)),
            user_id: Text::new(&user_id).unwrap(),
        };
        let bytes = with_tail(emitted(message.buffer_len(), |out| message.emit(out)));
        prop_assert!(message.buffer_len() <= v4::Request::LEN_MAX);
        check(&bytes, &message, v4::Request::parse);
        let message = v4::Reply { code: octet, bound: SocketAddrV4::new(ip, port) };
        let bytes = with_tail(emitted(v4::Reply::LEN, |out| message.emit(out)));
        check(&bytes, &message, v4::Reply::parse);
    }

    #[test]
    fn datagram_headers_survive_the_wire(
        frag in any::<u8>(), name in name(), port in any::<u16>(),
    ) {
        let header = Header { frag, address: address(&name, port) };
        let bytes = with_tail(emitted(header.buffer_len(), |out| header.emit(out)));
        prop_assert!(header.buffer_len() <= Header::LEN_MAX);
        prop_assert_eq!(Header::parse(&bytes), Ok((header, header.buffer_len())));
        for n in 0..header.buffer_len() {
            prop_assert_eq!(Header::parse(&bytes[..n]), Err(Malformed::Truncated));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = v5::Greeting::parse(&bytes);
        let _ = v5::MethodSelection::parse(&bytes);
        let _ = v5::AuthRequest::parse(&bytes);
        let _ = v5::AuthStatus::parse(&bytes);
        let _ = v5::Request::parse(&bytes).map(|r| r.map(|(r, _)| r.address.to_target()));
        let _ = v5::Reply::parse(&bytes);
        let _ = v4::Request::parse(&bytes).map(|r| r.map(|(r, _)| r.destination.to_host()));
        let _ = v4::Reply::parse(&bytes);
        let _ = Header::parse(&bytes);
    }

    #[test]
    fn what_is_longest_is_never_incomplete(
        mut bytes in proptest::collection::vec(any::<u8>(), v4::Request::LEN_MAX),
        version in 0..6_u8,
    ) {
        bytes[0] = version;
        prop_assert_ne!(v4::Request::parse(&bytes), Ok(None));
        prop_assert_ne!(v5::AuthRequest::parse(&bytes[..v5::AuthRequest::LEN_MAX]), Ok(None));
        prop_assert_ne!(v5::Greeting::parse(&bytes[..v5::Greeting::LEN_MAX]), Ok(None));
        prop_assert_ne!(v5::Request::parse(&bytes[..v5::Request::LEN_MAX]), Ok(None));
        prop_assert_ne!(v5::Reply::parse(&bytes[..v5::Reply::LEN_MAX]), Ok(None));
    }
}

#[test]
fn requests_read_as_the_rfc_draws_them() {
    let cases = [
        (
            "ver:05 cmd:01 rsv:00 atyp:01 addr:c0000201 port:0050",
            1,
            "192.0.2.1:80",
        ),
        (
            "ver:05 cmd:03 rsv:00 atyp:01 addr:00000000 port:0000",
            3,
            "0.0.0.0:0",
        ),
        (
            "ver:05 cmd:01 rsv:ff atyp:01 addr:7f000001 port:ffff",
            1,
            "127.0.0.1:65535",
        ),
        (
            "ver:05 cmd:01 rsv:00 atyp:04 addr:20010db8000000000000000000000001 port:01bb",
            1,
            "[2001:db8::1]:443",
        ),
        (
            "ver:05 cmd:01 rsv:00 atyp:03 len:03 addr:612e62 port:0050",
            1,
            "a.b:80",
        ),
        (
            "ver:05 cmd:01 rsv:00 atyp:03 len:07 addr:312e322e332e34 port:0050",
            1,
            "1.2.3.4:80",
        ),
        (
            "ver:05 cmd:01 rsv:00 atyp:03 len:03 addr:3a3a31 port:0050",
            1,
            "[::1]:80",
        ),
    ];
    for (text, command, target) in cases {
        let bytes = hex(text);
        let (request, len) = v5::Request::parse(&bytes).unwrap().unwrap();
        assert_eq!((request.command, len), (command, bytes.len()), "{text}");
        assert_eq!(
            request.address.to_target().unwrap().to_string(),
            target,
            "{text}"
        );
    }
}

#[test]
fn names_that_are_none_are_no_targets() {
    for name in [
        "len:00",
        "len:01 addr:00",
        "len:04 addr:612e2e62",
        "len:07 addr:3235362e312e31",
    ] {
        let bytes = hex(&format!("ver:05 cmd:01 rsv:00 atyp:03 {name} port:0050"));
        let (request, len) = v5::Request::parse(&bytes).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        assert!(request.address.to_target().is_err(), "{name}");
    }
}

#[test]
fn broken_messages_are_told_apart() {
    use Malformed::{AddressType, Unterminated, Version};
    type Parse = fn(&[u8]) -> Option<Malformed>;
    let greeting: Parse = |b| v5::Greeting::parse(b).err();
    let request: Parse = |b| v5::Request::parse(b).err();
    let auth: Parse = |b| v5::AuthRequest::parse(b).err();
    let status: Parse = |b| v5::AuthStatus::parse(b).err();
    let method: Parse = |b| v5::MethodSelection::parse(b).err();
    let reply: Parse = |b| v5::Reply::parse(b).err();
    let request4: Parse = |b| v4::Request::parse(b).err();
    let reply4: Parse = |b| v4::Reply::parse(b).err();
    let long = "41".repeat(256);
    let long_user = format!("vn:04 cd:01 port:0050 ip:7f000001 user:{long}");
    let long_name = format!("vn:04 cd:01 port:0050 ip:00000001 user:00 name:{long}");
    let cases = [
        (greeting, "ver:04", Version),
        (request, "ver:04", Version),
        (request, "ver:05 cmd:01 rsv:00 atyp:02", AddressType),
        (request, "ver:05 cmd:01 rsv:00 atyp:00", AddressType),
        (auth, "ver:05", Version),
        (status, "ver:00 status:00", Version),
        (method, "ver:04 method:00", Version),
        (reply, "ver:00", Version),
        (reply, "ver:05 rep:00 rsv:00 atyp:05", AddressType),
        (request4, "vn:05", Version),
        (request4, long_user.as_str(), Unterminated),
        (request4, long_name.as_str(), Unterminated),
        (reply4, "vn:05 cd:5a", Version),
    ];
    for (parse, text, expected) in cases {
        assert_eq!(parse(&hex(text)), Some(expected), "{text}");
    }
}

#[test]
fn socks4_marker_addresses_announce_a_name() {
    for (ip, is_marker) in [
        ([0, 0, 0, 0], false),
        ([0, 0, 0, 1], true),
        ([0, 0, 0, 255], true),
        ([0, 0, 1, 1], false),
        ([127, 0, 0, 1], false),
    ] {
        assert_eq!(v4::is_marker(ip.into()), is_marker, "{ip:?}");
    }
    let bytes = hex("vn:04 cd:01 port:0050 ip:000000ff user:7500 name:612e6200");
    let (request, len) = v4::Request::parse(&bytes).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    assert_eq!(request.user_id.as_bytes(), b"u");
    assert_eq!(request.destination.to_host().unwrap().to_string(), "a.b");
}

#[test]
fn servers_with_unusual_version_octets_are_understood() {
    let bytes = hex("vn:04 cd:5a port:0050 ip:7f000001");
    assert_eq!(
        v4::Reply::parse(&bytes).unwrap().unwrap().0.code,
        v4::code::GRANTED
    );
    let bytes = hex("ver:05 status:00");
    assert_eq!(v5::AuthStatus::parse(&bytes).unwrap().unwrap().0.status, 0);
}

#[test]
fn datagram_headers_report_fragments_and_ignore_rsv() {
    let bytes = hex("rsv:1234 frag:81 atyp:01 addr:08080808 port:0035 data:ffff");
    let (header, payload) = Header::parse(&bytes).unwrap();
    assert_eq!((header.frag, payload), (0x81, 10));
    assert_eq!(
        header.address.to_target().unwrap().to_string(),
        "8.8.8.8:53"
    );
    let bytes = hex("rsv:0000 frag:00 atyp:09 addr:08080808 port:0035");
    assert_eq!(Header::parse(&bytes), Err(Malformed::AddressType));
}

#[test]
fn the_longest_domain_fits_into_an_address() {
    let name = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ]
    .join(".")
        + ".";
    let host = sansbox_core::Host::parse(name.as_bytes()).unwrap();
    let target = Target::new(host, 1);
    let address = Address::from(&target);
    let bytes = emitted(address.buffer_len(), |out| address.emit(out));
    let (parsed, _) = Address::parse(&bytes).unwrap().unwrap();
    assert_eq!(parsed.to_target().unwrap(), target);
}

#[test]
fn debug_of_a_login_shows_nothing() {
    let message = v5::AuthRequest {
        username: short(b"user"),
        password: short(b"pass"),
    };
    assert_eq!(format!("{message:?}"), "AuthRequest(..)");
}
