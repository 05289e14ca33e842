use super::{Input, Owner, Schedule, hex, open_owner, password_owner, target};
use crate::Secret;
use crate::socks::{
    Command, Phase, ServerError, ServerEvent,
    wire::{Malformed, v4},
};
use sansbox_core::{End, Instant, Pipe, Progress, Refusal, StreamProtocol as _};
use std::net::SocketAddr;

pub(super) const GREETING: &str = "ver:05 nmethods:01 methods:00";
const CONNECT: &str = "ver:05 cmd:01 rsv:00 atyp:01 addr:c0000201 port:0050";
const ASSOCIATE: &str = "ver:05 cmd:03 rsv:00 atyp:01 addr:00000000 port:0000";
const CONNECT_V4: &str = "vn:04 cd:01 port:0050 ip:c0000201 user:00";
const NO_BOUND: &str = "rsv:00 atyp:01 addr:00000000 port:0000";

pub(super) fn request(command: Command, to: &str) -> ServerEvent {
    ServerEvent::Request {
        command,
        target: target(to),
    }
}

/// What the server sends and does when `client` arrives at once and stays open.
pub(super) fn serve(owner: Owner, client: &str) -> super::Outcome<ServerEvent, ServerError> {
    owner.run(
        Input::open(&hex(client)),
        Input::open(&[]),
        &Schedule::at_once(),
    )
}

#[test]
fn connect_is_asked_answered_and_then_transparent() {
    let cases = [
        (
            format!("{GREETING} {CONNECT}"),
            "192.0.2.1:80",
            "ver:05 method:00 ver:05 rep:00 rsv:00 atyp:01 addr:c0000209 port:0fa0",
        ),
        (
            CONNECT_V4.to_owned(),
            "192.0.2.1:80",
            "vn:00 cd:5a port:0fa0 ip:c0000209",
        ),
        (
            "vn:04 cd:01 port:01bb ip:00000007 user:626f6200 name:612e6200".to_owned(),
            "a.b:443",
            "vn:00 cd:5a port:0fa0 ip:c0000209",
        ),
    ];
    for (client, to, answer) in cases {
        let mut bytes = hex(&client);
        bytes.extend_from_slice(b"early");
        let local = Input::ended(b"late");
        let outcome = open_owner().run(Input::ended(&bytes), local, &Schedule::at_once());
        assert_eq!(outcome.events, [request(Command::Connect, to)], "{client}");
        assert_eq!(outcome.error, None, "{client}");
        let expected = [&hex(answer)[..], b"late"].concat();
        assert_eq!(
            (outcome.sent, outcome.sent_end),
            (expected, End::Fin),
            "{client}"
        );
        assert_eq!(outcome.delivered, b"early", "{client}");
        assert_eq!(outcome.delivered_end, End::Fin, "{client}");
    }
}

#[test]
fn nothing_is_read_while_a_decision_is_pending() {
    let mut server = password_owner(true).server();
    let [mut wire, mut app, mut out] = [(); 3].map(|()| Pipe::new(4096));
    let mut round = |server: &mut crate::socks::Server, wire: &mut Pipe| {
        let mut local = Pipe::new(1);
        loop {
            let input = server.handle_input(Instant::ZERO, wire, &mut app).unwrap();
            let output = server
                .poll_transmit(Instant::ZERO, &mut local, &mut out)
                .unwrap();
            if input | output == Progress::NONE {
                return (wire.len(), app.len());
            }
        }
    };
    wire.push_slice(&hex(
        "ver:05 nmethods:01 methods:02 ver:01 ulen:01 uname:75 plen:00",
    ));
    wire.push_slice(&hex(CONNECT));
    wire.push_slice(b"early");
    assert_eq!(round(&mut server, &mut wire), (10 + 5, 0));
    let secret = Secret::new;
    let expected = ServerEvent::Auth {
        username: secret(b"u"),
        password: secret(b""),
    };
    assert_eq!(server.poll_event(), Some(expected));
    server.auth_result(true);
    assert_eq!(round(&mut server, &mut wire), (5, 0));
    assert!(!server.is_transparent());
    server.accept(SocketAddr::from(([1, 1, 1, 1], 1)));
    assert!(!server.is_transparent(), "the reply is still to be sent");
    assert_eq!(round(&mut server, &mut wire), (0, 5));
    assert!(server.is_transparent());
}

#[test]
fn every_refusal_has_its_reply_code() {
    let cases = [
        (Refusal::ConnectionRefused, Some(5)),
        (Refusal::NetworkUnreachable, Some(3)),
        (Refusal::HostUnreachable, Some(4)),
        (Refusal::NameNotFound, Some(4)),
        (Refusal::ResolverFailed, Some(4)),
        (Refusal::TimedOut, Some(4)),
        (Refusal::TtlExpired, Some(6)),
        (Refusal::Policy, Some(2)),
        (Refusal::Dropped, None),
        (Refusal::PrivateAddress, Some(2)),
        (Refusal::CommandUnsupported, Some(7)),
        (Refusal::AddressUnsupported, Some(8)),
        (Refusal::UpstreamAuth, Some(1)),
        (Refusal::UpstreamProtocol, Some(1)),
        (Refusal::Loop, Some(1)),
        (Refusal::Exhausted, Some(1)),
        (Refusal::General, Some(1)),
        (Refusal::Prohibited, Some(2)),
    ];
    assert_eq!(cases.map(|(why, _)| why), Refusal::ALL);
    for (why, code) in cases {
        let owner = Owner {
            verdict: Err(why),
            ..open_owner()
        };
        let reply = code.map(|code| format!("ver:05 rep:{code:02x} {NO_BOUND}"));
        let expected = hex(&format!("ver:05 method:00 {}", reply.unwrap_or_default()));
        let outcome = serve(owner, &format!("{GREETING} {CONNECT}"));
        assert_eq!(
            (outcome.sent, outcome.sent_end),
            (expected, End::Fin),
            "{why}"
        );
        assert_eq!(outcome.error, None, "{why}");

        let expected = hex(code.map_or("", |_| "vn:00 cd:5b port:0000 ip:00000000"));
        let outcome = serve(owner, CONNECT_V4);
        assert_eq!(
            (outcome.sent, outcome.sent_end),
            (expected, End::Fin),
            "{why}"
        );
    }
}

#[test]
fn bytes_behind_a_refused_request_are_thrown_away() {
    let owner = Owner {
        verdict: Err(Refusal::Policy),
        ..open_owner()
    };
    let bytes = [hex(GREETING), hex(CONNECT), vec![b'x'; 5000]].concat();
    let outcome = owner.run(Input::ended(&bytes), Input::open(&[]), &Schedule::at_once());
    assert_eq!(outcome.delivered, b"");
    assert_eq!(outcome.sent_end, End::Fin);
}

#[test]
fn methods_are_chosen_by_what_the_inbound_has() {
    let (open, users) = (open_owner(), password_owner(true));
    let cases = [
        (open, "nmethods:01 methods:00", Some("00")),
        (open, "nmethods:02 methods:0200", Some("00")),
        (open, "nmethods:03 methods:000102", Some("00")),
        (open, "nmethods:01 methods:02", None),
        (open, "nmethods:00", None),
        (users, "nmethods:01 methods:02", Some("02")),
        (users, "nmethods:03 methods:000102", Some("02")),
        (users, "nmethods:02 methods:0001", None),
        (users, "nmethods:01 methods:ff", None),
        (users, "nmethods:00", None),
    ];
    for (owner, methods, chosen) in cases {
        let outcome = serve(owner, &format!("ver:05 {methods}"));
        let expected = hex(&format!("ver:05 method:{}", chosen.unwrap_or("ff")));
        assert_eq!(outcome.sent, expected, "{methods}");
        let (error, end) = match chosen {
            Some(_) => (None, End::Open),
            None => (Some(ServerError::NoAcceptableMethod), End::Fin),
        };
        assert_eq!((outcome.error, outcome.sent_end), (error, end), "{methods}");
    }
}

#[test]
fn logins_are_put_to_the_owner_and_answered() {
    let login = "ver:05 nmethods:01 methods:02 ver:01 ulen:01 uname:75 plen:02 passwd:7077";
    let client = format!("{login} {CONNECT}");
    let outcome = serve(password_owner(true), &client);
    assert_eq!(outcome.events.len(), 2);
    assert_eq!(
        outcome.sent,
        hex("ver:05 method:02 ver:01 status:00 ver:05 rep:00 rsv:00 atyp:01 c0000209 0fa0")
    );

    let outcome = serve(password_owner(false), &client);
    let (username, password) = (Secret::new(b"u"), Secret::new(b"pw"));
    assert_eq!(outcome.events, [ServerEvent::Auth { username, password }]);
    assert_eq!(outcome.sent, hex("ver:05 method:02 ver:01 status:01"));
    assert_eq!((outcome.sent_end, outcome.error), (End::Fin, None));

    let outcome = serve(password_owner(true), &login.replace("ver:01", "ver:05"));
    let (phase, source) = (Phase::Auth, Malformed::Version);
    assert_eq!(
        outcome.error,
        Some(ServerError::Malformed { phase, source })
    );
    assert_eq!(outcome.sent, hex("ver:05 method:02 ver:01 status:01"));
    assert_eq!((outcome.sent_end, outcome.events), (End::Fin, vec![]));
}

#[test]
fn socks4_is_refused_where_there_are_users() {
    for client in [
        CONNECT_V4,
        "vn:04 cd:01 port:0050 ip:00000001 user:7500 name:612e6200",
    ] {
        let outcome = serve(password_owner(true), client);
        assert_eq!(outcome.error, Some(ServerError::UsersRequired));
        assert_eq!((outcome.events, outcome.sent_end), (vec![], End::Fin));
        assert_eq!(outcome.sent, hex("vn:00 cd:5d port:0000 ip:00000000"));
    }
    assert_eq!(v4::code::USER_ID, 0x5d);
}

#[test]
fn bound_addresses_are_told_as_the_version_can() {
    let v5 = format!("{GREETING} {CONNECT}");
    let cases = [
        (v5.as_str(), "[2001:db8::1]:80", {
            "0500 050000 atyp:04 addr:20010db8000000000000000000000001 port:0050"
        }),
        (
            &v5,
            "[::ffff:192.0.2.7]:80",
            "0500 050000 atyp:01 addr:c0000207 port:0050",
        ),
        (
            CONNECT_V4,
            "192.0.2.7:80",
            "vn:00 cd:5a port:0050 ip:c0000207",
        ),
        (
            CONNECT_V4,
            "[::ffff:192.0.2.7]:80",
            "vn:00 cd:5a port:0050 ip:c0000207",
        ),
        (
            CONNECT_V4,
            "[2001:db8::1]:80",
            "vn:00 cd:5a port:0050 ip:00000000",
        ),
    ];
    for (client, bound, answer) in cases {
        let owner = Owner {
            verdict: Ok(bound.parse().unwrap()),
            ..open_owner()
        };
        assert_eq!(serve(owner, client).sent, hex(answer), "{bound}");
    }
}

#[test]
fn the_control_connection_of_an_association_carries_only_its_end() {
    let bytes = [hex(GREETING), hex(ASSOCIATE), vec![b'x'; 5000]].concat();
    let local = Input::ended(b"nothing of this is sent");
    for schedule in [Schedule::at_once(), Schedule::trickle()] {
        let outcome = open_owner().run(Input::ended(&bytes), local.clone(), &schedule);
        assert_eq!(
            outcome.events,
            [request(Command::UdpAssociate, "0.0.0.0:0")]
        );
        assert_eq!(
            outcome.sent,
            hex("0500 ver:05 rep:00 rsv:00 atyp:01 c0000209 0fa0")
        );
        assert_eq!(
            (outcome.delivered, outcome.delivered_end),
            (vec![], End::Fin)
        );
        assert_eq!(outcome.sent_end, End::Fin);
    }
    let open = open_owner().run(Input::open(&bytes), Input::open(&[]), &Schedule::at_once());
    assert_eq!((open.delivered_end, open.sent_end), (End::Open, End::Open));
}

#[test]
fn an_association_may_name_a_host_that_is_none() {
    // PySocks: the name `0` and the port that it has bound.
    let named = "ver:05 cmd:03 rsv:00 atyp:03 len:01 name:30 port:1f40";
    let bytes = [hex(GREETING), hex(named)].concat();
    let outcome = open_owner().run(Input::ended(&bytes), Input::open(&[]), &Schedule::at_once());
    assert_eq!(
        outcome.events,
        [request(Command::UdpAssociate, "0.0.0.0:8000")]
    );
}

#[test]
fn the_reset_of_a_control_connection_is_passed_on() {
    let mut server = open_owner().server();
    let [mut wire, mut app, mut local, mut out] = [(); 4].map(|()| Pipe::new(4096));
    wire.push_slice(&[hex(GREETING), hex(ASSOCIATE)].concat());
    for _ in 0..8 {
        let _ = server
            .handle_input(Instant::ZERO, &mut wire, &mut app)
            .unwrap();
        let _ = server
            .poll_transmit(Instant::ZERO, &mut local, &mut out)
            .unwrap();
        if server.poll_event().is_some() {
            server.accept(SocketAddr::from(([1, 1, 1, 1], 1)));
        }
    }
    assert!(!server.is_transparent());
    let _ = wire.reset();
    let _ = server
        .handle_input(Instant::ZERO, &mut wire, &mut app)
        .unwrap();
    assert_eq!(app.end(), End::Reset);
}

#[test]
fn answers_that_are_not_due_do_nothing() {
    let bound = SocketAddr::from(([1, 1, 1, 1], 1));
    let mut server = open_owner().server();
    server.auth_result(true);
    server.accept(bound);
    let mut answer = |server: &mut crate::socks::Server, _: &ServerEvent| {
        server.accept(bound);
        server.accept(SocketAddr::from(([2, 2, 2, 2], 2)));
        server.refuse(Refusal::General);
        server.auth_result(false);
    };
    let peer = Input::open(&[hex(GREETING), hex(CONNECT), b"x".to_vec()].concat());
    let schedule = Schedule::at_once();
    let outcome = super::run(&mut server, peer, Input::open(&[]), &schedule, &mut answer);
    assert_eq!(
        outcome.sent,
        hex("0500 ver:05 rep:00 rsv:00 atyp:01 01010101 0001")
    );
    assert_eq!(
        (outcome.delivered, outcome.sent_end),
        (b"x".to_vec(), End::Open)
    );
}

#[test]
fn refusing_before_there_is_a_request_closes_without_a_word() {
    let mut server = open_owner().server();
    let [mut wire, mut app, mut local, mut out] = [(); 4].map(|()| Pipe::new(4096));
    wire.push_slice(&hex(GREETING));
    let _ = server
        .handle_input(Instant::ZERO, &mut wire, &mut app)
        .unwrap();
    let _ = server
        .handle_input(Instant::ZERO, &mut wire, &mut app)
        .unwrap();
    server.refuse(Refusal::Exhausted);
    let _ = server
        .poll_transmit(Instant::ZERO, &mut local, &mut out)
        .unwrap();
    assert_eq!((out.len(), out.end()), (0, End::Fin));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn events_print_no_names_and_no_passwords() {
    let (username, password) = (Secret::new(b"alice"), Secret::new(b"hunter2"));
    let event = ServerEvent::Auth {
        username: username.clone(),
        password,
    };
    assert_eq!(
        format!("{event:?}"),
        "Auth { username: Secret(..), password: Secret(..) }"
    );
    assert!(username.matches(b"alice") && !username.matches(b"alicf"));
    assert!(!username.matches(b"alic") && !username.matches(b""));
    let credentials = super::login();
    assert!(!format!("{credentials:?}").contains("pw"));
}
