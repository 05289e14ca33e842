//! HTTP: whole exchanges through the proxy, and CONNECT through another one.
mod proxy;

use crate::{
    drive::{self, Feed, Schedule},
    input::Input,
    reference::http::{Framing, Message, check_forwarded, requests},
};
use proxy::{Log, Policy, TUNNELED, Told, Upstream, show};
use sansbox_core::{End, Host, Instant, Refusal, Target};
use sansbox_protocols::http::{
    Auth, Client, ClientEvent, ConnectOptions, Credentials, Error, HEAD_LEN_MAX, Server,
};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Two octets stand for more than an input holds: SUB for half a head's limit, ESC for 1000.
fn expand(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    for byte in payload {
        let n = match byte {
            0x1a => HEAD_LEN_MAX / 2 - 20,
            0x1b => 1000,
            _ => 0,
        };
        match n {
            1.. if out.len() < 2 * HEAD_LEN_MAX => out.resize(out.len() + n, b'a'),
            _ => out.push(*byte),
        }
    }
    out
}

/// Small pieces of long inputs only cost time.
fn sized(schedule: Schedule, len: usize) -> Schedule {
    match len {
        0..5000 => schedule,
        _ => schedule.at_least(500),
    }
}

/// A client's bytes. Octet 0: bit 0 users, bit 1 early answers, bit 7 the client ends, bits 2 to 4
/// all set a walk; octet 1 who is let in; octets 2 to 5 what owner and upstreams answer; then a
/// [`Schedule`].
pub fn http_request(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.byte();
    let policy = Policy {
        has_users: mode & 1 == 1,
        lets_in: input.byte(),
        answers: input.bytes(),
        is_early: mode & 2 == 2,
        first: None,
    };
    let schedule = Schedule::read(&mut input);
    if mode >> 2 & 7 == 7 {
        return walk(&policy, input);
    }
    let bytes = expand(input.rest());
    let schedule = sized(schedule, bytes.len());
    let client = Feed {
        bytes: &bytes,
        fin: mode & 0x80 != 0,
    };
    let cut = proxy::run(client.clone(), &policy, &schedule);
    check_requests(&cut, &bytes);
    if policy.is_early {
        return;
    }
    let whole = proxy::run(client, &policy, &Schedule::whole());
    check_requests(&whole, &bytes);
    check_responses(&whole, &bytes);
    check_same(&cut, &whole);
}

fn walk(policy: &Policy<'_>, mut input: Input<'_>) {
    let auth = match policy.has_users {
        true => Auth::Basic,
        false => Auth::None,
    };
    let mut server = Server::new(Instant::ZERO, auth, TIMEOUT);
    let n = usize::from(input.byte());
    let payload = input.take(n);
    drive::walk(&mut server, input, payload, |server, choice| {
        match choice % 4 {
            0 => server.auth_result(true),
            1 => server.auth_result(false),
            2 => server.accept(),
            _ => server.refuse(Refusal::ConnectionRefused),
        }
    });
}

/// How the bytes were cut does not show.
fn check_same(cut: &Log, whole: &Log) {
    assert_eq!(cut.told, whole.told, "what the owner is told");
    assert_eq!(cut.error, whole.error);
    assert_eq!(
        show(&cut.to_client),
        show(&whole.to_client),
        "what the client is sent"
    );
    assert_eq!(cut.client_end, whole.client_end);
    assert_eq!(cut.upstreams.len(), whole.upstreams.len());
    for (cut, whole) in cut.upstreams.iter().zip(&whole.upstreams) {
        assert_eq!(cut.end, whole.end, "how an upstream ends");
        // A reset overtakes bytes.
        let is_same = cut.seen == whole.seen || cut.end == End::Reset;
        assert!(is_same, "{} / {}", show(&cut.seen), show(&whole.seen));
    }
}

/// What upstreams are sent is what the client's requests say, one framing each, and never more of
/// them than the owner passed on.
fn check_requests(log: &Log, client: &[u8]) {
    let (originals, _) = requests(client);
    let mut originals = originals.iter();
    let heads = originals.len();
    let told = log.told.iter();
    let asked = told
        .filter(|told| matches!(told, Told::Request(..)))
        .count();
    assert!(
        asked <= heads,
        "{asked} requests in {heads} heads: {}",
        show(client)
    );
    for upstream in &log.upstreams {
        let is_connect = upstream.is_tunnel && upstream.answered == 0;
        if is_connect {
            check_tunnel(upstream, client);
            continue;
        }
        let http = match upstream.is_tunnel {
            true => &upstream.seen[..upstream.answered],
            false => &upstream.seen[..],
        };
        let mut rest = http;
        let mut complete = 0;
        while !rest.is_empty() {
            let forwarded = match Message::request(rest) {
                Ok(Some(forwarded)) if forwarded.bad.is_none() => forwarded,
                Ok(Some(forwarded)) => panic!("{:?} is forwarded", forwarded.bad),
                Ok(None) if upstream.end == End::Reset => break,
                Ok(None) => panic!("half a head is forwarded: {}", show(rest)),
                Err(bad) => panic!("{bad} is forwarded: {}", show(rest)),
            };
            rest = &rest[forwarded.len..];
            complete += usize::from(forwarded.is_complete);
            let mut last = "no request";
            let is_original = originals.by_ref().any(|original| {
                check_forwarded(&forwarded, original)
                    .map_err(|why| last = why)
                    .is_ok()
            });
            assert!(
                is_original,
                "{last}: {} is forwarded for {}",
                show(http),
                show(client)
            );
        }
        assert!(
            complete <= upstream.accepted,
            "a request that nobody passed on"
        );
        assert!(
            upstream.end != End::Reset || complete < upstream.accepted || log.error.is_some(),
            "a reset behind whole requests"
        );
    }
}

/// A tunnel is sent a tail of what the client sent.
fn check_tunnel(upstream: &Upstream, client: &[u8]) {
    let seen = &upstream.seen;
    assert!(client.ends_with(seen), "a tunnel carries {}", show(seen));
}

/// The client can tell one response from the next.
fn check_responses(log: &Log, client: &[u8]) {
    let (originals, _) = requests(client);
    let mut heads = originals.iter().map(|o| o.head.words[0]);
    let mut rest = &log.to_client[..];
    while !rest.is_empty() {
        let method = heads.clone().next().unwrap_or_default();
        let response = match Message::response(rest, method == b"HEAD") {
            Ok(Some(response)) => response,
            other => panic!("{other:?}: the client is sent {}", show(rest)),
        };
        let status = response.head.status();
        if status == 101 || (method == b"CONNECT" && status / 100 == 2) {
            let tunneled = &rest[response.head.len..];
            return assert!(
                tunneled == TUNNELED || tunneled == b"switched",
                "a tunnel says {}",
                show(tunneled)
            );
        }
        rest = &rest[response.len..];
        let is_until_close = response.framing == Framing::UntilClose;
        assert!(
            response.is_complete || is_until_close && log.client_end == End::Fin,
            "half a response: {}",
            show(&log.to_client)
        );
        if status >= 200 {
            heads.next();
        }
        if response.head.lists("Connection", "close") {
            assert_eq!(log.client_end, End::Fin, "a close that is announced");
            // A request that cannot be read is answered with a body even to HEAD.
            let is_bad = matches!(log.error, Some(Error::BadRequest(_)));
            return assert!(rest.is_empty() || is_bad, "more behind a close");
        }
    }
}

/// Requests whose response is fuzzed.
const REQUESTS: [&[u8]; 6] = [
    b"GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n",
    b"HEAD http://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n",
    b"GET http://a.b/ HTTP/1.0\r\n\r\n",
    b"GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    b"POST http://a.b/ HTTP/1.1\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\n",
];

/// An upstream's bytes. Octet 0: bits 0 to 2 which request it answers, 6 and 7 being CONNECT by our
/// own client; bit 6 another request follows; bit 7 the upstream ends; then a [`Schedule`].
pub fn http_response(data: &[u8]) {
    let mut input = Input::new(data);
    let mode = input.byte();
    let schedule = Schedule::read(&mut input);
    let bytes = expand(input.rest());
    let schedule = sized(schedule, bytes.len());
    let upstream = Feed {
        bytes: &bytes,
        fin: mode & 0x80 != 0,
    };
    let Some(request) = REQUESTS.get(usize::from(mode & 7)) else {
        return check_client(&upstream, &schedule);
    };
    let mut sent = request.to_vec();
    if mode & 0x40 != 0 {
        sent.extend_from_slice(REQUESTS[0]);
    }
    let client = Feed {
        bytes: &sent,
        fin: false,
    };
    let policy = Policy {
        has_users: false,
        lets_in: 0,
        answers: [0xf0; 4],
        is_early: false,
        first: Some(upstream.clone()),
    };
    let whole = proxy::run(client.clone(), &policy, &Schedule::whole());
    check_requests(&whole, &sent);
    check_response(&whole, &upstream, request);
    let cut = proxy::run(client, &policy, &schedule);
    if whole.client_end == End::Reset || cut.client_end == End::Reset {
        assert_eq!((&cut.told, &cut.error), (&whole.told, &whole.error));
        return assert_eq!(cut.client_end, whole.client_end);
    }
    check_same(&cut, &whole);
}

/// The final response in `bytes`, read by `read`, with those before it skipped as a proxy does.
fn final_response<'a>(
    bytes: &'a [u8],
    read: impl Fn(&'a [u8]) -> Result<Option<Message<'a>>, &'static str>,
) -> Result<Option<Message<'a>>, &'static str> {
    let mut rest = bytes;
    loop {
        let response = read(rest)?;
        match response {
            Some(interim) if matches!(interim.head.status(), 100 | 102..=199) => {
                rest = &rest[interim.len..];
            }
            other => return Ok(other),
        }
    }
}

/// The client is sent the upstream's response, or told that there is none.
fn check_response(log: &Log, upstream: &Feed<'_>, request: &[u8]) {
    let to_head = request.starts_with(b"HEAD");
    let sent = &log.to_client;
    let theirs = final_response(upstream.bytes, |b| Message::response(b, to_head));
    let ours = match final_response(sent, |b| Message::response(b, to_head)) {
        Ok(ours) => ours,
        Err(bad) => panic!("the client is sent {bad}: {}", show(sent)),
    };
    let Some(ours) = ours else {
        let is_over = upstream.fin || !matches!(theirs, Ok(None));
        return assert!(
            // A reset overtakes what was said.
            log.client_end == End::Reset || !is_over,
            "no response: {theirs:?}"
        );
    };
    let is_own = ours.head.status() == 502 && ours.content.starts_with(b"proxy: ")
        || ours.head.all("X-Content-Type-Options") == [b"nosniff"] && to_head;
    let theirs = match theirs {
        Ok(Some(theirs)) if !is_own => theirs,
        Ok(Some(_) | None) | Err(_) => {
            return assert!(is_own, "made up: {}", show(sent));
        }
    };
    assert_eq!(ours.head.status(), theirs.head.status());
    if theirs.head.status() == 101 {
        return;
    }
    assert!(
        ours.content == theirs.content
            || !theirs.is_complete && theirs.content.starts_with(&ours.content),
        "another body: {} for {}",
        show(sent),
        show(upstream.bytes)
    );
    let is_cut = upstream.fin && !theirs.is_complete && theirs.framing != Framing::UntilClose;
    if is_cut || theirs.bad.is_some() {
        assert_ne!(log.client_end, End::Open, "a broken body looks whole");
        assert!(
            !ours.is_complete || log.error.is_some(),
            "a broken body looks whole"
        );
        let is_until_close = ours.framing == Framing::UntilClose;
        assert!(
            !is_until_close || log.client_end == End::Reset,
            "only a reset tells that such a body is broken"
        );
    }
}

/// CONNECT through a proxy that says `peer`.
fn check_client(peer: &Feed<'_>, schedule: &Schedule) {
    const LOCAL: &[u8] = b"\x16\x03\x01 client hello";
    let login = Credentials::new(b"user", b"pass");
    let options = ConnectOptions::new("", [("User-Agent", "x")], login.as_ref());
    let options = options.expect("good options");
    let target = Target::new(Host::parse(b"example.com").expect("a name"), 443);
    let run = |schedule: &Schedule| {
        let mut client = Client::new(Instant::ZERO, &target, &options, TIMEOUT);
        let local = Feed {
            bytes: LOCAL,
            fin: peer.fin,
        };
        drive::run(
            &mut client,
            peer.clone(),
            local,
            HEAD_LEN_MAX,
            schedule,
            |_, _| {},
        )
    };
    let whole = run(&Schedule::whole());
    assert_eq!(run(schedule), whole, "cuts change what a client does");
    let (request, rest) = {
        let request = Message::request(&whole.sent);
        let request = request.expect("a request").expect("a whole head");
        let len = request.len;
        (request, &whole.sent[len..])
    };
    assert_eq!(
        request.head.words,
        [&b"CONNECT"[..], b"example.com:443", b"HTTP/1.1"]
    );
    let is_connected = whole.events == [ClientEvent::Connected];
    assert_eq!(rest, if is_connected { LOCAL } else { b"" });
    let Ok(Some(answer)) = final_response(peer.bytes, Message::connect_response) else {
        return assert!(!is_connected, "connected by {}", show(peer.bytes));
    };
    if is_connected {
        assert_eq!(answer.head.status() / 100, 2);
        assert!(peer.bytes.ends_with(&whole.delivered));
        let start = peer.bytes.len() - whole.delivered.len();
        assert!(peer.bytes[..start].ends_with(b"\r\n\r\n"));
    }
}
