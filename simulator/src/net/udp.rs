//! Datagrams between hosts: late, lost, doubled, out of order, too large.
use super::{
    Core,
    packet::{Body, Ecn, Packet, PacketId},
    site::Stage,
};
use crate::{
    event::Event,
    host::{HostId, HostInput, UdpId},
    rng::StreamId,
    transcript::{Carries, Detail, Head, Tag},
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Refusal;
use std::collections::BTreeMap;

/// The way that datagrams to an address go.
#[derive(Clone, Copy, Debug)]
pub struct UdpPath {
    /// Delay, at least.
    pub latency: Duration,
    /// Added to it, at most; datagrams overtake each other within it.
    pub jitter: Duration,
    /// Lost, in thousandths.
    pub loss: u64,
    /// Delivered twice, in thousandths.
    pub duplication: u64,
    /// Longest payload in bytes; longer ones are lost.
    pub payload_max: usize,
}

impl Default for UdpPath {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            jitter: Duration::from_millis(1),
            loss: 0,
            duplication: 0,
            payload_max: 65_507,
        }
    }
}

fn per_million(thousandths: u64) -> u32 {
    u32::try_from(thousandths.min(1000) * 1000).unwrap_or(u32::MAX)
}

#[derive(Debug)]
struct Socket {
    host: HostId,
    local: SocketAddr,
    is_listener: bool,
}

/// UDP.
#[derive(Debug, Default)]
pub(crate) struct Udp {
    sockets: BTreeMap<UdpId, Socket>,
    paths: BTreeMap<SocketAddr, UdpPath>,
    pub(crate) default_path: UdpPath,
    streams: BTreeMap<(HostId, SocketAddr), StreamId>,
    crossings: BTreeMap<(SocketAddr, SocketAddr), StreamId>,
    next_id: u32,
}

impl Udp {
    pub(crate) fn set_path(&mut self, to: SocketAddr, path: UdpPath) {
        self.paths.insert(to, path);
    }

    pub(crate) fn open_sockets(&self, host: HostId) -> usize {
        let owned = |s: &&Socket| s.host == host && !s.is_listener;
        self.sockets.values().filter(owned).count()
    }

    /// Changes the ways of all datagrams.
    pub(crate) fn change_paths(&mut self, change: impl Fn(&mut UdpPath)) {
        self.paths.values_mut().for_each(&change);
        change(&mut self.default_path);
    }

    /// All sockets of a host, listeners as well.
    pub(crate) fn sockets(&self, host: HostId) -> Vec<UdpId> {
        let owned = self.sockets.iter().filter(|(_, s)| s.host == host);
        owned.map(|(id, _)| *id).collect()
    }

    pub(crate) fn bind(
        &mut self,
        core: &mut Core,
        host: HostId,
        local: SocketAddr,
    ) -> Result<(UdpId, SocketAddr), Refusal> {
        let ip = local.ip();
        if !ip.is_unspecified() && core.owner(ip) != Some(host) {
            return Err(Refusal::AddressUnsupported);
        }
        let rate = core.weather.bind_refused;
        let name = core.host_name(host).to_owned();
        if local.port() == 0 && core.strikes(rate, "bind-refused", format_args!("{name}")) {
            return Err(Refusal::Exhausted);
        }
        let is_taken = |s: &Socket| s.host == host && s.local == local;
        if self.sockets.values().any(is_taken) {
            return Err(Refusal::Exhausted);
        }
        let is_listener = local.port() != 0;
        let port = if is_listener {
            local.port()
        } else {
            core.ephemeral_port(host)
        };
        let local = SocketAddr::new(ip, port);
        let id = UdpId(self.next_id);
        self.next_id += 1;
        let socket = Socket {
            host,
            local,
            is_listener,
        };
        self.sockets.insert(id, socket);
        Ok((id, local))
    }

    pub(crate) fn unbind(&mut self, id: UdpId) {
        self.sockets.remove(&id);
    }

    pub(crate) fn send(
        &mut self,
        core: &mut Core,
        id: UdpId,
        to: SocketAddr,
        (ecn, data): (Ecn, &[u8]),
    ) {
        let Some((host, local)) = self.sockets.get(&id).map(|s| (s.host, s.local)) else {
            return;
        };
        core.note(host, Tag::DatagramSent, id.0.into(), data);
        let source = if local.ip().is_unspecified() {
            core.local_ip(host, to.ip())
        } else {
            Some(local.ip()).filter(|ip| core.has_address(host, *ip))
        };
        let Some(source) = source else {
            core.note(host, Tag::DatagramLost, id.0.into(), data);
            return;
        };
        let from = SocketAddr::new(source, local.port());
        if !core.is_direct(host, to.ip()) {
            let packet = Packet {
                id: core.new_packet_id(),
                source: from,
                destination: to,
                ecn,
                may_fragment: true,
                body: Body::Udp(BytesMut::from(data)),
            };
            core.launch(core.now, Stage::Leave(host), packet);
            return;
        }
        let stream = self.stream(core, host, to);
        let receiver = core.owner(to.ip()).and_then(|host| self.receiver(host, to));
        let packet = sketch_sent(core, host, (from, to), data);
        let way = self.draw(core, stream, to, data.len());
        let (Some(receiver), Some((late, copy))) = (receiver, way) else {
            let why = match receiver {
                Some(_) => "by chance, or too long for the path",
                None => "nobody has this address and port",
            };
            core.sketch(host, (Tag::PacketLost, packet.0), None, why.as_bytes());
            core.note(host, Tag::DatagramLost, id.0.into(), data);
            return;
        };
        let second = copy.map(|late| {
            let packet_of_copy = sketch_sent(core, host, (from, to), data);
            let note = (Tag::PacketNote, packet_of_copy.0);
            core.sketch_text(host, note, None, format_args!("a copy of #{}", packet.0));
            (packet_of_copy, late)
        });
        for (packet, late) in [Some((packet, late)), second].into_iter().flatten() {
            let event = Event::Datagram(receiver, from, (packet, ecn), BytesMut::from(data));
            core.queue.push(core.now + late, event);
        }
    }

    fn stream(&mut self, core: &mut Core, host: HostId, to: SocketAddr) -> StreamId {
        if let Some(stream) = self.streams.get(&(host, to)) {
            return *stream;
        }
        let name = format!("udp/{}->{to}", core.host_name(host));
        let stream = core.streams.open(&name);
        self.streams.insert((host, to), stream);
        stream
    }

    /// How late a datagram and a copy of it come; `None`: it is lost.
    fn draw(
        &self,
        core: &mut Core,
        stream: StreamId,
        to: SocketAddr,
        len: usize,
    ) -> Option<(Duration, Option<Duration>)> {
        let path = *self.paths.get(&to).unwrap_or(&self.default_path);
        let weather = core.weather;
        let strikes = |core: &mut Core, rate, class| {
            if rate == 0 {
                return false;
            }
            let way = core.streams.name(stream).to_owned();
            core.strikes(rate, class, format_args!("{way}"))
        };
        let is_lost = core.streams.hazard(stream, per_million(path.loss))
            | strikes(core, weather.datagram_lost, "datagram-lost");
        if is_lost || len > path.payload_max {
            return None;
        }
        let is_doubled = core.streams.hazard(stream, per_million(path.duplication))
            | strikes(core, weather.datagram_doubled, "datagram-doubled");
        let jitter = u64::try_from(path.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        let mut late = || {
            let mut late = Duration::from_nanos(core.streams.below(stream, jitter + 1));
            if strikes(core, weather.datagram_late, "datagram-late") {
                let way = core.streams.name(stream).to_owned();
                late += core.slower("datagram-late", format_args!("{way}"));
            }
            path.latency + late
        };
        let first = late();
        Some((first, is_doubled.then(late)))
    }

    /// The way of a packet between sites: how late it and a copy of it come, or `None`.
    pub(crate) fn crossing(
        &mut self,
        core: &mut Core,
        packet: &Packet,
        len: usize,
    ) -> Option<(Duration, Option<Duration>)> {
        let key = (packet.source, packet.destination);
        let stream = match self.crossings.get(&key) {
            Some(stream) => *stream,
            None => {
                let stream = core.streams.open(&format!("udp/{}->{}", key.0, key.1));
                self.crossings.insert(key, stream);
                stream
            }
        };
        self.draw(core, stream, packet.destination, len)
    }

    /// The socket of a host to which a datagram for `to` goes.
    pub(crate) fn receiver(&self, host: HostId, to: SocketAddr) -> Option<UdpId> {
        let is_receiver = |s: &Socket| {
            s.host == host
                && s.local.port() == to.port()
                && (s.local.ip() == to.ip()
                    || s.local.ip().is_unspecified() && (s.local.is_ipv6() || to.is_ipv4()))
        };
        let mut sockets = self.sockets.iter();
        sockets.find(|(_, s)| is_receiver(s)).map(|(id, _)| *id)
    }

    pub(crate) fn arrive(
        &self,
        core: &mut Core,
        (id, from, packet): (UdpId, SocketAddr, Option<PacketId>),
        (ecn, data): (Ecn, BytesMut),
    ) -> Option<(HostId, HostInput)> {
        let host = self.sockets.get(&id)?.host;
        if core.is_deaf(host) {
            if let Some(packet) = packet {
                let why = b"the host is down";
                core.sketch(host, (Tag::PacketLost, packet.0), None, why);
            }
            core.note(host, Tag::DatagramLost, id.0.into(), &data);
            return None;
        }
        if let Some(packet) = packet {
            core.sketch(host, (Tag::PacketArrived, packet.0), None, &data);
        }
        core.ecn = ecn;
        core.note(host, Tag::Datagram, id.0.into(), &data);
        let socket = id;
        Some((host, HostInput::Datagram { socket, from, data }))
    }
}

/// A datagram without hops on its way, for pictures.
fn sketch_sent(
    core: &mut Core,
    host: HostId,
    (source, destination): (SocketAddr, SocketAddr),
    data: &[u8],
) -> PacketId {
    let packet = core.new_packet_id();
    let carries = Carries::Udp;
    let detail = Detail::Packet(Head {
        source,
        destination,
        carries,
    });
    core.sketch(host, (Tag::PacketSent, packet.0), Some(detail), data);
    packet
}
