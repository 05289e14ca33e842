//! The server's end: all tunnels of one listening socket.
use super::to_server;
use crate::{
    carrier::{Carrier, Event, Note, Path, Stream, Transmit},
    config::model::LogLevel,
    machine::Wanted,
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use sansbox_core::{Instant, Pipe, Progress, Refusal, Seed};
use sansbox_protocols::paniq::{
    Draws,
    profile::ServerSettings,
    tunnel::{self, Identity, ServerConfig, ServerEvent, SettingsError},
};
use std::{collections::VecDeque, sync::Arc};

/// What a client is told of where its target was dialled from: nothing (`docs/protocols/paniq.md`).
const UNTOLD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// What the profile says.
    pub settings: Arc<ServerSettings>,
}

/// All tunnels of one socket.
#[derive(Debug)]
pub struct Server {
    tunnels: tunnel::Server,
    events: VecDeque<Event>,
}

impl Server {
    /// A server without tunnels. `seed` must be uniformly random; keys come from it.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn new(
        now: Instant,
        since_1970: Duration,
        plan: &Arc<ServerPlan>,
        seed: &Seed,
    ) -> Result<Self, SettingsError> {
        let identity: Identity = tunnel::Server::identity_of(
            &plan.settings,
            &seed.derive("paniq/identity"),
            since_1970,
        )?;
        let draws = Draws::new(seed.derive("paniq/preamble"));
        let config = ServerConfig::new(&plan.settings, draws);
        let seed = seed.derive("paniq/server");
        let tunnels = tunnel::Server::new(now, since_1970, config, &identity, seed)?;
        Ok(Self {
            tunnels,
            events: VecDeque::new(),
        })
    }

    /// Takes what the tunnels tell.
    fn follow(&mut self) {
        while let Some(event) = self.tunnels.poll_event() {
            self.events.push_back(match event {
                ServerEvent::Up(peer) => note(peer, "tunnel is up".to_owned()),
                ServerEvent::Down(peer, why) => note(peer, format!("tunnel is down: {why}")),
                ServerEvent::Request(stream, peer, target) => {
                    let wanted = Wanted::Connection(target);
                    Event::Request(Stream(stream.0), peer, wanted)
                }
                ServerEvent::DatagramsRequest(stream, peer) => {
                    Event::Request(Stream(stream.0), peer, Wanted::Datagrams)
                }
                ServerEvent::Cancelled(stream) => Event::Cancelled(Stream(stream.0)),
                ServerEvent::Ready(stream) => Event::Ready(Stream(stream.0)),
            });
        }
    }
}

const fn note(peer: SocketAddr, text: String) -> Event {
    Event::Log(Note {
        level: LogLevel::Info,
        peer: Some(peer),
        text,
    })
}

impl Carrier for Server {
    fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.tunnels.set_wall_clock(now, since_1970);
    }

    /// A server looks nothing up.
    fn resolved(&mut self, _: Instant, _: Result<&[IpAddr], Refusal>) {}

    /// Its only socket is there from the start.
    fn bound(&mut self, _: Instant, _: Path, _: Result<(), Refusal>) {}

    fn handle_datagram(&mut self, now: Instant, _: Path, from: SocketAddr, data: BytesMut) -> bool {
        let handled = self.tunnels.handle_datagram(now, from, data);
        self.follow();
        handled.is_ok()
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Transmit> {
        let transmit = self.tunnels.poll_transmit(now, segments_max, out);
        self.follow();
        let outgoing = transmit?;
        Some(Transmit {
            path: Path::LISTENER,
            to: outgoing.to,
            segment: outgoing.segment,
        })
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        self.tunnels.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.tunnels.handle_timeout(now);
        self.follow();
    }

    /// Servers open no streams in this protocol; nobody asks for one.
    fn open(&mut self, _: Instant, _: Wanted) -> Stream {
        let never = Stream(u64::MAX);
        let refused = Event::Refused(never, Refusal::CommandUnsupported);
        self.events.push_back(refused);
        never
    }

    fn answer(&mut self, now: Instant, stream: Stream, answer: Result<SocketAddr, Refusal>) {
        match answer {
            Ok(_) => self.tunnels.accept(now, to_server(stream), UNTOLD),
            Err(why) => self.tunnels.refuse(now, to_server(stream), why),
        }
        self.follow();
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let moved = self
            .tunnels
            .exchange(now, to_server(stream), received, to_send);
        self.follow();
        moved
    }

    fn is_open(&self, stream: Stream) -> bool {
        self.tunnels.is_open(to_server(stream))
    }

    fn abandon(&mut self, now: Instant, stream: Stream) {
        self.tunnels.abandon(now, to_server(stream));
        self.follow();
    }

    fn close(&mut self, now: Instant) {
        self.tunnels.close(now);
        self.follow();
    }
}
