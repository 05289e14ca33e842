//! A NAT as the RFCs describe one: a list of what was said, searched from end to end. Random
//! operations must have the same outcome here and in [`Nat`].
use super::*;
use crate::net::boxes::bench::{Bench, Seen, addr, udp};
use core::time::Duration;
use proptest::prelude::*;

const EXPIRY: Duration = Duration::from_secs(120);

/// One inside and one remote endpoint that have spoken.
#[derive(Clone, Debug)]
struct Said {
    inside: SocketAddr,
    remote: SocketAddr,
    external: SocketAddr,
    at: Instant,
}

#[derive(Clone, Debug)]
enum Op {
    Out {
        host: u8,
        port: u16,
        to: u8,
    },
    /// To the outside endpoint of the n-th thing said.
    Hairpin {
        host: u8,
        port: u16,
        nth: usize,
    },
    In {
        nth: usize,
        from: u8,
        exact: bool,
    },
    Wait(u64),
    Forget,
    Renumber(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (1..4u8, 5000..5004u16, 0..6u8).prop_map(|(host, port, to)| Op::Out { host, port, to }),
        2 => (1..4u8, 5000..5004u16, 0..8usize)
            .prop_map(|(host, port, nth)| Op::Hairpin { host, port, nth }),
        6 => (0..8usize, 0..8u8, any::<bool>())
            .prop_map(|(nth, from, exact)| Op::In { nth, from, exact }),
        3 => (1..90u64).prop_map(Op::Wait),
        1 => Just(Op::Forget),
        1 => (2..9u8).prop_map(Op::Renumber),
    ];
    prop::collection::vec(op, 1..80)
}

fn policies() -> impl Strategy<Value = Policy> {
    let choice = (
        0..3usize,
        0..3usize,
        0..4usize,
        0..3usize,
        any::<bool>(),
        any::<bool>(),
    );
    choice.prop_map(
        |(mapping, filtering, ports, refresh, small, limited)| Policy {
            mapping: Mapping::ALL[mapping],
            filtering: Filtering::ALL[filtering],
            ports: PortChoice::ALL[ports],
            refresh: Refresh::ALL[refresh],
            port_range: if small { 5000..=5005 } else { 4000..=6000 },
            ports_per_host: limited.then_some(3),
            udp_expiry: EXPIRY,
            ..Policy::new("203.0.113.1".parse().unwrap())
        },
    )
}

fn remote(n: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::from([198, 51, 100, n / 2]), 100 + u16::from(n % 2))
}

struct Model {
    policy: Policy,
    said: Vec<Said>,
    address: IpAddr,
}

impl Model {
    fn shares(&self, a: SocketAddr, b: SocketAddr) -> bool {
        match self.policy.mapping {
            Mapping::EndpointIndependent => true,
            Mapping::AddressDependent => a.ip() == b.ip(),
            Mapping::AddressAndPortDependent => a == b,
        }
    }

    fn may_answer(&self, sent_to: SocketAddr, from: SocketAddr) -> bool {
        match self.policy.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => sent_to.ip() == from.ip(),
            Filtering::AddressAndPortDependent => sent_to == from,
        }
    }

    fn is_in_use(&self, external: SocketAddr) -> bool {
        self.said.iter().any(|said| said.external == external)
    }

    /// May a new mapping of `inside` get the outside endpoint `external`, where `None` is no?
    fn check_new(&self, inside: SocketAddr, external: Option<SocketAddr>) {
        let fits =
            |port: &u16| self.policy.ports != PortChoice::Parity || port % 2 == inside.port() % 2;
        let at = |port| SocketAddr::new(self.address, port);
        let mut ports = self.policy.port_range.clone().filter(fits);
        let of_host = self.said.iter().filter(|s| s.inside.ip() == inside.ip());
        let mut of_host: Vec<SocketAddr> = of_host.map(|s| s.external).collect();
        of_host.sort_unstable();
        of_host.dedup();
        let is_over = self
            .policy
            .ports_per_host
            .is_some_and(|max| of_host.len() >= max);
        let is_possible = !is_over && ports.any(|port| !self.is_in_use(at(port)));
        assert_eq!(
            external.is_some(),
            is_possible,
            "a mapping exactly when there is a port"
        );
        let Some(external) = external else {
            return;
        };
        assert_eq!(external.ip(), self.address);
        assert!(self.policy.port_range.contains(&external.port()) && fits(&external.port()));
        assert!(!self.is_in_use(external), "{external} was taken");
        let same = at(inside.port());
        if self.policy.ports == PortChoice::Preserve
            && self.policy.port_range.contains(&inside.port())
            && !self.is_in_use(same)
        {
            assert_eq!(external, same, "the own port was free");
        }
    }

    /// A packet from `inside` to `remote` left from `external`, or did not leave.
    fn outward(
        &mut self,
        now: Instant,
        inside: SocketAddr,
        remote: SocketAddr,
        external: Option<SocketAddr>,
    ) {
        let is_mine = |said: &&Said| said.inside == inside && self.shares(said.remote, remote);
        match self.said.iter().find(is_mine) {
            Some(said) => assert_eq!(external, Some(said.external), "one mapping"),
            None => self.check_new(inside, external),
        }
        let Some(external) = external else {
            return;
        };
        let is_same = |said: &&mut Said| said.inside == inside && said.remote == remote;
        match self.said.iter_mut().find(is_same) {
            Some(said) if self.policy.refresh != Refresh::Inbound => said.at = now,
            Some(_) => {}
            None => self.said.push(Said {
                inside,
                remote,
                external,
                at: now,
            }),
        }
    }

    /// Where inside a packet from `remote` to `external` must arrive.
    fn inward(
        &mut self,
        now: Instant,
        external: SocketAddr,
        remote: SocketAddr,
    ) -> Result<SocketAddr, Lost> {
        let through: Vec<&Said> = self
            .said
            .iter()
            .filter(|s| s.external == external)
            .collect();
        let inside = through.first().ok_or(Lost::NoMapping)?.inside;
        if !through
            .iter()
            .any(|said| self.may_answer(said.remote, remote))
        {
            return Err(Lost::Filtered);
        }
        if self.policy.refresh != Refresh::Outbound {
            let same = |said: &&mut Said| said.external == external && said.remote == remote;
            self.said
                .iter_mut()
                .filter(same)
                .for_each(|said| said.at = now);
        }
        Ok(inside)
    }

    fn pick(&self, nth: usize) -> Option<&Said> {
        self.said.get(nth % self.said.len().max(1))
    }
}

/// Where the one packet came out inside, or why it did not.
fn arrival(seen: &Seen) -> Result<SocketAddr, Lost> {
    match seen.lost.first() {
        Some(why) => Err(*why),
        None => {
            let (way, packet) = seen.only();
            assert_eq!(way, Way::In);
            Ok(packet.destination)
        }
    }
}

fn step(nat: &mut Bench<Nat>, model: &mut Model, op: &Op) {
    let now = nat.now;
    model.said.retain(|said| now < said.at + EXPIRY);
    match *op {
        Op::Out { host, port, to } => {
            let inside = SocketAddr::new(IpAddr::from([10, 0, 0, host]), port);
            let seen = nat.out(udp(&inside.to_string(), &remote(to).to_string()));
            let left = seen.forwarded.iter().find(|(way, _)| *way == Way::Out);
            let external = left.map(|(_, packet)| packet.source);
            model.outward(now, inside, remote(to), external);
        }
        Op::Hairpin { host, port, nth } => {
            let Some(to) = model.pick(nth).map(|said| said.external) else {
                return;
            };
            let inside = SocketAddr::new(IpAddr::from([10, 0, 0, host]), port);
            let seen = nat.out(udp(&inside.to_string(), &to.to_string()));
            // What is lost at the filter has a mapping; it shows when the packet to a plain
            // remote gets the same. Its outside endpoint is read from the table here.
            let external = nat.hop.table.external_of(Transport::Udp, inside, to);
            model.outward(now, inside, to, external);
            if let Some(external) = external {
                assert_eq!(arrival(&seen), model.inward(now, to, external));
            }
        }
        Op::In { nth, from, exact } => {
            let said = model.pick(nth).cloned();
            let bogus = SocketAddr::new(model.address, 5005);
            let to = said.as_ref().map_or(bogus, |said| said.external);
            let from = said
                .filter(|_| exact)
                .map_or_else(|| remote(from), |said| said.remote);
            let seen = nat.inward(udp(&from.to_string(), &to.to_string()));
            assert_eq!(arrival(&seen), model.inward(now, to, from));
        }
        Op::Wait(seconds) => {
            nat.wait(Duration::from_secs(seconds));
        }
        Op::Forget => {
            assert!(nat.fault(HopFault::Forget));
            model.said.clear();
        }
        Op::Renumber(n) => {
            let ip = addr(&format!("203.0.113.{n}:0")).ip();
            assert!(nat.fault(HopFault::Renumber(ip)));
            model
                .said
                .iter_mut()
                .for_each(|said| said.external.set_ip(ip));
            model.address = ip;
        }
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(policy in policies(), ops in ops()) {
        let address = policy.external[0];
        let mut nat = Bench::new(Nat::new(policy.clone()));
        let mut model = Model { policy, said: Vec::new(), address };
        for op in &ops {
            step(&mut nat, &mut model, op);
        }
    }
}
