//! What a run has found out.

use std::collections::BTreeMap;

use crate::args::Group;
use crate::figure::{Figure, MARKS, Reach};
use crate::router::Lookup;
use crate::stats;
use crate::subject::{
    MICROSOCKS, SANSBOX, SANSBOX_AUTH, SANSBOX_EPOLL, SANSBOX_SMOL, SANSBOX_SYSTEM_CC, SING_BOX,
};

/// The order of the subjects in reports.
pub(crate) const ORDER: [&str; 7] = [
    SANSBOX,
    SANSBOX_SYSTEM_CC,
    SANSBOX_AUTH,
    SANSBOX_SMOL,
    SANSBOX_EPOLL,
    SING_BOX,
    MICROSOCKS,
];

/// Samples, and what to say beside them.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    samples: BTreeMap<(Figure, &'static str), Vec<Option<f64>>>,
    /// Failures and reservations, in sentences.
    pub(crate) notes: Vec<String>,
    /// What the router bench printed.
    pub(crate) lookups: Vec<Lookup>,
}

/// Whether a mark is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// A value that it needs is not there.
    NotMeasured,
}

impl Verdict {
    /// For tables.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A mark and how it came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Judged {
    /// What was asked for.
    pub(crate) reach: Reach,
    /// The value or ratio that counts.
    pub(crate) measured: Option<f64>,
    /// The verdict.
    pub(crate) verdict: Verdict,
}

/// One subject's figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) figure: Figure,
    /// Of whom.
    pub(crate) subject: &'static str,
    /// The median of the rounds.
    pub(crate) value: Option<f64>,
    /// Lowest and highest round.
    pub(crate) range: Option<(f64, f64)>,
    /// The ratio to each peer of the figure; a peer has none to itself.
    pub(crate) ratios: Vec<(&'static str, Option<f64>)>,
    /// Its marks.
    pub(crate) judged: Vec<Judged>,
}

impl Outcome {
    /// Stores a value of a round, counted from 0.
    pub(crate) fn record(
        &mut self,
        figure: Figure,
        subject: &'static str,
        round: usize,
        value: f64,
    ) {
        let rounds = self.samples.entry((figure, subject)).or_default();
        if rounds.len() <= round {
            rounds.resize(round + 1, None);
        }
        if let Some(slot) = rounds.get_mut(round) {
            *slot = Some(value);
        }
    }

    /// Adds a note, unless it has been said.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn rounds(&self, figure: Figure, subject: &'static str) -> &[Option<f64>] {
        self.samples
            .get(&(figure, subject))
            .map_or(&[], Vec::as_slice)
    }

    /// The figures of `groups` in the order of the report: those that were measured, and those
    /// that have a mark.
    pub(crate) fn rows(&self, groups: &[Group]) -> Vec<Row> {
        let mut rows = Vec::new();
        for figure in Figure::ALL {
            if !groups.contains(&figure.group()) {
                continue;
            }
            for subject in ORDER {
                let row = self.row(figure, subject);
                if row.value.is_some() || !row.judged.is_empty() {
                    rows.push(row);
                }
            }
        }
        rows
    }

    fn row(&self, figure: Figure, subject: &'static str) -> Row {
        let rounds = self.rounds(figure, subject);
        let values: Vec<f64> = rounds.iter().copied().flatten().collect();
        let value = stats::median(&values);
        let ratio = |peer| stats::ratio(rounds, self.rounds(figure, peer));
        let peers = figure
            .facts()
            .peers
            .iter()
            .copied()
            .filter(|&peer| peer != subject);
        let marks = MARKS
            .iter()
            .filter(|mark| mark.figure == figure && mark.subject == subject);
        let judge = |reach: Reach| {
            let measured = reach.peer().map_or(value, ratio);
            let verdict = match measured {
                Some(measured) if reach.is_met_by(measured) => Verdict::Met,
                Some(_) => Verdict::Missed,
                None => Verdict::NotMeasured,
            };
            Judged {
                reach,
                measured,
                verdict,
            }
        };
        Row {
            figure,
            subject,
            value,
            range: value.map(|_| {
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (low, high)
            }),
            ratios: peers.map(|peer| (peer, ratio(peer))).collect(),
            judged: marks.map(|mark| judge(mark.reach)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Outcome {
        let mut outcome = Outcome::default();
        for (round, (own, peer)) in [(9.0, 10.0), (18.0, 20.0), (8.0, 10.0)].iter().enumerate() {
            outcome.record(Figure::TripCpu, SANSBOX, round, *own);
            outcome.record(Figure::TripCpu, SING_BOX, round, *peer);
        }
        outcome
    }

    #[test]
    fn rows_hold_medians_paired_ratios_and_verdicts() {
        let rows = filled().rows(&[Group::Trip]);
        let own = rows.iter().find(|row| row.subject == SANSBOX).unwrap();
        assert_eq!(own.value, Some(9.0));
        assert_eq!(own.range, Some((8.0, 18.0)));
        assert_eq!(own.ratios, [(SING_BOX, Some(0.9)), (MICROSOCKS, None)]);
        let verdicts: Vec<Verdict> = own.judged.iter().map(|judged| judged.verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::NotMeasured]);
        let peer = rows.iter().find(|row| row.subject == SING_BOX).unwrap();
        assert_eq!(peer.ratios, [(MICROSOCKS, None)]);
    }

    #[test]
    fn a_marked_figure_without_values_is_still_a_row() {
        let rows = Outcome::default().rows(&[Group::Start, Group::Trip]);
        assert_eq!(rows.len(), 4);
        for row in rows {
            assert_eq!(row.value, None);
            assert!(
                row.judged
                    .iter()
                    .all(|judged| judged.verdict == Verdict::NotMeasured)
            );
        }
    }

    #[test]
    fn a_value_beyond_its_mark_is_missed() {
        let mut outcome = Outcome::default();
        outcome.record(Figure::StartReady, SANSBOX, 0, 5.1);
        let rows = outcome.rows(&[Group::Start]);
        assert_eq!(rows[0].judged[0].verdict, Verdict::Missed);
    }

    #[test]
    fn a_failed_round_leaves_a_gap() {
        let mut outcome = filled();
        outcome.record(Figure::TripCpu, MICROSOCKS, 2, 16.0);
        let rows = outcome.rows(&[Group::Trip]);
        assert_eq!(
            rows[0].ratios,
            [(SING_BOX, Some(0.9)), (MICROSOCKS, Some(0.5))]
        );
    }
}
