//! What is measured, and the marks to reach.

use crate::args::Group;
use crate::subject::{MICROSOCKS, SANSBOX, SANSBOX_AUTH, SANSBOX_SYSTEM_CC, SING_BOX};

/// One figure of the relay bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Upload per processor time.
    BulkUp,
    /// Upload per wall time.
    BulkUpRate,
    /// Download per processor time.
    BulkDown,
    /// Download per wall time.
    BulkDownRate,
    /// Processor time of a round trip.
    TripCpu,
    /// Median latency of a round trip.
    TripP50,
    /// 99th percentile of the latency.
    TripP99,
    /// Round trips per wall time.
    TripRate,
    /// Processor time of a connection.
    ConnCpu,
    /// Connections per wall time.
    ConnRate,
    /// User instructions of a round trip.
    TripInstructions,
    /// User instructions of a connection.
    ConnInstructions,
    /// System calls of a round trip.
    TripCalls,
    /// System calls of a connection.
    ConnCalls,
    /// Memory of an idle connection.
    IdleRss,
    /// Idle connections under a file limit.
    IdleLimit,
    /// Spawn to first accept.
    StartReady,
    /// Memory at start.
    StartRss,
    /// Size of the executable.
    BinarySize,
}

/// Which values are good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    /// More is better.
    More,
    /// Less is better.
    Less,
}

/// The fixed facts of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Name in JSON.
    pub(crate) id: &'static str,
    /// Name for people.
    pub(crate) title: &'static str,
    /// Unit of the value.
    pub(crate) unit: &'static str,
    /// Which way is up.
    pub(crate) better: Better,
    /// The peers it is compared with.
    pub(crate) peers: &'static [&'static str],
}

impl Figure {
    /// All figures in the order of the report.
    pub(crate) const ALL: [Self; 19] = [
        Self::BulkUp,
        Self::BulkUpRate,
        Self::BulkDown,
        Self::BulkDownRate,
        Self::TripCpu,
        Self::TripP50,
        Self::TripP99,
        Self::TripRate,
        Self::ConnCpu,
        Self::ConnRate,
        Self::TripInstructions,
        Self::ConnInstructions,
        Self::TripCalls,
        Self::ConnCalls,
        Self::IdleRss,
        Self::IdleLimit,
        Self::StartReady,
        Self::StartRss,
        Self::BinarySize,
    ];

    /// The group it is measured in.
    pub(crate) const fn group(self) -> Group {
        match self {
            Self::BulkUp | Self::BulkUpRate => Group::BulkUp,
            Self::BulkDown | Self::BulkDownRate => Group::BulkDown,
            Self::TripCpu | Self::TripP50 | Self::TripP99 | Self::TripRate => Group::Trip,
            Self::ConnCpu | Self::ConnRate => Group::Conn,
            Self::TripInstructions | Self::ConnInstructions | Self::TripCalls | Self::ConnCalls => {
                Group::Counts
            }
            Self::IdleRss => Group::Idle,
            Self::IdleLimit => Group::IdleLimit,
            Self::StartReady | Self::StartRss | Self::BinarySize => Group::Start,
        }
    }

    /// Its names, unit, direction and peers.
    pub(crate) const fn facts(self) -> Facts {
        let (id, title) = self.names();
        let peers: &[&str] = match self.group() {
            Group::Trip | Group::Conn | Group::Counts => &[SING_BOX, MICROSOCKS],
            Group::BulkUp
            | Group::BulkDown
            | Group::Idle
            | Group::IdleLimit
            | Group::Start
            | Group::Router => &[SING_BOX],
        };
        Facts {
            id,
            title,
            unit: self.unit(),
            better: self.better(),
            peers,
        }
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BulkUp => ("bulk_up", "Bulk up, 8 streams"),
            Self::BulkUpRate => ("bulk_up_rate", "Bulk up, throughput"),
            Self::BulkDown => ("bulk_down", "Bulk down, 8 streams"),
            Self::BulkDownRate => ("bulk_down_rate", "Bulk down, throughput"),
            Self::TripCpu => ("trip_cpu", "64 B round trip, 64 streams, CPU"),
            Self::TripP50 => ("trip_p50", "Round trip latency, median"),
            Self::TripP99 => ("trip_p99", "Round trip latency, 99th percentile"),
            Self::TripRate => ("trip_rate", "Round trips"),
            Self::ConnCpu => ("conn_cpu", "New connection, CPU"),
            Self::ConnRate => ("conn_rate", "New connections"),
            Self::TripInstructions => ("trip_instructions", "Lone 64 B round trip, user space"),
            Self::ConnInstructions => ("conn_instructions", "Lone connection, user space"),
            Self::TripCalls => ("trip_calls", "Lone 64 B round trip, system calls"),
            Self::ConnCalls => ("conn_calls", "Lone connection, system calls"),
            Self::IdleRss => ("idle_rss", "Idle connection, memory"),
            Self::IdleLimit => ("idle_limit", "Idle connections at 20,000 files"),
            Self::StartReady => ("start_ready", "Start to ready"),
            Self::StartRss => ("start_rss", "Memory at start"),
            Self::BinarySize => ("binary_size", "Release binary"),
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::BulkUp | Self::BulkDown => "Gbit/core-s",
            Self::BulkUpRate | Self::BulkDownRate => "Gbit/s",
            Self::TripCpu | Self::TripP50 | Self::TripP99 | Self::ConnCpu => "us",
            Self::TripRate | Self::ConnRate => "1/s",
            Self::TripInstructions | Self::ConnInstructions => "instructions",
            Self::TripCalls | Self::ConnCalls => "calls",
            Self::IdleRss => "KiB",
            Self::IdleLimit => "connections",
            Self::StartReady => "ms",
            Self::StartRss | Self::BinarySize => "MB",
        }
    }

    const fn better(self) -> Better {
        match self {
            Self::BulkUp
            | Self::BulkUpRate
            | Self::BulkDown
            | Self::BulkDownRate
            | Self::TripRate
            | Self::ConnRate
            | Self::IdleLimit => Better::More,
            Self::TripCpu
            | Self::TripP50
            | Self::TripP99
            | Self::ConnCpu
            | Self::TripInstructions
            | Self::ConnInstructions
            | Self::TripCalls
            | Self::ConnCalls
            | Self::IdleRss
            | Self::StartReady
            | Self::StartRss
            | Self::BinarySize => Better::Less,
        }
    }
}

/// What a mark asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reach {
    /// The value itself, at least.
    AtLeast(f64),
    /// The value itself, at most.
    AtMost(f64),
    /// The ratio to a peer, at least.
    TimesAtLeast(&'static str, f64),
    /// The ratio to a peer, at most.
    TimesAtMost(&'static str, f64),
}

impl Reach {
    /// The peer it compares with.
    pub(crate) fn peer(self) -> Option<&'static str> {
        match self {
            Self::AtLeast(_) | Self::AtMost(_) => None,
            Self::TimesAtLeast(peer, _) | Self::TimesAtMost(peer, _) => Some(peer),
        }
    }

    /// Whether `measured`, the value or the ratio, reaches it.
    pub(crate) fn is_met_by(self, measured: f64) -> bool {
        match self {
            Self::AtLeast(bound) | Self::TimesAtLeast(_, bound) => measured >= bound,
            Self::AtMost(bound) | Self::TimesAtMost(_, bound) => measured <= bound,
        }
    }

    /// For people, with the figure's unit.
    pub(crate) fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {bound} {unit}"),
            Self::AtMost(bound) => format!("<= {bound} {unit}"),
            Self::TimesAtLeast(peer, bound) => format!(">= {bound:.2}x {peer}"),
            Self::TimesAtMost(peer, bound) => format!("<= {bound:.2}x {peer}"),
        }
    }
}

/// A promise about one subject's figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// What is measured.
    pub(crate) figure: Figure,
    /// Of whom.
    pub(crate) subject: &'static str,
    /// What it has to be.
    pub(crate) reach: Reach,
}

const fn mark(figure: Figure, subject: &'static str, reach: Reach) -> Mark {
    Mark {
        figure,
        subject,
        reach,
    }
}

/// The marks of the relay bench.
pub(crate) const MARKS: [Mark; 13] = [
    mark(Figure::BulkUp, SANSBOX, Reach::TimesAtLeast(SING_BOX, 2.5)),
    mark(
        Figure::BulkUp,
        SANSBOX_SYSTEM_CC,
        Reach::TimesAtLeast(SING_BOX, 0.95),
    ),
    mark(
        Figure::BulkDown,
        SANSBOX,
        Reach::TimesAtLeast(SING_BOX, 2.5),
    ),
    mark(
        Figure::BulkDown,
        SANSBOX_SYSTEM_CC,
        Reach::TimesAtLeast(SING_BOX, 0.95),
    ),
    mark(Figure::TripCpu, SANSBOX, Reach::TimesAtMost(SING_BOX, 0.90)),
    mark(
        Figure::TripCpu,
        SANSBOX,
        Reach::TimesAtMost(MICROSOCKS, 0.95),
    ),
    mark(Figure::ConnCpu, SANSBOX, Reach::TimesAtMost(SING_BOX, 0.35)),
    mark(
        Figure::ConnRate,
        SANSBOX,
        Reach::TimesAtLeast(SING_BOX, 3.0),
    ),
    mark(Figure::IdleRss, SANSBOX_AUTH, Reach::AtMost(2.0)),
    mark(Figure::IdleLimit, SANSBOX, Reach::AtLeast(9_900.0)),
    mark(Figure::StartReady, SANSBOX, Reach::AtMost(5.0)),
    mark(Figure::StartRss, SANSBOX, Reach::AtMost(6.0)),
    mark(Figure::BinarySize, SANSBOX, Reach::AtMost(8.0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_hold_at_their_bound_and_not_beyond() {
        assert!(Reach::AtLeast(9_900.0).is_met_by(9_900.0));
        assert!(!Reach::AtLeast(9_900.0).is_met_by(9_899.0));
        assert!(Reach::TimesAtMost(SING_BOX, 0.35).is_met_by(0.35));
        assert!(!Reach::TimesAtMost(SING_BOX, 0.35).is_met_by(0.351));
        assert_eq!(Reach::AtMost(5.0).text("ms"), "<= 5 ms");
        assert_eq!(
            Reach::TimesAtLeast(SING_BOX, 2.5).text("us"),
            ">= 2.50x sing-box"
        );
    }

    #[test]
    fn every_ratio_mark_compares_with_a_peer_of_its_figure() {
        for mark in MARKS {
            if let Some(peer) = mark.reach.peer() {
                assert!(mark.figure.facts().peers.contains(&peer), "{mark:?}");
            }
        }
    }

    #[test]
    fn figures_have_distinct_names() {
        let mut ids: Vec<&str> = Figure::ALL.iter().map(|figure| figure.facts().id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Figure::ALL.len());
    }
}
