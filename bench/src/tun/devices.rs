//! All subjects behind devices of their own, at the same time, under one load after the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::line::Line;
use super::load;
use super::ping;
use super::stage::{DESTINATION, Stage};
use super::subject::{SANSBOX, SING_BOX, Subject, names};
use crate::figure::{Better, Reach};
use crate::load::bulk::Direction;
use crate::process;

/// The stack of sing-box that has the best median of a figure.
pub(super) const BEST: &str = "sing-box's best stack";
/// From ready to where start-up work has ended and the memory is read.
const SETTLE: Duration = Duration::from_secs(1);
const BYTES_PER_MB: f64 = 1e6;

/// What is measured of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    UpOne,
    DownOne,
    UpEight,
    DownEight,
    UpOneRate,
    DownOneRate,
    UpEightRate,
    DownEightRate,
    PeakRss,
    IdleRss,
    ConnCpu,
    ConnRate,
    Ping,
}

const FIGURES: [Figure; 13] = [
    Figure::UpOne,
    Figure::DownOne,
    Figure::UpEight,
    Figure::DownEight,
    Figure::UpOneRate,
    Figure::DownOneRate,
    Figure::UpEightRate,
    Figure::DownEightRate,
    Figure::PeakRss,
    Figure::IdleRss,
    Figure::ConnCpu,
    Figure::ConnRate,
    Figure::Ping,
];

/// Title, unit, which way is up, and what sansbox has to reach.
type Facts = (&'static str, &'static str, Better, Option<Reach>);

impl Figure {
    const fn facts(self) -> Facts {
        const CORE: &str = "Gbit/core-s";
        const RATE: &str = "Gbit/s";
        let (more, less) = (Better::More, Better::Less);
        const fn times(bound: f64) -> Option<Reach> {
            Some(Reach::TimesAtLeast(BEST, bound))
        }
        match self {
            Self::UpOne => ("Up, 1 stream", CORE, more, times(1.6)),
            Self::DownOne => ("Down, 1 stream", CORE, more, times(2.6)),
            Self::UpEight => ("Up, 8 streams", CORE, more, times(1.8)),
            Self::DownEight => ("Down, 8 streams", CORE, more, times(1.8)),
            Self::UpOneRate => ("Up, 1 stream, throughput", RATE, more, None),
            Self::DownOneRate => ("Down, 1 stream, throughput", RATE, more, None),
            Self::UpEightRate => ("Up, 8 streams, throughput", RATE, more, None),
            Self::DownEightRate => ("Down, 8 streams, throughput", RATE, more, None),
            Self::PeakRss => (
                "Peak memory of these loads",
                "MB",
                less,
                Some(Reach::AtMost(20.0)),
            ),
            Self::IdleRss => ("Memory at start", "MB", less, Some(Reach::AtMost(8.0))),
            Self::ConnCpu => ("New connection, CPU", "us", less, None),
            Self::ConnRate => ("New connections", "1/s", more, None),
            Self::Ping => ("Echo, median", "us", less, Some(Reach::AtMost(60.0))),
        }
    }
}

/// One-way loads: which way, how many streams, and the figures of each.
const BULK: [(Direction, usize, Figure, Figure); 4] = [
    (Direction::Up, 1, Figure::UpOne, Figure::UpOneRate),
    (Direction::Down, 1, Figure::DownOne, Figure::DownOneRate),
    (Direction::Up, 8, Figure::UpEight, Figure::UpEightRate),
    (Direction::Down, 8, Figure::DownEight, Figure::DownEightRate),
];

/// Values of one measurement.
type Values = Vec<(Figure, f64)>;

/// What the rounds gave.
#[derive(Debug, Default)]
pub(super) struct Devices {
    samples: BTreeMap<(Figure, &'static str), Vec<Option<f64>>>,
    /// Failures, in sentences.
    pub(super) notes: Vec<String>,
}

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    /// Of one timed window.
    pub(super) length: Duration,
    /// For configurations and logs.
    pub(super) folder: &'a Path,
    /// The TCP congestion controller, if not the system's.
    pub(super) congestion: Option<&'a str>,
}

/// Measures `subjects`. In every round all of them are at work, each in namespaces of its own, and
/// take turns under each load; who begins changes from round to round.
pub(super) fn run(subjects: &[Subject], rounds: u32, setting: Setting<'_>) -> Devices {
    let mut devices = Devices::default();
    let mut order: Vec<&Subject> = subjects.iter().collect();
    for round in 0..rounds {
        devices.round(&order, round as usize, setting);
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    devices
}

impl Devices {
    fn round(&mut self, order: &[&Subject], round: usize, setting: Setting<'_>) {
        let mut stages = Vec::new();
        for subject in order {
            match Stage::start(subject, setting) {
                Ok(stage) => stages.push((subject.name, stage)),
                Err(error) => self.note(format!("{}: not available: {error:#}.", subject.name)),
            }
        }
        thread::sleep(SETTLE);
        let mut each = |what: &str, measure: &dyn Fn(&Stage) -> Result<Values>| {
            for (name, stage) in &stages {
                self.keep(what, name, round, measure(stage));
            }
        };
        each("start", &|stage| {
            let resident = process::resident(stage.pid())?;
            Ok(vec![(Figure::IdleRss, megabytes(resident))])
        });
        for (direction, streams, figure, rate) in BULK {
            each(figure.facts().0, &|stage| {
                let bulk = load::bulk(stage, direction, streams, setting.length)?;
                Ok(vec![
                    (figure, bulk.gbit_per_core_second),
                    (rate, bulk.gbit_per_second),
                ])
            });
        }
        each("peak", &|stage| {
            let peak = process::peak_resident(stage.pid())?;
            Ok(vec![(Figure::PeakRss, megabytes(peak))])
        });
        each("connections", &|stage| {
            let conn = load::connections(stage, setting.length)?;
            Ok(vec![
                (Figure::ConnCpu, conn.cpu_us),
                (Figure::ConnRate, conn.rate),
            ])
        });
        each("echo", &|stage| {
            let micros = stage.near.inside(|| ping::run(DESTINATION))?;
            Ok(vec![(Figure::Ping, micros)])
        });
    }

    fn keep(&mut self, what: &str, name: &'static str, round: usize, values: Result<Values>) {
        match values {
            Ok(values) => {
                for (figure, value) in values {
                    let (title, unit, ..) = figure.facts();
                    eprintln!("{name}, round {}: {title}: {value:.2} {unit}", round + 1);
                    let rounds = self.samples.entry((figure, name)).or_default();
                    rounds.resize(round, None);
                    rounds.push(Some(value));
                }
            }
            Err(error) => {
                eprintln!("{name}, round {}: {what} failed: {error:#}", round + 1);
                self.note(format!("{name}, {what}: a round failed: {error:#}."));
            }
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn rounds(&self, figure: Figure, name: &'static str) -> &[Option<f64>] {
        self.samples.get(&(figure, name)).map_or(&[], Vec::as_slice)
    }

    /// The lines of the report: what was measured, and what has a mark.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for figure in FIGURES {
            let (title, unit, better, reach) = figure.facts();
            let line = |name| Line {
                title,
                unit,
                better,
                subject: name,
                rounds: self.rounds(figure, name).to_vec(),
                against: None,
                reach: reach.filter(|_| name == SANSBOX),
            };
            let own: Vec<Line> = names()
                .map(line)
                .filter(|line| line.value().is_some() || line.reach.is_some())
                .collect();
            let best = own
                .iter()
                .filter(|line| line.subject.starts_with(SING_BOX) && line.value().is_some())
                .max_by(|a, b| {
                    let (a, b) = (a.value().unwrap_or(0.0), b.value().unwrap_or(0.0));
                    match better {
                        Better::More => a.total_cmp(&b),
                        Better::Less => b.total_cmp(&a),
                    }
                })
                .map(|best| best.rounds.clone());
            lines.extend(own.into_iter().map(|mut line| {
                if let Some(best) = &best {
                    line.compare(best);
                }
                line
            }));
        }
        lines
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "memory of one process is below 2^52 bytes"
)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_MB
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;

    #[test]
    fn the_best_stack_of_each_figure_is_what_counts() {
        let mut devices = Devices::default();
        for (name, up, peak) in [
            (SANSBOX, 20.0, 18.0),
            ("sing-box-system", 10.0, 32.0),
            ("sing-box-gvisor", 8.0, 30.0),
            ("xray", 12.0, 20.0),
        ] {
            let values = vec![(Figure::UpOne, up), (Figure::PeakRss, peak)];
            devices.keep("test", name, 0, Ok(values));
        }
        let lines = devices.lines();
        let found = |title: &str, name: &str| {
            let is = |line: &&Line| line.title == title && line.subject == name;
            lines.iter().find(is).unwrap()
        };
        let up = found("Up, 1 stream", SANSBOX);
        assert_eq!(up.against, Some((10.0, 2.0)));
        assert_eq!(up.verdict(), Some(Verdict::Met));
        assert_eq!(found("Up, 1 stream", "xray").against, Some((10.0, 1.2)));
        assert_eq!(found("Up, 1 stream", "xray").verdict(), None);
        let peak = found("Peak memory of these loads", SANSBOX);
        assert_eq!(peak.against, Some((30.0, 0.6)));
        assert_eq!(peak.verdict(), Some(Verdict::Met));
        let down = found("Down, 1 stream", SANSBOX);
        assert_eq!(down.verdict(), Some(Verdict::NotMeasured));
    }

    #[test]
    fn a_failed_round_leaves_a_gap_and_one_note() {
        let mut devices = Devices::default();
        for round in 0..2 {
            devices.keep("echo", SANSBOX, round, Err(anyhow::anyhow!("no answer")));
        }
        devices.keep("echo", SANSBOX, 2, Ok(vec![(Figure::Ping, 50.0)]));
        assert_eq!(devices.notes, ["sansbox, echo: a round failed: no answer."]);
        assert_eq!(
            devices.rounds(Figure::Ping, SANSBOX),
            [None, None, Some(50.0)]
        );
    }
}
