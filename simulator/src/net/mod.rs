//! The network of a world, without its hosts.
pub mod codel;
pub mod corrupt;
pub mod hop;
pub mod link;
pub mod loss;
pub mod mtu;
pub(crate) mod names;
pub mod packet;
pub mod queue;
mod route;
pub(crate) mod site;
#[cfg(test)]
mod site_tests;
#[cfg(test)]
mod tests;
pub mod text;
pub mod trace_link;
pub(crate) mod udp;
mod weather;

use crate::{
    check::{Closed, Flows, Marks, Violation},
    event::Queue,
    explore::Swarm,
    host::HostId,
    rng::Streams,
    tcp::ideal::Tcp,
    transcript::{Detail, Place, Tag, Transcript},
    world::Setup,
};
use core::net::{IpAddr, SocketAddr};
use names::Names;
use sansbox_core::{Instant, Refusal};
use site::{Flight, Sites};
use slab::Slab;
use std::fmt::Write as _;
use udp::Udp;

pub use names::Answer;
pub use site::{HopId, SiteId};
pub use udp::UdpPath;
pub use weather::Weather;

/// First port that systems choose by themselves.
const EPHEMERAL_PORT_FIRST: u16 = 40_000;

/// What every part of the network needs.
pub(crate) struct Core {
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) streams: Streams,
    pub(crate) transcript: Transcript,
    pub(crate) violation: Option<Violation>,
    pub(crate) sites: Sites,
    /// Packets between hosts and hops.
    pub(crate) packets: Slab<Flight>,
    pub(crate) weather: Weather,
    pub(crate) marks: Marks,
    pub(crate) swarm: Option<Swarm>,
    hosts: Vec<HostInfo>,
    /// Where texts are written before they are noted.
    scratch: String,
}

struct HostInfo {
    name: Box<str>,
    site: SiteId,
    addresses: Vec<IpAddr>,
    next_port: u16,
    /// Nothing that arrives is heard: the machine sleeps, or is dead.
    is_deaf: bool,
}

impl Core {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            now: Instant::ZERO,
            queue: Queue::default(),
            streams: Streams::from_source(setup.seed, setup.source),
            transcript: Transcript::new(setup.keeps_entries),
            violation: None,
            sites: Sites::default(),
            packets: Slab::new(),
            weather: Weather::default(),
            marks: Marks::default(),
            swarm: setup.swarm,
            hosts: Vec::new(),
            scratch: String::new(),
        }
    }

    pub(crate) fn add_host(&mut self, site: SiteId, name: &str, addresses: &[IpAddr]) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts"));
        self.hosts.push(HostInfo {
            name: name.into(),
            site,
            addresses: addresses.to_vec(),
            next_port: EPHEMERAL_PORT_FIRST,
            is_deaf: false,
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

    /// The last port that the system chose.
    pub(crate) fn last_port(&self, host: HostId) -> u16 {
        let host = self.hosts.get(host.0 as usize);
        host.map_or(0, |host| host.next_port.saturating_sub(1))
    }

    pub(crate) fn host_ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)).map(HostId)
    }

    /// Where a host stands.
    pub(crate) fn site(&self, host: HostId) -> SiteId {
        let host = self.hosts.get(host.0 as usize);
        host.map_or(SiteId(u32::MAX), |host| host.site)
    }

    pub(crate) fn has_address(&self, host: HostId, ip: IpAddr) -> bool {
        let host = self.hosts.get(host.0 as usize);
        host.is_some_and(|host| host.addresses.contains(&ip))
    }

    /// Does a host hear nothing that arrives?
    pub(crate) fn is_deaf(&self, host: HostId) -> bool {
        let host = self.hosts.get(host.0 as usize);
        host.is_some_and(|host| host.is_deaf)
    }

    /// Whose address this is.
    pub(crate) fn owner(&self, ip: IpAddr) -> Option<HostId> {
        let at = self.hosts.iter().position(|h| h.addresses.contains(&ip))?;
        u32::try_from(at).ok().map(HostId)
    }

    /// What a host's TCP stack needs: the host's name, the streams, the name of the next packet.
    pub(crate) fn stack_parts(&mut self, host: HostId) -> (&str, &mut Streams, &mut u64) {
        let name = self.hosts.get(host.0 as usize).map_or("", |h| &*h.name);
        (name, &mut self.streams, &mut self.sites.next_packet)
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
        self.note_at(Place::Host(host), tag, number, text);
    }

    pub(crate) fn note_at(
        &mut self,
        place: Place,
        tag: Tag,
        number: u64,
        text: std::fmt::Arguments<'_>,
    ) {
        self.scratch.clear();
        // Writing to a string cannot fail.
        let _ = self.scratch.write_fmt(text);
        let when = (self.now, self.streams.decisions().len());
        self.transcript
            .note(when, place, tag, number, self.scratch.as_bytes());
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
    pub(crate) log: Option<crate::quic::capture::Log>,
}
