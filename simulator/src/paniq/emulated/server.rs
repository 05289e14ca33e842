//! A persona's server: tunnels, requests, relays.
use super::{
    gate::{Gate, Passed},
    relay::Relay,
    setup::Setup,
};
use crate::paniq::{
    machine::{Sending, ServerMachine, ServerTold},
    persona::{Persona, Replies},
    profile::Profile,
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{End, Instant, Pipe, Progress, Refusal, Seed};
use sansbox_protocols::{
    paniq::{
        proxy::wire::{Reply, Request, Status},
        timestamp::WallClock,
    },
    socks::wire::Name,
};
use sansbox_quic::{ConnectionId, Endpoint, Event, StreamId};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The request must be there at this time.
    Request(Instant),
    Asked,
    Open,
    /// What is left to be sent is; nothing else happens.
    Over,
}

#[derive(Debug)]
struct Entry {
    relay: Relay,
    state: State,
}

/// A persona's server.
pub(crate) struct EmulatedServer {
    persona: Persona,
    profile: Profile,
    wall: WallClock,
    gate: Gate,
    endpoint: Endpoint,
    entries: BTreeMap<u64, Entry>,
    by_quic: BTreeMap<StreamId, u64>,
    made: u64,
    answers: VecDeque<(SocketAddr, BytesMut)>,
    told: VecDeque<ServerTold>,
    plain: Vec<u8>,
    /// The longest UDP payload of the profile.
    packet_len_max: usize,
}

impl EmulatedServer {
    pub(crate) fn new(
        now: Instant,
        since_1970: Duration,
        persona: &Persona,
        profile: &Profile,
        seed: Seed,
    ) -> Self {
        let setup = Setup {
            persona,
            profile,
            epoch: since_1970.saturating_sub(Duration::from_nanos(now.as_nanos())),
        };
        Self {
            persona: *persona,
            profile: profile.clone(),
            wall: WallClock::new(now, since_1970),
            gate: Gate::new(persona, profile, seed),
            endpoint: setup.listen(seed),
            entries: BTreeMap::new(),
            by_quic: BTreeMap::new(),
            made: 0,
            answers: VecDeque::new(),
            told: VecDeque::new(),
            plain: Vec::new(),
            packet_len_max: profile.codec().budget().packet_len_max(),
        }
    }

    fn drive(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected(connection) => {
                    if let Some(peer) = self.endpoint.peer(connection) {
                        self.told.push_back(ServerTold::Up(peer));
                    }
                }
                Event::Lost(connection, peer, why) => {
                    if let Some(peer) = peer {
                        self.told.push_back(ServerTold::Down(peer, why.to_string()));
                    }
                    let of: Vec<u64> = self.of_connection(connection);
                    for stream in of {
                        self.follow(now, stream);
                    }
                }
                Event::Opened(id) => {
                    let stream = self.made;
                    self.made += 1;
                    let relay = Relay::new(now, id, &self.persona, &self.profile);
                    let state = State::Request(now + self.profile.timeout);
                    self.entries.insert(stream, Entry { relay, state });
                    self.by_quic.insert(id, stream);
                    self.follow(now, stream);
                }
                Event::Ready(id) => {
                    if let Some(stream) = self.by_quic.get(&id).copied() {
                        self.follow(now, stream);
                    }
                }
                Event::Incoming(_) | Event::Available(_) | Event::Forgotten(..) | _ => {}
            }
        }
    }

    fn of_connection(&self, connection: ConnectionId) -> Vec<u64> {
        let of = self.by_quic.iter();
        let of = of.filter(|(id, _)| id.connection == connection);
        of.map(|(_, stream)| *stream).collect()
    }

    fn follow(&mut self, now: Instant, stream: u64) {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return;
        };
        match entry.state {
            State::Request(_) => {
                let _ = entry.relay.pump(now, &mut self.endpoint);
                self.read_request(now, stream);
            }
            State::Asked | State::Over => {
                let _ = entry.relay.pump(now, &mut self.endpoint);
            }
            State::Open => {}
        }
        self.forget_what_is_over(stream);
    }

    fn read_request(&mut self, now: Instant, stream: u64) {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return;
        };
        let came = &mut entry.relay.came;
        let may_come = came.end() == End::Open;
        match Request::parse(came.peek(Request::LEN_MAX)) {
            Ok(Some((request, n))) => {
                let target = match request.address.name {
                    // The empty name is this machine (10.13).
                    Name::Domain(name) if name.as_bytes().is_empty() => {
                        let loopback = core::net::Ipv4Addr::LOCALHOST;
                        Some(SocketAddr::from((loopback, request.address.port)).into())
                    }
                    Name::Domain(_) | Name::Ip(_) => request.address.to_target().ok(),
                };
                came.skip(n);
                match target {
                    Some(target) => {
                        entry.state = State::Asked;
                        self.told.push_back(ServerTold::Request(stream, target));
                    }
                    None => self.end(now, stream),
                }
            }
            Ok(None) if may_come => {}
            Ok(None) | Err(_) => self.end(now, stream),
        }
    }

    /// Ends a stream without a word (10.14).
    fn end(&mut self, now: Instant, stream: u64) {
        if let Some(entry) = self.entries.get_mut(&stream) {
            let _ = entry.relay.goes.finish();
            entry.relay.is_closed = true;
            entry.state = State::Over;
            let _ = entry.relay.pump(now, &mut self.endpoint);
        }
    }

    fn forget_what_is_over(&mut self, stream: u64) {
        let Some(entry) = self.entries.get(&stream) else {
            return;
        };
        let id = entry.relay.id;
        let is_gone = !self.endpoint.is_alive(id.connection);
        if is_gone && entry.state == State::Asked {
            self.told.push_back(ServerTold::Cancelled(stream));
        }
        if is_gone && entry.state != State::Open {
            self.by_quic.remove(&id);
            self.entries.remove(&stream);
        }
    }

    fn write(&mut self, now: Instant, stream: u64, reply: Reply<'_>) {
        if let Some(entry) = self.entries.get_mut(&stream) {
            let mut message = BytesMut::new();
            reply.emit(&mut message);
            if self.persona.replies == Replies::Framed && entry.relay.goes.end() == End::Open {
                entry.relay.goes.push(message);
            }
            let _ = entry.relay.pump(now, &mut self.endpoint);
        }
    }

    fn exit(&mut self, why: &str) {
        self.told.push_back(ServerTold::Exited(why.to_owned()));
    }
}

impl ServerMachine for EmulatedServer {
    fn accept(&mut self, now: Instant, stream: u64, bound: SocketAddr) {
        self.write(now, stream, Reply::success(bound));
        if let Some(entry) = self.entries.get_mut(&stream) {
            entry.state = State::Open;
            entry.relay.begin(now);
        }
    }

    fn refuse(&mut self, now: Instant, stream: u64, _: Refusal) {
        self.write(now, stream, Reply::failure(Status::Failure));
        self.end(now, stream);
    }

    fn is_open(&self, stream: u64) -> bool {
        let entry = self.entries.get(&stream);
        entry.is_some_and(|entry| entry.state == State::Open && !entry.relay.is_closed)
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: u64,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return Progress::NONE;
        };
        if entry.state != State::Open {
            return Progress::NONE;
        }
        let relay = &mut entry.relay;
        let progress = relay.exchange(now, &mut self.endpoint, received, to_send);
        if relay.is_closed {
            entry.state = State::Over;
        }
        self.forget_what_is_over(stream);
        progress
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        mut data: BytesMut,
    ) -> Result<(), String> {
        if self.persona.cuts_datagrams {
            data.truncate(2 * self.packet_len_max);
        }
        match self.gate.pass(now, self.wall.at(now), from, data) {
            Passed::Nothing => {}
            Passed::Answer(answer) => self.answers.push_back((from, answer)),
            Passed::Inner(inner) => {
                self.endpoint.handle_datagram(now, from, 0, inner);
                self.drive(now);
            }
            Passed::Dropped(why) => return Err(why),
            Passed::TooLong if self.persona.dies_of_long_datagram => {
                self.exit("payload too large");
            }
            Passed::TooLong => return Err("the inner length is too great".to_owned()),
        }
        Ok(())
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<Sending> {
        out.clear();
        if let Some((to, answer)) = self.answers.pop_front() {
            out.extend_from_slice(&answer);
            let segment = out.len();
            return Some(Sending { to, segment });
        }
        loop {
            let outgoing = self.endpoint.poll_transmit(now, 1, &mut self.plain)?;
            self.gate.seal(outgoing.to, &self.plain, out);
            if !out.is_empty() {
                let (to, segment) = (outgoing.to, out.len());
                return Some(Sending { to, segment });
            }
        }
    }

    fn poll_event(&mut self) -> Option<ServerTold> {
        self.told.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let entries = self.entries.values();
        let timers = entries.filter_map(|entry| match entry.state {
            State::Request(at) => Some(at),
            State::Open => entry.relay.idle_at(),
            State::Asked | State::Over => None,
        });
        let others = [self.endpoint.poll_timeout(), self.gate.poll_timeout()];
        timers.chain(others.into_iter().flatten()).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.gate.handle_timeout(now);
        self.endpoint.handle_timeout(now);
        self.drive(now);
        let streams: Vec<u64> = self.entries.keys().copied().collect();
        for stream in streams {
            let Some(entry) = self.entries.get_mut(&stream) else {
                continue;
            };
            match entry.state {
                State::Request(at) if at <= now => self.end(now, stream),
                State::Open => entry.relay.cut_when_idle(now),
                State::Request(_) | State::Asked | State::Over => {}
            }
        }
    }

    /// The Go server keeps its peers for ever, and nobody expects otherwise (10.7).
    fn residue(&self) -> Option<String> {
        None
    }
}
