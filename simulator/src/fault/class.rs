//! What a class of faults is, and what it draws its rates and times from.
use super::{Fault, HostFault};
use crate::{
    World,
    host::HostId,
    net::{SiteId, hop::Hop},
    rng::{StreamId, Streams},
};
use core::{fmt, time::Duration};

/// As often as anything can be.
pub(super) const ALWAYS: u32 = 1_000_000;

/// When the worst begins, in milliseconds: something should be going on by then.
const SEVERE_BEGIN: u64 = 100;

/// Where a class of faults strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// On a link between a site and the world.
    Link,
    /// On the way of connections and datagrams.
    Path,
    /// In the resolver.
    Names,
    /// On a host.
    Host,
    /// In a middlebox.
    Box,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Link => "link",
            Self::Path => "path",
            Self::Names => "names",
            Self::Host => "host",
            Self::Box => "box",
        })
    }
}

/// A class of faults, which can be put on any world whose hosts are there.
#[derive(Clone, Copy)]
pub struct FaultClass {
    /// Its name, unique.
    pub name: &'static str,
    /// What goes wrong, in a sentence.
    pub about: &'static str,
    /// Where.
    pub kind: Kind,
    /// TCP still delivers what was sent, or an error: what every run must have holds. A class
    /// without it damages what no checksum notices.
    pub keeps_bytes: bool,
    /// Puts it on a world, with rates and times as drawn. Each single bad event is drawn as a
    /// hazard from a stream whose name begins with `fault/NAME/`.
    pub install: fn(&mut World, &mut Draw),
}

impl FaultClass {
    /// A class that keeps bytes whole: a name, unique; what goes wrong, in a sentence; and what
    /// puts it on a world.
    pub(super) const fn new(
        kind: Kind,
        name: &'static str,
        about: &'static str,
        install: fn(&mut World, &mut Draw),
    ) -> Self {
        Self {
            name,
            about,
            kind,
            keeps_bytes: true,
            install,
        }
    }
}

impl fmt::Debug for FaultClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultClass({})", self.name)
    }
}

/// What a class draws from, and how bad it may be.
#[derive(Clone, Debug)]
pub struct Draw {
    class: &'static str,
    stream: StreamId,
    rate_max: u64,
    is_severe: bool,
    heal_at: Duration,
}

impl Draw {
    /// Draws for a class from `stream`; its events happen at most `rate_max` times in a million,
    /// and nothing is bad any more at `heal_at` after the start.
    #[must_use]
    pub const fn new(
        class: &FaultClass,
        stream: StreamId,
        rate_max: u64,
        heal_at: Duration,
    ) -> Self {
        Self {
            class: class.name,
            stream,
            rate_max,
            is_severe: false,
            heal_at,
        }
    }

    /// As bad as it gets, everywhere.
    #[must_use]
    pub fn severe(world: &mut World, class: &FaultClass, heal_at: Duration) -> Self {
        let stream = streams(world).open(&format!("swarm/{}", class.name));
        Self {
            is_severe: true,
            ..Self::new(class, stream, u64::from(ALWAYS) / 2, heal_at)
        }
    }

    /// The name of the class.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        self.class
    }

    /// A rate in a million, small ones more often than large ones.
    pub fn rate(&self, world: &mut World) -> u32 {
        if self.is_severe {
            return u32::try_from(self.rate_max).unwrap_or(ALWAYS);
        }
        let streams = streams(world);
        let max = self.rate_max >> streams.below(self.stream, 8);
        1 + streams.below(self.stream, max.max(1)) as u32
    }

    /// A number from `mild` to `bad`, whichever is larger.
    pub fn between(&self, world: &mut World, mild: u64, bad: u64) -> u64 {
        if self.is_severe {
            return bad;
        }
        let (least, most) = (mild.min(bad), mild.max(bad));
        least + streams(world).below(self.stream, most - least + 1)
    }

    /// The same in milliseconds.
    pub fn millis(&self, world: &mut World, mild: u64, bad: u64) -> Duration {
        Duration::from_millis(self.between(world, mild, bad))
    }

    /// Is one of many chosen?
    fn picks(&self, world: &mut World) -> bool {
        self.is_severe || streams(world).one_in(self.stream, 2)
    }

    /// Does something happen that always does, unless a shrinker takes it away?
    pub(super) fn strikes(&self, world: &mut World, what: &str) -> bool {
        let streams = streams(world);
        let stream = streams.open(&format!("fault/{}/{what}/strikes", self.class));
        streams.hazard(stream, ALWAYS)
    }

    /// When something begins and when it ends, before everything heals.
    pub fn window(&self, world: &mut World) -> (Duration, Duration) {
        let millis = u64::try_from(self.heal_at.as_millis()).unwrap_or(u64::MAX / 2);
        let (begin, end) = if self.is_severe {
            (SEVERE_BEGIN.min(millis), millis)
        } else {
            let streams = streams(world);
            let begin = streams.below(self.stream, millis.max(1));
            let longest = (millis - begin).max(1);
            (begin, begin + 1 + streams.below(self.stream, longest))
        };
        (
            Duration::from_millis(begin),
            Duration::from_millis(end.min(millis)),
        )
    }

    /// Puts a hop on the outside of some sites; returns where they are.
    pub fn lay(
        &self,
        world: &mut World,
        make: impl Fn(&mut World, &Self) -> Box<dyn Hop>,
    ) -> Vec<(SiteId, usize)> {
        self.lay_on(world, |world, draw, _| Some(make(world, draw)))
    }

    /// The same, with hops made for their sites, where they can be.
    pub fn lay_on(
        &self,
        world: &mut World,
        make: impl Fn(&mut World, &Self, SiteId) -> Option<Box<dyn Hop>>,
    ) -> Vec<(SiteId, usize)> {
        let mut laid = Vec::new();
        for site in world.sites() {
            if self.picks(world)
                && let Some(hop) = make(world, self, site)
            {
                laid.push((site, world.add_fault_hop(site, self.class, hop)));
            }
        }
        laid
    }

    /// Does something to some of `hosts` at the beginning of a window, and undoes it at its end.
    pub fn strike(
        &self,
        world: &mut World,
        hosts: impl IntoIterator<Item = HostId>,
        make: impl Fn(&mut World, HostId) -> Option<(HostFault, Option<HostFault>)>,
    ) {
        for host in hosts {
            if !self.picks(world) {
                continue;
            }
            let (begin, end) = self.window(world);
            let name = world.net.core.host_name(host).to_owned();
            let Some((fault, cure)) = make(world, host) else {
                continue;
            };
            if !self.strikes(world, &name) {
                continue;
            }
            world.at(begin, Fault::Host { host, fault });
            if let Some(fault) = cure {
                world.at(end, Fault::Host { host, fault });
            }
        }
    }

    /// Does something to hops from a time on, and undoes it later.
    pub fn strike_hops(
        &self,
        world: &mut World,
        hops: Vec<(SiteId, usize)>,
        (fault, cure): (crate::net::hop::HopFault, crate::net::hop::HopFault),
        windows: u32,
    ) {
        for (site, index) in hops {
            let name = world.net.core.sites.name(site).to_owned();
            for _ in 0..windows {
                let (begin, end) = self.window(world);
                if self.strikes(world, &name) {
                    world.at(begin, Fault::Hop { site, index, fault });
                    world.at(
                        end,
                        Fault::Hop {
                            site,
                            index,
                            fault: cure,
                        },
                    );
                }
            }
        }
    }
}

const fn streams(world: &mut World) -> &mut Streams {
    &mut world.net.core.streams
}
