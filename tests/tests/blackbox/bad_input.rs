//! Malformed requests sent raw, and the answer each must get.
use sansbox_tests::{
    origin::http::HttpServer,
    proxy::Proxy,
    socks,
    wire::{Answer, Ending, SILENCE, exchange},
};
use std::net::SocketAddr;

/// What must come back before the connection ends.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// Exactly these bytes.
    Bytes(&'static [u8]),
    /// Bytes that start so; what follows is free (bound addresses, messages).
    Starts(&'static [u8]),
    /// Bytes that start so, then one byte that is not zero, then anything or nothing; or only
    /// these bytes.
    Fails(&'static [u8]),
    /// Bytes that start so, or nothing at all.
    StartsOrNothing(&'static [u8]),
    /// One of these statuses of HTTP.
    Status(&'static [u16]),
    /// One of these statuses, or nothing at all.
    StatusOrNothing(&'static [u16]),
}

impl Expect {
    fn accepts(self, answer: &Answer) -> bool {
        let bytes = &answer.bytes[..];
        match self {
            Self::Bytes(want) => bytes == want,
            Self::Starts(want) => bytes.starts_with(want),
            Self::Fails(want) => {
                bytes == want
                    || bytes
                        .strip_prefix(want)
                        .is_some_and(|rest| rest.first().is_some_and(|&code| code != 0))
            }
            Self::StartsOrNothing(want) => bytes.is_empty() || bytes.starts_with(want),
            Self::Status(wanted) => {
                let text = answer.text();
                let status = text
                    .strip_prefix("HTTP/1.1 ")
                    .and_then(|rest| rest.get(..3)?.parse().ok());
                status.is_some_and(|status| wanted.contains(&status))
            }
            Self::StatusOrNothing(wanted) => {
                bytes.is_empty() || Self::Status(wanted).accepts(answer)
            }
        }
    }
}

struct Case {
    name: &'static str,
    send: Vec<u8>,
    /// Send FIN behind it: the request is cut off, not slow.
    finish: bool,
    expect: Expect,
}

fn case(name: &'static str, send: &[u8], expect: Expect) -> Case {
    Case {
        name,
        send: send.to_vec(),
        finish: false,
        expect,
    }
}

fn cut(name: &'static str, send: &[u8], expect: Expect) -> Case {
    Case {
        finish: true,
        ..case(name, send, expect)
    }
}

/// Sends each case, checks the answer and the end, and that the program still serves.
fn run(proxy: &Proxy, user: Option<(&str, &str)>, cases: Vec<Case>, origin: &HttpServer) {
    let mut wrong = Vec::new();
    for case in cases {
        let before = origin.heads().len();
        let answer = exchange(proxy.addr(), &case.send, case.finish, SILENCE);
        if !case.expect.accepts(&answer) || answer.ending == Ending::StillOpen {
            wrong.push(format!(
                "{}: want {:?}, got {:?} = {:?}",
                case.name,
                case.expect,
                answer,
                answer.text()
            ));
        }
        let reached = origin.heads().len() - before;
        if reached != 0 {
            wrong.push(format!(
                "{}: {reached} requests reached the server",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_serves(proxy.addr(), user, origin);
}

fn assert_serves(proxy: SocketAddr, user: Option<(&str, &str)>, origin: &HttpServer) {
    if user.is_some() {
        assert!(
            socks::open(proxy, user, origin.addr()).is_ok(),
            "the program still serves"
        );
        return;
    }
    let authority = origin.addr();
    let request = format!(
        "GET http://{authority}/bytes/3 HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(proxy, request.as_bytes(), false, SILENCE);
    let socks_only = answer.bytes.is_empty();
    assert!(
        answer.text().starts_with("HTTP/1.1 200")
            || (socks_only && socks::open(proxy, None, origin.addr()).is_ok()),
        "the program still serves: {answer:?}"
    );
}

fn socks5_cases() -> Vec<Case> {
    vec![
        cut("nothing at all", b"", Expect::Bytes(b"")),
        cut("version alone", b"\x05", Expect::Bytes(b"")),
        cut(
            "fewer methods than promised",
            b"\x05\x05\x00",
            Expect::Bytes(b""),
        ),
        case("no methods", b"\x05\x00", Expect::Starts(b"\x05\xff")),
        case("GSSAPI only", b"\x05\x01\x01", Expect::Bytes(b"\x05\xff")),
        case(
            "passwords only, and there are no users",
            b"\x05\x01\x80",
            Expect::Bytes(b"\x05\xff"),
        ),
        cut("no request", b"\x05\x01\x00", Expect::Bytes(b"\x05\x00")),
        cut(
            "request cut in the address",
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00",
            Expect::Bytes(b"\x05\x00"),
        ),
        cut(
            "request cut in the name",
            b"\x05\x01\x00\x05\x01\x00\x03\x09local",
            Expect::Bytes(b"\x05\x00"),
        ),
        case(
            "BIND",
            b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50",
            Expect::Starts(b"\x05\x00\x05\x07\x00"),
        ),
        case(
            "unknown command",
            b"\x05\x01\x00\x05\x09\x00\x01\x7f\x00\x00\x01\x00\x50",
            Expect::Starts(b"\x05\x00\x05\x07\x00"),
        ),
        case(
            "unknown address type",
            b"\x05\x01\x00\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x50",
            Expect::Starts(b"\x05\x00\x05\x08\x00"),
        ),
        case(
            "empty name",
            b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50",
            Expect::Fails(b"\x05\x00\x05"),
        ),
        case(
            "request of another version",
            b"\x05\x01\x00\x04\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
            Expect::Fails(b"\x05\x00"),
        ),
    ]
}

fn socks4_cases() -> Vec<Case> {
    let long_id = [&[4, 1, 0, 80, 127, 0, 0, 1][..], &[b'i'; 2000]].concat();
    let long_name = [&[4, 1, 0, 80, 0, 0, 0, 1, 0][..], &[b'n'; 2000]].concat();
    vec![
        case(
            "SOCKS4 BIND",
            b"\x04\x02\x00\x50\x7f\x00\x00\x01me\x00",
            Expect::Starts(b"\x00\x5b"),
        ),
        case(
            "SOCKS4 unknown command",
            b"\x04\x09\x00\x50\x7f\x00\x00\x01me\x00",
            Expect::Starts(b"\x00\x5b"),
        ),
        cut(
            "SOCKS4 cut in the user id",
            b"\x04\x01\x00\x50\x7f\x00\x00\x01me",
            Expect::Bytes(b""),
        ),
        case(
            "SOCKS4a empty name",
            b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00",
            Expect::Starts(b"\x00\x5b"),
        ),
        case(
            "SOCKS4 endless user id",
            &long_id,
            Expect::StartsOrNothing(b"\x00\x5b"),
        ),
        case(
            "SOCKS4a endless name",
            &long_name,
            Expect::StartsOrNothing(b"\x00\x5b"),
        ),
    ]
}

#[test]
fn malformed_socks_gets_the_right_answer() {
    let origin = HttpServer::start();
    for kind in ["socks", "mixed"] {
        let proxy = Proxy::inbound(kind, &[]);
        run(&proxy, None, socks5_cases(), &origin);
        run(&proxy, None, socks4_cases(), &origin);
    }
}

#[test]
fn what_is_neither_socks_nor_http_is_refused() {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("socks", &[]);
    let silent = Expect::Bytes(b"");
    let cases = vec![
        case("version 6", b"\x06\x01\x00", silent),
        case("version 0", b"\x00\x01\x00", silent),
        case("HTTP to a SOCKS port", b"GET / HTTP/1.1\r\n\r\n", silent),
        case(
            "a TLS hello to a SOCKS port",
            b"\x16\x03\x01\x02\x00\x01\x00",
            silent,
        ),
    ];
    run(&proxy, None, cases, &origin);
    let proxy = Proxy::inbound("mixed", &[]);
    let refused = Expect::StatusOrNothing(&[400]);
    let cases = vec![
        case("version 6", b"\x06\x01\x00\r\n\r\n", refused),
        case("zeros", &[0; 300], refused),
        case(
            "a TLS hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            refused,
        ),
        case("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", refused),
    ];
    run(&proxy, None, cases, &origin);
}

#[test]
fn malformed_logins_are_refused() {
    let user = ("u", "p");
    let origin = HttpServer::start();
    let refused = Expect::Fails(b"\x05\x02\x01");
    let cases = || {
        vec![
            case(
                "no password offered",
                b"\x05\x01\x00",
                Expect::Bytes(b"\x05\xff"),
            ),
            case("wrong password", b"\x05\x01\x02\x01\x01u\x01x", refused),
            case("wrong user", b"\x05\x01\x02\x01\x01x\x01p", refused),
            case(
                "empty user and password",
                b"\x05\x01\x02\x01\x00\x00",
                refused,
            ),
            case(
                "password of one more byte",
                b"\x05\x01\x02\x01\x01u\x02pp",
                refused,
            ),
            case(
                "login of version 2",
                b"\x05\x01\x02\x02\x01u\x01p",
                Expect::Fails(b"\x05\x02"),
            ),
            cut(
                "login cut in the password",
                b"\x05\x01\x02\x01\x01u\x05p",
                Expect::Bytes(b"\x05\x02"),
            ),
            case(
                "a request in place of the login",
                b"\x05\x01\x02\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
                Expect::Fails(b"\x05\x02"),
            ),
            case(
                "SOCKS4, which has no passwords",
                b"\x04\x01\x00\x50\x7f\x00\x00\x01u\x00",
                Expect::Fails(b"\x00"),
            ),
        ]
    };
    for kind in ["socks", "mixed"] {
        let proxy = Proxy::inbound(kind, &[user]);
        run(&proxy, Some(user), cases(), &origin);
    }
}

/// A request whose head is `fields` and whose body is `body`, to `origin`.
fn post(origin: &HttpServer, fields: &str, body: &str) -> Vec<u8> {
    let to = origin.addr();
    format!("POST http://{to}/digest HTTP/1.1\r\nHost: {to}\r\n{fields}\r\n{body}").into_bytes()
}

const BAD: Expect = Expect::Status(&[400]);
const BAD_OR_UNKNOWN: Expect = Expect::Status(&[400, 501]);

/// Fields and a body that two readers could understand in two ways.
#[rustfmt::skip]
const SMUGGLING: &[(&str, &str, &str, Expect)] = &[
    ("length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", BAD),
    ("chunked and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", BAD),
    ("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!", BAD),
    ("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", BAD),
    ("a list of lengths", "Content-Length: 5, 6\r\n", "hello", BAD),
    ("a negative length", "Content-Length: -5\r\n", "hello", BAD),
    ("a signed length", "Content-Length: +5\r\n", "hello", BAD),
    ("a hexadecimal length", "Content-Length: 0x5\r\n", "hello", BAD),
    ("an empty length", "Content-Length: \r\n", "", BAD),
    ("a length beyond 64 bits", "Content-Length: 99999999999999999999999\r\n", "hello", BAD),
    ("an unknown coding", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", BAD_OR_UNKNOWN),
    ("chunked not last", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", BAD_OR_UNKNOWN),
    ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", BAD_OR_UNKNOWN),
    ("chunked behind a control", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n", BAD_OR_UNKNOWN),
    ("a folded line", "X-A: 1\r\n  folded: yes\r\nContent-Length: 0\r\n", "", BAD),
    ("a space before the colon", "Content-Length : 5\r\n", "hello", BAD),
    ("a field without a colon", "Content-Length\r\n", "", BAD),
    ("a field without a name", ": 5\r\n", "", BAD),
    ("a zero byte in a value", "X-A: a\0b\r\nContent-Length: 0\r\n", "", BAD),
    ("a bare CR in a value", "X-A: a\rContent-Length: 5\r\n", "hello", BAD),
    ("a bare LF behind a field", "X-A: 1\nContent-Length: 5\r\n", "hello", BAD),
];

#[test]
fn request_smuggling_is_refused() {
    let origin = HttpServer::start();
    let to = origin.addr();
    let bare = format!("POST http://{to}/digest HTTP/1.1\nHost: {to}\nContent-Length: 0\n\n");
    for kind in ["http", "mixed"] {
        let proxy = Proxy::inbound(kind, &[]);
        let mut cases: Vec<_> = SMUGGLING
            .iter()
            .map(|(name, fields, body, expect)| case(name, &post(&origin, fields, body), *expect))
            .collect();
        cases.push(case("bare LF everywhere", bare.as_bytes(), BAD));
        run(&proxy, None, cases, &origin);
    }
}

#[test]
fn malformed_request_lines_are_refused() {
    let origin = HttpServer::start();
    let to = origin.addr().to_string();
    let bad = Expect::Status(&[400]);
    let line =
        |line: &str| format!("{line}\r\nHost: {to}\r\nConnection: close\r\n\r\n").into_bytes();
    let cases = [
        ("origin form", "GET / HTTP/1.1", bad),
        ("asterisk form", "OPTIONS * HTTP/1.1", bad),
        ("no version", "GET http://TO/", bad),
        ("version 2", "PRI * HTTP/2.0", Expect::Status(&[400, 505])),
        ("version 1.x", "GET http://TO/ HTTP/1.x", bad),
        ("lower-case version", "GET http://TO/ http/1.1", bad),
        (
            "another scheme",
            "GET ftp://TO/ HTTP/1.1",
            Expect::Status(&[400, 501]),
        ),
        ("no host", "GET http:/// HTTP/1.1", bad),
        (
            "port out of range",
            "GET http://127.0.0.1:99999/ HTTP/1.1",
            bad,
        ),
        (
            "port of letters",
            "GET http://127.0.0.1:http/ HTTP/1.1",
            bad,
        ),
        ("open bracket", "GET http://[::1/ HTTP/1.1", bad),
        ("space in the target", "GET http://TO/a b HTTP/1.1", bad),
        ("control in the target", "GET http://TO/\x01 HTTP/1.1", bad),
        ("control in the method", "G\x01T http://TO/ HTTP/1.1", bad),
        ("CONNECT without a port", "CONNECT 127.0.0.1 HTTP/1.1", bad),
        (
            "CONNECT to port 0",
            "CONNECT 127.0.0.1:0 HTTP/1.1",
            Expect::Status(&[400, 502]),
        ),
        (
            "CONNECT to port 99999",
            "CONNECT 127.0.0.1:99999 HTTP/1.1",
            bad,
        ),
        (
            "CONNECT to a port of letters",
            "CONNECT 127.0.0.1:http HTTP/1.1",
            bad,
        ),
        ("CONNECT to nothing", "CONNECT :80 HTTP/1.1", bad),
        ("CONNECT to a path", "CONNECT / HTTP/1.1", bad),
        ("CONNECT to a URL", "CONNECT http://TO/ HTTP/1.1", bad),
        ("CONNECT with a user", "CONNECT me@TO HTTP/1.1", bad),
        (
            "CONNECT to an open bracket",
            "CONNECT [::1:80 HTTP/1.1",
            bad,
        ),
        ("CONNECT to a bare IPv6", "CONNECT ::1 HTTP/1.1", bad),
    ]
    .into_iter()
    .map(|(name, text, expect)| case(name, &line(&text.replace("TO", &to)), expect))
    .collect();
    let proxy = Proxy::inbound("http", &[]);
    run(&proxy, None, cases, &origin);
}

#[test]
fn oversized_and_cut_heads_are_refused() {
    let origin = HttpServer::start();
    let to = origin.addr();
    let start = format!("GET http://{to}/head HTTP/1.1\r\nHost: {to}\r\n");
    // A server that stops reading may have to reset, and a reset can overtake the answer.
    let too_large = Expect::StatusOrNothing(&[400, 414, 431]);
    let big = "x".repeat(2 << 20);
    let many = "X-Field: value\r\n".repeat(20_000);
    let cases = vec![
        case(
            "2 MiB of request line",
            format!("GET http://{to}/{big} HTTP/1.1\r\n\r\n").as_bytes(),
            too_large,
        ),
        case(
            "2 MiB of one field",
            format!("{start}X-Big: {big}\r\n\r\n").as_bytes(),
            too_large,
        ),
        case(
            "20,000 fields",
            format!("{start}{many}\r\n").as_bytes(),
            too_large,
        ),
        cut("nothing", b"", Expect::Bytes(b"")),
        cut(
            "a head cut in a field",
            start.as_bytes(),
            Expect::StatusOrNothing(&[400]),
        ),
        cut(
            "a line cut in the method",
            b"CONN",
            Expect::StatusOrNothing(&[400]),
        ),
    ];
    let proxy = Proxy::inbound("http", &[]);
    run(&proxy, None, cases, &origin);
}

#[test]
fn malformed_chunks_break_off_and_do_not_become_a_request() {
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("http", &[]);
    let smuggled = format!("GET http://{}/smuggled HTTP/1.1\r\n\r\n", origin.addr());
    for bad in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n",
    ] {
        let request = post(
            &origin,
            "Transfer-Encoding: chunked\r\n",
            &format!("{bad}{smuggled}"),
        );
        let answer = exchange(proxy.addr(), &request, false, SILENCE);
        assert_ne!(answer.ending, Ending::StillOpen, "{bad:?}: {answer:?}");
        let text = answer.text();
        assert!(!text.contains(" 200 "), "{bad:?} was taken: {text}");
    }
    let heads = origin.heads().concat();
    assert!(!heads.contains("smuggled"), "{heads}");
    assert_serves(proxy.addr(), None, &origin);
}
