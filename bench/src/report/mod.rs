//! Reports: a table for terminals, JSON lines, Markdown and a plot.

pub(crate) mod json;
pub(crate) mod markdown;
pub(crate) mod panels;
pub(crate) mod plot;
pub(crate) mod table;

use crate::args::Group;
use crate::machine::{Disturbance, Machine};
use crate::outcome::{Judged, Outcome, Row};

/// All that a report may say.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// The figures.
    pub(crate) outcome: &'a Outcome,
    /// The groups that were asked for.
    pub(crate) groups: &'a [Group],
    /// The machine and day.
    pub(crate) machine: &'a Machine,
    /// What other processes took meanwhile.
    pub(crate) disturbance: Disturbance,
    /// The versions of what ran.
    pub(crate) versions: &'a [String],
    /// The command that was run.
    pub(crate) command: &'a str,
    /// Interleaved rounds.
    pub(crate) rounds: u32,
    /// Length of a window.
    pub(crate) seconds: u64,
}

impl Report<'_> {
    /// In words, what other processes took while the run lasted.
    fn disturbance(&self) -> String {
        self.disturbance.text(self.machine.cores)
    }

    /// The rows of the relay figures.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.outcome.rows(self.groups)
    }
}

/// A value with as many digits as carry meaning here: three.
pub(crate) fn number(value: f64) -> String {
    if value >= 1000.0 {
        return thousands(value);
    }
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// Whole, with commas.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The ratio of a row to `peer`, or nothing.
fn ratio(row: &Row, peer: &str) -> String {
    let found = row.ratios.iter().find(|(name, _)| *name == peer);
    found
        .and_then(|(_, ratio)| *ratio)
        .map_or_else(String::new, times)
}

/// A ratio; small ones keep their digits.
pub(crate) fn times(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.3}x")
    } else {
        format!("{ratio:.2}x")
    }
}

/// The lowest and highest round, unless they say the same.
fn range(row: &Row) -> String {
    let Some((low, high)) = row.range else {
        return String::new();
    };
    let (low, high) = (number(low), number(high));
    if low == high {
        String::new()
    } else {
        format!("{low} - {high}")
    }
}

/// Text that may stand in a table or a list.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('\n', " ")
}

/// The marks of a row in words, without their verdicts.
fn marks(judged: &[Judged], unit: &str) -> String {
    let texts: Vec<String> = judged
        .iter()
        .map(|judged| judged.reach.text(unit))
        .collect();
    texts.join("; ")
}

/// The verdicts of a row's marks, in the order of [`marks`].
fn verdicts(judged: &[Judged]) -> String {
    let texts: Vec<&str> = judged.iter().map(|judged| judged.verdict.text()).collect();
    texts.join("; ")
}

#[cfg(test)]
pub(crate) mod sample {
    //! A small outcome for the tests of the reports.

    use super::*;
    use crate::figure::Figure;
    use crate::subject::{MICROSOCKS, SANSBOX, SING_BOX};

    /// sansbox misses its mark on trips against microsocks and reaches the one on connections.
    pub(crate) fn outcome() -> Outcome {
        let mut outcome = Outcome::default();
        for (figure, values) in [
            (Figure::TripCpu, [13.0, 16.0, 13.2]),
            (Figure::ConnRate, [21_000.0, 6_800.0, 10_700.0]),
        ] {
            for (subject, value) in [SANSBOX, SING_BOX, MICROSOCKS].into_iter().zip(values) {
                outcome.record(figure, subject, 0, value);
            }
        }
        outcome
            .notes
            .push("Conn, round 2, sing-box: failed: <gone>.".into());
        outcome
    }

    /// A machine.
    pub(crate) fn machine() -> Machine {
        Machine {
            processor: "A | B".into(),
            cores: 2,
            kernel: "6.18".into(),
            congestion: "bbr".into(),
            load: "0.10 0.20 0.30".into(),
            date: "2026-11-08".into(),
        }
    }

    /// A report of the two groups in [`outcome`].
    pub(crate) fn report<'a>(outcome: &'a Outcome, machine: &'a Machine) -> Report<'a> {
        Report {
            outcome,
            groups: &[Group::Trip, Group::Conn],
            machine,
            disturbance: Disturbance {
                others: 0.25,
                stolen: 0.0,
            },
            versions: &[],
            command: "sansbox-bench relay",
            rounds: 1,
            seconds: 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_commas() {
        let cases = [
            (0.1234, "0.12"),
            (9.876, "9.88"),
            (31.24, "31.2"),
            (137.4, "137"),
            (9_900.0, "9,900"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(times(0.0123), "0.012x");
        assert_eq!(times(2.5), "2.50x");
    }
}
