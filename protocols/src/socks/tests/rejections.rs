//! What the server turns down by itself.
use super::{hex, open_owner, server::serve};
use crate::socks::{Phase, ServerError, wire::Malformed};
use sansbox_core::End;

const fn malformed(source: Malformed) -> ServerError {
    let phase = Phase::Request;
    ServerError::Malformed { phase, source }
}

/// The tail of a reply that binds nothing.
const UNBOUND: &str = "rsv:00 atyp:01 addr:00000000 port:0000";
const REJECTED_V4: &str = "vn:00 cd:5b port:0000 ip:00000000";

/// Name, request behind a greeting, reply code, error.
const V5: [(&str, &str, &str, ServerError); 9] = [
    (
        "BIND",
        "050200 01 c0000201 0050",
        "07",
        ServerError::UnsupportedCommand(2),
    ),
    (
        "command 0",
        "050000 01 c0000201 0050",
        "07",
        ServerError::UnsupportedCommand(0),
    ),
    (
        "command ff",
        "05ff00 03 01 61 0050",
        "07",
        ServerError::UnsupportedCommand(255),
    ),
    (
        "address type 2",
        "050100 atyp:02",
        "08",
        malformed(Malformed::AddressType),
    ),
    (
        "address type 0 of BIND",
        "050200 atyp:00",
        "08",
        malformed(Malformed::AddressType),
    ),
    (
        "empty name",
        "050100 03 len:00 0050",
        "04",
        ServerError::BadDomain,
    ),
    (
        "name of dashes",
        "050100 03 len:03 2d2e2d 0050",
        "04",
        ServerError::BadDomain,
    ),
    (
        "name with NUL",
        "050100 03 len:03 610062 0050",
        "04",
        ServerError::BadDomain,
    ),
    ("version 4", "ver:04", "01", malformed(Malformed::Version)),
];

/// Name, request, error.
const V4: [(&str, &str, ServerError); 5] = [
    (
        "BIND",
        "0402 0050 c0000201 00",
        ServerError::UnsupportedCommand(2),
    ),
    (
        "command 3",
        "0403 0050 c0000201 00",
        ServerError::UnsupportedCommand(3),
    ),
    (
        "empty name",
        "0401 0050 00000001 user:00 name:00",
        ServerError::BadDomain,
    ),
    (
        "name of dots",
        "0401 0050 00000001 user:00 name:2e2e00",
        ServerError::BadDomain,
    ),
    (
        "BIND by name",
        "0402 0050 00000001 user:00 name:6100",
        ServerError::UnsupportedCommand(2),
    ),
];

#[test]
fn socks5_requests_that_cannot_be_served_are_answered_without_asking() {
    for (name, request, code, error) in V5 {
        let outcome = serve(
            open_owner(),
            &format!("ver:05 nmethods:01 methods:00 {request}"),
        );
        let answer = hex(&format!("ver:05 method:00 ver:05 rep:{code} {UNBOUND}"));
        assert_eq!(outcome.error, Some(error), "{name}");
        assert_eq!(outcome.events, [], "{name}");
        assert_eq!(
            (outcome.sent, outcome.sent_end),
            (answer, End::Fin),
            "{name}"
        );
    }
}

#[test]
fn socks4_requests_that_cannot_be_served_are_answered_without_asking() {
    let endless = format!("0401 0050 7f000001 user:{}", "41".repeat(256));
    let endless = (
        "endless user",
        &*endless,
        malformed(Malformed::Unterminated),
    );
    for (name, request, error) in V4.into_iter().chain([endless]) {
        let outcome = serve(open_owner(), request);
        assert_eq!(outcome.error, Some(error), "{name}");
        assert_eq!(outcome.events, [], "{name}");
        assert_eq!(
            (outcome.sent, outcome.sent_end),
            (hex(REJECTED_V4), End::Fin),
            "{name}"
        );
    }
}

#[test]
fn other_protocols_get_no_answer() {
    for (name, bytes) in [
        ("HTTP", "47455420"),
        ("TLS", "160301"),
        ("NUL", "00"),
        ("SOCKS6", "06"),
    ] {
        let outcome = serve(open_owner(), bytes);
        let first = hex(bytes)[0];
        assert_eq!(
            outcome.error,
            Some(ServerError::UnknownVersion(first)),
            "{name}"
        );
        assert_eq!(
            (outcome.sent, outcome.sent_end),
            (vec![], End::Fin),
            "{name}"
        );
    }
}
