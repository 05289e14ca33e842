//! The network of a world, without its hosts.
pub mod hop;
pub(crate) mod names;
pub mod packet;
#[cfg(test)]
mod tests;
pub(crate) mod udp;

use crate::{
    check::{Closed, Flows, Violation},
    event::Queue,
    host::HostId,
    rng::Streams,
    tcp::ideal::Tcp,
    transcript::{Detail, Place, Tag, Transcript},
    world::Setup,
};
use core::net::{IpAddr, SocketAddr};
use names::Names;
use packet::PacketId;
use sansbox_core::{Instant, Refusal};
use std::fmt::Write as _;
use udp::Udp;

pub use names::Answer;
pub use udp::UdpPath;

/// First port that systems choose by themselves.
const EPHEMERAL_PORT_FIRST: u16 = 40_000;

/// What every part of the network needs.
pub(crate) struct Core {
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) streams: Streams,
    pub(crate) transcript: Transcript,
    pub(crate) violation: Option<Violation>,
    next_packet: u64,
    hosts: Vec<HostInfo>,
    /// Where texts are written before they are noted.
    scratch: String,
}

struct HostInfo {
    name: Box<str>,
    addresses: Vec<IpAddr>,
    next_port: u16,
}

impl Core {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            now: Instant::ZERO,
            queue: Queue::default(),
            streams: Streams::with_overrides(setup.seed, setup.overrides),
            transcript: Transcript::new(setup.keeps_entries),
            violation: None,
            next_packet: 0,
            hosts: Vec::new(),
            scratch: String::new(),
        }
    }

    pub(crate) fn add_host(&mut self, name: &str, addresses: &[IpAddr]) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts"));
        self.hosts.push(HostInfo {
            name: name.into(),
            addresses: addresses.to_vec(),
            next_port: EPHEMERAL_PORT_FIRST,
        });
        id
    }

    pub(crate) fn host_name(&self, host: HostId) -> &str {
        self.hosts.get(host.0 as usize).map_or("", |h| &h.name)
    }

    pub(crate) fn host_names(&self) -> Vec<String> {
        let names = self.hosts.iter().map(|host| host.name.as_ref());
        names.map(str::to_owned).collect()
    }

    pub(crate) fn host_addresses(&self) -> Vec<Vec<IpAddr>> {
        let all = self.hosts.iter().map(|host| host.addresses.clone());
        all.collect()
    }

    /// A name for a packet.
    pub(crate) const fn new_packet(&mut self) -> PacketId {
        let id = PacketId(self.next_packet);
        self.next_packet += 1;
        id
    }

    /// Whose address this is.
    pub(crate) fn owner(&self, ip: IpAddr) -> Option<HostId> {
        let at = self.hosts.iter().position(|h| h.addresses.contains(&ip))?;
        u32::try_from(at).ok().map(HostId)
    }

    /// A port that the system chooses.
    pub(crate) fn ephemeral_port(&mut self, host: HostId) -> u16 {
        self.hosts.get_mut(host.0 as usize).map_or(0, |info| {
            let port = info.next_port;
            info.next_port = port.checked_add(1).unwrap_or(EPHEMERAL_PORT_FIRST);
            port
        })
    }

    /// The address of `host` that talks to `to`.
    pub(crate) fn local_ip(&self, host: HostId, to: IpAddr) -> Option<IpAddr> {
        let addresses = &self.hosts.get(host.0 as usize)?.addresses;
        let same_family = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4();
        addresses.iter().find(same_family).copied()
    }

    /// A fresh local address for a connection to `to`.
    pub(crate) fn local_addr(
        &mut self,
        host: HostId,
        to: SocketAddr,
    ) -> Result<SocketAddr, Refusal> {
        let ip = self
            .local_ip(host, to.ip())
            .ok_or(Refusal::NetworkUnreachable)?;
        Ok(SocketAddr::new(ip, self.ephemeral_port(host)))
    }

    pub(crate) fn note(&mut self, host: HostId, tag: Tag, number: u64, bytes: &[u8]) {
        let when = (self.now, self.streams.decisions().len());
        let place = Place::Host(host);
        self.transcript.note(when, place, tag, number, bytes);
    }

    pub(crate) fn note_text(
        &mut self,
        host: HostId,
        tag: Tag,
        number: u64,
        text: std::fmt::Arguments<'_>,
    ) {
        let mut written = core::mem::take(&mut self.scratch);
        written.clear();
        // Writing to a string cannot fail.
        let _ = written.write_fmt(text);
        self.note(host, tag, number, written.as_bytes());
        self.scratch = written;
    }

    /// An entry for pictures alone.
    pub(crate) fn sketch(
        &mut self,
        host: HostId,
        (tag, number): (Tag, u64),
        detail: Option<Detail>,
        bytes: &[u8],
    ) {
        let when = (self.now, self.streams.decisions().len());
        let place = Place::Host(host);
        self.transcript
            .sketch(when, place, (tag, number), detail, bytes);
    }

    /// The same with a text.
    pub(crate) fn sketch_text(
        &mut self,
        host: HostId,
        (tag, number): (Tag, u64),
        detail: Option<Detail>,
        text: std::fmt::Arguments<'_>,
    ) {
        if self.transcript.keeps() {
            self.sketch(host, (tag, number), detail, text.to_string().as_bytes());
        }
    }
}

/// The network: time, events, connections, datagrams, names, and what is checked across hosts.
pub(crate) struct Net {
    pub(crate) core: Core,
    pub(crate) tcp: Tcp,
    pub(crate) udp: Udp,
    pub(crate) names: Names,
    pub(crate) flows: Flows,
    pub(crate) ledger: Vec<Closed>,
}
