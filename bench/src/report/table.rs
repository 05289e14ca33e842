//! The table for a terminal.

use super::{Report, marks, number, range, ratio, times, verdicts};
use crate::router::Lookup;
use crate::subject::{MICROSOCKS, SING_BOX};

const HEADER: [&str; 9] = [
    "figure",
    "subject",
    "median",
    "unit",
    "rounds",
    "/sing-box",
    "/microsocks",
    "reach",
    "result",
];

/// Columns that hold numbers are flush right.
const RIGHT: [bool; 9] = [false, false, true, false, true, true, true, false, false];

/// The table, the router's figures and the notes.
pub(crate) fn render(report: &Report<'_>) -> String {
    let mut lines = vec![HEADER.map(String::from)];
    for row in report.rows() {
        let facts = row.figure.facts();
        lines.push([
            facts.id.into(),
            row.subject.into(),
            row.value.map_or_else(|| "-".into(), number),
            facts.unit.into(),
            range(&row),
            ratio(&row, SING_BOX),
            ratio(&row, MICROSOCKS),
            marks(&row.judged, facts.unit),
            verdicts(&row.judged),
        ]);
    }
    let mut text = if lines.len() > 1 {
        align(&lines, RIGHT)
    } else {
        String::new()
    };
    if !report.outcome.lookups.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&lookups(&report.outcome.lookups));
    }
    text.push_str(&format!("note: {}.\n", report.disturbance()));
    for note in &report.outcome.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// The router's figures, which compare list sizes and not programs.
fn lookups(lookups: &[Lookup]) -> String {
    let mut lines =
        vec![["router", "value", "unit", "ratio", "to", "reach", "result"].map(String::from)];
    for lookup in lookups {
        let (reach, result) = match lookup.judge() {
            Some((reach, verdict)) => (reach, verdict.text()),
            None => (String::new(), ""),
        };
        lines.push([
            lookup.figure.clone(),
            number(lookup.value),
            lookup.unit.clone(),
            lookup.ratio.map_or_else(String::new, times),
            lookup.peer.clone().unwrap_or_default(),
            reach,
            result.into(),
        ]);
    }
    align(&lines, [false, true, false, true, false, false, false])
}

/// Columns of equal width below each other.
pub(crate) fn align<const N: usize>(lines: &[[String; N]], flush_right: [bool; N]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for ((cell, width), right) in line.iter().zip(widths).zip(flush_right) {
            let cell = if right {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            };
            row.push_str(&cell);
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn columns_align_and_results_stand_beside_their_marks() {
        let (outcome, machine) = (sample::outcome(), sample::machine());
        let text = render(&sample::report(&outcome, &machine));
        let lines: Vec<&str> = text.lines().collect();
        let column = lines[0].find("reach").unwrap();
        assert_eq!(
            lines[1].find("<= 0.90x sing-box; <= 0.95x microsocks"),
            Some(column)
        );
        assert!(lines[1].ends_with("met; MISSED"), "{}", lines[1]);
        assert!(text.contains("21,000"));
        assert!(text.ends_with("note: Conn, round 2, sing-box: failed: <gone>.\n"));
    }
}
