//! The client's end: a tunnel to one server, whose name is looked up before each dial.
use super::to_tunnel;
use crate::{
    carrier::{Carrier, Event, Note, Path, Stream, Transmit},
    config::model::{Dial, LogLevel},
    connect::{RESOLVE_TIMEOUT, families, order},
    machine::{Cause, Undelivered, Wanted},
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::{Domain, Host, Instant, Pipe, Progress, Refusal, Seed, Target};
use sansbox_protocols::paniq::tunnel::{self, ClientConfig, ClientEvent};
use std::{collections::VecDeque, sync::Arc};

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Where the server is.
    pub server: Target,
    /// Which of the server's addresses are tried and in what order, and where sockets are bound.
    pub dial: Dial,
    /// What the tunnel is told; its `server` does not count.
    pub config: ClientConfig,
    /// Whether the profile has streams of datagrams.
    pub has_datagrams: bool,
}

/// A tunnel to one server.
#[derive(Debug)]
pub struct Client {
    plan: Arc<ClientPlan>,
    tunnel: tunnel::Client,
    /// Paths that want a socket, while the server's name is looked up.
    unbound: Vec<tunnel::Path>,
    lookup: Option<Instant>,
    /// What the last lookup found, in order.
    addresses: Vec<IpAddr>,
    /// How many sockets were wanted since.
    attempts: usize,
    events: VecDeque<Event>,
}

impl Client {
    /// A carrier without a tunnel: the first stream makes one. `seed` must be uniformly random;
    /// keys come from it.
    #[must_use]
    pub fn new(now: Instant, since_1970: Duration, plan: Arc<ClientPlan>, seed: Seed) -> Self {
        let addresses = match &plan.server.host {
            Host::Ip(ip) => vec![*ip],
            Host::Domain(_) => Vec::new(),
        };
        Self {
            tunnel: tunnel::Client::new(now, since_1970, plan.config.clone(), seed),
            plan,
            unbound: Vec::new(),
            lookup: None,
            addresses,
            attempts: 0,
            events: VecDeque::new(),
        }
    }

    /// Takes what the tunnel tells.
    fn follow(&mut self, now: Instant) {
        while let Some(event) = self.tunnel.poll_event() {
            let event = match event {
                ClientEvent::NewSourcePort(path) => {
                    self.want_socket(now, path);
                    continue;
                }
                ClientEvent::Closed(path) => {
                    self.unbound.retain(|unbound| *unbound != path);
                    Event::Unbind(Path(path.0))
                }
                ClientEvent::Up(_) => {
                    let server = &self.plan.server;
                    note(LogLevel::Info, format!("tunnel to {server} is up"))
                }
                ClientEvent::Down(_, failure) => {
                    // The next dial asks again where the server is.
                    self.forget_addresses();
                    let server = &self.plan.server;
                    let level = match failure {
                        tunnel::Failure::Quic(_) | tunnel::Failure::Exhausted => LogLevel::Info,
                        tunnel::Failure::Preamble(_)
                        | tunnel::Failure::HandshakeTimedOut
                        | tunnel::Failure::WrongKey
                        | tunnel::Failure::Silent
                        | tunnel::Failure::Settings(_)
                        | tunnel::Failure::NoSocket => LogLevel::Warn,
                    };
                    note(level, format!("tunnel to {server} is down: {failure}"))
                }
                ClientEvent::Accepted(stream, bound) => Event::Connected(Stream(stream.0), bound),
                ClientEvent::Refused(stream, why) => Event::Refused(Stream(stream.0), why),
                ClientEvent::Ready(stream) => Event::Ready(Stream(stream.0)),
            };
            self.events.push_back(event);
        }
    }

    fn forget_addresses(&mut self) {
        if let Host::Domain(_) = self.plan.server.host
            && self.lookup.is_none()
        {
            self.addresses.clear();
        }
    }

    fn want_socket(&mut self, now: Instant, path: tunnel::Path) {
        if let Host::Domain(name) = &self.plan.server.host
            && self.addresses.is_empty()
        {
            self.unbound.push(path);
            if self.lookup.is_none() {
                self.lookup = Some(now + RESOLVE_TIMEOUT);
                let lookup = self.resolve(name.clone());
                self.events.push_back(lookup);
            }
            return;
        }
        self.bind(now, path);
    }

    fn resolve(&self, name: Domain) -> Event {
        Event::Resolve(name, families(self.plan.dial.domain_strategy))
    }

    /// Asks for a socket to send to one of the server's addresses from: each attempt tries the
    /// next one.
    fn bind(&mut self, now: Instant, path: tunnel::Path) {
        let nth = self.attempts.checked_rem(self.addresses.len());
        let Some(ip) = nth.and_then(|nth| self.addresses.get(nth).copied()) else {
            return self.tunnel.path_failed(now, path);
        };
        self.attempts = self.attempts.wrapping_add(1);
        let server = SocketAddr::new(ip, self.plan.server.port);
        self.tunnel.set_server(path, server);
        let local = self.plan.dial.bind_address(ip.is_ipv6());
        let bind = Event::Bind(Path(path.0), SocketAddr::new(local, 0));
        self.events.push_back(bind);
    }

    /// A lookup is over: paths that waited for it go on.
    fn looked_up(&mut self, now: Instant) {
        self.lookup = None;
        self.attempts = 0;
        for path in core::mem::take(&mut self.unbound) {
            self.bind(now, path);
        }
        self.follow(now);
    }
}

const fn note(level: LogLevel, text: String) -> Event {
    Event::Log(Note {
        level,
        peer: None,
        text,
    })
}

impl Carrier for Client {
    fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.tunnel.set_wall_clock(now, since_1970);
    }

    fn resolved(&mut self, now: Instant, answer: Result<&[IpAddr], Refusal>) {
        if self.lookup.is_none() {
            return;
        }
        match answer {
            Ok(addresses) => self.addresses = order(addresses, self.plan.dial.domain_strategy),
            Err(why) => {
                let text = format!("lookup of {}: {why}", self.plan.server.host);
                self.events.push_back(note(LogLevel::Warn, text));
            }
        }
        self.looked_up(now);
    }

    fn bound(&mut self, now: Instant, path: Path, result: Result<(), Refusal>) {
        let path = tunnel::Path(path.0);
        match result {
            Ok(()) => self.tunnel.source_port_changed(now, path),
            Err(why) => {
                let text = format!("socket for {}: {why}", self.plan.server);
                self.events.push_back(note(LogLevel::Warn, text));
                self.tunnel.path_failed(now, path);
            }
        }
        self.follow(now);
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        from: SocketAddr,
        data: BytesMut,
    ) -> bool {
        let path = tunnel::Path(path.0);
        let handled = self.tunnel.handle_datagram(now, path, from, data);
        self.follow(now);
        handled.is_ok()
    }

    fn undelivered(&mut self, now: Instant, path: Path, to: SocketAddr, error: Undelivered) {
        let is_out_of_reach = match error.cause {
            Cause::PortUnreachable
            | Cause::HostUnreachable
            | Cause::NetUnreachable
            | Cause::ProtocolUnreachable
            | Cause::AdminProhibited
            | Cause::HopLimitExceeded => true,
            // Shorter ones get there.
            Cause::TooBig { .. } | Cause::ReassemblyTimeExceeded => false,
        };
        if is_out_of_reach {
            let path = tunnel::Path(path.0);
            self.tunnel.path_unreachable(now, path, to);
            self.follow(now);
        }
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Transmit> {
        let transmit = self.tunnel.poll_transmit(now, segments_max, out);
        self.follow(now);
        let (path, outgoing) = transmit?;
        Some(Transmit {
            path: Path(path.0),
            to: outgoing.to,
            segment: outgoing.segment,
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let tunnel = self.tunnel.poll_timeout(now);
        [tunnel, self.lookup].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.lookup.is_some_and(|deadline| deadline <= now) {
            let text = format!("lookup of {}: timeout", self.plan.server.host);
            self.events.push_back(note(LogLevel::Warn, text));
            self.looked_up(now);
        }
        self.tunnel.handle_timeout(now);
        self.follow(now);
    }

    fn open(&mut self, now: Instant, wanted: Wanted) -> Stream {
        let stream = match wanted {
            Wanted::Connection(target) => self.tunnel.open(now, target),
            Wanted::Datagrams => self.tunnel.open_datagrams(now),
        };
        self.follow(now);
        Stream(stream.0)
    }

    /// A client is asked for nothing.
    fn answer(&mut self, _: Instant, _: Stream, _: Result<SocketAddr, Refusal>) {}

    fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let moved = self
            .tunnel
            .exchange(now, to_tunnel(stream), received, to_send);
        self.follow(now);
        moved
    }

    fn is_open(&self, stream: Stream) -> bool {
        self.tunnel.is_open(to_tunnel(stream))
    }

    fn abandon(&mut self, now: Instant, stream: Stream) {
        self.tunnel.abandon(now, to_tunnel(stream));
        self.follow(now);
    }

    fn close(&mut self, now: Instant) {
        self.tunnel.close(now);
        self.follow(now);
    }
}
