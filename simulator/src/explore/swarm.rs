//! Swarms: the seed chooses which classes of faults exist in a run, and how often each strikes.
//!
//! A few classes at a time reach deeper than all of them at once: a world in which every dial
//! fails never sees a relay. At [`Swarm::heal_at`] all faults stop, and from then on everything
//! must finish or fail explicitly.
use crate::{
    World,
    fault::{self, Draw},
    tcp::Tier,
};
use core::{fmt, str::FromStr, time::Duration};

/// How much goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// Few classes, rarely.
    #[default]
    Lite,
    /// Many classes, often.
    Full,
}

impl Preset {
    /// How often a class exists in a run, in a million.
    const fn presence(self) -> u32 {
        match self {
            Self::Lite => 40_000,
            Self::Full => 130_000,
        }
    }

    /// The highest rate of a class, in a million.
    const fn rate_max(self) -> u64 {
        match self {
            Self::Lite => 200_000,
            Self::Full => 400_000,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lite => "lite",
            Self::Full => "full",
        })
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lite" => Ok(Self::Lite),
            "full" => Ok(Self::Full),
            _ => Err(format!("{text:?} is no preset: lite or full")),
        }
    }
}

/// A swarm of faults over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// How much goes wrong.
    pub preset: Preset,
    /// When everything stops going wrong, after the start.
    pub heal_at: Duration,
}

impl Default for Swarm {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            heal_at: Duration::from_secs(120),
        }
    }
}

/// How long a scripted peer waits, after the faults have stopped, for something that does not
/// come, before it gives up: longer than any timer of a relay but the one of a day.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);
/// How long machines may go on when all their peers are done and no fault strikes any more: the
/// kernel's keep-alive or a half-closed relay's idle time, twice over.
pub(crate) const GRACE: Duration = Duration::from_secs(2 * 1275);

/// How often all of a run's TCP is on the packet tier, in a million.
const PACKET_TIER: u32 = 50_000;

/// Installs the classes that the seed draws. Which exist is drawn as hazards: a shrinker can take
/// away a whole class.
pub(crate) fn install(world: &mut World, swarm: Swarm) {
    let streams = &mut world.net.core.streams;
    let stream = streams.open(&presence_stream("packet-tier"));
    if streams.hazard(stream, PACKET_TIER) {
        world.tier(Tier::Packet);
    }
    for class in fault::all().filter(|class| class.keeps_bytes) {
        let streams = &mut world.net.core.streams;
        let stream = streams.open(&presence_stream(class.name));
        // A class exists wherever one of its events is decided: that it does need not be said.
        let is_decided = streams.decides(&format!("fault/{}/", class.name));
        if !streams.hazard(stream, swarm.preset.presence()) && !is_decided {
            continue;
        }
        let rate_max = swarm.preset.rate_max();
        let mut draw = Draw::new(class, stream, rate_max, swarm.heal_at);
        (class.install)(world, &mut draw);
    }
}

/// The stream from which it is drawn whether a class exists, and its rates.
pub(crate) fn presence_stream(class: &str) -> String {
    format!("swarm/{class}")
}

/// The class whose presence this stream draws, or whose single events.
#[must_use]
pub fn class_of(stream: &str) -> Option<&str> {
    let rest = stream
        .strip_prefix("swarm/")
        .or_else(|| stream.strip_prefix("fault/"));
    rest.and_then(|rest| rest.split('/').next())
}

/// Does this stream draw whether a class exists?
#[must_use]
pub fn is_presence(stream: &str) -> bool {
    stream.starts_with("swarm/")
}
