//! An HTTP proxy between a client and its upstreams, with an owner who dials them.
use crate::{
    drive::{Feed, ROUNDS_MAX, Schedule, drain, keep},
    reference::http::Message,
};
use sansbox_core::{End, Instant, Pipe, Progress, Refusal, StreamProtocol, Target};
use sansbox_protocols::http::{Auth, Error, HEAD_LEN_MAX, Server, ServerEvent};
use std::time::Duration;

/// What a tunnel's far end says.
pub(super) const TUNNELED: &[u8] = b"\x16\x03\x03 from the far end of the tunnel";

/// What owner and upstreams do, by the number of the request.
#[derive(Clone, Debug)]
pub(super) struct Policy<'a> {
    pub(super) has_users: bool,
    /// A bit per question: let in.
    pub(super) lets_in: u8,
    /// A byte per request, again and again: how the owner and the upstream answer.
    pub(super) answers: [u8; 4],
    /// Upstreams answer before the request's body is whole.
    pub(super) is_early: bool,
    /// What the first upstream says, instead of an answer from the list.
    pub(super) first: Option<Feed<'a>>,
}

/// What the owner was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Auth(Vec<u8>, Vec<u8>),
    Request(Target, bool),
    Done(bool),
}

/// One upstream, from dial to end.
#[derive(Debug)]
pub(super) struct Upstream {
    /// To it and from it.
    to: Pipe,
    from: Pipe,
    target: Target,
    /// All that it was sent.
    pub(super) seen: Vec<u8>,
    /// How that ended.
    pub(super) end: End,
    pub(super) is_tunnel: bool,
    /// Requests that the owner passed to it.
    pub(super) accepted: usize,
    /// Octets of `seen` that it has answered; of a tunnel, where the tunnel begins.
    pub(super) answered: usize,
    /// What it still has to say.
    says: Vec<u8>,
    fin: bool,
    is_kept: bool,
    /// The machine has had the time to see that nothing more comes.
    is_settled: bool,
}

/// All that happened.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) told: Vec<Told>,
    pub(super) error: Option<Error>,
    pub(super) to_client: Vec<u8>,
    pub(super) client_end: End,
    pub(super) upstreams: Vec<Upstream>,
}

impl Upstream {
    fn new(target: Target, is_tunnel: bool, room: usize, fin: bool) -> Self {
        Self {
            to: Pipe::new(room),
            from: Pipe::new(HEAD_LEN_MAX),
            target,
            seen: Vec::new(),
            end: End::Open,
            is_tunnel,
            accepted: 1,
            answered: 0,
            says: if is_tunnel {
                TUNNELED.to_vec()
            } else {
                Vec::new()
            },
            fin: is_tunnel && fin,
            is_kept: false,
            is_settled: false,
        }
    }

    /// Answers the request that has come, if one has.
    fn answer(&mut self, policy: &Policy<'_>, number: usize, is_first: bool) {
        if self.is_tunnel || self.end != End::Open {
            return;
        }
        let request = match Message::request(&self.seen[self.answered..]) {
            Ok(Some(Message { bad: Some(bad), .. })) | Err(bad) => {
                panic!("an upstream is sent {bad}: {}", show(&self.seen))
            }
            Ok(Some(request)) if request.is_complete || policy.is_early => request,
            Ok(_) => return,
        };
        if policy.is_early && self.accepted == 0 {
            return;
        }
        let method = request.head.words[0].to_vec();
        let upgrades = !request.head.all("Upgrade").is_empty();
        let is_whole = request.is_complete;
        self.answered += request.len;
        if !is_whole {
            // What follows belongs to a request that was answered already.
            self.is_tunnel = true;
        }
        let (says, fin) = match (&policy.first, is_first) {
            (Some(feed), true) => (feed.bytes, feed.fin),
            _ => canned(policy.answers[number % 4] & 15, &method),
        };
        self.says.extend_from_slice(says);
        self.fin |= fin;
        self.is_tunnel |= upgrades && says.starts_with(b"HTTP/1.1 101");
    }

    fn say(&mut self, chunk: usize, at_once: bool) -> Progress {
        let mut feed = Feed {
            bytes: &self.says,
            fin: self.fin,
        };
        let progress = feed.step(&mut self.from, chunk, at_once);
        let said = self.says.len() - feed.bytes.len();
        self.says.drain(..said);
        progress
    }

    /// Said all that it is going to say for now.
    fn is_quiet(&self) -> bool {
        self.says.is_empty() && (!self.fin || self.from.end() != End::Open)
    }
}

/// What upstreams answer, and whether they close behind it.
fn canned(choice: u8, method: &[u8]) -> (&'static [u8], bool) {
    let (head, body, fin): (&[u8], &[u8], bool) = match choice {
        1 => (b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", b"", false),
        2 => (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n",
            b"3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nT: v\r\n\r\n",
            false,
        ),
        3 => (b"HTTP/1.0 200 OK\r\n\r\n", b"until the end", true),
        4 => (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"",
            false,
        ),
        5 => (
            b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
            b"no",
            true,
        ),
        6 => (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"switched",
            false,
        ),
        7 => (
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
            b"",
            false,
        ),
        8 => (b"\x00garbage\r\n\r\n", b"", false),
        9 => (b"", b"", true),
        10 => (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
            b"1",
            false,
        ),
        _ => (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\n\r\n",
            b"hello",
            false,
        ),
    };
    // Heads and bodies stand apart so that HEAD gets the one without the other.
    match method == b"HEAD" || body.is_empty() {
        true => (head, fin),
        false => (joined(choice, head, body), fin),
    }
}

/// `head` and `body` of `choice` in one piece, made once.
fn joined(choice: u8, head: &'static [u8], body: &'static [u8]) -> &'static [u8] {
    static JOINED: [std::sync::OnceLock<Vec<u8>>; 16] = [const { std::sync::OnceLock::new() }; 16];
    JOINED[usize::from(choice)].get_or_init(|| [head, body].concat())
}

struct Proxy<'a> {
    policy: &'a Policy<'a>,
    schedule: &'a Schedule,
    log: Log,
    /// What the machine asked and was not told yet.
    asked: Option<(Target, bool)>,
    requests: usize,
    questions: u32,
    /// What had been told when the last request was accepted.
    told_at_accept: usize,
    client_ends: bool,
}

/// Runs a server until nothing moves.
pub(super) fn run(mut client: Feed<'_>, policy: &Policy<'_>, schedule: &Schedule) -> Log {
    let now = Instant::ZERO;
    let auth = match policy.has_users {
        true => Auth::Basic,
        false => Auth::None,
    };
    let mut server = Server::new(now, auth, Duration::from_secs(10));
    let mut proxy = Proxy {
        policy,
        schedule,
        log: Log {
            told: Vec::new(),
            error: None,
            to_client: Vec::new(),
            client_end: End::Open,
            upstreams: Vec::new(),
        },
        asked: None,
        requests: 0,
        questions: 0,
        told_at_accept: 0,
        client_ends: client.fin,
    };
    let mut chunks = schedule.chunks.iter().copied().cycle();
    let (mut wire_in, mut wire_out) = (Pipe::new(HEAD_LEN_MAX), Pipe::new(schedule.room));
    let [mut no_to, mut no_from] = [(); 2].map(|()| Pipe::new(1 << 20));
    for _ in 0..ROUNDS_MAX {
        let mut size = || chunks.next().unwrap_or(1);
        let mut progress = client.step(&mut wire_in, size(), schedule.ends_at_once);
        progress |= proxy.upstream_step(size());
        let to = match proxy.log.upstreams.last_mut() {
            Some(upstream) => &mut upstream.to,
            None => &mut no_to,
        };
        let result = server.handle_input(now, &mut wire_in, to);
        progress |= keep(result, &mut proxy.log.error);
        progress |= proxy.events(&mut server);
        let from = match proxy.log.upstreams.last_mut() {
            Some(upstream) => &mut upstream.from,
            None => &mut no_from,
        };
        let result = server.poll_transmit(now, from, &mut wire_out);
        progress |= keep(result, &mut proxy.log.error);
        progress |= proxy.settle();
        progress |= proxy.events(&mut server);
        progress |= drain(&mut wire_out, schedule.drain, &mut proxy.log.to_client);
        assert!(no_to.is_empty(), "bytes for no upstream");
        if progress == Progress::NONE {
            return proxy.end(wire_out.end());
        }
    }
    panic!("the proxy never comes to rest");
}

impl Proxy<'_> {
    fn upstream_step(&mut self, chunk: usize) -> Progress {
        let is_first = self.log.upstreams.len() == 1;
        let number = self.requests.saturating_sub(1);
        let Some(upstream) = self.log.upstreams.last_mut() else {
            return Progress::NONE;
        };
        let progress = drain(&mut upstream.to, self.schedule.drain, &mut upstream.seen);
        let end = upstream.to.end();
        let progress = progress | Progress(end != upstream.end);
        upstream.end = end;
        let is_first = is_first && upstream.accepted == 1;
        upstream.answer(self.policy, number, is_first);
        progress | upstream.say(chunk, self.schedule.ends_at_once)
    }

    /// What is said of an upstream's use for later requests means nothing when there are none.
    fn end(mut self, client_end: End) -> Log {
        self.log.client_end = client_end;
        if client_end != End::Open {
            self.log.told.pop_if(|told| matches!(told, Told::Done(_)));
        }
        self.log
    }

    fn settle(&mut self) -> Progress {
        let Some(upstream) = self.log.upstreams.last_mut() else {
            return Progress::NONE;
        };
        let before = upstream.is_settled;
        upstream.is_settled = upstream.is_quiet() && upstream.from.is_empty();
        Progress(upstream.is_settled != before)
    }

    fn events(&mut self, server: &mut Server) -> Progress {
        let mut progress = Progress::NONE;
        while let Some(event) = server.poll_event() {
            progress = Progress::MADE;
            match event {
                ServerEvent::Auth { username, password } => {
                    server.auth_result(self.policy.lets_in >> (self.questions % 8) & 1 == 0);
                    self.questions += 1;
                    let [name, word] = [username, password].map(|s| s.as_bytes().to_vec());
                    self.log.told.push(Told::Auth(name, word));
                }
                ServerEvent::Request { target, connect } => {
                    self.log.told.push(Told::Request(target.clone(), connect));
                    assert!(self.asked.is_none(), "a request before the last is over");
                    self.asked = Some((target, connect));
                }
                ServerEvent::UpstreamDone { reusable } => self.done(reusable),
            }
        }
        // Where a kept upstream has more to say, a later request would race with it.
        let is_ready = |u: &Upstream| !u.is_kept || u.is_settled;
        if self.log.upstreams.last().is_none_or(is_ready)
            && let Some((target, connect)) = self.asked.take()
        {
            self.decide(server, target, connect);
            progress = Progress::MADE;
        }
        progress
    }

    fn done(&mut self, reusable: bool) {
        if let Some(upstream) = self.log.upstreams.last_mut() {
            upstream.is_kept = reusable;
        }
        // A kept upstream that goes away may do so before or after the owner heard of keeping it.
        let since_accept = self.log.told[self.told_at_accept..].iter_mut();
        let mut done = since_accept.filter(|told| matches!(told, Told::Done(true)));
        match done.next() {
            Some(told) if !reusable => *told = Told::Done(false),
            _ => self.log.told.push(Told::Done(reusable)),
        }
    }

    fn decide(&mut self, server: &mut Server, target: Target, connect: bool) {
        let answer = self.policy.answers[self.requests % 4];
        self.requests += 1;
        let why = Refusal::ALL.get(usize::from(answer >> 4)).copied();
        if let Some(why) = why.filter(|_| answer >> 4 != 0 && answer >> 4 < 6) {
            return server.refuse(why);
        }
        let kept = self.log.upstreams.last_mut();
        match kept.filter(|u| u.is_kept && u.target == target && !connect) {
            Some(upstream) => {
                upstream.is_kept = false;
                upstream.accepted += 1;
            }
            None => {
                let room = self.schedule.room;
                let upstream = Upstream::new(target, connect, room, self.client_ends);
                self.log.upstreams.push(upstream);
            }
        }
        self.told_at_accept = self.log.told.len();
        server.accept();
    }
}

/// Bytes for a message of a panic.
pub(super) fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
