//! A driver for one machine, and helpers to write bytes down with the names of their fields.
mod client;
mod curl;
mod rejections;
mod server;
mod sessions;
mod timing;

use super::{Auth, Client, Command, Credentials, Server, ServerEvent, Version};
use sansbox_core::{End, Host, Instant, Pipe, Progress, Refusal, StreamProtocol, Target};
use std::{net::SocketAddr, time::Duration};

/// Bytes from hexadecimal words, each with the name of its field before a colon or bare.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text
        .split_whitespace()
        .map(|word| word.split_once(':').map_or(word, |(_name, digits)| digits))
        .collect();
    assert!(digits.len().is_multiple_of(2), "half an octet in {text}");
    let octets = (0..digits.len()).step_by(2);
    octets
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// How bytes come and go: sizes of the chunks that arrive, in turn and then again; the limit of
/// the output pipes; and how many bytes are taken out of each in a round.
#[derive(Clone, Debug)]
struct Schedule {
    chunks: Vec<usize>,
    room: usize,
    drain: usize,
}

impl Schedule {
    fn at_once() -> Self {
        Self {
            chunks: vec![usize::MAX],
            room: 1 << 20,
            drain: usize::MAX,
        }
    }

    fn trickle() -> Self {
        Self {
            chunks: vec![1],
            room: 1,
            drain: 1,
        }
    }
}

/// One end of a connection: what is written there, and whether it then ends.
#[derive(Clone, Debug)]
struct Input {
    bytes: Vec<u8>,
    end: End,
}

impl Input {
    fn open(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            end: End::Open,
        }
    }

    fn ended(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            end: End::Fin,
        }
    }

    /// Writes the next chunk, if `pipe` has room.
    fn feed(&mut self, pipe: &mut Pipe, chunk: usize) -> Progress {
        if pipe.end() != End::Open {
            return Progress::NONE;
        }
        if self.bytes.is_empty() {
            return if self.end == End::Fin {
                pipe.finish()
            } else {
                Progress::NONE
            };
        }
        let n = chunk.min(pipe.room()).min(self.bytes.len());
        let chunk: Vec<u8> = self.bytes.drain(..n).collect();
        pipe.push(bytes::BytesMut::from(&chunk[..]));
        Progress(n > 0)
    }
}

/// All that a machine did.
#[derive(Debug, PartialEq, Eq)]
struct Outcome<V, R> {
    events: Vec<V>,
    error: Option<R>,
    /// To the peer.
    sent: Vec<u8>,
    sent_end: End,
    /// To the application.
    delivered: Vec<u8>,
    delivered_end: End,
}

fn drain(pipe: &mut Pipe, max: usize, to: &mut Vec<u8>) -> Progress {
    let before = to.len();
    while let Some(segment) = pipe.take(max - (to.len() - before).min(max)) {
        to.extend_from_slice(&segment);
    }
    Progress(to.len() > before)
}

/// Runs `machine` until nothing moves, on `peer`'s bytes and on `local`'s.
fn run<M: StreamProtocol>(
    machine: &mut M,
    mut peer: Input,
    mut local: Input,
    schedule: &Schedule,
    mut answer: impl FnMut(&mut M, &M::Event),
) -> Outcome<M::Event, M::Error> {
    let now = Instant::ZERO;
    let mut chunks = schedule.chunks.iter().copied().cycle();
    let [mut wire_in, mut app_in] = [(); 2].map(|()| Pipe::new(super::MESSAGE_LEN_MAX));
    let [mut wire_out, mut app_out] = [(); 2].map(|()| Pipe::new(schedule.room));
    let (mut events, mut error) = (Vec::new(), None);
    let (mut sent, mut delivered) = (Vec::new(), Vec::new());
    for _round in 0..100_000 {
        let mut progress = peer.feed(&mut wire_in, chunks.next().unwrap_or(1));
        progress |= local.feed(&mut app_in, chunks.next().unwrap_or(1));
        let input = machine.handle_input(now, &mut wire_in, &mut app_out);
        progress |= keep(input, &mut error);
        while let Some(event) = machine.poll_event() {
            answer(machine, &event);
            events.push(event);
            progress = Progress::MADE;
        }
        let output = machine.poll_transmit(now, &mut app_in, &mut wire_out);
        progress |= keep(output, &mut error);
        progress |= drain(&mut wire_out, schedule.drain, &mut sent);
        progress |= drain(&mut app_out, schedule.drain, &mut delivered);
        if progress == Progress::NONE {
            let (sent_end, delivered_end) = (wire_out.end(), app_out.end());
            return Outcome {
                events,
                error,
                sent,
                sent_end,
                delivered,
                delivered_end,
            };
        }
    }
    panic!("the machine never comes to rest");
}

fn keep<R>(result: Result<Progress, R>, error: &mut Option<R>) -> Progress {
    result.unwrap_or_else(|e| {
        assert!(error.replace(e).is_none(), "a machine fails once");
        Progress::MADE
    })
}

/// What the owner of a server says to its events.
#[derive(Clone, Copy, Debug)]
struct Owner {
    auth: Auth,
    lets_in: bool,
    verdict: Result<SocketAddr, Refusal>,
}

impl Owner {
    fn answer(self, server: &mut Server, event: &ServerEvent) {
        match (event, self.verdict) {
            (ServerEvent::Auth { .. }, _) => server.auth_result(self.lets_in),
            (ServerEvent::Request { .. }, Ok(bound)) => server.accept(bound),
            (ServerEvent::Request { .. }, Err(why)) => server.refuse(why),
        }
    }

    fn server(self) -> Server {
        Server::new(Instant::ZERO, self.auth, TIMEOUT)
    }

    fn run(
        self,
        peer: Input,
        local: Input,
        schedule: &Schedule,
    ) -> Outcome<ServerEvent, super::ServerError> {
        let answer = |server: &mut Server, event: &ServerEvent| self.answer(server, event);
        run(&mut self.server(), peer, local, schedule, answer)
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);

/// An owner without users that accepts everything at 192.0.2.9:4000.
fn open_owner() -> Owner {
    let bound = SocketAddr::from(([192, 0, 2, 9], 4000));
    Owner {
        auth: Auth::None,
        lets_in: true,
        verdict: Ok(bound),
    }
}

fn password_owner(lets_in: bool) -> Owner {
    Owner {
        auth: Auth::Password,
        lets_in,
        ..open_owner()
    }
}

fn target(text: &str) -> Target {
    let (host, port) = text.rsplit_once(':').unwrap();
    Target::new(Host::parse(host.as_bytes()).unwrap(), port.parse().unwrap())
}

fn login() -> Option<Credentials> {
    Some(Credentials::new(b"u", b"pw").unwrap())
}

fn client(version: Version, credentials: Option<Credentials>, to: &str) -> Client {
    Client::new(
        Instant::ZERO,
        version,
        credentials,
        Command::Connect,
        target(to),
        TIMEOUT,
    )
    .unwrap()
}
