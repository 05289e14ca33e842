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
use rustc_hash::FxHashMap;
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

impl UdpPath {
    /// Is nothing about it left to chance?
    const fn is_sure(&self) -> bool {
        self.jitter.is_zero() && self.loss == 0 && self.duplication == 0
    }
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
    /// By number; closed ones leave a gap.
    sockets: Vec<Option<Socket>>,
    /// The open sockets of each port, in the order they were opened.
    ports: FxHashMap<(HostId, u16), Vec<UdpId>>,
    paths: BTreeMap<SocketAddr, UdpPath>,
    pub(crate) default_path: UdpPath,
    streams: FxHashMap<(HostId, SocketAddr), StreamId>,
    crossings: FxHashMap<(SocketAddr, SocketAddr), StreamId>,
}

/// A datagram between hosts without hops.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) socket: UdpId,
    pub(crate) from: SocketAddr,
    pub(crate) ecn: Ecn,
    /// What it is called in pictures, where no hop names it.
    pub(crate) packet: Option<PacketId>,
    pub(crate) data: BytesMut,
}

impl Udp {
    pub(crate) fn set_path(&mut self, to: SocketAddr, path: UdpPath) {
        self.paths.insert(to, path);
    }

    pub(crate) fn open_sockets(&self, host: HostId) -> usize {
        let owned = |s: &&Socket| s.host == host && !s.is_listener;
        self.sockets.iter().flatten().filter(owned).count()
    }

    /// Changes the ways of all datagrams.
    pub(crate) fn change_paths(&mut self, change: impl Fn(&mut UdpPath)) {
        self.paths.values_mut().for_each(&change);
        change(&mut self.default_path);
    }

    /// All sockets of a host, listeners as well.
    pub(crate) fn sockets(&self, host: HostId) -> Vec<UdpId> {
        let owned = |s: &Option<Socket>| s.as_ref().is_some_and(|s| s.host == host);
        let ids = (0..).map(UdpId).zip(&self.sockets);
        ids.filter(|(_, s)| owned(s)).map(|(id, _)| id).collect()
    }

    fn socket(&self, id: UdpId) -> Option<&Socket> {
        self.sockets.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn bind(
        &mut self,
        core: &mut Core,
        host: HostId,
        local: SocketAddr,
    ) -> Result<(UdpId, SocketAddr), Refusal> {
        let ip = local.ip();
        if !ip.is_unspecified() && !core.has_address(host, ip) {
            return Err(Refusal::AddressUnsupported);
        }
        let rate = core.weather.bind_refused;
        let name = core.host_name(host).to_owned();
        if local.port() == 0 && core.strikes(rate, "bind-refused", format_args!("{name}")) {
            return Err(Refusal::Exhausted);
        }
        let same_port = self.ports.get(&(host, local.port()));
        let is_taken = |id: &UdpId| self.socket(*id).is_some_and(|s| s.local == local);
        if same_port.is_some_and(|ids| ids.iter().any(is_taken)) {
            return Err(Refusal::Exhausted);
        }
        let is_listener = local.port() != 0;
        let port = if is_listener {
            local.port()
        } else {
            core.ephemeral_port(host)
        };
        let local = SocketAddr::new(ip, port);
        let id = UdpId(u32::try_from(self.sockets.len()).unwrap_or(u32::MAX));
        let socket = Socket {
            host,
            local,
            is_listener,
        };
        self.sockets.push(Some(socket));
        self.ports.entry((host, port)).or_default().push(id);
        Ok((id, local))
    }

    pub(crate) fn unbind(&mut self, id: UdpId) {
        let Some(socket) = self.sockets.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        if let Some(ids) = self.ports.get_mut(&(socket.host, socket.local.port())) {
            ids.retain(|other| *other != id);
        }
    }

    pub(crate) fn send(
        &mut self,
        core: &mut Core,
        id: UdpId,
        to: SocketAddr,
        (ecn, data): (Ecn, &[u8]),
    ) {
        let Some((host, local)) = self.socket(id).map(|s| (s.host, s.local)) else {
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
        let receiver = core.owner(to.ip()).and_then(|host| self.receiver(host, to));
        let packet = sketch_sent(core, host, (from, to), data);
        let path = self.path(to);
        let way = if path.is_sure() && core.weather.spares_datagrams() {
            (data.len() <= path.payload_max).then_some((path.latency, None))
        } else {
            let stream = self.stream(core, host, to);
            Self::draw(core, stream, path, data.len())
        };
        let (Some(socket), Some((late, copy))) = (receiver, way) else {
            let why = match receiver {
                Some(_) => "by chance, or too long for the path",
                None => "nobody has this address and port",
            };
            core.sketch(host, (Tag::PacketLost, packet.0), None, why.as_bytes());
            core.note(host, Tag::DatagramLost, id.0.into(), data);
            if let (None, Some((late, _)), Some(there)) = (receiver, way, core.owner(to.ip())) {
                core.port_unreachable(core.now + late, there, (from, to));
            }
            return;
        };
        let second = copy.map(|late| {
            let packet_of_copy = sketch_sent(core, host, (from, to), data);
            let note = (Tag::PacketNote, packet_of_copy.0);
            core.sketch_text(host, note, None, format_args!("a copy of #{}", packet.0));
            (packet_of_copy, late)
        });
        for (packet, late) in [Some((packet, late)), second].into_iter().flatten() {
            let key = core.datagrams.insert(Datagram {
                socket,
                from,
                ecn,
                packet: Some(packet),
                data: BytesMut::from(data),
            });
            core.queue
                .push(core.now + late, Event::Datagram(key as u32));
        }
    }

    fn path(&self, to: SocketAddr) -> UdpPath {
        if self.paths.is_empty() {
            return self.default_path;
        }
        *self.paths.get(&to).unwrap_or(&self.default_path)
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
        core: &mut Core,
        stream: StreamId,
        path: UdpPath,
        len: usize,
    ) -> Option<(Duration, Option<Duration>)> {
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
        Self::draw(core, stream, self.path(packet.destination), len)
    }

    /// The socket of a host to which a datagram for `to` goes.
    pub(crate) fn receiver(&self, host: HostId, to: SocketAddr) -> Option<UdpId> {
        let is_receiver = |s: &Socket| {
            s.host == host
                && s.local.port() == to.port()
                && (s.local.ip() == to.ip()
                    || s.local.ip().is_unspecified() && (s.local.is_ipv6() || to.is_ipv4()))
        };
        let mut same_port = self.ports.get(&(host, to.port()))?.iter().copied();
        same_port.find(|id| self.socket(*id).is_some_and(is_receiver))
    }

    pub(crate) fn arrive(
        &self,
        core: &mut Core,
        datagram: Datagram,
    ) -> Option<(HostId, HostInput)> {
        let Datagram {
            socket,
            from,
            ecn,
            packet,
            data,
        } = datagram;
        let id = socket;
        let host = self.socket(id)?.host;
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
        unkept: 0,
    });
    core.sketch(host, (Tag::PacketSent, packet.0), Some(detail), data);
    packet
}
