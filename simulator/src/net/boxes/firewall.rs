//! A stateful packet filter: what inside hosts begin may be answered, the rest is refused.
use super::{
    craft,
    track::{Phase, TcpTrack, opens},
};
use crate::net::{
    hop::{Hop, HopCx, HopFault, Lost, Way},
    packet::{Body, Flags, Packet, Transport},
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// Most flows at once; one beyond is refused.
const FLOWS_MAX: usize = 262_144;

/// What becomes of a packet that may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It is lost without a word.
    Drop,
    /// A TCP segment is answered with a RST, as if the far host had sent it; anything else is
    /// lost without a word.
    Reset,
    /// The sender is told by ICMP.
    Unreachable,
    /// The same, and that it is forbidden.
    Prohibited,
}

/// Which datagrams may pass at all, by the port of the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UdpRule {
    /// All.
    Open,
    /// None.
    Closed,
    /// All but those of these ports, as 443.
    AllBut(BTreeSet<u16>),
    /// Those of these ports, as 53 and 123.
    Only(BTreeSet<u16>),
}

impl UdpRule {
    fn passes(&self, outside: SocketAddr) -> bool {
        match self {
            Self::Open => true,
            Self::Closed => false,
            Self::AllBut(ports) => !ports.contains(&outside.port()),
            Self::Only(ports) => ports.contains(&outside.port()),
        }
    }
}

/// Which inside ports may be called from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calls {
    /// None.
    None,
    /// These, of any host.
    To(BTreeSet<(Transport, u16)>),
    /// All.
    Any,
}

impl Calls {
    fn may(&self, transport: Transport, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::To(ports) => ports.contains(&(transport, port)),
            Self::Any => true,
        }
    }
}

/// What a firewall does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whom anybody may call.
    pub calls: Calls,
    /// Other connections and datagrams from outside.
    pub unsolicited: Refusal,
    /// Segments of connections that the firewall does not know, or no longer.
    pub stray: Refusal,
    /// Which datagrams may pass.
    pub udp: UdpRule,
    /// Datagrams that may not.
    pub udp_refusal: Refusal,
    /// A UDP flow that is silent so long is forgotten.
    pub udp_idle: Duration,
    /// A TCP connection that is silent so long is forgotten.
    pub tcp_idle: Duration,
    /// The same while it opens, and when it has ended.
    pub tcp_transitory: Duration,
    /// Most flows that one inside host may have.
    pub flows_per_host: Option<usize>,
    /// A host's flows beyond that.
    pub excess: Refusal,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            calls: Calls::None,
            unsolicited: Refusal::Drop,
            stray: Refusal::Drop,
            udp: UdpRule::Open,
            udp_refusal: Refusal::Drop,
            udp_idle: Duration::from_secs(60),
            tcp_idle: Duration::from_secs(3600),
            tcp_transitory: Duration::from_secs(60),
            flows_per_host: None,
            excess: Refusal::Drop,
        }
    }
}

/// Inside first.
type Ends = (Transport, SocketAddr, SocketAddr);

#[derive(Clone, Copy, Debug)]
struct Flow {
    expires: Instant,
    tcp: TcpTrack,
}

/// A firewall.
#[derive(Debug, Default)]
pub struct Firewall {
    rules: Rules,
    flows: BTreeMap<Ends, Flow>,
    /// Nothing expires sooner.
    earliest: Option<Instant>,
}

impl Firewall {
    /// A firewall that has seen nothing.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Flows it knows; forgotten ones count until the next packet.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    fn expire(&mut self, now: Instant) {
        if self.earliest.is_some_and(|earliest| earliest <= now) {
            self.flows.retain(|_, flow| now < flow.expires);
            self.earliest = self.flows.values().map(|flow| flow.expires).min();
        }
    }

    /// Flows of an inside host.
    fn flows_of(&self, host: IpAddr) -> usize {
        let is_of = |(_, inside, _): &&Ends| inside.ip() == host;
        self.flows.keys().filter(is_of).count()
    }

    /// The flow of a packet, and why it may not pass.
    fn judge(&self, way: Way, ends: Ends, flags: Option<Flags>) -> Result<Flow, Refusal> {
        let (transport, inside, outside) = ends;
        if transport == Transport::Udp && !self.rules.udp.passes(outside) {
            return Err(self.rules.udp_refusal);
        }
        if let Some(flow) = self.flows.get(&ends) {
            return Ok(*flow);
        }
        if flags.is_some_and(|flags| !opens(flags)) {
            return Err(self.rules.stray);
        }
        if way == Way::In && !self.rules.calls.may(transport, inside.port()) {
            return Err(self.rules.unsolicited);
        }
        let is_over = |max| self.flows_of(inside.ip()) >= max;
        if self.rules.flows_per_host.is_some_and(is_over) || self.flows.len() >= FLOWS_MAX {
            return Err(self.rules.excess);
        }
        Ok(Flow {
            expires: Instant::ZERO,
            tcp: TcpTrack::default(),
        })
    }

    /// A packet of a flow passes.
    fn keep(&mut self, now: Instant, way: Way, ends: Ends, flags: Option<Flags>, mut flow: Flow) {
        let rules = &self.rules;
        let lives = match flags {
            None => rules.udp_idle,
            Some(flags) => {
                flow.tcp.see(way, flags);
                match flow.tcp.phase() {
                    Phase::Open => rules.tcp_idle,
                    Phase::Opening | Phase::Closing => rules.tcp_transitory,
                }
            }
        };
        flow.expires = now + lives;
        self.earliest = Some(self.earliest.map_or(flow.expires, |e| e.min(flow.expires)));
        self.flows.insert(ends, flow);
    }
}

fn refuse(cx: &mut HopCx<'_>, way: Way, packet: Packet, refusal: Refusal) {
    let told = match refusal {
        Refusal::Drop => None,
        Refusal::Reset => craft::reset_for(cx, &packet),
        Refusal::Unreachable => craft::unreachable(cx, packet.destination.ip(), &packet),
        Refusal::Prohibited => craft::prohibited(cx, packet.destination.ip(), &packet),
    };
    if let Some(told) = told {
        cx.forward(way.back(), told);
    }
    cx.lose(packet, Lost::Filtered);
}

impl Hop for Firewall {
    fn kind(&self) -> &'static str {
        "firewall"
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        self.expire(cx.now());
        let transport = packet.transport();
        let flags = match &packet.body {
            Body::Udp(_) | Body::Raw(_) => None,
            Body::Tcp(segment) => Some(segment.flags),
            Body::Icmp(icmp) => {
                // An error about a packet of a known flow belongs to it; it came the other way.
                let (inside, outside) = match way {
                    Way::Out => (icmp.about_destination, icmp.about_source),
                    Way::In => (icmp.about_source, icmp.about_destination),
                };
                if self.flows.contains_key(&(transport, inside, outside)) {
                    return cx.forward(way, packet);
                }
                return cx.lose(packet, Lost::Filtered);
            }
        };
        let ends = match way {
            Way::Out => (transport, packet.source, packet.destination),
            Way::In => (transport, packet.destination, packet.source),
        };
        match self.judge(way, ends, flags) {
            Ok(flow) => {
                self.keep(cx.now(), way, ends, flags, flow);
                cx.forward(way, packet);
            }
            Err(refusal) => refuse(cx, way, packet, refusal),
        }
    }

    fn fault(&mut self, _cx: &mut HopCx<'_>, fault: HopFault) -> bool {
        let is_forget = fault == HopFault::Forget;
        if is_forget {
            self.flows.clear();
            self.earliest = None;
        }
        is_forget
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        boxes::bench::{ACK, Bench, FIN, RST, SYN, SYN_ACK, tcp, udp},
        packet::IcmpKind,
    };

    const INSIDE: &str = "10.0.0.5:4000";
    const SERVER: &str = "198.51.100.1:80";

    fn firewall(rules: Rules) -> Bench<Firewall> {
        Bench::new(Firewall::new(rules))
    }

    fn opened(rules: Rules) -> Bench<Firewall> {
        let mut firewall = firewall(rules);
        assert_eq!(firewall.out(tcp(INSIDE, SERVER, SYN)).only().0, Way::Out);
        assert_eq!(
            firewall.inward(tcp(SERVER, INSIDE, SYN_ACK)).only().0,
            Way::In
        );
        firewall
    }

    fn icmp_about(source: &str, destination: &str) -> Packet {
        let mut outputs = Vec::new();
        let mut streams = crate::rng::Streams::new(1);
        let stream = streams.open("x");
        let mut next = 0;
        let mut cx = HopCx::new(Instant::ZERO, &mut streams, stream, &mut next, &mut outputs);
        let about = udp(source, destination);
        craft::unreachable(&mut cx, "192.0.2.1".parse().unwrap(), &about).unwrap()
    }

    #[test]
    fn what_the_inside_begins_is_answered_and_the_rest_refused() {
        let mut firewall = opened(Rules::default());
        firewall.out(udp(INSIDE, SERVER));
        assert_eq!(firewall.inward(udp(SERVER, INSIDE)).only().0, Way::In);
        let other = "198.51.100.1:81";
        assert!(firewall.inward(udp(other, INSIDE)).is_lost(Lost::Filtered));
        assert!(
            firewall
                .inward(tcp(other, INSIDE, SYN))
                .is_lost(Lost::Filtered)
        );
        assert_eq!(firewall.hop.flows(), 2);
    }

    #[test]
    fn refusals_are_told_as_the_rules_say() {
        for refusal in [
            Refusal::Drop,
            Refusal::Reset,
            Refusal::Unreachable,
            Refusal::Prohibited,
        ] {
            let mut firewall = firewall(Rules {
                unsolicited: refusal,
                stray: refusal,
                ..Rules::default()
            });
            let syn = firewall.inward(tcp(SERVER, INSIDE, SYN));
            assert_eq!(syn.lost, [Lost::Filtered]);
            let expected = (Way::Out, INSIDE.to_owned(), SERVER.to_owned());
            match refusal {
                Refusal::Drop => assert!(syn.forwarded.is_empty()),
                Refusal::Reset => {
                    assert_eq!(syn.resets(), [Way::Out]);
                    assert_eq!(syn.ends(), [expected]);
                    assert!(firewall.inward(udp(SERVER, INSIDE)).is_lost(Lost::Filtered));
                }
                Refusal::Unreachable | Refusal::Prohibited => {
                    let Body::Icmp(told) = &syn.only().1.body else {
                        panic!("{:?}", syn.only());
                    };
                    let is_forbidden = told.kind == IcmpKind::Prohibited;
                    assert_eq!(is_forbidden, refusal == Refusal::Prohibited);
                }
            }
            let stray = firewall.out(tcp(INSIDE, SERVER, RST));
            assert!(stray.resets().is_empty(), "no RST answers a RST");
        }
    }

    #[test]
    fn open_ports_may_be_called() {
        let mut firewall = firewall(Rules {
            calls: Calls::To([(Transport::Tcp, 4000)].into()),
            ..Rules::default()
        });
        assert_eq!(firewall.inward(tcp(SERVER, INSIDE, SYN)).only().0, Way::In);
        assert_eq!(
            firewall.out(tcp(INSIDE, SERVER, SYN_ACK)).only().0,
            Way::Out
        );
        assert!(firewall.inward(udp(SERVER, INSIDE)).is_lost(Lost::Filtered));
        assert!(
            firewall
                .inward(tcp(SERVER, "10.0.0.5:4001", SYN))
                .is_lost(Lost::Filtered)
        );
    }

    #[test]
    fn udp_is_blocked_whole_or_by_port() {
        let passes = |udp_rule: UdpRule| {
            let mut firewall = firewall(Rules {
                udp: udp_rule,
                udp_refusal: Refusal::Unreachable,
                ..Rules::default()
            });
            let mut out = |port| {
                let seen = firewall.out(udp(INSIDE, &format!("198.51.100.1:{port}")));
                seen.only().0 == Way::Out
            };
            (out(53), out(443))
        };
        assert_eq!(passes(UdpRule::Open), (true, true));
        assert_eq!(passes(UdpRule::Closed), (false, false));
        assert_eq!(passes(UdpRule::AllBut([443].into())), (true, false));
        assert_eq!(passes(UdpRule::Only([53].into())), (true, false));
    }

    #[test]
    fn idle_connections_are_forgotten_and_then_half_open() {
        let rules = Rules {
            stray: Refusal::Reset,
            ..Rules::default()
        };
        let mut firewall = opened(rules.clone());
        firewall.wait(rules.tcp_idle - Duration::from_secs(1));
        assert_eq!(firewall.out(tcp(INSIDE, SERVER, ACK)).only().0, Way::Out);
        firewall.wait(rules.tcp_idle);
        let seen = firewall.out(tcp(INSIDE, SERVER, ACK));
        assert_eq!(
            (seen.resets(), seen.lost),
            (vec![Way::In], vec![Lost::Filtered])
        );
        let mut silent = opened(Rules::default());
        silent.wait(rules.tcp_idle);
        assert!(
            silent
                .inward(tcp(SERVER, INSIDE, ACK))
                .is_lost(Lost::Filtered)
        );
    }

    #[test]
    fn what_ended_is_forgotten_sooner() {
        let rules = Rules::default();
        let mut firewall = opened(rules.clone());
        firewall.out(tcp(INSIDE, SERVER, FIN));
        firewall.inward(tcp(SERVER, INSIDE, FIN));
        firewall.wait(rules.tcp_transitory);
        assert!(
            firewall
                .out(tcp(INSIDE, SERVER, ACK))
                .is_lost(Lost::Filtered)
        );
        assert_eq!(firewall.hop.flows(), 0);
    }

    #[test]
    fn a_host_has_so_many_flows_and_no_more() {
        let mut firewall = firewall(Rules {
            flows_per_host: Some(2),
            excess: Refusal::Reset,
            ..Rules::default()
        });
        let mut open = |inside: &str| firewall.out(tcp(inside, SERVER, SYN));
        assert!(open("10.0.0.5:1").resets().is_empty());
        assert!(open("10.0.0.5:2").resets().is_empty());
        assert_eq!(open("10.0.0.5:3").resets(), [Way::In]);
        assert!(open("10.0.0.6:1").resets().is_empty(), "another host");
        assert!(open("10.0.0.5:2").resets().is_empty(), "a known flow");
        firewall.wait(Rules::default().tcp_transitory);
        assert!(
            firewall
                .out(tcp("10.0.0.5:3", SERVER, SYN))
                .resets()
                .is_empty()
        );
    }

    #[test]
    fn icmp_passes_with_its_flow() {
        let mut firewall = firewall(Rules::default());
        let error = icmp_about(INSIDE, SERVER);
        assert!(firewall.inward(error.clone()).is_lost(Lost::Filtered));
        firewall.out(udp(INSIDE, SERVER));
        assert_eq!(firewall.inward(error.clone()).only(), (Way::In, &error));
        let ours = icmp_about(SERVER, INSIDE);
        assert_eq!(firewall.out(ours.clone()).only(), (Way::Out, &ours));
    }

    #[test]
    fn it_forgets_when_told() {
        let mut firewall = opened(Rules::default());
        assert!(firewall.fault(HopFault::Forget) && !firewall.fault(HopFault::Rebind));
        assert!(
            firewall
                .out(tcp(INSIDE, SERVER, ACK))
                .is_lost(Lost::Filtered)
        );
    }
}
