//! SOCKS: whole handshakes of both sides, and every message by itself.
use crate::{
    drive::{self, Feed, Outcome, Schedule, run},
    input::Input,
    reference::socks::{Asked, Ending, Expected, Owner, serve},
};
use bytes::BytesMut;
use sansbox_core::{End, Host, Instant, Refusal, Target};
use sansbox_protocols::socks::{
    Auth, Client, ClientError, ClientEvent, Command, Credentials, MESSAGE_LEN_MAX, Server,
    ServerError, ServerEvent, Version,
    wire::{Name, udp, v4, v5},
};
use std::{net::SocketAddr, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(10);
/// What the local side writes.
const LOCAL: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nfrom the other side";

/// SOCKS4 and SOCKS4a: octet 0 chooses server, client or a walk, octet 1 who owns the machine, then
/// comes a [`Schedule`], then what the peer sends, whose first octet a server reads as 4.
pub fn socks4(data: &[u8]) {
    exercise(data, 4);
}

/// SOCKS5, as [`socks4`].
pub fn socks5(data: &[u8]) {
    exercise(data, 5);
}

fn exercise(data: &[u8], version: u8) {
    let mut input = Input::new(data);
    let mode = input.byte();
    let owner = read_owner(&mut input);
    let client = input.byte();
    let schedule = Schedule::read(&mut input);
    let mut payload = input.clone().rest().to_vec();
    messages(&payload);
    match mode % 8 {
        0..=3 => {
            if let Some(first) = payload.first_mut() {
                *first = version;
            }
            check_server(&owner, &payload, mode & 0x80 != 0, &schedule);
        }
        4..=6 => check_client(version, client, &payload, mode & 0x80 != 0, &schedule),
        _ if client & 1 == 0 => {
            let mut server = new_server(&owner);
            let mut bytes = [&[version, 1, 0][..], &payload].concat();
            bytes.truncate(64);
            drive::walk(&mut server, input, &bytes, |server, choice| {
                match choice % 4 {
                    0 => server.auth_result(true),
                    1 => server.auth_result(false),
                    2 => server.accept(SocketAddr::from(([192, 0, 2, 9], 4000))),
                    _ => server.refuse(Refusal::Policy),
                }
            });
        }
        _ => {
            if let Ok(mut client) = new_client(version, client) {
                drive::walk(&mut client, input, &payload, |_, _| {});
            }
        }
    }
}

fn read_owner(input: &mut Input<'_>) -> Owner {
    let byte = input.byte();
    let bounds = [
        "192.0.2.9:4000",
        "[2001:db8::9]:65535",
        "[::ffff:192.0.2.9]:1",
        "0.0.0.0:0",
    ];
    Owner {
        has_users: byte & 1 == 1,
        lets_in: byte & 2 == 0,
        verdict: match Refusal::ALL.get(usize::from(byte >> 2) % 32) {
            Some(why) => Err(*why),
            None => Ok(bounds[usize::from(byte >> 2) % 4]
                .parse()
                .expect("an address")),
        },
    }
}

fn new_server(owner: &Owner) -> Server {
    let auth = match owner.has_users {
        true => Auth::Password,
        false => Auth::None,
    };
    Server::new(Instant::ZERO, auth, TIMEOUT)
}

fn serve_with(
    owner: &Owner,
    peer: Feed<'_>,
    schedule: &Schedule,
) -> Outcome<ServerEvent, ServerError> {
    let mut server = new_server(owner);
    let local = Feed {
        bytes: LOCAL,
        fin: peer.fin,
    };
    run(
        &mut server,
        peer,
        local,
        MESSAGE_LEN_MAX,
        schedule,
        |server, event| match event {
            ServerEvent::Auth { .. } => server.auth_result(owner.lets_in),
            ServerEvent::Request { .. } => match owner.verdict {
                Ok(bound) => server.accept(bound),
                Err(why) => server.refuse(why),
            },
        },
    )
}

/// Any cuts give what one piece gives, and that is what the reference says.
fn check_server(owner: &Owner, bytes: &[u8], fin: bool, schedule: &Schedule) {
    let peer = Feed { bytes, fin };
    let whole = serve_with(owner, peer.clone(), &Schedule::whole());
    let cut = serve_with(owner, peer, schedule);
    assert_eq!(cut, whole, "cuts change what a server does");
    let expected = serve(owner, bytes);
    let asked: Vec<_> = whole
        .events
        .iter()
        .map(|event| match event {
            ServerEvent::Auth { username, password } => {
                Asked::Auth(username.as_bytes().to_vec(), password.as_bytes().to_vec())
            }
            ServerEvent::Request { command, target } => Asked::Request(*command, target.clone()),
        })
        .collect();
    assert_eq!(asked, expected.asked, "the owner is asked something else");
    check_ending(&whole, &expected, fin);
}

fn check_ending(
    whole: &Outcome<ServerEvent, ServerError>,
    expected: &Expected<'_>,
    client_ended: bool,
) {
    let is_relay = expected.ending == Ending::Relay;
    let tail = if is_relay { LOCAL } else { &[] };
    let sent = [&expected.sent[..], tail].concat();
    assert_eq!(whole.sent, sent, "the client is told something else");
    assert_eq!(
        whole.delivered,
        if is_relay { expected.rest } else { &[] },
        "the target is sent something else"
    );
    let is_ended = match expected.ending {
        Ending::Closed => true,
        Ending::Waiting | Ending::Relay | Ending::Control => client_ended,
    };
    assert_eq!(whole.sent_end == End::Fin, is_ended, "{expected:?}");
}

const TARGETS: [&str; 4] = ["192.0.2.1", "example.com", "2001:db8::1", "0.0.0.7"];

fn new_client(version: u8, choice: u8) -> Result<Client, ClientError> {
    let host = Host::parse(TARGETS[usize::from(choice >> 1) % 4].as_bytes()).expect("a host");
    let credentials = match choice >> 3 & 3 {
        0 => None,
        1 => Credentials::new(b"user", b"pass word").ok(),
        2 => Credentials::new(b"", b"").ok(),
        _ => Credentials::new(&[b'u'; 255], &[0; 255]).ok(),
    };
    let command = match choice >> 5 & 1 {
        0 => Command::Connect,
        _ => Command::UdpAssociate,
    };
    let version = match (version, choice >> 6 & 1) {
        (5, _) => Version::V5,
        (_, 0) => Version::V4a,
        _ => Version::V4,
    };
    let target = Target::new(host, 443);
    Client::new(
        Instant::ZERO,
        version,
        credentials,
        command,
        target,
        TIMEOUT,
    )
}

fn connect(
    version: u8,
    choice: u8,
    peer: Feed<'_>,
    schedule: &Schedule,
) -> Option<Outcome<ClientEvent, ClientError>> {
    let mut client = new_client(version, choice).ok()?;
    let local = Feed {
        bytes: LOCAL,
        fin: peer.fin,
    };
    let outcome = run(
        &mut client,
        peer,
        local,
        MESSAGE_LEN_MAX,
        schedule,
        |_, _| {},
    );
    Some(outcome)
}

/// The events of a client agree with its bytes: nothing of the application is sent before the proxy
/// said yes, and everything behind the reply is delivered.
fn check_client(version: u8, choice: u8, bytes: &[u8], fin: bool, schedule: &Schedule) {
    let peer = Feed { bytes, fin };
    let Some(whole) = connect(version, choice, peer.clone(), &Schedule::whole()) else {
        return;
    };
    let cut = connect(version, choice, peer, schedule);
    assert_eq!(cut.as_ref(), Some(&whole), "cuts change what a client does");
    let is_connected = !whole.events.is_empty();
    let is_udp = choice >> 5 & 1 == 1 && version == 5;
    assert!(
        whole.delivered.is_empty() || is_connected,
        "bytes of a proxy that did not say yes"
    );
    assert_eq!(
        whole.sent.ends_with(LOCAL),
        is_connected && !is_udp,
        "bytes of the application go out before the reply"
    );
    assert!(!(is_connected && whole.error.is_some()), "{whole:?}");
    if is_connected {
        let head = granted_len(version, choice, bytes).expect("a reply that grants");
        let rest = if is_udp { &[] } else { &bytes[head..] };
        assert_eq!(whole.delivered, rest, "what follows the reply");
    }
}

/// How long the proxy's messages are when they let the client in.
fn granted_len(version: u8, choice: u8, bytes: &[u8]) -> Option<usize> {
    if version == 4 {
        return (bytes.len() >= 8 && bytes[1] == 90).then_some(8);
    }
    let has_login = choice >> 3 & 3 != 0;
    let head = match bytes {
        [5, 0, ..] => 2,
        [5, 2, 1 | 5, 0, ..] if has_login => 4,
        _ => return None,
    };
    let reply = &bytes[head..];
    let address = match reply {
        [5, 0, _, 1, ..] => 4,
        [5, 0, _, 4, ..] => 16,
        [5, 0, _, 3, len, ..] => 1 + usize::from(*len),
        _ => return None,
    };
    let len = 4 + address + 2;
    (reply.len() >= len).then_some(head + len)
}

/// `parse(emit(x)) == x`, `emit` writes `buffer_len` octets, every strict prefix needs more. A macro
/// because the types borrow their input.
macro_rules! round_trip {
    ($bytes:expr, $message:ty, $buffer_len:expr) => {{
        let bytes: &[u8] = $bytes;
        if let Ok(Some((message, len))) = <$message>::parse(bytes) {
            assert!(len <= bytes.len());
            for n in 0..len {
                let prefix = <$message>::parse(&bytes[..n]);
                assert!(matches!(prefix, Ok(None)), "{n} octets of {message:?}");
            }
            let mut out = BytesMut::new();
            message.emit(&mut out);
            let buffer_len: fn(&$message) -> usize = $buffer_len;
            assert_eq!(out.len(), buffer_len(&message), "{message:?}");
            let again = <$message>::parse(&out);
            assert!(
                again.is_ok_and(|again| again == Some((message, out.len()))),
                "{message:?} is not read as it is written"
            );
        }
    }};
}

fn messages(bytes: &[u8]) {
    round_trip!(bytes, v4::Request<'_>, |m| m.buffer_len());
    round_trip!(bytes, v4::Reply, |_| v4::Reply::LEN);
    round_trip!(bytes, v5::Greeting<'_>, |m| m.buffer_len());
    round_trip!(bytes, v5::MethodSelection, |_| v5::MethodSelection::LEN);
    round_trip!(bytes, v5::AuthRequest<'_>, |m| m.buffer_len());
    round_trip!(bytes, v5::AuthStatus, |_| v5::AuthStatus::LEN);
    round_trip!(bytes, v5::Request<'_>, |m| m.buffer_len());
    round_trip!(bytes, v5::Reply<'_>, |m| m.buffer_len());
}

/// The header of SOCKS5 datagrams: what parses is written again as it was but for RSV, the payload
/// starts where the fields say, and a datagram cut inside its header is refused.
pub fn socks_udp(data: &[u8]) {
    let Ok((header, at)) = udp::Header::parse(data) else {
        return assert!(!is_whole_header(data), "a whole header is refused");
    };
    assert!(at <= udp::Header::LEN_MAX && at <= data.len());
    assert_eq!(at, header.buffer_len(), "where the payload starts");
    let mut out = BytesMut::new();
    header.emit(&mut out);
    assert_eq!((&out[..2], &out[2..]), (&[0, 0][..], &data[2..at]));
    out.extend_from_slice(&data[at..]);
    assert_eq!(udp::Header::parse(&out), Ok((header, at)));
    for n in 0..at {
        assert!(udp::Header::parse(&data[..n]).is_err(), "cut at {n}");
    }
    let Ok(target) = header.address.to_target() else {
        let name = matches!(header.address.name, Name::Domain(_));
        return assert!(name, "an address is no target");
    };
    assert_eq!(target.port.to_be_bytes(), data[at - 2..at]);
    // What an association answers with: the header of the target.
    let address = (&target).into();
    let answer = udp::Header { frag: 0, address };
    let mut out = BytesMut::new();
    answer.emit(&mut out);
    let (again, _) = udp::Header::parse(&out).expect("what is written is read");
    assert_eq!(again.address.to_target().as_ref(), Ok(&target));
}

/// RFC 1928 section 7, by counting.
fn is_whole_header(data: &[u8]) -> bool {
    let address = match data.get(3..) {
        Some([1, ..]) => 4,
        Some([4, ..]) => 16,
        Some([3, len, ..]) => 1 + usize::from(*len),
        _ => return false,
    };
    data.len() >= 4 + address + 2
}
