//! What was measured: a table, JSON lines and `docs/benchmarks-simulator.md`.

use serde_json::{Value, json};

use super::figures::Figure;
use super::peers::NAMES;
use crate::machine::{Disturbance, Machine};
use crate::report::{cell, number};
use crate::stats;
use crate::subject::SANSBOX;

/// One figure of one subject.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) figure: &'static Figure,
    pub(super) subject: &'static str,
    /// A value for each round, unless it failed.
    pub(super) rounds: Vec<Option<f64>>,
}

impl Measured {
    /// Without any round yet.
    pub(super) fn new(figure: &'static Figure, subject: &'static str) -> Self {
        Self {
            figure,
            subject,
            rounds: Vec::new(),
        }
    }

    fn median(&self) -> Option<f64> {
        stats::median(&self.rounds.iter().flatten().copied().collect::<Vec<_>>())
    }

    /// The lowest and the highest round.
    fn range(&self) -> String {
        let values = || self.rounds.iter().flatten().copied();
        let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else {
            return String::new();
        };
        format!("{} - {}", number(low), number(high))
    }

    /// Only ours has a goal.
    fn verdict(&self) -> Option<&'static str> {
        let median = self.median()?;
        (self.subject == SANSBOX).then_some(if median >= self.figure.goal {
            "met"
        } else {
            "MISSED"
        })
    }

    /// Ours as a multiple of the peer's, from the rounds in which both ran.
    fn ratio(&self, peer: &str, all: &[Self]) -> Option<f64> {
        if self.subject != SANSBOX {
            return None;
        }
        let peer = all
            .iter()
            .find(|other| other.figure.id == self.figure.id && other.subject == peer)?;
        stats::ratio(&self.rounds, &peer.rounds)
    }
}

/// All that the page says.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) measured: &'a [Measured],
    pub(super) machine: &'a Machine,
    pub(super) disturbance: Disturbance,
    /// Of the peers.
    pub(super) versions: Vec<String>,
    pub(super) command: &'a str,
    pub(super) rounds: u32,
    pub(super) remarks: &'a [String],
}

/// How many times as much.
fn multiple(ratio: f64) -> String {
    format!("{}x", number(ratio))
}

/// One line for each figure of each subject.
pub(super) fn table(all: &[Measured]) -> String {
    let mut text = String::new();
    for one in all {
        let Figure {
            name, unit, goal, ..
        } = one.figure;
        let value = one.median().map_or_else(|| "failed".into(), number);
        text.push_str(&format!(
            "{name:<38} {:<8} {value:>12} {unit:<12}",
            one.subject
        ));
        if let Some(verdict) = one.verdict() {
            text.push_str(&format!(" goal {:>9} {verdict}", number(*goal)));
        }
        for peer in NAMES {
            if let Some(ratio) = one.ratio(peer, all) {
                text.push_str(&format!(", {} {peer}", multiple(ratio)));
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// One object for each figure of each subject, and for each peer it is compared with.
pub(super) fn json(all: &[Measured]) -> Vec<Value> {
    let mut objects = Vec::new();
    for one in all {
        let mut compared: Vec<(Option<f64>, Option<&str>)> = Vec::new();
        for peer in NAMES {
            if let Some(ratio) = one.ratio(peer, all) {
                compared.push((Some(ratio), Some(peer)));
            }
        }
        if compared.is_empty() {
            compared.push((None, None));
        }
        for (ratio, peer) in compared {
            objects.push(json!({
                "bench": "sim",
                "figure": one.figure.id,
                "subject": one.subject,
                "value": one.median(),
                "unit": one.figure.unit,
                "ratio": ratio,
                "peer": peer,
            }));
        }
    }
    objects
}

/// The page.
pub(super) fn markdown(page: &Page<'_>) -> String {
    let mut text = setting(page);
    text.push_str("\n| figure | subject | median | rounds |");
    for peer in NAMES {
        text.push_str(&format!(" / {peer} |"));
    }
    text.push_str(" goal | result |\n|---|---|--:|--:|--:|--:|---|---|\n");
    for one in page.measured {
        text.push_str(&row(one, page.measured));
    }
    if !page.remarks.is_empty() {
        text.push_str("\n## Remarks of the run\n\n");
        for remark in page.remarks {
            text.push_str(&format!("- {}\n", cell(remark)));
        }
    }
    text
}

fn setting(page: &Page<'_>) -> String {
    let machine = page.machine;
    let mut text = format!(
        "# Benchmarks of the simulator\n\n```\n{}\n```\n\n- Date: {}\n- Machine: {}, {} cores, \
         Linux {}; load when it began {}; {}\n",
        page.command,
        machine.date,
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.load,
        page.disturbance.text(machine.cores),
    );
    for version in &page.versions {
        text.push_str(&format!("- {version}\n"));
    }
    text.push_str(&format!(
        "\nEach value is per second of the processor time of the one thread that simulates, so \
         that a busy machine counts little, and the median of {} interleaved rounds; a ratio is \
         the median of the rounds' own ratios. An echo pair is two hosts: one sends a UDP packet \
         of eight octets at every period of virtual time, the other sends it back, two \
         milliseconds each way.\n",
        page.rounds
    ));
    if !page.versions.is_empty() {
        text.push_str(
            "\nThe peers are built with the same profile and run the same pair, until every \
             packet has come back, for fewer virtual seconds where they are slower. turmoil keeps \
             its default tick of a millisecond, each of which costs whether anything happens or \
             not. madsim adds up to five microseconds to every send, which cannot be turned off. \
             Their programs are in `bench/sim-peers`.\n",
        );
    }
    text
}

fn row(one: &Measured, all: &[Measured]) -> String {
    let Figure {
        name, unit, goal, ..
    } = one.figure;
    let value = one.median().map_or_else(
        || "failed".into(),
        |value| format!("{} {unit}", number(value)),
    );
    let mut text = format!("| {name} | {} | {value} | {} |", one.subject, one.range());
    for peer in NAMES {
        let ratio = one.ratio(peer, all).map(multiple).unwrap_or_default();
        text.push_str(&format!(" {ratio} |"));
    }
    let reach = match one.verdict() {
        Some(verdict) => format!(" >= {} | {verdict} |\n", number(*goal)),
        None => "  |  |\n".into(),
    };
    text + &reach
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::figures::FIGURES;
    use crate::sim::peers::{MADSIM, TURMOIL};

    /// The first figure is reached beside two peers, one of which failed once; the second is
    /// missed, alone.
    fn sample() -> Vec<Measured> {
        let of = |figure: usize, subject, rounds: [Option<f64>; 3]| Measured {
            figure: &FIGURES[figure],
            subject,
            rounds: rounds.to_vec(),
        };
        vec![
            of(0, SANSBOX, [Some(2e6), Some(1e6), Some(4e6)]),
            of(0, TURMOIL, [Some(200.0), Some(50.0), Some(100.0)]),
            of(0, MADSIM, [None, Some(1e5), Some(2e5)]),
            of(1, SANSBOX, [Some(19_999.0); 3]),
            of(1, MADSIM, [None; 3]),
        ]
    }

    #[test]
    fn objects_carry_ratios_of_the_rounds() {
        let objects = json(&sample());
        assert_eq!(objects.len(), 6);
        assert_eq!(objects[0]["peer"], TURMOIL);
        assert_eq!(objects[0]["ratio"], 20_000.0);
        assert_eq!(objects[0]["value"], 2e6);
        assert_eq!(objects[1]["peer"], MADSIM);
        assert_eq!(objects[1]["ratio"], 15.0);
        assert_eq!(objects[3]["subject"], MADSIM);
        assert_eq!(objects[3]["value"], 1.5e5);
        assert!(objects[3]["ratio"].is_null());
        assert!(objects[4]["peer"].is_null() && objects[5]["value"].is_null());
        for object in objects {
            assert_eq!(object["bench"], "sim");
            assert_eq!(object["unit"], "virtual s/s");
        }
    }

    #[test]
    fn the_page_says_what_was_met_missed_and_failed() {
        let page = markdown(&Page {
            measured: &sample(),
            machine: &crate::report::sample::machine(),
            disturbance: Disturbance {
                others: 0.5,
                stolen: 0.0,
            },
            versions: vec!["madsim 0.2".into()],
            command: "bench sim",
            rounds: 3,
            remarks: &["<gone>".into()],
        });
        for text in [
            "```\nbench sim\n```",
            "2026-11-08",
            "| sansbox | 2,000,000 virtual s/s | 1,000,000 - 4,000,000 | 20,000x | 15.0x | \
             >= 1,000,000 | met |",
            "| >= 20,000 | MISSED |",
            "| madsim | failed |  |  |  |  |  |",
            "- madsim 0.2\n",
            "- &lt;gone>\n",
        ] {
            assert!(page.contains(text), "{text:?} in {page}");
        }
        let columns = |line: &&str| line.starts_with('|');
        for line in page.lines().filter(columns) {
            assert_eq!(line.matches('|').count(), 9, "{line}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_and_no_goal_for_peers() {
        let table = table(&sample());
        assert_eq!(table.lines().count(), 5);
        let goals = |line: &&str| line.contains("goal");
        assert_eq!(table.lines().filter(goals).count(), 2, "{table}");
        assert!(
            table.contains("met, 20,000x turmoil, 15.0x madsim\n"),
            "{table}"
        );
    }
}
