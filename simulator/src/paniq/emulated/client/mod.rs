//! A persona's client: one tunnel at a time, made when a request wants it.
mod machine;

use super::{relay::Relay, setup::Setup, wrap::Wrap};
use crate::paniq::{
    machine::ClientTold,
    persona::{Persona, Replies},
    profile::Profile,
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{End, Instant, Seed, Target};
use sansbox_protocols::paniq::{
    preamble::{self, ClientEvent},
    proxy::wire::{Reply, Request, Status},
    timestamp::WallClock,
};
use sansbox_quic::{ConnectionId, Endpoint, Event, StreamId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A handshake with a limit is given up after this in any case.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum State {
    /// For a tunnel.
    Waiting,
    /// The request is on its way, until the deadline if there is one.
    Requested(Relay, Option<Instant>),
    Open(Relay),
    /// Its owner's pipes are over; the stream may still have something to send.
    Over(Relay),
}

impl State {
    const fn relay(&mut self) -> Option<&mut Relay> {
        match self {
            Self::Waiting => None,
            Self::Requested(relay, _) | Self::Open(relay) | Self::Over(relay) => Some(relay),
        }
    }
}

#[derive(Debug)]
struct Entry {
    target: Target,
    state: State,
    is_retried: bool,
}

/// The tunnel.
enum Tunnel {
    None,
    /// The owner was asked for a socket.
    Socket,
    Preamble(Box<preamble::Client>),
    Handshake {
        began: Instant,
        heard: Instant,
    },
    Ready,
    /// There will be no other.
    Dead,
}

/// A persona's client.
pub(crate) struct EmulatedClient {
    persona: Persona,
    profile: Profile,
    server: SocketAddr,
    wall: WallClock,
    epoch: Duration,
    seed: Seed,
    tunnel: Tunnel,
    path: u64,
    quic: Option<(Endpoint, ConnectionId)>,
    /// Connections that are closed and may still have a word to send, by their path.
    leaving: Vec<(u64, Endpoint, Wrap)>,
    wrap: Option<Wrap>,
    entries: BTreeMap<u64, Entry>,
    waiting: BTreeSet<u64>,
    by_quic: BTreeMap<StreamId, u64>,
    made: u64,
    /// Late failures of the tunnel before, which will end the next one.
    late_failures: usize,
    told: VecDeque<ClientTold>,
    plain: Vec<u8>,
}

impl EmulatedClient {
    pub(crate) fn new(
        now: Instant,
        since_1970: Duration,
        persona: &Persona,
        profile: &Profile,
        server: SocketAddr,
        seed: Seed,
    ) -> Self {
        Self {
            persona: *persona,
            profile: profile.clone(),
            server,
            wall: WallClock::new(now, since_1970),
            epoch: since_1970.saturating_sub(Duration::from_nanos(now.as_nanos())),
            seed,
            tunnel: Tunnel::None,
            path: 0,
            quic: None,
            leaving: Vec::new(),
            wrap: None,
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            by_quic: BTreeMap::new(),
            made: 0,
            late_failures: 0,
            told: VecDeque::new(),
            plain: Vec::new(),
        }
    }

    fn dial_when_wanted(&mut self) {
        if matches!(self.tunnel, Tunnel::None) && !self.waiting.is_empty() {
            self.path += 1;
            self.tunnel = Tunnel::Socket;
            self.told.push_back(ClientTold::Socket(self.path));
        }
    }

    fn begin_quic(&mut self, now: Instant) {
        let seed = self.seed.derive_nth("quic", self.path);
        let setup = Setup {
            persona: &self.persona,
            profile: &self.profile,
            epoch: self.epoch,
        };
        self.quic = Some(setup.connect(now, self.server, seed));
        let seed = self.seed.derive_nth("wrap", self.path);
        self.wrap = Some(Wrap::new(&self.persona, &self.profile, seed));
        let (began, heard) = (now, now);
        self.tunnel = Tunnel::Handshake { began, heard };
    }

    /// The tunnel is gone, or was none.
    fn lose(&mut self, now: Instant, why: &str) {
        self.end_tunnel(now, why, false);
    }

    /// The same; `is_request`: because a request failed, which is not among those that the tunnel
    /// takes with it.
    fn end_tunnel(&mut self, now: Instant, why: &str, is_request: bool) {
        let was_up = matches!(self.tunnel, Tunnel::Ready);
        self.told
            .push_back(ClientTold::Down(self.path, why.to_owned()));
        match self.quic.take().zip(self.wrap.take()) {
            Some(((mut endpoint, connection), wrap)) => {
                endpoint.close(now, connection, 0, "open stream failed");
                self.leaving.push((self.path, endpoint, wrap));
            }
            None => self.told.push_back(ClientTold::Closed(self.path)),
        }
        self.tunnel = match self.persona.redials {
            true => Tunnel::None,
            false => Tunnel::Dead,
        };
        let ids = core::mem::take(&mut self.by_quic);
        let mut late = 0;
        for stream in ids.into_values() {
            let Some(entry) = self.entries.get_mut(&stream) else {
                continue;
            };
            match &mut entry.state {
                State::Requested(..) => {
                    late += 1;
                    self.fail(stream, why);
                }
                State::Open(relay) => {
                    // Its owner sees a good end with the next exchange.
                    relay.is_lost = true;
                }
                State::Over(_) => {
                    self.entries.remove(&stream);
                }
                State::Waiting => {}
            }
        }
        if self.persona.kills_replacement && was_up {
            // Each of them but the first resets the tunnel that it finds.
            self.late_failures += usize::saturating_sub(late, usize::from(!is_request));
        }
        if !was_up || !self.persona.redials {
            self.refuse_waiting(why);
        }
        self.dial_when_wanted();
    }

    /// No tunnel could be made: who made it is told. Others then try for themselves.
    fn refuse_waiting(&mut self, why: &str) {
        while let Some(stream) = self.waiting.pop_first() {
            self.entries.remove(&stream);
            let refused = ClientTold::Refused(stream, why.to_owned());
            self.told.push_back(refused);
            if self.persona.redials {
                return;
            }
        }
    }

    /// A request failed: once it is made again, where the persona does so.
    fn fail(&mut self, stream: u64, why: &str) {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return;
        };
        if self.persona.refusal_ends_all && !entry.is_retried {
            entry.is_retried = true;
            entry.state = State::Waiting;
            self.waiting.insert(stream);
        } else {
            self.entries.remove(&stream);
            let refused = ClientTold::Refused(stream, why.to_owned());
            self.told.push_back(refused);
        }
    }

    /// A request failed by itself, and not with the tunnel.
    fn fail_alone(&mut self, now: Instant, stream: u64, why: &str) {
        if let Some(relay) = self.entries.get_mut(&stream).and_then(|e| e.state.relay()) {
            self.by_quic.remove(&relay.id);
        }
        self.fail(stream, why);
        if self.persona.refusal_ends_all {
            self.end_tunnel(now, "open stream failed", true);
        }
    }

    fn connected(&mut self, now: Instant) {
        self.tunnel = Tunnel::Ready;
        self.told.push_back(ClientTold::Up(self.path));
        if self.late_failures > 0 {
            self.late_failures -= 1;
            if let Some(stream) = self.waiting.pop_first() {
                self.fail(stream, "open stream failed");
            }
            self.lose(now, "open stream failed");
            return;
        }
        self.place_waiting(now);
    }

    fn place_waiting(&mut self, now: Instant) {
        while matches!(self.tunnel, Tunnel::Ready)
            && let Some(stream) = self.waiting.first().copied()
            && let Some((endpoint, connection)) = &mut self.quic
        {
            let Some(id) = endpoint.open(now, *connection) else {
                return;
            };
            self.waiting.remove(&stream);
            let Some(entry) = self.entries.get_mut(&stream) else {
                continue;
            };
            let mut relay = Relay::new(now, id, &self.persona, &self.profile);
            let mut message = BytesMut::new();
            Request::from(&entry.target).emit(&mut message);
            relay.goes.push(message);
            let _ = relay.pump(now, endpoint);
            self.by_quic.insert(id, stream);
            if self.persona.replies == Replies::None {
                entry.state = State::Open(relay);
                self.told.push_back(ClientTold::Accepted(stream));
            } else {
                let deadline = self.persona.reply_timeout.map(|time| now + time);
                entry.state = State::Requested(relay, deadline);
            }
        }
    }

    fn drive(&mut self, now: Instant) {
        while let Some(event) = self.quic.as_mut().and_then(|(quic, _)| quic.poll_event()) {
            match event {
                Event::Connected(_) => self.connected(now),
                Event::Lost(_, _, why) => self.lose(now, &why.to_string()),
                Event::Ready(id) => self.follow(now, id),
                Event::Available(_) => self.place_waiting(now),
                Event::Opened(_) | Event::Incoming(_) | Event::Forgotten(..) | _ => {}
            }
        }
        for (path, endpoint, _) in &mut self.leaving {
            while endpoint.poll_event().is_some() {}
            if endpoint.is_empty() {
                self.told.push_back(ClientTold::Closed(*path));
            }
        }
        self.leaving.retain(|(_, endpoint, _)| !endpoint.is_empty());
    }

    fn follow(&mut self, now: Instant, id: StreamId) {
        let (Some(stream), Some((endpoint, _))) = (self.by_quic.get(&id).copied(), &mut self.quic)
        else {
            return;
        };
        let Some(entry) = self.entries.get_mut(&stream) else {
            return;
        };
        match &mut entry.state {
            State::Requested(relay, _) => {
                let _ = relay.pump(now, endpoint);
                self.read_reply(now, stream);
            }
            State::Over(relay) => {
                let _ = relay.pump(now, endpoint);
            }
            State::Waiting | State::Open(_) => {}
        }
    }

    fn read_reply(&mut self, now: Instant, stream: u64) {
        let Some(entry) = self.entries.get_mut(&stream) else {
            return;
        };
        let State::Requested(relay, _) = &mut entry.state else {
            return;
        };
        let may_come = relay.came.end() == End::Open;
        let why = match Reply::parse(relay.came.peek(Reply::LEN_MAX)) {
            Ok(Some((reply, n))) if reply.status == Status::Success => {
                relay.came.skip(n);
                relay.begin(now);
                if let State::Requested(relay, _) =
                    core::mem::replace(&mut entry.state, State::Waiting)
                {
                    entry.state = State::Open(relay);
                }
                return self.told.push_back(ClientTold::Accepted(stream));
            }
            Ok(Some((reply, _))) => format!("proxy status {}", reply.status.octet()),
            Ok(None) if may_come => return,
            Ok(None) => "EOF".to_owned(),
            Err(why) => why.to_string(),
        };
        self.fail_alone(now, stream, &why);
    }

    fn handshake_at(&self) -> Option<Instant> {
        let idle = self.persona.handshake_idle?;
        match self.tunnel {
            Tunnel::Handshake { began, heard } => Some((heard + idle).min(began + HANDSHAKE_MAX)),
            Tunnel::None | Tunnel::Socket | Tunnel::Preamble(_) | Tunnel::Ready | Tunnel::Dead => {
                None
            }
        }
    }

    fn follow_preamble(&mut self, now: Instant) {
        let Tunnel::Preamble(preamble) = &mut self.tunnel else {
            return;
        };
        match preamble.poll_event() {
            Some(ClientEvent::Ready) => self.begin_quic(now),
            Some(ClientEvent::Failed(why)) => self.lose(now, &why.to_string()),
            Some(ClientEvent::NewSourcePort) => {
                self.told.push_back(ClientTold::Socket(self.path));
            }
            None => {}
        }
    }
}
