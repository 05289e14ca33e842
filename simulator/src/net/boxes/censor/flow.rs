//! What a censor knows of one flow.
use super::{
    Look,
    bucket::Bucket,
    hello::{self, ClientHello},
    http,
    quic::Initials,
    rule::{Sight, When},
    sightings::{Sighting, Sightings},
    stream::Stream,
};
use crate::net::{
    boxes::track::TcpTrack,
    hop::Way,
    packet::{Body, Packet, Transport},
};
use core::net::SocketAddr;
use sansbox_core::Instant;

/// The client is who began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    pub(super) transport: Transport,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// Does a condition hold?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    NotYet,
}

impl From<bool> for Answer {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// A flow under watch.
#[derive(Debug)]
pub(super) struct Flow {
    ends: Ends,
    pub(super) expires: Instant,
    pub(super) tcp: TcpTrack,
    /// Rules that may still apply.
    pub(super) open: Vec<usize>,
    /// Where the next byte of each side begins.
    pub(super) client_next: u64,
    pub(super) server_next: u64,
    /// Payload bytes of datagrams.
    datagrams: u64,
    first: Option<Vec<u8>>,
    stream: Stream,
    initials: Initials,
    hello: Look<ClientHello>,
    http_host: Look<String>,
    pub(super) is_cut: bool,
    pub(super) bucket: Option<Bucket>,
    pub(super) reports: Vec<Sightings>,
    server_spoke: bool,
}

impl Flow {
    pub(super) fn new(ends: Ends, open: Vec<usize>) -> Self {
        Self {
            ends,
            expires: Instant::ZERO,
            tcp: TcpTrack::default(),
            open,
            client_next: 0,
            server_next: 0,
            datagrams: 0,
            first: None,
            stream: Stream::default(),
            initials: Initials::default(),
            hello: Look::More,
            http_host: Look::More,
            is_cut: false,
            bucket: None,
            reports: Vec::new(),
            server_spoke: false,
        }
    }

    /// A packet of the flow passes.
    pub(super) fn see(&mut self, way: Way, side: Side, packet: &Packet, sight: Sight) {
        let payload = packet.payload();
        let mut offset = 0;
        if matches!(packet.body, Body::Udp(_)) {
            self.datagrams += payload.len() as u64;
        }
        if let Body::Tcp(segment) = &packet.body {
            self.tcp.see(way, segment.flags);
            offset = segment.offset;
            let next = match side {
                Side::Client => &mut self.client_next,
                Side::Server => &mut self.server_next,
            };
            // A keep-alive may stand before the first byte.
            if !payload.is_empty() {
                *next = (*next).max(offset + payload.len() as u64);
            }
        }
        if payload.is_empty() {
            return;
        }
        match side {
            Side::Server => self.server_spoke = true,
            Side::Client => self.look(offset, payload, sight),
        }
    }

    fn look(&mut self, offset: u64, payload: &[u8], sight: Sight) {
        let is_first = self.first.is_none();
        self.first.get_or_insert_with(|| payload.to_vec());
        let unsettled = |hello: &Look<ClientHello>| *hello == Look::More;
        if self.ends.transport == Transport::Udp {
            if unsettled(&self.hello) && (is_first || sight == Sight::Stream) {
                self.hello = self.initials.datagram(payload);
            }
        } else {
            self.stream.insert(offset, payload);
            let (seen, is_last) = match sight {
                Sight::FirstPacket => (payload, true),
                Sight::Stream => (self.stream.begin(), self.stream.is_full()),
            };
            if unsettled(&self.hello) {
                self.hello = hello::from_records(seen).settled(is_last);
            }
            if self.http_host == Look::More {
                self.http_host = http::host(seen).settled(is_last);
            }
            return;
        }
        if sight == Sight::FirstPacket && unsettled(&self.hello) {
            self.hello = Look::Never;
        }
    }

    const fn carried(&self) -> u64 {
        self.client_next + self.server_next + self.datagrams
    }

    /// Does a condition hold for this flow?
    pub(super) fn answer(&self, when: &When) -> Answer {
        let over = |transport| self.ends.transport == transport;
        match when {
            When::Always => Answer::Yes,
            When::Transport(transport) => over(*transport).into(),
            When::Carried(limit) if self.carried() > *limit => Answer::Yes,
            When::Carried(_) => Answer::NotYet,
            When::TlsName(_) | When::TlsAlpn(_) | When::HttpHost(_) | When::LooksEncrypted(_)
                if !over(Transport::Tcp) =>
            {
                Answer::No
            }
            When::QuicName(_) if !over(Transport::Udp) => Answer::No,
            When::TlsName(names) | When::QuicName(names) => self.hello.answer(|hello| {
                let name = hello.server_name.as_ref();
                name.is_some_and(|name| names.matches(name))
            }),
            When::TlsAlpn(listed) => self
                .hello
                .answer(|hello| hello.alpn.iter().any(|offered| listed.contains(offered))),
            When::HttpHost(names) => self.http_host.answer(|host| names.matches(host)),
            When::LooksEncrypted(exemptions) => match &self.first {
                None => Answer::NotYet,
                Some(first) => exemptions.looks_encrypted(first).into(),
            },
        }
    }

    /// Tells the probers, once the first flight is whole: the server has spoken, somebody has
    /// ended or the censor has ended it, or no more of it is kept.
    pub(super) fn report(&mut self, now: Instant, is_over: bool) {
        let is_udp = self.ends.transport == Transport::Udp;
        let is_whole = is_udp || self.server_spoke || self.stream.is_full() || is_over;
        let first_flight = match &self.first {
            Some(first) if is_udp => first.as_slice(),
            _ => self.stream.begin(),
        };
        if self.reports.is_empty() || !is_whole || first_flight.is_empty() {
            return;
        }
        let sighting = Sighting {
            at: now,
            transport: self.ends.transport,
            server: self.ends.server,
            first_flight: first_flight.to_vec(),
        };
        for sightings in self.reports.drain(..) {
            sightings.put(sighting.clone());
        }
    }
}
