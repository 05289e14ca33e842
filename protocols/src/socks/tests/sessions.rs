//! Whole sessions: any chunking and any room gives the same; client and server understand each
//! other.
use super::{Input, Outcome, Owner, Schedule, TIMEOUT, run};
use crate::socks::{
    Auth, Client, ClientError, ClientEvent, Command, Credentials, Server, ServerError, ServerEvent,
    Version,
};
use proptest::prelude::*;
use sansbox_core::{
    Domain, End, Host, Instant, Pipe, Progress, Refusal, StreamProtocol as _, Target,
};
use std::net::{IpAddr, SocketAddr};

fn schedule() -> impl Strategy<Value = Schedule> {
    let size = || prop_oneof![Just(1_usize), 1..8_usize, 1..600_usize];
    (proptest::collection::vec(size(), 1..12), size(), size()).prop_map(|(chunks, room, drain)| {
        Schedule {
            chunks,
            room,
            drain,
        }
    })
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

fn target() -> impl Strategy<Value = Target> {
    let name = "[a-z][a-z0-9-]{0,20}[a-z](\\.[a-z0-9_]{1,10}){0,3}\\.?"
        .prop_map(|name| Host::Domain(Domain::parse(name.as_bytes()).unwrap()));
    let host = prop_oneof![ip().prop_map(Host::Ip), name];
    (host, any::<u16>()).prop_map(|(host, port)| Target::new(host, port))
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..900)
}

fn input(bytes: Vec<u8>, ends: bool) -> Input {
    let end = if ends { End::Fin } else { End::Open };
    Input { bytes, end }
}

fn owner() -> impl Strategy<Value = Owner> {
    let auth = prop_oneof![Just(Auth::None), Just(Auth::Password)];
    let verdict = prop_oneof![
        4 => (ip(), any::<u16>()).prop_map(|(ip, port)| Ok(SocketAddr::new(ip, port))),
        1 => proptest::sample::select(Refusal::ALL.to_vec()).prop_map(Err),
    ];
    (auth, proptest::bool::weighted(0.8), verdict).prop_map(|(auth, lets_in, verdict)| Owner {
        auth,
        lets_in,
        verdict,
    })
}

fn secret() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => proptest::collection::vec(any::<u8>(), 250..256),
    ]
}

#[derive(Clone, Debug)]
struct Dial {
    version: Version,
    login: Option<(Vec<u8>, Vec<u8>)>,
    command: Command,
    target: Target,
}

impl Dial {
    fn client(&self) -> Option<Client> {
        let login = self.login.as_ref();
        let login = login.map(|(name, password)| Credentials::new(name, password).unwrap());
        let (now, target) = (Instant::ZERO, self.target.clone());
        Client::new(now, self.version, login, self.command, target, TIMEOUT).ok()
    }
}

fn dial() -> impl Strategy<Value = Dial> {
    let version = prop_oneof![
        Just(Version::V4),
        Just(Version::V4a),
        Just(Version::V5),
        Just(Version::V5)
    ];
    let command = prop_oneof![4 => Just(Command::Connect), 1 => Just(Command::UdpAssociate)];
    (
        version,
        proptest::option::of((secret(), secret())),
        command,
        target(),
    )
        .prop_map(|(version, login, command, target)| Dial {
            version,
            login,
            command,
            target,
        })
}

/// What `dial`'s client sends to a server of `owner`, and what that sends back.
fn record(dial: &Dial, owner: Owner) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut client, mut server) = (dial.client()?, owner.server());
    let now = Instant::ZERO;
    let mut pipes = [(); 4].map(|()| Pipe::new(1 << 16));
    let [app, answer, up, down] = &mut pipes;
    let mut tapes = (Vec::new(), Vec::new());
    let mut sinks = (Pipe::new(1 << 16), Pipe::new(1 << 16));
    loop {
        let (from_up, from_down) = (up.len(), down.len());
        let mut progress = client.poll_transmit(now, app, up).ok()?;
        tapes.0.extend(up.segments().flatten().skip(from_up));
        progress |= server
            .handle_input(now, up, &mut sinks.0)
            .unwrap_or(Progress::NONE);
        while let Some(event) = server.poll_event() {
            owner.answer(&mut server, &event);
            progress = Progress::MADE;
        }
        progress |= server.poll_transmit(now, answer, down).ok()?;
        tapes.1.extend(down.segments().flatten().skip(from_down));
        progress |= client
            .handle_input(now, down, &mut sinks.1)
            .unwrap_or(Progress::NONE);
        if progress == Progress::NONE {
            return Some(tapes);
        }
    }
}

/// A change to a recorded tape: a byte altered, the rest cut off, or nothing.
fn damage(tape: &mut Vec<u8>, at: usize, value: Option<u8>, cut: bool) {
    if cut {
        tape.truncate(at % (tape.len() + 1));
    } else if let (Some(value), Some(n)) = (value, at.checked_rem(tape.len())) {
        tape[n] = value;
    }
}

fn run_server(
    owner: Owner,
    peer: &Input,
    local: &Input,
    schedule: &Schedule,
) -> Outcome<ServerEvent, ServerError> {
    owner.run(peer.clone(), local.clone(), schedule)
}

fn run_client(
    dial: &Dial,
    peer: &Input,
    local: &Input,
    schedule: &Schedule,
) -> Option<Outcome<ClientEvent, ClientError>> {
    let mut client = dial.client()?;
    Some(run(
        &mut client,
        peer.clone(),
        local.clone(),
        schedule,
        |_, _| {},
    ))
}

proptest! {
    #[test]
    fn servers_do_the_same_under_any_chunking_and_room(
        dial in dial(), owner in owner(), early in data(), late in data(),
        ends in any::<[bool; 2]>(), at in any::<usize>(), value in proptest::option::of(any::<u8>()),
        cut in proptest::bool::weighted(0.2), schedule in schedule(),
    ) {
        let Some((mut tape, _)) = record(&dial, owner) else { return Ok(()) };
        damage(&mut tape, at, value, cut);
        tape.extend(early);
        let (peer, local) = (input(tape, ends[0]), input(late, ends[1]));
        let whole = run_server(owner, &peer, &local, &Schedule::at_once());
        prop_assert_eq!(&run_server(owner, &peer, &local, &schedule), &whole);
        prop_assert_eq!(&run_server(owner, &peer, &local, &Schedule::trickle()), &whole);
    }

    #[test]
    fn clients_do_the_same_under_any_chunking_and_room(
        dial in dial(), owner in owner(), early in data(), late in data(),
        ends in any::<[bool; 2]>(), at in any::<usize>(), value in proptest::option::of(any::<u8>()),
        cut in proptest::bool::weighted(0.2), schedule in schedule(),
    ) {
        let Some((_, mut tape)) = record(&dial, owner) else { return Ok(()) };
        damage(&mut tape, at, value, cut);
        tape.extend(early);
        let (peer, local) = (input(tape, ends[0]), input(late, ends[1]));
        let whole = run_client(&dial, &peer, &local, &Schedule::at_once());
        prop_assert_eq!(&run_client(&dial, &peer, &local, &schedule), &whole);
        prop_assert_eq!(&run_client(&dial, &peer, &local, &Schedule::trickle()), &whole);
    }

    #[test]
    fn random_bytes_never_panic_and_mean_the_same_in_pieces(
        owner in owner(), dial in dial(), first in 0..7_u8, rest in data(), schedule in schedule(),
    ) {
        let peer = input([vec![first], rest].concat(), true);
        let local = input(b"data".to_vec(), false);
        let whole = run_server(owner, &peer, &local, &Schedule::at_once());
        prop_assert_eq!(run_server(owner, &peer, &local, &schedule), whole);
        let whole = run_client(&dial, &peer, &local, &Schedule::at_once());
        prop_assert_eq!(run_client(&dial, &peer, &local, &schedule), whole);
    }
}

/// Both ends of one session, as their owners see them.
struct Session {
    asked: Option<(Command, Target)>,
    logged_in: Option<(Vec<u8>, Vec<u8>)>,
    bound: Option<Target>,
    refused: Option<Refusal>,
    served: (Vec<u8>, End),
    received: (Vec<u8>, End),
    transparent: (bool, bool),
}

/// Joins client and server by pipes of `limit` bytes, which is less than most messages.
fn join(dial: &Dial, owner: Owner, data: (&[u8], &[u8]), limit: usize) -> Option<Session> {
    let (mut client, mut server) = (dial.client()?, owner.server());
    let now = Instant::ZERO;
    let [mut up, mut down] = [(); 2].map(|()| Pipe::new(limit));
    let [mut app, mut answer, mut served, mut received] = [(); 4].map(|()| Pipe::new(4096));
    app.push(data.0.into());
    answer.push(data.1.into());
    let _ = (app.finish(), answer.finish());
    let (mut asked, mut logged_in, mut bound, mut refused) = (None, None, None, None);
    loop {
        let mut progress = client.poll_transmit(now, &mut app, &mut up).unwrap();
        progress |= server
            .handle_input(now, &mut up, &mut served)
            .unwrap_or(Progress::NONE);
        while let Some(event) = server.poll_event() {
            owner.answer(&mut server, &event);
            progress = Progress::MADE;
            match event {
                ServerEvent::Auth { username, password } => {
                    let pair = (username.as_bytes().to_vec(), password.as_bytes().to_vec());
                    logged_in = Some(pair);
                }
                ServerEvent::Request { command, target } => asked = Some((command, target)),
            }
        }
        progress |= server.poll_transmit(now, &mut answer, &mut down).unwrap();
        progress |= client
            .handle_input(now, &mut down, &mut received)
            .unwrap_or_else(|e| {
                refused = Some(e.refusal());
                Progress::MADE
            });
        if let Some(ClientEvent::Connected { bound: at }) = client.poll_event() {
            bound = Some(at);
        }
        if progress == Progress::NONE {
            break;
        }
    }
    let all = |mut pipe: Pipe| (pipe.peek(usize::MAX).to_vec(), pipe.end());
    let transparent = (client.is_transparent(), server.is_transparent());
    let (served, received) = (all(served), all(received));
    Some(Session {
        asked,
        logged_in,
        bound,
        refused,
        served,
        received,
        transparent,
    })
}

/// What a client is to learn of a server's address.
fn told(version: Version, bound: SocketAddr) -> Target {
    let bound = SocketAddr::new(bound.ip().to_canonical(), bound.port());
    match (version, bound) {
        (Version::V4 | Version::V4a, SocketAddr::V6(_)) => {
            SocketAddr::from(([0; 4], bound.port())).into()
        }
        _ => bound.into(),
    }
}

proptest! {
    #[test]
    fn client_and_server_understand_each_other(
        dial in dial(), bound in (ip(), any::<u16>()), up in data(), down in data(),
        limit in 1..700_usize,
    ) {
        let bound = SocketAddr::from(bound);
        let is_v5 = dial.version == Version::V5;
        let auth = if is_v5 && dial.login.is_some() { Auth::Password } else { Auth::None };
        let owner = Owner { auth, lets_in: true, verdict: Ok(bound) };
        let Some(session) = join(&dial, owner, (&up, &down), limit) else { return Ok(()) };
        let target = match dial.target.host {
            Host::Ip(ip) if !is_v5 => Target::new(ip.to_canonical().into(), dial.target.port),
            Host::Ip(_) | Host::Domain(_) => dial.target.clone(),
        };
        prop_assert_eq!(session.asked, Some((dial.command, target)));
        prop_assert_eq!(session.logged_in, dial.login.clone().filter(|_| is_v5));
        prop_assert_eq!(session.bound, Some(told(dial.version, bound)));
        prop_assert_eq!(session.refused, None);
        let is_stream = dial.command == Command::Connect;
        prop_assert_eq!(session.transparent, (is_stream, is_stream));
        let expected = |data: Vec<u8>| if is_stream { data } else { Vec::new() };
        prop_assert_eq!(session.served, (expected(up), End::Fin));
        prop_assert_eq!(session.received, (expected(down), End::Fin));
    }

    #[test]
    fn refusals_reach_the_client(dial in dial(), why in proptest::sample::select(&Refusal::ALL[..])) {
        let owner = Owner { auth: Auth::None, lets_in: true, verdict: Err(why) };
        let Some(session) = join(&dial, owner, (b"up", b"down"), 64) else { return Ok(()) };
        let hosts = [Refusal::NameNotFound, Refusal::ResolverFailed, Refusal::TimedOut];
        let upstream = [Refusal::UpstreamAuth, Refusal::UpstreamProtocol, Refusal::Loop, Refusal::Exhausted];
        let expected = if why == Refusal::Dropped {
            Refusal::UpstreamProtocol
        } else if dial.version != Version::V5 || upstream.contains(&why) {
            Refusal::General
        } else if hosts.contains(&why) {
            Refusal::HostUnreachable
        } else if [Refusal::PrivateAddress, Refusal::Prohibited].contains(&why) {
            Refusal::Policy
        } else {
            why
        };
        prop_assert_eq!(session.refused, Some(expected));
        prop_assert_eq!(session.served.0, b"");
        prop_assert_eq!(session.received.0, b"");
    }

    #[test]
    fn wrong_logins_are_told_to_the_client(login in (secret(), secret()), target in target()) {
        let (version, command) = (Version::V5, Command::Connect);
        let owner = Owner { auth: Auth::Password, lets_in: false, verdict: Err(Refusal::General) };
        for login in [Some(login), None] {
            let dial = Dial { version, login, command, target: target.clone() };
            let session = join(&dial, owner, (b"up", b"down"), 64);
            prop_assert_eq!(session.and_then(|s| s.refused), Some(Refusal::UpstreamAuth));
        }
    }
}

#[test]
fn a_finished_server_is_small() {
    assert!(size_of::<Server>() <= 160, "{}", size_of::<Server>());
    assert!(size_of::<Client>() <= 160, "{}", size_of::<Client>());
}
