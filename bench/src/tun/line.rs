//! One figure of one subject, round by round.

use crate::figure::{Better, Reach};
use crate::outcome::Verdict;
use crate::stats;

/// A line of the report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// What is measured.
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// Of whom, or of how many.
    pub(super) subject: &'static str,
    /// A round that failed left nothing.
    pub(super) rounds: Vec<Option<f64>>,
    /// The median of what `reach` compares with, and the ratio to it.
    pub(super) against: Option<(f64, f64)>,
    /// What is to be reached.
    pub(super) reach: Option<Reach>,
}

impl Line {
    /// The median of the rounds.
    pub(super) fn value(&self) -> Option<f64> {
        median(&self.rounds)
    }

    /// Lowest and highest round.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let values = || self.rounds.iter().copied().flatten();
        let low = values().min_by(f64::total_cmp)?;
        Some((low, values().max_by(f64::total_cmp)?))
    }

    /// Compares with the rounds of another.
    pub(super) fn compare(&mut self, with: &[Option<f64>]) {
        self.against = median(with).zip(stats::ratio(&self.rounds, with));
    }

    /// Whether what is to be reached is.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let reach = self.reach?;
        let measured = match reach.peer() {
            Some(_) => self.against.map(|(_, ratio)| ratio),
            None => self.value(),
        };
        Some(match measured {
            Some(measured) if reach.is_met_by(measured) => Verdict::Met,
            Some(_) => Verdict::Missed,
            None => Verdict::NotMeasured,
        })
    }

    /// Where the mark lies on the scale of the values.
    pub(super) fn mark(&self) -> Option<f64> {
        match self.reach? {
            Reach::AtLeast(bound) | Reach::AtMost(bound) => Some(bound),
            Reach::TimesAtLeast(_, bound) | Reach::TimesAtMost(_, bound) => {
                self.against.map(|(value, _)| value * bound)
            }
        }
    }
}

fn median(rounds: &[Option<f64>]) -> Option<f64> {
    stats::median(&rounds.iter().copied().flatten().collect::<Vec<_>>())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn line(subject: &'static str, rounds: &[Option<f64>]) -> Line {
        Line {
            title: "Up x1",
            unit: "Gbit/core-s",
            better: Better::More,
            subject,
            rounds: rounds.to_vec(),
            against: None,
            reach: None,
        }
    }

    #[test]
    fn a_ratio_and_its_mark_are_of_the_rounds_that_both_have() {
        let mut own = line("sansbox", &[Some(8.0), None, Some(30.0)]);
        own.reach = Some(Reach::TimesAtLeast("peer", 1.6));
        assert_eq!(own.verdict(), Some(Verdict::NotMeasured));
        own.compare(&[Some(4.0), Some(5.0), Some(10.0)]);
        assert_eq!(own.against, Some((5.0, 2.5)));
        assert_eq!(own.verdict(), Some(Verdict::Met));
        assert_eq!(own.mark(), Some(8.0));
        assert_eq!((own.value(), own.range()), (Some(19.0), Some((8.0, 30.0))));
    }

    #[test]
    fn a_bound_is_judged_by_the_median() {
        let mut own = line("sansbox", &[Some(8.0), Some(9.0)]);
        own.reach = Some(Reach::AtMost(8.4));
        assert_eq!(
            (own.verdict(), own.mark()),
            (Some(Verdict::Missed), Some(8.4))
        );
        assert_eq!(line("peer", &[]).verdict(), None);
        assert_eq!(line("peer", &[None]).range(), None);
    }
}
