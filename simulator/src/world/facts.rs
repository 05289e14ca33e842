//! What a world tells of itself.
use super::World;
use crate::{
    check::{Closed, Flows, Marks},
    peers::ABSENT,
    quic::{Capture, capture::Log},
    rng::{Decision, Named},
    transcript::Entry,
};
use core::net::IpAddr;
use std::collections::BTreeMap;

impl World {
    /// How machines ended, in order.
    #[must_use]
    pub fn closed(&self) -> &[Closed] {
        &self.net.ledger
    }

    /// Byte flows across hosts.
    #[must_use]
    pub const fn flows(&self) -> &Flows {
        &self.net.flows
    }

    /// Keeps secrets and logs of encrypted connections from now on, as a world does from the start
    /// that keeps its entries; what crosses stays the same.
    pub fn keep_capture(&mut self) {
        self.net.log.get_or_insert_default();
    }

    /// Secrets and logs of encrypted connections so far; empty unless they are kept.
    #[must_use]
    pub fn capture(&self) -> Capture {
        let log = self.net.log.as_ref();
        log.map(Log::capture).unwrap_or_default()
    }

    /// Events handled.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// SHA-256 over everything that crossed between hosts, machines and network.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.net.core.transcript.digest()
    }

    /// What crossed, where it is kept.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.net.core.transcript.entries()
    }

    /// The names of all hosts, in order.
    #[must_use]
    pub fn host_names(&self) -> Vec<String> {
        self.net.core.host_names()
    }

    /// The addresses of each host, in the same order.
    #[must_use]
    pub fn host_addresses(&self) -> Vec<Vec<IpAddr>> {
        self.net.core.host_addresses()
    }

    /// The names of all hops, in order: site, kind and place.
    #[must_use]
    pub fn hop_names(&self) -> Vec<String> {
        self.net.core.sites.hop_names()
    }

    /// What happened at least once.
    #[must_use]
    pub const fn marks(&self) -> &Marks {
        &self.net.core.marks
    }

    /// The random choices that `keep` keeps, in order, under their names.
    #[must_use]
    pub fn named(&self, keep: impl Fn(&str, &Decision) -> bool) -> Vec<Named> {
        self.net.core.streams.named(keep)
    }

    /// What bytes decided.
    pub(crate) fn decided(&self) -> Vec<Named> {
        self.net.core.streams.decided()
    }

    /// Which scripts of each host stay away, and how many there are.
    pub(crate) fn peers(&self) -> Vec<(Named, u64)> {
        let is_peers = |name: &str| name.strip_suffix(ABSENT).is_some_and(|n| n.ends_with('/'));
        let named = self.named(|name, _| is_peers(name));
        let decisions = self.decisions().iter();
        let counts = decisions.filter(|d| is_peers(self.net.core.streams.name(d.stream)));
        named.into_iter().zip(counts.map(|d| d.of)).collect()
    }

    /// How often each of these streams was drawn from.
    pub(crate) fn drawn(
        &self,
        names: impl IntoIterator<Item = Box<str>>,
    ) -> BTreeMap<Box<str>, u32> {
        let streams = &self.net.core.streams;
        let names = names.into_iter();
        names
            .map(|name| (name.clone(), streams.drawn(&name)))
            .collect()
    }

    /// Every random choice, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        self.net.core.streams.decisions()
    }

    /// Does everything go as written? Not where a swarm of faults is at work: then only what
    /// must hold in every run is checked.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.net.core.swarm.is_none()
    }
}
