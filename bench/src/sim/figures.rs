//! What is measured, and what it must reach.

use anyhow::Result;

use super::peers::{MADSIM, TURMOIL};
use super::{echo, socks};

/// One figure and what it must at least be.
#[derive(Debug)]
pub(super) struct Figure {
    /// In JSON, and in what a peer prints.
    pub(super) id: &'static str,
    /// For people.
    pub(super) name: &'static str,
    /// Of the value.
    pub(super) unit: &'static str,
    /// The least value, in that unit.
    pub(super) goal: f64,
    /// One round; returns how much was done.
    pub(super) round: fn(u64) -> Result<f64>,
    /// How the peers run the same, if they can.
    pub(super) pair: Option<Pair>,
}

/// An echo pair that peers run as well.
#[derive(Debug)]
pub(super) struct Pair {
    /// Virtual milliseconds between two packets.
    pub(super) every: u64,
    /// Virtual seconds of a round, by peer: about a second of a core for each, so that starting
    /// it does not count.
    pub(super) lengths: &'static [(&'static str, u64)],
}

impl Figure {
    /// The virtual seconds of a peer's round, if it runs this figure.
    pub(super) fn length_for(&self, peer: &str) -> Option<u64> {
        let lengths = self.pair.as_ref()?.lengths;
        let found = lengths.iter().find(|(name, _)| *name == peer);
        found.map(|(_, seconds)| *seconds)
    }
}

/// In the order of the report.
pub(super) const FIGURES: &[Figure] = &[
    Figure {
        id: "echo_1000ms",
        name: "echo, one pair, every second",
        unit: "virtual s/s",
        goal: 1_000_000.0,
        round: |_| echo::pairs(1, 1000, 400_000),
        pair: Some(Pair {
            every: 1000,
            lengths: &[(TURMOIL, 400), (MADSIM, 400_000)],
        }),
    },
    Figure {
        id: "echo_10ms",
        name: "echo, one pair, every 10 ms",
        unit: "virtual s/s",
        goal: 20_000.0,
        round: |_| echo::pairs(1, 10, 8000),
        pair: Some(Pair {
            every: 10,
            lengths: &[(TURMOIL, 400), (MADSIM, 4000)],
        }),
    },
    Figure {
        id: "echo_100_pairs",
        name: "echo, 100 pairs, every 10 ms",
        unit: "packets/s",
        goal: 5_000_000.0,
        round: |_| Ok(echo::pairs(100, 10, 80)? * 100.0 * 100.0 * 2.0),
        pair: None,
    },
    Figure {
        id: "socks_64k",
        name: "64 KiB echo through a SOCKS session",
        unit: "seeds/s",
        goal: 1500.0,
        round: |round| socks::sessions(round, 300, 64 << 10),
        pair: None,
    },
    Figure {
        id: "socks_100",
        name: "SOCKS session of 100 octets",
        unit: "seeds/s",
        goal: 5000.0,
        round: |round| socks::sessions(round, 2000, 100),
        pair: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::peers::NAMES;

    #[test]
    fn names_of_peers_and_figures_agree() {
        for figure in FIGURES {
            let Some(pair) = &figure.pair else { continue };
            assert_eq!(figure.id, format!("echo_{}ms", pair.every));
            for (peer, seconds) in pair.lengths {
                assert!(NAMES.contains(peer), "{peer}");
                assert_eq!(figure.length_for(peer), Some(*seconds));
                assert!((seconds * 1000).is_multiple_of(pair.every), "{peer}");
            }
            assert_eq!(figure.length_for("another"), None);
        }
    }
}
