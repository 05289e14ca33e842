//! The way of packets: from a host over the hops of its site, across, over the hops of another
//! site, to a host.
use super::{
    Core, Net,
    hop::{HopOutput, Lost},
    packet::{Body, Ecn, Flags, Icmp, IcmpKind, Packet, PacketId, Segment, Transport},
    site::{Flight, HopId, SiteId, Stage},
    udp::Datagram,
};
use crate::{
    event::Event,
    host::{HostId, HostInput},
    transcript::{Detail, Place, Tag},
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;

impl Core {
    /// A name for a packet.
    pub(crate) const fn new_packet_id(&mut self) -> PacketId {
        let id = PacketId(self.sites.next_packet);
        self.sites.next_packet += 1;
        id
    }

    /// The host of `site` that has an address.
    fn neighbour(&self, site: SiteId, ip: IpAddr) -> Option<HostId> {
        let is_it = |host: &HostId| self.site(*host) == site && self.has_address(*host, ip);
        self.host_ids().find(is_it)
    }

    /// Is there no hop between a host and an address?
    pub(crate) fn is_direct(&self, host: HostId, to: IpAddr) -> bool {
        let site = self.site(host);
        if !self.sites.has_hops() && self.sites.gateway(site).is_none() {
            return true;
        }
        if self.neighbour(site, to).is_some() {
            return true;
        }
        if self.sites.gateway(site).is_some() {
            return false;
        }
        if !self.sites.hops(site).is_empty() || self.sites.owner(to).is_some() {
            return false;
        }
        let target = self.owner(to).map(|host| self.site(host));
        target.is_none_or(|site| self.sites.hops(site).is_empty())
    }

    /// The site to which the rest of the world sends what goes to an address.
    fn site_of(&self, ip: IpAddr) -> Option<SiteId> {
        let owner = self.sites.owner(ip);
        owner.or_else(|| self.owner(ip).map(|host| self.site(host)))
    }

    /// A packet moves on at a time.
    pub(crate) fn launch(&mut self, at: Instant, stage: Stage, packet: Packet) {
        let key = self.packets.insert(Flight { packet, stage });
        self.queue.push(at, Event::Packet(key as u32));
    }

    /// A host sends a packet, into the site that it is the way out of where there is one.
    pub(crate) fn send_packet(
        &mut self,
        host: HostId,
        (source, destination): (SocketAddr, SocketAddr),
        body: Body,
    ) {
        let packet = Packet {
            id: self.new_packet_id(),
            source,
            destination,
            ecn: Ecn::NotEct,
            may_fragment: true,
            body,
        };
        let stage = match self.sites.behind_gateway(host) {
            Some(site) => {
                self.note_packet(Place::Host(host), Tag::PacketSent, &packet);
                Stage::Enter(site)
            }
            None => Stage::Leave(host),
        };
        self.launch(self.now, stage, packet);
    }

    /// A reset that nobody sent enters the site of its receiver, which expects the byte at
    /// `offset`.
    pub(crate) fn inject_reset(&mut self, from: SocketAddr, to: SocketAddr, offset: u64) {
        let Some(site) = self.site_of(to.ip()) else {
            return;
        };
        let segment = Segment {
            flags: Flags::RST,
            offset,
            ..Segment::default()
        };
        let packet = Packet {
            id: self.new_packet_id(),
            source: from,
            destination: to,
            ecn: Ecn::NotEct,
            may_fragment: false,
            body: Body::Tcp(segment),
        };
        self.launch(self.now, Stage::Enter(site), packet);
    }

    /// A host says of a datagram that nobody listens there (RFC 1122 section 4.1.3.1).
    pub(crate) fn port_unreachable(
        &mut self,
        at: Instant,
        host: HostId,
        (from, to): (SocketAddr, SocketAddr),
    ) {
        let icmp = Icmp {
            kind: IcmpKind::Unreachable,
            transport: Transport::Udp,
            about_source: from,
            about_destination: to,
        };
        let packet = Packet {
            id: self.new_packet_id(),
            source: SocketAddr::new(to.ip(), 0),
            destination: SocketAddr::new(from.ip(), 0),
            ecn: Ecn::NotEct,
            may_fragment: true,
            body: Body::Icmp(icmp),
        };
        self.launch(at, Stage::Leave(host), packet);
    }

    pub(crate) fn note_packet(&mut self, place: Place, tag: Tag, packet: &Packet) {
        let when = (self.now, self.streams.decisions().len());
        let number = packet.id.0;
        self.transcript
            .note(when, place, tag, number, packet.payload());
        if self.transcript.keeps() {
            self.transcript.detail(Detail::Packet(packet.into()));
        }
    }

    fn note_hop(&mut self, hop: HopId, tag: Tag, number: u64, text: std::fmt::Arguments<'_>) {
        self.note_at(Place::Hop(hop.0), tag, number, text);
    }
}

impl Net {
    /// The next step of a packet's way; returns which host hears of it.
    pub(crate) fn packet(&mut self, key: u32) -> Option<(HostId, HostInput)> {
        let Flight { packet, mut stage } = self.core.packets.try_remove(key as usize)?;
        loop {
            stage = match stage {
                Stage::Leave(host) => {
                    let place = Place::Host(host);
                    self.core.note_packet(place, Tag::PacketSent, &packet);
                    let site = self.core.site(host);
                    // An address that the host has lost, or a machine that is gone.
                    let source = packet.source.ip();
                    let is_own =
                        matches!(packet.body, Body::Raw(_)) || self.core.has_address(host, source);
                    if self.core.is_deaf(host) || !is_own {
                        self.lose_crossing(site, &packet, Lost::Down);
                        return None;
                    }
                    if let Some(neighbour) = self.core.neighbour(site, packet.destination.ip()) {
                        return self.deliver(neighbour, packet);
                    }
                    self.core.sites.first_out(site)
                }
                Stage::Cross(from) => {
                    if let Some(gateway) = self.core.sites.gateway(from) {
                        return self.hand_over(gateway, packet);
                    }
                    let Some(site) = self.core.site_of(packet.destination.ip()) else {
                        self.lose_crossing(from, &packet, Lost::NoHost);
                        return None;
                    };
                    let next = Stage::Enter(site);
                    let Some((delay, copy)) = self.crossing(&packet) else {
                        self.lose_crossing(from, &packet, Lost::Chance);
                        return None;
                    };
                    if let Some(delay) = copy {
                        let mut copy = packet.clone();
                        copy.id = self.core.new_packet_id();
                        self.core.launch(self.core.now + delay, next, copy);
                    }
                    if delay > Duration::ZERO {
                        self.core.launch(self.core.now + delay, next, packet);
                        return None;
                    }
                    next
                }
                Stage::Enter(site) => self.core.sites.first_in(site),
                Stage::Hop(hop, way) => {
                    let passed = self.core.with_hop(hop, |h, cx| h.pass(cx, way, packet));
                    if let Some(((), outputs)) = passed {
                        self.after_hop(hop, outputs);
                    }
                    return None;
                }
                Stage::Arrive(site) => {
                    let ip = packet.destination.ip();
                    let Some(host) = self.core.neighbour(site, ip) else {
                        self.lose_crossing(site, &packet, Lost::NoHost);
                        return None;
                    };
                    return self.deliver(host, packet);
                }
            };
        }
    }

    /// Does what a hop wants done.
    pub(crate) fn after_hop(&mut self, hop: HopId, mut outputs: Vec<HopOutput>) {
        for output in outputs.drain(..) {
            match output {
                HopOutput::Forward { at, way, packet } => {
                    if let Some(stage) = self.core.sites.behind(hop, way) {
                        self.core.launch(at, stage, packet);
                    }
                }
                HopOutput::Lost { packet, why } => {
                    let text = format_args!("{why:?}");
                    self.core.note_hop(hop, Tag::PacketLost, packet.id.0, text);
                }
                HopOutput::Note { packet, text } => {
                    let text = format_args!("{text}");
                    self.core.note_hop(hop, Tag::PacketNote, packet.0, text);
                }
            }
        }
        self.core.keep_outputs(outputs);
    }

    pub(crate) fn hop_timer(&mut self, hop: HopId) {
        if !self.core.hop_is_due(hop) {
            return;
        }
        if let Some(((), outputs)) = self.core.with_hop(hop, |h, cx| h.handle_timeout(cx)) {
            self.after_hop(hop, outputs);
        }
    }

    /// How long a packet takes between two sites, and a copy of it where there is one; `None`:
    /// it is lost.
    fn crossing(&mut self, packet: &Packet) -> Option<(Duration, Option<Duration>)> {
        match &packet.body {
            Body::Udp(data) => self.udp.crossing(&mut self.core, packet, data.len()),
            Body::Tcp(_) | Body::Icmp(_) | Body::Raw(_) => {
                Some((self.tcp.crossing(&mut self.core, packet), None))
            }
        }
    }

    /// Lost between the hops of sites: noted on the outermost hop of one of them, or where it
    /// came from.
    fn lose_crossing(&mut self, site: SiteId, packet: &Packet, why: Lost) {
        let place = match self.core.sites.hops(site).last() {
            Some(hop) => Place::Hop(hop.0),
            None => match self.core.host_ids().find(|h| self.core.site(*h) == site) {
                Some(host) => Place::Host(host),
                None => return,
            },
        };
        let text = format_args!("{why:?}");
        self.core.note_at(place, Tag::PacketLost, packet.id.0, text);
    }

    /// A packet reaches the host that is the way out of its site.
    fn hand_over(&mut self, gateway: HostId, packet: Packet) -> Option<(HostId, HostInput)> {
        let place = Place::Host(gateway);
        if self.core.is_deaf(gateway) {
            let text = format_args!("{:?}", Lost::Down);
            self.core.note_at(place, Tag::PacketLost, packet.id.0, text);
            return None;
        }
        self.core.note_packet(place, Tag::PacketArrived, &packet);
        Some((gateway, HostInput::Packet(packet)))
    }

    /// A packet reaches the host that has its address.
    fn deliver(&mut self, host: HostId, packet: Packet) -> Option<(HostId, HostInput)> {
        if self.core.is_deaf(host) {
            let text = format_args!("{:?}", Lost::Down);
            let place = Place::Host(host);
            self.core.note_at(place, Tag::PacketLost, packet.id.0, text);
            return None;
        }
        self.core
            .note_packet(Place::Host(host), Tag::PacketArrived, &packet);
        let (from, to) = (packet.source, packet.destination);
        match packet.body {
            Body::Udp(data) => {
                let socket = self.udp.receiver(host, to);
                let Some(socket) = socket else {
                    let now = self.core.now;
                    self.core.port_unreachable(now, host, (from, to));
                    return None;
                };
                let datagram = Datagram {
                    socket,
                    from,
                    packet: None,
                    ecn: packet.ecn,
                    data,
                };
                self.udp.arrive(&mut self.core, datagram)
            }
            Body::Icmp(icmp) if icmp.transport == Transport::Udp => {
                let socket = self.udp.receiver(host, icmp.about_source)?;
                let from = from.ip();
                Some((host, HostInput::Icmp { socket, from, icmp }))
            }
            Body::Raw(_) => Some((host, HostInput::Packet(packet))),
            Body::Tcp(_) | Body::Icmp(_) => {
                self.tcp.handle_packet(&mut self.core, host, packet);
                None
            }
        }
    }
}
