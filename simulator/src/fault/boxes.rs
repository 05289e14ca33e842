//! Classes of faults in middleboxes. What is laid on a site lets its hosts be called as before.
use super::{
    Fault,
    class::{Draw, FaultClass, Kind},
};
use crate::{
    World,
    net::{
        SiteId,
        boxes::{
            censor::{Censor, Exemptions, Rule, Then, Throttle, When},
            firewall::{Calls, Firewall, Refusal, Rules, UdpRule},
            nat::{Nat, Policy},
        },
        hop::{Hop, HopFault},
    },
};
use core::{net::IpAddr, time::Duration};

/// A NAT that leaves the hosts of a site their addresses, and gives what they begin other ports.
fn nat(
    world: &mut World,
    draw: &Draw,
    change: impl Fn(&mut World, &Draw, &mut Policy),
) -> Vec<(SiteId, usize)> {
    draw.lay_on(world, |world, draw, site| {
        let core = &world.net.core;
        let hosts = core.host_ids().filter(|host| core.site(*host) == site);
        let addresses: Vec<IpAddr> = hosts.flat_map(|h| core.addresses(h).to_vec()).collect();
        let mut policy = Policy::in_place(addresses);
        change(world, draw, &mut policy);
        Some(Box::new(Nat::new(policy)))
    })
}

/// A firewall that lets everybody call.
fn firewall(
    world: &mut World,
    draw: &Draw,
    change: impl Fn(&mut World, &Draw, &mut Rules),
) -> Vec<(SiteId, usize)> {
    draw.lay(world, |world, draw| {
        let mut rules = Rules {
            calls: Calls::Any,
            ..Rules::default()
        };
        change(world, draw, &mut rules);
        Box::new(Firewall::new(rules))
    })
}

/// Hops forget what they know, a few times before everything heals.
fn forget(world: &mut World, draw: &Draw, hops: Vec<(SiteId, usize)>) {
    for (site, index) in hops {
        let name = world.net.core.sites.name(site).to_owned();
        for _ in 0..3 {
            let (_, end) = draw.window(world);
            let at = draw.millis(world, 60_000, 300).min(end);
            if draw.strikes(world, &name) {
                let fault = HopFault::Forget;
                world.at(at, Fault::Hop { site, index, fault });
            }
        }
    }
}

/// A censor with one rule, which acts on as many flows as the draw's rate says.
fn censor(world: &mut World, draw: &Draw, rule: impl Fn(&mut World, &Draw) -> Rule) {
    draw.lay_on(world, |world, draw, _| {
        let rate = draw.rate(world);
        let rule = rule(world, draw).sometimes(rate);
        let censor: Box<dyn Hop> = Box::new(Censor::new(vec![rule]).ok()?);
        Some(censor)
    });
}

/// After some bytes.
fn midway(world: &mut World, draw: &Draw) -> When {
    When::Carried(draw.between(world, 30_000, 1))
}

const RESET: Then = Then::Reset {
    after: Duration::from_millis(1),
};

pub(super) const ALL: &[FaultClass] = &[
    FaultClass::new(
        Kind::Box,
        "nat",
        "flows leave from other ports, one for each destination",
        |world, draw| {
            nat(world, draw, |_, _, _| {});
        },
    ),
    FaultClass::new(
        Kind::Box,
        "nat-rebind",
        "flows get new ports again and again",
        |world, draw| {
            nat(world, draw, |world, draw, policy| {
                policy.rebind_every = Some(draw.millis(world, 300_000, 100));
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "nat-forget",
        "a NAT forgets everything",
        |world, draw| {
            let hops = nat(world, draw, |_, _, _| {});
            forget(world, draw, hops);
        },
    ),
    FaultClass::new(
        Kind::Box,
        "nat-short-memory",
        "a NAT forgets what is silent for a moment",
        |world, draw| {
            nat(world, draw, |world, draw, policy| {
                policy.udp_expiry = draw.millis(world, 30_000, 1);
                policy.tcp_established = draw.millis(world, 600_000, 5);
                policy.tcp_transitory = draw.millis(world, 60_000, 5);
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "nat-few-ports",
        "a host gets few ports",
        |world, draw| {
            nat(world, draw, |world, draw, policy| {
                policy.ports_per_host = Some(draw.between(world, 20, 0) as usize);
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "firewall-eviction",
        "idle connections are forgotten in silence",
        |world, draw| {
            firewall(world, draw, |world, draw, rules| {
                rules.tcp_idle = draw.millis(world, 600_000, 5);
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "firewall-eviction-reset",
        "idle connections are forgotten, then reset",
        |world, draw| {
            firewall(world, draw, |world, draw, rules| {
                rules.tcp_idle = draw.millis(world, 600_000, 5);
                rules.stray = Refusal::Reset;
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "firewall-forget",
        "a firewall starts anew",
        |world, draw| {
            let hops = firewall(world, draw, |_, _, _| {});
            forget(world, draw, hops);
        },
    ),
    FaultClass::new(
        Kind::Box,
        "udp-blocked",
        "no datagram passes",
        |world, draw| {
            firewall(world, draw, |_, _, rules| rules.udp = UdpRule::Closed);
        },
    ),
    FaultClass::new(
        Kind::Box,
        "udp-unreachable",
        "no datagram passes, and a router says so",
        |world, draw| {
            firewall(world, draw, |_, _, rules| {
                rules.udp = UdpRule::Closed;
                rules.udp_refusal = Refusal::Unreachable;
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "flow-limit",
        "a host may have few flows; more are refused",
        |world, draw| {
            firewall(world, draw, |world, draw, rules| {
                rules.flows_per_host = Some(draw.between(world, 20, 1) as usize);
                rules.excess = Refusal::Reset;
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "censor-reset",
        "forged resets end flows midway",
        |world, draw| {
            censor(world, draw, |world, draw| {
                Rule::new(midway(world, draw), RESET)
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "censor-drop",
        "flows stop passing midway",
        |world, draw| {
            censor(world, draw, |world, draw| {
                Rule::new(midway(world, draw), Then::Drop)
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "censor-residual",
        "a server cannot be reached for a while after a flow",
        |world, draw| {
            censor(world, draw, |world, draw| {
                let time = draw.millis(world, 1_000, 180_000);
                Rule::new(midway(world, draw), Then::Drop).with_residual(time)
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "censor-suspects",
        "first payloads that look random end flows",
        |world, draw| {
            censor(world, draw, |_, _| {
                Rule::new(When::LooksEncrypted(Exemptions::default()), RESET)
            });
        },
    ),
    FaultClass::new(
        Kind::Box,
        "censor-throttle",
        "flows become slow",
        |world, draw| {
            censor(world, draw, |world, draw| {
                let rate = draw.between(world, 100_000, 2_000);
                let throttle = Throttle {
                    rate,
                    burst: 2 * rate,
                    queue: 4 * rate,
                };
                Rule::new(When::Always, Then::Throttle(throttle))
            });
        },
    ),
];
