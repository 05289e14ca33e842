//! A network address and port translator.
//!
//! The hosts of the site keep their addresses to themselves; outside they are known by one of
//! the NAT's own. How mappings are made, who may answer and when they end is a [`Policy`].
mod bind;
mod icmp;
#[cfg(test)]
mod model;
mod policy;
mod table;
#[cfg(test)]
mod tests;

pub use policy::{
    Filtering, Hairpin, Mapping, Policy, Pooling, PortChoice, Refresh, Stray, TCP_ESTABLISHED_MIN,
    TCP_TRANSITORY_MIN, UDP_EXPIRY_MIN, UDP_EXPIRY_RECOMMENDED, UNSOLICITED_SYN_WAIT, Unsolicited,
};

use super::{craft, track::opens};
use crate::net::{
    hop::{Hop, HopCx, HopFault, Lost, Way},
    packet::{Body, Flags, Packet, Transport},
};
use core::net::{IpAddr, SocketAddr};
use sansbox_core::Instant;
use std::collections::VecDeque;
use table::{Key, Pool, Scope, Table};

/// Most sessions of one mapping; a flow beyond is refused as if there were no port.
const SESSIONS_PER_MAPPING_MAX: usize = 65_536;
/// Most mappings; a flow beyond is refused as if there were no port.
const MAPPINGS_MAX: usize = 262_144;
/// Most unsolicited SYNs that wait for their answer; more are not answered.
const UNSOLICITED_MAX: usize = 256;

/// Why a packet gets no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It belongs to no connection.
    Stray,
    /// There is no port, or none for this host.
    Exhausted,
}

/// A NAT.
#[derive(Debug)]
pub struct Nat {
    policy: Policy,
    table: Table,
    pool: Pool,
    /// SYNs that nobody asked for, and when their senders are told.
    unsolicited: VecDeque<(Instant, Packet)>,
    rebinds_at: Option<Instant>,
}

impl Nat {
    /// A NAT without mappings.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            table: Table::default(),
            pool: Pool::new(&policy),
            unsolicited: VecDeque::new(),
            rebinds_at: policy.rebind_every.map(|every| Instant::ZERO + every),
            policy,
        }
    }

    /// How it behaves.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Mappings there are; expired ones count until the next packet.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.table.len()
    }

    fn translates(&self, ip: IpAddr) -> bool {
        let mut external = self.policy.external.iter();
        match self.policy.pooling {
            Pooling::Own => external.any(|own| *own == ip),
            Pooling::Paired | Pooling::Arbitrary => {
                external.any(|own| own.is_ipv4() == ip.is_ipv4())
            }
        }
    }

    fn outward(&mut self, cx: &mut HopCx<'_>, mut packet: Packet) {
        if matches!(packet.body, Body::Icmp(_)) {
            return self.icmp_outward(cx, packet);
        }
        match self.bind(cx, &packet) {
            Ok(external) if self.owns(packet.destination.ip()) => {
                self.turn_around(cx, packet, external);
            }
            Ok(external) => {
                packet.source = external;
                cx.forward(Way::Out, packet);
            }
            Err(Refused::Stray) => {
                if self.policy.stray == Stray::Reset
                    && let Some(reset) = craft::reset_for(cx, &packet)
                {
                    cx.forward(Way::In, reset);
                }
                cx.lose(packet, Lost::NoMapping);
            }
            // RFC 6888: the packet is dropped, the sender told, and nobody else's mapping taken.
            Err(Refused::Exhausted) => {
                let router = self.policy.external.first().copied();
                if let Some(told) = router.and_then(|ip| craft::unreachable(cx, ip, &packet)) {
                    cx.forward(Way::In, told);
                }
                cx.lose(packet, Lost::NoMapping);
            }
        }
    }

    /// RFC 4787 section 6: from inside to an outside endpoint of this NAT.
    fn turn_around(&mut self, cx: &mut HopCx<'_>, mut packet: Packet, external: SocketAddr) {
        let source = match self.policy.hairpin {
            Hairpin::None => return cx.lose(packet, Lost::NoMapping),
            Hairpin::InternalSource => packet.source,
            Hairpin::ExternalSource => external,
        };
        match self.admit(cx.now(), &packet, external) {
            Ok(inside) => {
                packet.source = source;
                packet.destination = inside;
                cx.forward(Way::In, packet);
            }
            Err(why) => cx.lose(packet, why),
        }
    }

    fn inward(&mut self, cx: &mut HopCx<'_>, mut packet: Packet) {
        if !self.owns(packet.destination.ip()) {
            // Inside addresses mean nothing outside.
            return cx.lose(packet, Lost::NoMapping);
        }
        if matches!(packet.body, Body::Icmp(_)) {
            return self.icmp_inward(cx, packet);
        }
        match self.admit(cx.now(), &packet, packet.source) {
            Ok(inside) => {
                packet.destination = inside;
                cx.forward(Way::In, packet);
            }
            Err(why) => {
                if flags(&packet).is_some_and(opens) {
                    self.refuse(cx, &packet);
                }
                cx.lose(packet, why);
            }
        }
    }

    fn refuse(&mut self, cx: &mut HopCx<'_>, syn: &Packet) {
        match self.policy.unsolicited {
            Unsolicited::Drop => {}
            Unsolicited::Reset => {
                if let Some(reset) = craft::reset_for(cx, syn) {
                    cx.forward(Way::Out, reset);
                }
            }
            Unsolicited::Unreachable if self.unsolicited.len() < UNSOLICITED_MAX => {
                let at = cx.now() + UNSOLICITED_SYN_WAIT;
                self.unsolicited.push_back((at, syn.clone()));
            }
            Unsolicited::Unreachable => {}
        }
    }

    /// Did the inside open by itself what this SYN asked for?
    fn is_wanted(&self, syn: &Packet) -> bool {
        let found = self.table.by_external(Transport::Tcp, syn.destination);
        found.is_some_and(|(_, binding)| binding.sessions.contains_key(&syn.source))
    }

    fn rebind_due(&mut self, cx: &mut HopCx<'_>) {
        let now = cx.now();
        if let (Some(at), Some(every)) = (self.rebinds_at, self.policy.rebind_every)
            && at <= now
        {
            self.rebind(cx);
            // What nobody noticed because nothing passed happens once.
            self.rebinds_at = Some(now + every);
        }
    }

    fn rebind(&mut self, cx: &mut HopCx<'_>) {
        let own = |key: &Key| key.scope != Scope::Callers;
        for key in self.table.keys().into_iter().filter(own) {
            // Its own port is in use while a new one is sought; without any it keeps its own.
            if let Some(external) = self.free_endpoint(cx, key) {
                self.table.move_to(&key, external);
            }
        }
    }

    /// Every mapping goes on under another address, with its port where that is free.
    fn renumber(&mut self, cx: &mut HopCx<'_>, ip: IpAddr) {
        let other_family = |own: &IpAddr| own.is_ipv4() != ip.is_ipv4();
        self.policy.external.retain(other_family);
        self.policy.external.push(ip);
        self.pool.forget_pairs();
        for key in self.table.keys() {
            let Some(binding) = self.table.get(&key) else {
                continue;
            };
            let same_port = SocketAddr::new(ip, binding.external.port());
            if binding.external.is_ipv4() != ip.is_ipv4() || binding.external == same_port {
                continue;
            }
            let external = if self.table.is_used(key.transport, same_port) {
                self.free_endpoint(cx, key)
            } else {
                Some(same_port)
            };
            match external {
                Some(external) => self.table.move_to(&key, external),
                None => self.table.remove(&key),
            }
        }
    }
}

/// The control bits of a TCP segment; `None` for UDP.
const fn flags(packet: &Packet) -> Option<Flags> {
    match &packet.body {
        Body::Tcp(segment) => Some(segment.flags),
        Body::Udp(_) | Body::Icmp(_) | Body::Raw(_) => None,
    }
}

impl Hop for Nat {
    fn kind(&self) -> &'static str {
        "nat"
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        let mine = match way {
            Way::Out => packet.source,
            Way::In => packet.destination,
        };
        if !self.translates(mine.ip()) {
            return cx.forward(way, packet);
        }
        self.table.expire(cx.now());
        self.rebind_due(cx);
        match way {
            Way::Out => self.outward(cx, packet),
            Way::In => self.inward(cx, packet),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.unsolicited.front().map(|(at, _)| *at)
    }

    fn handle_timeout(&mut self, cx: &mut HopCx<'_>) {
        self.table.expire(cx.now());
        while let Some((at, syn)) = self.unsolicited.pop_front() {
            if at > cx.now() {
                self.unsolicited.push_front((at, syn));
                break;
            }
            if self.is_wanted(&syn) {
                continue;
            }
            let router = syn.destination.ip();
            if let Some(told) = craft::unreachable(cx, router, &syn) {
                cx.forward(Way::Out, told);
            }
        }
    }

    fn owns(&self, ip: IpAddr) -> bool {
        self.policy.external.contains(&ip)
    }

    fn fault(&mut self, cx: &mut HopCx<'_>, fault: HopFault) -> bool {
        self.table.expire(cx.now());
        match fault {
            HopFault::Forget => self.table.clear(),
            HopFault::Rebind => self.rebind(cx),
            HopFault::Renumber(ip) => self.renumber(cx, ip),
            HopFault::Down
            | HopFault::Up
            | HopFault::Rate(_)
            | HopFault::Latency(_)
            | HopFault::Mtu(_) => return false,
        }
        true
    }
}
