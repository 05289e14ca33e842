use super::{Input, Outcome, Schedule, TIMEOUT, client, hex, login, run, target};
use crate::socks::{
    Client, ClientError, ClientEvent, Command, Credentials, Phase, Version, wire::Malformed,
};
use sansbox_core::{Blame, End, Instant, Pipe, ProtocolError as _, Refusal, StreamProtocol as _};

const SUCCESS: &str = "ver:05 rep:00 rsv:00 atyp:01 addr:c0000209 port:0fa0";

fn dial(mut client: Client, proxy: &str) -> Outcome<ClientEvent, ClientError> {
    let bytes = hex(proxy);
    run(
        &mut client,
        Input::open(&bytes),
        Input::open(b"data"),
        &Schedule::at_once(),
        |_, _| {},
    )
}

fn connected(bound: &str) -> ClientEvent {
    ClientEvent::Connected {
        bound: target(bound),
    }
}

const GRANTED: &str = "vn:00 cd:5a port:0fa0 ip:c0000209";
const OPEN: &str = "ver:05 method:00 ver:05 rep:00 rsv:00 atyp:01 addr:c0000209 port:0fa0";
const GUARDED: &str = "ver:05 method:02 ver:01 status:00 050000 atyp:01 addr:c0000209 port:0fa0";

/// Version, whether there is a login, target, what the proxy says, what the client says.
const REQUESTS: [(Version, bool, &str, &str, &str); 10] = [
    (
        Version::V4,
        false,
        "192.0.2.1:80",
        GRANTED,
        "0401 0050 c0000201 user:00",
    ),
    (
        Version::V4,
        true,
        "192.0.2.1:80",
        GRANTED,
        "0401 0050 c0000201 user:7500",
    ),
    (
        Version::V4,
        false,
        "[::ffff:192.0.2.1]:80",
        GRANTED,
        "0401 0050 c0000201 00",
    ),
    (
        Version::V4a,
        false,
        "192.0.2.1:80",
        GRANTED,
        "0401 0050 c0000201 user:00",
    ),
    (
        Version::V4a,
        false,
        "a.b:80",
        GRANTED,
        "0401 0050 00000001 user:00 name:612e6200",
    ),
    (
        Version::V5,
        false,
        "192.0.2.1:80",
        OPEN,
        "050100 050100 01 c0000201 0050",
    ),
    (
        Version::V5,
        false,
        "a.b:80",
        OPEN,
        "050100 050100 03 len:03 612e62 0050",
    ),
    (
        Version::V5,
        false,
        "[::1]:80",
        OPEN,
        "050100 050100 04 00000000000000000000000000000001 0050",
    ),
    (
        Version::V5,
        true,
        "1.1.1.1:1",
        OPEN,
        "05 02 0002 050100 01 01010101 0001",
    ),
    (
        Version::V5,
        true,
        "1.1.1.1:1",
        GUARDED,
        "05 02 0002 ver:01 ulen:01 75 plen:02 7077 050100 01 01010101 0001",
    ),
];

#[test]
fn every_version_asks_in_its_own_bytes() {
    for (version, has_login, to, proxy, expected) in REQUESTS {
        let credentials = login().filter(|_| has_login);
        let outcome = dial(client(version, credentials, to), proxy);
        let expected = [&hex(expected)[..], b"data"].concat();
        assert_eq!(outcome.sent, expected, "{version:?} {to}");
        assert_eq!(
            outcome.events,
            [connected("192.0.2.9:4000")],
            "{version:?} {to}"
        );
        assert_eq!(outcome.error, None);
    }
}

#[test]
fn what_a_version_cannot_carry_is_an_error_at_once() {
    use ClientError::{AddressUnsupported, BadUserId, CommandUnsupported};
    let nul = Credentials::new(b"a\0b", b"").ok();
    let connect = Command::Connect;
    let cases = [
        (Version::V4, None, connect, "a.b:80", AddressUnsupported),
        (
            Version::V4,
            None,
            connect,
            "[2001:db8::1]:80",
            AddressUnsupported,
        ),
        (Version::V4, None, connect, "0.0.0.7:80", AddressUnsupported),
        (
            Version::V4a,
            None,
            connect,
            "[2001:db8::1]:80",
            AddressUnsupported,
        ),
        (
            Version::V4a,
            None,
            connect,
            "0.0.0.7:80",
            AddressUnsupported,
        ),
        (Version::V4, nul.clone(), connect, "1.1.1.1:80", BadUserId),
        (Version::V4a, nul, connect, "1.1.1.1:80", BadUserId),
        (
            Version::V4,
            None,
            Command::UdpAssociate,
            "1.1.1.1:80",
            CommandUnsupported,
        ),
        (
            Version::V4a,
            None,
            Command::UdpAssociate,
            "1.1.1.1:80",
            CommandUnsupported,
        ),
    ];
    for (version, credentials, command, to, expected) in cases {
        let (now, to) = (Instant::ZERO, target(to));
        let made = Client::new(now, version, credentials, command, to, TIMEOUT);
        assert_eq!(made.err(), Some(expected), "{version:?}");
        assert_eq!(expected.blame(), Blame::Local);
    }
    let long = [b'a'; 256];
    assert!(Credentials::new(&long, b"").is_err());
    assert!(Credentials::new(b"", &long).is_err());
    assert!(Credentials::new(&long[1..], &long[1..]).is_ok());
}

#[test]
fn replies_bind_to_whatever_real_servers_send() {
    let cases = [
        ("atyp:01 addr:00000000 port:0000", "0.0.0.0:0"),
        (
            "atyp:04 addr:00000000000000000000000000000001 port:0050",
            "[::1]:80",
        ),
        ("atyp:03 len:03 addr:612e62 port:0050", "a.b:80"),
        (
            "atyp:03 len:09 addr:3132372e302e302e31 port:0050",
            "127.0.0.1:80",
        ),
        ("atyp:03 len:00 port:0000", "0.0.0.0:0"),
        ("atyp:03 len:01 addr:00 port:0050", "0.0.0.0:80"),
    ];
    for (bound, expected) in cases {
        let proxy = format!("ver:05 method:00 ver:05 rep:00 rsv:00 {bound} payload:7061");
        let outcome = dial(client(Version::V5, None, "a.b:1"), &proxy);
        assert_eq!(outcome.events, [connected(expected)], "{bound}");
        assert_eq!(outcome.delivered, b"pa", "{bound}");
    }
}

#[test]
fn every_reply_code_maps_to_a_refusal() {
    let cases = [
        (1, Refusal::General),
        (2, Refusal::Policy),
        (3, Refusal::NetworkUnreachable),
        (4, Refusal::HostUnreachable),
        (5, Refusal::ConnectionRefused),
        (6, Refusal::TtlExpired),
        (7, Refusal::CommandUnsupported),
        (8, Refusal::AddressUnsupported),
        (9, Refusal::General),
        (255, Refusal::General),
    ];
    for (code, refusal) in cases {
        // A whole reply, one with an address of no type, and one that ends after the code.
        for rest in [
            "rsv:00 atyp:01 addr:00000000 port:0000",
            "rsv:00 atyp:00",
            "",
        ] {
            let proxy = format!("ver:05 method:00 ver:05 rep:{code:02x} {rest}");
            let outcome = dial(client(Version::V5, None, "a.b:1"), &proxy);
            let error = outcome.error.unwrap();
            assert_eq!(
                (error, error.refusal()),
                (ClientError::RefusedV5(code), refusal)
            );
            assert_eq!((outcome.events, outcome.sent_end), (vec![], End::Fin));
            assert!(!outcome.sent.ends_with(b"data"));
        }
    }
    for (code, refusal) in [
        (0x5b, Refusal::General),
        (0x5c, Refusal::UpstreamAuth),
        (0x5d, Refusal::UpstreamAuth),
        (0, Refusal::General),
    ] {
        let proxy = format!("vn:00 cd:{code:02x} port:0000 ip:00000000");
        let error = dial(client(Version::V4, None, "1.1.1.1:1"), &proxy)
            .error
            .unwrap();
        assert_eq!(
            (error, error.refusal()),
            (ClientError::RefusedV4(code), refusal)
        );
    }
}

const fn malformed(phase: Phase, source: Malformed) -> ClientError {
    ClientError::Malformed { phase, source }
}

/// Whether there is a login, what the proxy says, what the client makes of it.
const MISBEHAVIOUR: [(bool, &str, ClientError); 10] = [
    (false, "ver:05 method:ff", ClientError::NoAcceptableMethod),
    (true, "ver:05 method:ff", ClientError::NoAcceptableMethod),
    (false, "ver:05 method:02", ClientError::UnofferedMethod(2)),
    (true, "ver:05 method:01", ClientError::UnofferedMethod(1)),
    (
        true,
        "ver:05 method:02 ver:01 status:01",
        ClientError::AuthRefused,
    ),
    (
        true,
        "ver:05 method:02 ver:01 status:ff",
        ClientError::AuthRefused,
    ),
    (
        true,
        "ver:05 method:02 ver:02",
        malformed(Phase::AuthStatus, Malformed::Version),
    ),
    (
        false,
        "48545450",
        malformed(Phase::MethodSelection, Malformed::Version),
    ),
    (
        false,
        "ver:05 method:00 ver:04",
        malformed(Phase::Reply, Malformed::Version),
    ),
    (
        false,
        "0500 ver:05 rep:00 rsv:00 atyp:02",
        malformed(Phase::Reply, Malformed::AddressType),
    ),
];

#[test]
fn proxies_that_misbehave_are_told_apart() {
    for (has_login, proxy, expected) in MISBEHAVIOUR {
        let credentials = login().filter(|_| has_login);
        let outcome = dial(client(Version::V5, credentials, "a.b:1"), proxy);
        assert_eq!(outcome.error, Some(expected), "{proxy}");
        assert_eq!(
            (outcome.events, outcome.sent_end),
            (vec![], End::Fin),
            "{proxy}"
        );
    }
}

#[test]
fn upstream_errors_map_to_refusals() {
    let cases = [
        (ClientError::AddressUnsupported, Refusal::AddressUnsupported),
        (ClientError::CommandUnsupported, Refusal::CommandUnsupported),
        (ClientError::BadUserId, Refusal::UpstreamAuth),
        (ClientError::NoAcceptableMethod, Refusal::UpstreamAuth),
        (ClientError::AuthRefused, Refusal::UpstreamAuth),
        (ClientError::UnofferedMethod(2), Refusal::UpstreamProtocol),
        (
            malformed(Phase::Reply, Malformed::Version),
            Refusal::UpstreamProtocol,
        ),
        (
            ClientError::UnexpectedEof(Phase::Reply),
            Refusal::UpstreamProtocol,
        ),
        (ClientError::Reset(Phase::Reply), Refusal::UpstreamProtocol),
        (ClientError::TimedOut(Phase::Reply), Refusal::TimedOut),
    ];
    for (error, refusal) in cases {
        assert_eq!(error.refusal(), refusal, "{error}");
    }
}

#[test]
fn nothing_of_the_application_is_sent_before_the_reply() {
    let mut client = client(Version::V5, None, "a.b:1");
    let outcome = run(
        &mut client,
        Input::open(&hex("ver:05 method:00")),
        Input::ended(b"data"),
        &Schedule::at_once(),
        |_, _| {},
    );
    assert!(outcome.sent.ends_with(&hex("612e62 port:0001")));
    assert_eq!(outcome.sent_end, End::Open);
    assert!(!client.is_transparent());
}

#[test]
fn an_association_reports_its_relay_and_carries_only_its_end() {
    let (now, to) = (Instant::ZERO, target("0.0.0.0:0"));
    let command = Command::UdpAssociate;
    let mut client = Client::new(now, Version::V5, None, command, to, TIMEOUT).unwrap();
    let proxy = hex(&format!("ver:05 method:00 {SUCCESS} 6a756e6b"));
    let (peer, local) = (
        Input::ended(&proxy),
        Input::open(b"nothing of this is sent"),
    );
    let outcome = run(&mut client, peer, local, &Schedule::trickle(), |_, _| {});
    assert_eq!(outcome.sent, hex("05 01 00 050300 01 00000000 0000"));
    assert_eq!(outcome.events, [connected("192.0.2.9:4000")]);
    assert_eq!(
        (outcome.delivered, outcome.delivered_end),
        (vec![], End::Fin)
    );
    assert_eq!(
        (outcome.sent_end, client.is_transparent()),
        (End::Open, false)
    );
}

#[test]
fn a_reset_of_the_application_aborts_the_handshake() {
    let mut client = client(Version::V5, None, "a.b:1");
    let [mut app, mut wire] = [(); 2].map(|()| Pipe::new(64));
    let _ = client
        .poll_transmit(Instant::ZERO, &mut app, &mut wire)
        .unwrap();
    let _ = app.reset();
    let _ = client
        .poll_transmit(Instant::ZERO, &mut app, &mut wire)
        .unwrap();
    assert_eq!((wire.end(), client.poll_timeout()), (End::Reset, None));
}
