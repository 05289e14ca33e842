//! The network of a world, without its hosts.
pub mod boxes;
pub(crate) mod clock;
pub mod codel;
pub mod corrupt;
mod happen;
pub mod hop;
mod host_info;
pub mod link;
#[cfg(test)]
mod link_tests;
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
    check::{Closed, Flows, Marks, Violation, Watch},
    event::Queue,
    explore::Swarm,
    host::HostId,
    rng::Streams,
    tcp::{Tier, ideal::Tcp},
    transcript::{Detail, Place, Tag, Transcript},
    world::Setup,
};
use core::net::IpAddr;
use host_info::HostInfo;
use names::Names;
use packet::Ecn;
use rustc_hash::FxHashMap;
use sansbox_core::Instant;
use site::{Flight, Sites};
use slab::Slab;
use std::fmt::Write as _;
use udp::{Datagram, Udp};

pub use names::Answer;
pub use site::{HopId, SiteId};
pub use udp::UdpPath;
pub use weather::Weather;

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
    /// Datagrams between hosts without hops.
    pub(crate) datagrams: Slab<Datagram>,
    owners: FxHashMap<IpAddr, HostId>,
    pub(crate) weather: Weather,
    pub(crate) marks: Marks,
    pub(crate) swarm: Option<Swarm>,
    /// Of hosts of which nothing else is said.
    pub(crate) tier: Tier,
    hosts: Vec<HostInfo>,
    /// The congestion mark of the datagram that arrived last.
    pub(crate) ecn: Ecn,
    /// Where texts are written before they are noted.
    scratch: String,
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
            datagrams: Slab::new(),
            owners: FxHashMap::default(),
            weather: Weather::default(),
            marks: Marks::default(),
            swarm: setup.swarm,
            tier: setup.tier,
            hosts: Vec::new(),
            ecn: Ecn::NotEct,
            scratch: String::new(),
        }
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
    pub(crate) watch: Watch,
}
