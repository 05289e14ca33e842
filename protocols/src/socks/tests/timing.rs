//! Deadlines, ends and resets in every phase.
use super::{Input, Schedule, TIMEOUT, client, hex, login, open_owner, password_owner, run};
use crate::socks::{Client, ClientError, Phase, Server, ServerError, Version};
use sansbox_core::{
    Blame, Closing, End, Instant, Pipe, Progress, ProtocolError as _, StreamProtocol,
};
use std::time::Duration;

const LOGIN: &str = "ver:05 nmethods:01 methods:02 ver:01 ulen:01 uname:75 plen:01 passwd:70";
const CONNECT: &str = "ver:05 cmd:01 rsv:00 atyp:01 addr:c0000201 port:0050";

/// The phase in which a server with users is after `n` octets of `LOGIN CONNECT`.
fn server_phase(n: usize) -> Phase {
    match n {
        0..3 => Phase::Greeting,
        3..8 => Phase::Auth,
        _ => Phase::Request,
    }
}

/// The phase in which a client with a login is after `n` octets of the proxy.
fn client_phase(n: usize) -> Phase {
    match n {
        0..2 => Phase::MethodSelection,
        2..4 => Phase::AuthStatus,
        _ => Phase::Reply,
    }
}

const PROXY: &str = "ver:05 method:02 ver:01 status:00 ver:05 rep:00 rsv:00 atyp:01 c0000209 0fa0";

fn feed_server(bytes: &[u8]) -> Server {
    let mut server = password_owner(true).server();
    let peer = Input::open(bytes);
    let nothing = Input::open(&[]);
    let outcome = run(
        &mut server,
        peer,
        nothing,
        &Schedule::at_once(),
        |server, event| {
            if matches!(event, crate::socks::ServerEvent::Auth { .. }) {
                server.auth_result(true);
            }
        },
    );
    assert_eq!(outcome.error, None);
    server
}

fn feed_client(bytes: &[u8]) -> Client {
    let mut client = client(Version::V5, login(), "a.b:1");
    let (peer, nothing) = (Input::open(bytes), Input::open(&[]));
    let outcome = run(&mut client, peer, nothing, &Schedule::at_once(), |_, _| {});
    assert_eq!(outcome.error, None);
    client
}

/// Fires the timer too early, in time, and again; returns the error and how `wire` then ends.
fn fire<M: StreamProtocol>(machine: &mut M) -> (Option<M::Error>, End) {
    let due = Instant::ZERO + TIMEOUT;
    assert_eq!(machine.poll_timeout(), Some(due));
    let early = Instant::ZERO + (TIMEOUT - Duration::from_nanos(1));
    assert_eq!(machine.handle_timeout(early).ok(), Some(Progress::NONE));
    let error = machine.handle_timeout(due).err();
    assert_eq!(machine.poll_timeout(), None, "a fired timer is cleared");
    assert_eq!(
        machine.handle_timeout(Instant::FAR).ok(),
        Some(Progress::NONE)
    );
    let [mut app, mut wire] = [(); 2].map(|()| Pipe::new(64));
    while machine.poll_transmit(due, &mut app, &mut wire).ok() == Some(Progress::MADE) {}
    (error, wire.end())
}

#[test]
fn a_client_that_stalls_at_any_octet_times_out_and_names_the_phase() {
    let all = hex(&format!("{LOGIN} {CONNECT}"));
    for n in 0..all.len() {
        let (error, end) = fire(&mut feed_server(&all[..n]));
        assert_eq!(
            error,
            Some(ServerError::TimedOut(server_phase(n))),
            "{n} octets"
        );
        assert_eq!(end, End::Fin);
    }
    let mut server = feed_server(&all);
    assert_eq!(
        server.poll_timeout(),
        None,
        "the owner's dial has its own budget"
    );
    assert_eq!(server.handle_timeout(Instant::FAR), Ok(Progress::NONE));
}

#[test]
fn a_proxy_that_stalls_at_any_octet_times_out_and_names_the_phase() {
    let all = hex(PROXY);
    for n in 0..all.len() {
        let (error, end) = fire(&mut feed_client(&all[..n]));
        assert_eq!(
            error,
            Some(ClientError::TimedOut(client_phase(n))),
            "{n} octets"
        );
        assert_eq!(end, End::Fin);
    }
    assert_eq!(feed_client(&all).poll_timeout(), None);
}

#[test]
fn a_client_that_ends_at_any_octet_is_an_unexpected_eof() {
    let all = hex(&format!("{LOGIN} {CONNECT}"));
    for n in 0..all.len() {
        for schedule in [Schedule::at_once(), Schedule::trickle()] {
            let peer = Input::ended(&all[..n]);
            let outcome = password_owner(true).run(peer, Input::open(&[]), &schedule);
            let expected = ServerError::UnexpectedEof(server_phase(n));
            assert_eq!(
                (outcome.error, outcome.sent_end),
                (Some(expected), End::Fin),
                "{n}"
            );
        }
    }
    let v4 = hex("vn:04 cd:01 port:0050 ip:00000001 user:7500 name:612e6200");
    for n in 1..v4.len() {
        let peer = Input::ended(&v4[..n]);
        let outcome = open_owner().run(peer, Input::open(&[]), &Schedule::at_once());
        assert_eq!(
            outcome.error,
            Some(ServerError::UnexpectedEof(Phase::Request)),
            "{n}"
        );
    }
}

#[test]
fn a_proxy_that_ends_at_any_octet_is_an_unexpected_eof() {
    let all = hex(PROXY);
    for n in 0..all.len() {
        let mut client = client(Version::V5, login(), "a.b:1");
        let (peer, local) = (Input::ended(&all[..n]), Input::open(b"data"));
        let outcome = run(&mut client, peer, local, &Schedule::at_once(), |_, _| {});
        let expected = ClientError::UnexpectedEof(client_phase(n));
        assert_eq!(
            (outcome.error, outcome.sent_end),
            (Some(expected), End::Fin),
            "{n} octets"
        );
    }
}

#[test]
fn a_client_that_resets_is_an_error_until_it_is_answered() {
    let all = hex(&format!("{LOGIN} {CONNECT}"));
    for n in 0..=all.len() {
        let mut server = feed_server(&all[..n]);
        let [mut wire, mut app, mut local, mut out] = [(); 4].map(|()| Pipe::new(64));
        let _ = wire.reset();
        let error = server.handle_input(Instant::ZERO, &mut wire, &mut app);
        assert_eq!(
            error,
            Err(ServerError::Reset(server_phase(n))),
            "{n} octets"
        );
        let _ = server
            .poll_transmit(Instant::ZERO, &mut local, &mut out)
            .unwrap();
        assert_eq!((out.end(), server.poll_timeout()), (End::Reset, None));
    }
}

#[test]
fn a_proxy_that_resets_is_an_error_until_its_reply() {
    let all = hex(PROXY);
    for n in 0..all.len() {
        let mut client = feed_client(&all[..n]);
        let [mut wire, mut app] = [(); 2].map(|()| Pipe::new(64));
        let _ = wire.reset();
        let error = client.handle_input(Instant::ZERO, &mut wire, &mut app);
        assert_eq!(
            error,
            Err(ClientError::Reset(client_phase(n))),
            "{n} octets"
        );
    }
    let mut client = feed_client(&all);
    let [mut wire, mut app] = [(); 2].map(|()| Pipe::new(64));
    let _ = wire.reset();
    let _ = client
        .handle_input(Instant::ZERO, &mut wire, &mut app)
        .unwrap();
    assert_eq!(
        app.end(),
        End::Reset,
        "after the handshake a reset travels in the pipe"
    );
}

#[test]
fn an_error_without_a_reply_takes_back_what_was_not_yet_sent() {
    let greeting = hex("ver:05 nmethods:01 methods:02");
    for is_reset in [true, false] {
        let mut server = password_owner(true).server();
        let [mut wire, mut app, mut local] = [(); 3].map(|()| Pipe::new(64));
        wire.push_slice(&greeting);
        for _ in 0..2 {
            let _ = server
                .handle_input(Instant::ZERO, &mut wire, &mut app)
                .unwrap();
        }
        let mut full = Pipe::new(1);
        full.push_slice(b"x");
        let _ = server
            .poll_transmit(Instant::ZERO, &mut local, &mut full)
            .unwrap();
        assert_eq!(
            (full.len(), full.end()),
            (1, End::Open),
            "no room for the answer"
        );
        let (error, end) = if is_reset {
            let _ = wire.reset();
            let error = server
                .handle_input(Instant::ZERO, &mut wire, &mut app)
                .err();
            (error.map(|e| e.closing()), End::Reset)
        } else {
            (
                server
                    .handle_timeout(Instant::FAR)
                    .err()
                    .map(|e| e.closing()),
                End::Fin,
            )
        };
        assert!(error.is_some());
        let _ = server
            .poll_transmit(Instant::ZERO, &mut local, &mut full)
            .unwrap();
        assert_eq!(full.end(), end);
    }
}

#[test]
fn an_event_that_an_error_overtook_is_withdrawn() {
    let mut server = open_owner().server();
    let [mut wire, mut app, mut local, mut out] = [(); 4].map(|()| Pipe::new(64));
    wire.push_slice(&[hex("ver:05 nmethods:01 methods:00"), hex(CONNECT)].concat());
    for _ in 0..4 {
        let _ = server
            .handle_input(Instant::ZERO, &mut wire, &mut app)
            .unwrap();
        let _ = server
            .poll_transmit(Instant::ZERO, &mut local, &mut out)
            .unwrap();
    }
    let _ = wire.reset();
    let error = server.handle_input(Instant::ZERO, &mut wire, &mut app);
    assert_eq!(error, Err(ServerError::Reset(Phase::Request)));
    assert_eq!(server.poll_event(), None);
}

#[test]
fn nothing_is_sent_into_a_wire_that_is_full_or_has_ended() {
    let mut client = client(Version::V5, None, "a.b:1");
    let [mut app, mut full, mut ended] = [(); 3].map(|()| Pipe::new(1));
    full.push_slice(b"x");
    let _ = ended.finish();
    for wire in [&mut full, &mut ended] {
        let progress = client.poll_transmit(Instant::ZERO, &mut app, wire);
        assert_eq!(progress, Ok(Progress::NONE));
    }
    full.skip(1);
    let _ = client
        .poll_transmit(Instant::ZERO, &mut app, &mut full)
        .unwrap();
    assert_eq!(
        full.front(3),
        Some(&hex("ver:05 nmethods:01 methods:00")[..])
    );
}

#[test]
fn a_second_drain_does_nothing() {
    let all = hex(&format!("{LOGIN} {CONNECT}"));
    for n in 0..=all.len() {
        let mut server = feed_server(&all[..n]);
        let [mut wire, mut app, mut local, mut out] = [(); 4].map(|()| Pipe::new(64));
        let input = server.handle_input(Instant::ZERO, &mut wire, &mut app);
        let output = server.poll_transmit(Instant::ZERO, &mut local, &mut out);
        assert_eq!(
            (input, output),
            (Ok(Progress::NONE), Ok(Progress::NONE)),
            "{n} octets"
        );
    }
}

#[test]
fn errors_say_whose_fault_they_are_and_how_to_close() {
    let cases = [
        (ServerError::UnknownVersion(0), Blame::Peer, Closing::Fin),
        (
            ServerError::NoAcceptableMethod,
            Blame::Policy,
            Closing::Reply,
        ),
        (ServerError::UsersRequired, Blame::Policy, Closing::Reply),
        (
            ServerError::UnsupportedCommand(2),
            Blame::Peer,
            Closing::Reply,
        ),
        (ServerError::BadDomain, Blame::Peer, Closing::Reply),
        (
            ServerError::UnexpectedEof(Phase::Auth),
            Blame::Peer,
            Closing::Fin,
        ),
        (
            ServerError::TimedOut(Phase::Request),
            Blame::Peer,
            Closing::Fin,
        ),
        (
            ServerError::Reset(Phase::Request),
            Blame::Peer,
            Closing::Reset,
        ),
    ];
    for (error, blame, closing) in cases {
        assert_eq!(
            (error.blame(), error.closing()),
            (blame, closing),
            "{error}"
        );
    }
    let timeout = ServerError::TimedOut(Phase::Request);
    assert_eq!(timeout.to_string(), "timed out waiting for the request");
}
