//! Datagrams between hosts: late, lost, doubled, out of order, too large.
use super::Core;
use crate::{
    event::Event,
    host::{HostId, HostInput, UdpId},
    rng::StreamId,
    transcript::Tag,
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
        let weather = core.weather;
        let way = format!("{}->{to}", core.host_name(host));
        let is_lost = core.streams.hazard(stream, per_million(path.loss))
            | core.strikes(
                weather.datagram_lost,
                "datagram-lost",
                format_args!("{way}"),
            );
        let receiver = self.receiver(core, to);
        let (Some(source), Some(receiver), false, true) =
            (source, receiver, is_lost, data.len() <= path.payload_max)
        else {
            core.note(host, Tag::DatagramLost, id.0.into(), data);
            return;
        };
        let is_double = core.streams.hazard(stream, per_million(path.duplication))
            | core.strikes(
                weather.datagram_doubled,
                "datagram-doubled",
                format_args!("{way}"),
            );
        let copies = 1 + u64::from(is_double);
        let jitter = u64::try_from(path.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        for _ in 0..copies {
            let mut late = Duration::from_nanos(core.streams.below(stream, jitter + 1));
            if core.strikes(
                weather.datagram_late,
                "datagram-late",
                format_args!("{way}"),
            ) {
                late += core.slower("datagram-late", format_args!("{way}"));
            }
            let from = SocketAddr::new(source, local.port());
            let event = Event::Datagram(receiver, from, BytesMut::from(data));
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
        id: UdpId,
        from: SocketAddr,
        data: BytesMut,
    ) -> Option<(HostId, HostInput)> {
        let host = self.sockets.get(&id)?.host;
        core.note(host, Tag::Datagram, id.0.into(), &data);
        let socket = id;
        Some((host, HostInput::Datagram { socket, from, data }))
    }
}
