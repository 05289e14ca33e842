//! Classes of faults on hosts.
use super::{
    class::{Draw, FaultClass, Kind},
    host::{Crash, HostFault},
};
use crate::{World, host::HostId};
use core::time::Duration;

/// Something that lasts for a while, on any host.
fn passing(
    world: &mut World,
    draw: &Draw,
    make: impl Fn(&mut World, HostId) -> (HostFault, HostFault),
) {
    let hosts = world.hosts();
    draw.strike(world, hosts, |world, host| {
        let (fault, cure) = make(world, host);
        Some((fault, Some(cure)))
    });
}

/// Something for good, on any host.
fn lasting(world: &mut World, draw: &Draw, make: impl Fn(&mut World) -> HostFault) {
    let hosts = world.hosts();
    draw.strike(world, hosts, |world, _| Some((make(world), None)));
}

/// A death, of a host that is no machine under test.
fn deadly(world: &mut World, draw: &Draw, how: impl Fn(&mut World) -> Crash) {
    let peers = world.peer_hosts();
    let dies = |world: &mut World, _| Some((HostFault::Crash(how(world)), None));
    draw.strike(world, peers, dies);
}

pub(super) const ALL: &[FaultClass] = &[
    FaultClass::new(
        Kind::Host,
        "suspended",
        "a program stands still for a while",
        |world, draw| {
            passing(world, draw, |_, _| (HostFault::Suspend, HostFault::Resume));
        },
    ),
    FaultClass::new(
        Kind::Host,
        "asleep",
        "a machine stands still for a while",
        |world, draw| {
            passing(world, draw, |_, _| (HostFault::Sleep, HostFault::Resume));
        },
    ),
    FaultClass::new(
        Kind::Host,
        "clock-ahead",
        "a clock is ahead of others from the start",
        |world, draw| {
            for host in world.hosts() {
                let ahead = draw.millis(world, 1, 86_400_000);
                let name = world.net.core.host_name(host).to_owned();
                if draw.strikes(world, &name) {
                    let fault = HostFault::ClockJump(ahead);
                    world.at(Duration::ZERO, super::Fault::Host { host, fault });
                }
            }
        },
    ),
    FaultClass::new(
        Kind::Host,
        "clock-jump",
        "a clock jumps ahead",
        |world, draw| {
            let draws = draw.clone();
            lasting(world, draw, |world| {
                HostFault::ClockJump(draws.millis(world, 1, 3_600_000))
            });
        },
    ),
    FaultClass::new(
        Kind::Host,
        "clock-drift",
        "a clock runs fast or slow",
        |world, draw| {
            let draws = draw.clone();
            passing(world, draw, |world, _| {
                let drift = draws.between(world, 1, 300_000) as i32;
                let sign = if draws.between(world, 0, 1) == 0 {
                    1
                } else {
                    -1
                };
                (
                    HostFault::ClockDrift(drift * sign),
                    HostFault::ClockDrift(0),
                )
            });
        },
    ),
    FaultClass::new(
        Kind::Host,
        "crash",
        "a program ends, and its kernel closes its sockets",
        |world, draw| {
            deadly(world, draw, |_| Crash::Process);
        },
    ),
    FaultClass::new(
        Kind::Host,
        "power-loss",
        "a machine never answers again",
        |world, draw| {
            deadly(world, draw, |_| Crash::Power);
        },
    ),
    FaultClass::new(
        Kind::Host,
        "reboot",
        "a machine comes back and knows nothing",
        |world, draw| {
            let draws = draw.clone();
            deadly(world, draw, |world| {
                Crash::Reboot(draws.millis(world, 100, 20_000))
            });
        },
    ),
    FaultClass::new(
        Kind::Host,
        "slow-reader",
        "a host reads a few octets at a time",
        |world, draw| {
            let draws = draw.clone();
            passing(world, draw, |world, _| {
                let octets = draws.between(world, 4096, 64) as usize;
                let every = draws.millis(world, 1, 50);
                (
                    HostFault::SlowReader(Some((octets, every))),
                    HostFault::SlowReader(None),
                )
            });
        },
    ),
    FaultClass::new(
        Kind::Host,
        "file-limit",
        "a host may hold few sockets",
        |world, draw| {
            let draws = draw.clone();
            passing(world, draw, |world, _| {
                let most = draws.between(world, 8, 1) as usize;
                (HostFault::FileLimit(Some(most)), HostFault::FileLimit(None))
            });
        },
    ),
    FaultClass::new(
        Kind::Host,
        "address-lost",
        "a host loses an address, and gets it back",
        |world, draw| {
            let peers = world.peer_hosts();
            draw.strike(world, peers, |world, host| {
                let ip = *world.addresses(host).first()?;
                Some((HostFault::LoseAddress(ip), Some(HostFault::GainAddress(ip))))
            });
        },
    ),
];
