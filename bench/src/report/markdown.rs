//! `docs/benchmarks.md`.

use super::{Report, cell, marks, number, range, ratio, times, verdicts};
use crate::outcome::Verdict;
use crate::subject::{MICROSOCKS, SING_BOX};

/// What stands between these lines is written by people and kept.
const NOTES_BEGIN: &str = "<!-- notes -->";
const NOTES_END: &str = "<!-- /notes -->";

/// The page. `plot` is its path from the page's folder; `old` is the page it replaces.
pub(crate) fn render(report: &Report<'_>, plot: Option<&str>, old: &str) -> String {
    let mut page = String::from("# Benchmarks\n\n");
    page.push_str(&setting(report));
    if let Some(plot) = plot {
        page.push_str(&format!("\n![The figures as bars]({plot})\n"));
    }
    page.push_str(&figures(report));
    page.push_str(&lookups(report));
    page.push_str(&open_marks(report));
    page.push_str(&remarks(&report.outcome.notes));
    page.push_str(&notes(old));
    page
}

fn setting(report: &Report<'_>) -> String {
    let machine = report.machine;
    let mut text = format!(
        "```\n{}\n```\n\n- Date: {}\n- Machine: {}, {} cores, Linux {}, TCP congestion control \
         {}; load when it began {}; {}\n",
        report.command,
        machine.date,
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.congestion,
        machine.load,
        report.disturbance(),
    );
    for version in report.versions {
        text.push_str(&format!("- {version}\n"));
    }
    text.push_str(&format!(
        "\nEach value is the median of {} interleaved rounds (starts: 9, the file limit: 1) with \
         timed windows of {} s. A ratio is the median of the rounds' own ratios. Processor time is \
         the proxy's alone, user and system; the load generator, on the same cores, is not \
         counted, but it does bound what is reached per second. MB are 10^6 bytes. Logs of single \
         connections are off for all.\n",
        report.rounds, report.seconds
    ));
    text
}

fn figures(report: &Report<'_>) -> String {
    let mut text = String::from(
        "\n| figure | subject | median | rounds | / sing-box | / microsocks | reach | result |\n\
         |---|---|--:|--:|--:|--:|---|---|\n",
    );
    for row in report.rows() {
        let facts = row.figure.facts();
        let value = row
            .value
            .map_or_else(|| "-".into(), |v| format!("{} {}", number(v), facts.unit));
        text.push_str(&format!(
            "| {} | {} | {value} | {} | {} | {} | {} | {} |\n",
            facts.title,
            row.subject,
            range(&row),
            ratio(&row, SING_BOX),
            ratio(&row, MICROSOCKS),
            marks(&row.judged, facts.unit),
            verdicts(&row.judged),
        ));
    }
    text
}

fn lookups(report: &Report<'_>) -> String {
    if report.outcome.lookups.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n| router | subject | value | ratio | to | reach | result |\n|---|---|--:|--:|---|---|---|\n",
    );
    for lookup in &report.outcome.lookups {
        let (reach, result) = match lookup.judge() {
            Some((reach, verdict)) => (reach, verdict.text()),
            None => (String::new(), ""),
        };
        text.push_str(&format!(
            "| {} | {} | {} {} | {} | {} | {reach} | {result} |\n",
            cell(&lookup.figure),
            cell(&lookup.subject),
            number(lookup.value),
            cell(&lookup.unit),
            lookup.ratio.map_or_else(String::new, times),
            lookup.peer.as_deref().map_or_else(String::new, cell),
        ));
    }
    text
}

/// Failures and reservations, if there are any.
pub(crate) fn remarks(notes: &[String]) -> String {
    match notes {
        [] => String::new(),
        _ => {
            let items: Vec<String> = notes
                .iter()
                .map(|note| format!("- {}\n", cell(note)))
                .collect();
            format!("\n## Remarks of the run\n\n{}", items.concat())
        }
    }
}

/// What is missed and what could not be said.
fn open_marks(report: &Report<'_>) -> String {
    let (mut missed, mut unmeasured) = (Vec::new(), Vec::new());
    for row in report.rows() {
        let facts = row.figure.facts();
        for judged in &row.judged {
            let what = format!("{}, {}", facts.title, row.subject);
            let reach = judged.reach.text(facts.unit);
            match (judged.verdict, judged.measured) {
                (Verdict::Met, _) => {}
                (Verdict::Missed, Some(measured)) => {
                    let measured = match judged.reach.peer() {
                        Some(peer) => format!("{} {peer}", times(measured)),
                        None => format!("{} {}", number(measured), facts.unit),
                    };
                    missed.push(format!("{what}: {measured}, to reach {reach}"));
                }
                (Verdict::Missed | Verdict::NotMeasured, _) => {
                    unmeasured.push(format!("{what}: {reach}"));
                }
            }
        }
    }
    for lookup in &report.outcome.lookups {
        if let Some((reach, Verdict::Missed)) = lookup.judge() {
            let measured = lookup.ratio.map_or_else(|| number(lookup.value), times);
            let what = format!("{}, {}", lookup.figure, lookup.subject);
            missed.push(format!("{what}: {measured}, to reach {reach}"));
        }
    }
    format!(
        "{}{}",
        list("Missed marks", &missed),
        list("Marks not measured", &unmeasured)
    )
}

pub(crate) fn list(title: &str, items: &[String]) -> String {
    if items.is_empty() {
        return format!("\n{title}: none.\n");
    }
    let items: Vec<String> = items
        .iter()
        .map(|item| format!("- {}\n", cell(item)))
        .collect();
    format!("\n## {title}\n\n{}", items.concat())
}

/// The place for notes at the end of a page, with those of the page that it replaces.
pub(crate) fn notes(old: &str) -> String {
    let kept = notes_of(old).unwrap_or("\n");
    format!("\n{NOTES_BEGIN}{kept}{NOTES_END}\n")
}

fn notes_of(old: &str) -> Option<&str> {
    let (_, rest) = old.split_once(NOTES_BEGIN)?;
    rest.split_once(NOTES_END).map(|(notes, _)| notes)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn missed_and_unmeasured_marks_are_said_plainly() {
        let (outcome, machine) = (sample::outcome(), sample::machine());
        let page = render(
            &sample::report(&outcome, &machine),
            Some("benchmarks.svg"),
            "",
        );
        assert!(page.contains("![The figures as bars](benchmarks.svg)"));
        let (_, missed) = page.split_once("## Missed marks").unwrap();
        let (missed, unmeasured) = missed.split_once("## Marks not measured").unwrap();
        assert!(missed.contains("sansbox: 0.98x microsocks, to reach &lt;= 0.95x microsocks"));
        assert_eq!(missed.matches("\n- ").count(), 1, "{missed}");
        assert!(unmeasured.contains("New connection, CPU, sansbox"));
        assert!(page.contains("failed: &lt;gone>."));
    }

    #[test]
    fn handwritten_notes_survive() {
        let (outcome, machine) = (sample::outcome(), sample::machine());
        let report = sample::report(&outcome, &machine);
        let old = format!("old table\n{NOTES_BEGIN}\nWhy: cold caches.\n{NOTES_END}\n");
        let page = render(&report, None, &old);
        assert!(page.contains("Why: cold caches.") && !page.contains("old table"));
        assert_eq!(render(&report, None, &page), page);
    }
}
