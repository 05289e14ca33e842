//! Datagrams between hosts: late, lost, doubled, out of order, too large.
use super::Core;
use crate::{
    event::Event,
    host::{HostId, HostInput, UdpId},
    net::packet::PacketId,
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

    pub(crate) fn send(&mut self, core: &mut Core, id: UdpId, to: SocketAddr, data: &[u8]) {
        let Some((host, local)) = self.sockets.get(&id).map(|s| (s.host, s.local)) else {
            return;
        };
        core.note(host, Tag::DatagramSent, id.0.into(), data);
        let source = if local.ip().is_unspecified() {
            core.local_ip(host, to.ip())
        } else {
            Some(local.ip())
        };
        let path = *self.paths.get(&to).unwrap_or(&self.default_path);
        let stream = match self.streams.get(&(host, to)) {
            Some(stream) => *stream,
            None => {
                let name = format!("udp/{}->{to}", core.host_name(host));
                let stream = core.streams.open(&name);
                self.streams.insert((host, to), stream);
                stream
            }
        };
        let packet = core.new_packet();
        let head = source.map(|source| Head {
            source: SocketAddr::new(source, local.port()),
            destination: to,
            carries: Carries::Udp,
        });
        sketch_sent(core, host, packet, head, data);
        let is_lost = core.streams.below(stream, 1000) < path.loss;
        let receiver = self.receiver(core, to);
        let (Some(source), Some(receiver), false, true) =
            (source, receiver, is_lost, data.len() <= path.payload_max)
        else {
            core.note(host, Tag::DatagramLost, id.0.into(), data);
            let why = match (source, receiver, is_lost) {
                (None, ..) => "no address of this family",
                (_, None, _) => "nobody has this address and port",
                (.., true) => "by chance",
                (.., false) => "too long for the path",
            };
            core.sketch(host, (Tag::PacketLost, packet.0), None, why.as_bytes());
            return;
        };
        let copies = 1 + u64::from(core.streams.below(stream, 1000) < path.duplication);
        let jitter = u64::try_from(path.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        for nth in 0..copies {
            let packet = if nth == 0 {
                packet
            } else {
                let copy = core.new_packet();
                sketch_sent(core, host, copy, head, data);
                let (tag, of) = (Tag::PacketNote, packet.0);
                core.sketch_text(host, (tag, copy.0), None, format_args!("a copy of #{of}"));
                copy
            };
            let late = Duration::from_nanos(core.streams.below(stream, jitter + 1));
            let from = SocketAddr::new(source, local.port());
            let event = Event::Datagram(receiver, from, packet, BytesMut::from(data));
            core.queue.push(core.now + path.latency + late, event);
        }
    }

    fn receiver(&self, core: &Core, to: SocketAddr) -> Option<UdpId> {
        let host = core.owner(to.ip())?;
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
        (id, from, packet): (UdpId, SocketAddr, PacketId),
        data: BytesMut,
    ) -> Option<(HostId, HostInput)> {
        let host = self.sockets.get(&id)?.host;
        core.sketch(host, (Tag::PacketArrived, packet.0), None, &data);
        core.note(host, Tag::Datagram, id.0.into(), &data);
        let socket = id;
        Some((host, HostInput::Datagram { socket, from, data }))
    }
}

fn sketch_sent(core: &mut Core, host: HostId, packet: PacketId, head: Option<Head>, data: &[u8]) {
    let detail = head.map(Detail::Packet);
    core.sketch(host, (Tag::PacketSent, packet.0), detail, data);
}
