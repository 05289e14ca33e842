//! What holds for every cut of the bytes and every room in the pipes.
use super::*;
use crate::http::wire::{Body, ChunkScanner, Request, chunked::Span};
use proptest::prelude::*;
use sansbox_core::{End, Refusal, Target};

/// One exchange: the request as the client writes it, the response as the upstream does.
#[derive(Clone, Debug)]
struct Script {
    request: String,
    interims: usize,
    /// The final response: head and body.
    response: String,
    /// The content, as the client must see it.
    content: String,
    is_head: bool,
    upstream_closes: bool,
}

fn chunks(content: &str) -> String {
    let mut out = String::new();
    for chunk in content.as_bytes().chunks(7) {
        let text = std::str::from_utf8(chunk).unwrap();
        out += &format!("{:x};e\r\n{text}\r\n", chunk.len());
    }
    out + "0\r\nT: v\r\n\r\n"
}

fn framed(content: &str, kind: usize) -> String {
    match kind {
        0 => format!("Content-Length: {}\r\n\r\n{content}", content.len()),
        1 => format!("Transfer-Encoding: chunked\r\n\r\n{}", chunks(content)),
        _ => format!("\r\n{content}"),
    }
}

prop_compose! {
    fn script()(
        host in "[ab]\\.c",
        is_head in proptest::bool::weighted(0.1),
        is_http10 in proptest::bool::weighted(0.1),
        client_closes in proptest::bool::weighted(0.1),
        upstream_closes in proptest::bool::weighted(0.2),
        request_kind in 0..3_usize,
        // Read-until-close ends the connection, so it is rare.
        response_kind in prop_oneof![4 => 0..2_usize, 1 => Just(2_usize)],
        request_body in "[a-z]{0,50}",
        content in "[A-Z]{0,50}",
        interims in 0..3_usize,
    ) -> Script {
        let (method, version) = (if is_head { "HEAD" } else { "POST" }, if is_http10 { 0 } else { 1 });
        let close = if client_closes { "Connection: close\r\n" } else { "" };
        let body = match (request_kind, is_http10) {
            (1, false) => framed(&request_body, 1),
            (0, _) => framed(&request_body, 0),
            _ => "\r\n".to_owned(),
        };
        let request = format!(
            "{method} http://{host}/x HTTP/1.{version}\r\nHost: {host}\r\nTE: x\r\n{close}{body}"
        );
        let framed = framed(&content, response_kind);
        let rest = match (is_head, response_kind) {
            (true, 2) => "\r\n",
            (true, _) => framed.split_inclusive("\r\n\r\n").next().unwrap(),
            (false, _) => &framed,
        };
        let server_close = if upstream_closes { "Connection: close\r\n" } else { "" };
        Script {
            request,
            interims,
            response: format!("HTTP/1.1 200 OK\r\n{server_close}{rest}"),
            content: if is_head { String::new() } else { content },
            is_head,
            upstream_closes: upstream_closes || (response_kind == 2 && !is_head),
        }
    }
}

/// What came out of a connection.
#[derive(Debug, Default, PartialEq)]
struct Transcript {
    client: Vec<u8>,
    /// One entry per accepted request.
    upstreams: Vec<Vec<u8>>,
    events: Vec<ServerEvent>,
    error: Option<Error>,
    end: Option<End>,
}

/// Lengths of pieces, over and over.
struct Cuts<'a>(std::iter::Cycle<std::slice::Iter<'a, usize>>);

impl Cuts<'_> {
    fn pieces<'b>(&mut self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let n = self.0.next().map_or(1, |n| *n).min(bytes.len());
            let (piece, rest) = bytes.split_at(n);
            out.push(piece);
            bytes = rest;
        }
        out
    }
}

/// A rig with an owner and upstreams that follow a script.
struct World<'a> {
    rig: Rig,
    cuts: Cuts<'a>,
    room: usize,
    scripts: &'a [Script],
    kept: Option<Target>,
    current: Option<Target>,
    /// Has the current upstream answered?
    answered: bool,
    seen: Transcript,
}

impl World<'_> {
    /// Runs and empties the outgoing pipes until nothing moves.
    fn settle(&mut self) {
        loop {
            self.rig.run();
            let mut moved = false;
            while let Some(segment) = self.rig.to_client.take(usize::MAX) {
                self.seen.client.extend_from_slice(&segment);
                moved = true;
            }
            while let Some(segment) = self.rig.to_upstream.take(usize::MAX) {
                let current = self.seen.upstreams.last_mut();
                current.expect("accepted").extend_from_slice(&segment);
                moved = true;
            }
            while let Some(event) = self.rig.event() {
                moved = true;
                self.on_event(event);
            }
            if !moved {
                break;
            }
        }
        self.answer();
    }

    fn on_event(&mut self, event: ServerEvent) {
        match &event {
            ServerEvent::Request { target, .. } => {
                if self.kept.as_ref() != Some(target) {
                    self.rig.to_upstream = Pipe::new(self.room);
                    self.rig.from_upstream = Pipe::new(HEAD_LEN_MAX);
                }
                self.current = Some(target.clone());
                self.seen.upstreams.push(Vec::new());
                self.answered = false;
                self.rig.server.accept();
            }
            ServerEvent::UpstreamDone { reusable } => {
                self.kept = self.current.take().filter(|_| *reusable);
            }
            ServerEvent::Auth { .. } => unreachable!("no authentication"),
        }
        self.seen.events.push(event);
    }

    /// Writes the scripted response once the request is complete.
    fn answer(&mut self) {
        let at = self.seen.upstreams.len();
        let script = at.checked_sub(1).and_then(|i| self.scripts.get(i));
        let (Some(request), Some(script)) = (self.seen.upstreams.last(), script) else {
            return;
        };
        if self.answered || !is_complete(request) {
            return;
        }
        self.answered = true;
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(script.interims);
        let response = interim + &script.response;
        for piece in self.cuts.pieces(response.as_bytes()) {
            self.rig.from_upstream.push_slice(piece);
            self.settle();
        }
        if script.upstream_closes && self.seen.upstreams.len() == at {
            let _ = self.rig.from_upstream.finish();
            self.settle();
        }
    }
}

fn is_complete(request: &[u8]) -> bool {
    let Ok(Some((head, len))) = Request::parse(request) else {
        return false;
    };
    let body = &request[len..];
    match Body::of_request(&head).unwrap() {
        Body::Length(n) => body.len() as u64 >= n,
        Body::Chunked => {
            let mut scanner = ChunkScanner::new();
            scanner.scan(body).unwrap();
            scanner.is_done()
        }
        Body::UntilClose => unreachable!("not in requests"),
    }
}

fn play(scripts: &[Script], cuts: &[usize], room: usize) -> Transcript {
    let mut rig = Rig::new(Auth::None);
    rig.to_client = Pipe::new(room);
    let mut world = World {
        rig,
        cuts: Cuts(cuts.iter().cycle()),
        room,
        scripts,
        kept: None,
        current: None,
        answered: true,
        seen: Transcript::default(),
    };
    let requests: String = scripts.iter().map(|s| &s.request[..]).collect();
    for piece in world.cuts.pieces(requests.as_bytes()) {
        world.rig.from_client.push_slice(piece);
        world.settle();
    }
    let _ = world.rig.from_client.finish();
    world.settle();
    world.seen.error = world.rig.error;
    world.seen.end = Some(world.rig.to_client.end());
    world.seen
}

/// Content of the first response in `bytes`, and what is behind it.
fn content(bytes: &[u8], is_head: bool) -> (Vec<u8>, &[u8]) {
    let (head, len) = Response::parse(bytes).unwrap().unwrap();
    let body = &bytes[len..];
    match Body::of_response(&head, is_head).unwrap() {
        _ if head.status < 200 => content(body, is_head),
        Body::Length(n) => {
            let (content, rest) = body.split_at(usize::try_from(n).unwrap());
            (content.to_vec(), rest)
        }
        Body::UntilClose => (body.to_vec(), &[]),
        Body::Chunked => {
            let (mut scanner, mut at, mut out) = (ChunkScanner::new(), 0, Vec::new());
            while !scanner.is_done() {
                let span = scanner.next_span(&body[at..]).unwrap();
                if let Span::Data(n) = span {
                    out.extend_from_slice(&body[at..at + n]);
                }
                at += span.len();
            }
            (out, &body[at..])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_and_room_change_nothing(
        scripts in proptest::collection::vec(script(), 1..5),
        cuts in proptest::collection::vec(1..40_usize, 1..30),
        room in 1..200_usize,
    ) {
        let whole = play(&scripts, &[usize::MAX], HEAD_LEN_MAX);
        prop_assert_eq!(whole.error, None);
        prop_assert_eq!(whole.end, Some(End::Fin));
        prop_assert!(!whole.upstreams.is_empty());
        let mut rest = &whole.client[..];
        for script in scripts.iter().take(whole.upstreams.len()) {
            let (seen, behind) = content(rest, script.is_head);
            prop_assert_eq!(seen, script.content.as_bytes());
            rest = behind;
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(play(&scripts, &cuts, room), whole);
    }

    #[test]
    fn random_input_never_panics(
        scripts in proptest::collection::vec(script(), 1..4),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        junk in proptest::collection::vec(any::<u8>(), 0..100),
        choices in proptest::collection::vec(0..12_u8, 1..40),
        cut in 1..60_usize,
    ) {
        let mut up: Vec<u8> = scripts.iter().flat_map(|s| s.request.bytes()).collect();
        let mut down: Vec<u8> = scripts.iter().flat_map(|s| s.response.bytes()).collect();
        for (at, byte) in flips {
            let bytes = if byte % 2 == 0 { &mut up } else { &mut down };
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        up.extend_from_slice(&junk);
        down.extend_from_slice(&junk);
        let mut rig = Rig::new(if cut % 5 == 0 { Auth::Basic } else { Auth::None });
        let (mut up, mut down) = (up.chunks(cut), down.chunks(cut));
        for (choice, n) in choices.iter().cycle().zip(0_u64..300) {
            match choice {
                0..=4 => match up.next() {
                    Some(piece) if rig.from_client.room() > 0 => rig.from_client.push_slice(piece),
                    _ => drop(rig.from_client.finish()),
                },
                5 | 6 => match down.next() {
                    Some(piece) if rig.from_upstream.room() > 0 => {
                        rig.from_upstream.push_slice(piece);
                    }
                    _ => rig.fresh_upstream(),
                },
                7 | 8 => rig.server.accept(),
                9 => rig.server.auth_result(n % 2 == 0),
                10 => rig.server.refuse(Refusal::Policy),
                _ => drop(rig.at(n)),
            }
            rig.error = None;
            // `run` asserts that errors come one at a time and that nothing moves forever.
            rig.run();
            let _ = rig.event();
            drain_bytes(&mut rig.to_client);
            drain_bytes(&mut rig.to_upstream);
        }
    }
}

#[test]
fn an_idle_machine_is_small() {
    // An idle kept connection costs this much and no heap.
    assert!(size_of::<Server>() <= 320, "{}", size_of::<Server>());
    assert!(size_of::<Client>() <= 80, "{}", size_of::<Client>());
}

fn drain_bytes(pipe: &mut Pipe) {
    pipe.skip(usize::MAX);
}
