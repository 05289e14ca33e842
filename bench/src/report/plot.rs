//! The plot of the relay bench: a chart per figure.

use super::panels::{self, Bar, Kind, Panel};
use super::{Report, marks};
use crate::figure::{Figure, Reach};
use crate::outcome::Row;
use crate::subject::{SANSBOX, SANSBOX_AUTH, SANSBOX_EPOLL, SANSBOX_SMOL, SANSBOX_SYSTEM_CC};

/// The figures that are drawn.
const PANELS: [Figure; 14] = [
    Figure::BulkUp,
    Figure::BulkDown,
    Figure::TripCpu,
    Figure::ConnRate,
    Figure::ConnCpu,
    Figure::TripInstructions,
    Figure::ConnInstructions,
    Figure::TripCalls,
    Figure::ConnCalls,
    Figure::IdleRss,
    Figure::IdleLimit,
    Figure::StartReady,
    Figure::StartRss,
    Figure::BinarySize,
];

/// The picture.
pub(crate) fn render(report: &Report<'_>) -> String {
    let rows = report.rows();
    let charts: Vec<Panel<'_>> = PANELS
        .iter()
        .filter_map(|&figure| {
            let measured = |row: &&Row| row.figure == figure && row.value.is_some();
            panel(figure, &rows.iter().filter(measured).collect::<Vec<_>>())
        })
        .collect();
    panels::draw(
        "sansbox beside other proxies",
        report.machine,
        "Medians; processor time of the proxy only.",
        &charts,
    )
}

/// The chart of a figure, unless there is nothing to draw.
fn panel(figure: Figure, rows: &[&Row]) -> Option<Panel<'static>> {
    if rows.is_empty() {
        return None;
    }
    let facts = figure.facts();
    let marked = rows
        .iter()
        .find_map(|row| mark_of(row, rows).map(|mark| (row, mark)));
    let bars = rows.iter().map(|row| Bar {
        name: row.subject,
        value: row.value.unwrap_or(0.0),
        kind: kind(row.subject),
    });
    Some(Panel {
        title: facts.title,
        unit: facts.unit,
        better: facts.better,
        reach: marked.map_or_else(String::new, |(row, _)| marks(&row.judged, facts.unit)),
        mark: marked.map(|(_, mark)| mark),
        bars: bars.collect(),
    })
}

/// The colour of a subject's bars.
fn kind(subject: &str) -> Kind {
    match subject {
        SANSBOX => Kind::Own,
        SANSBOX_SYSTEM_CC | SANSBOX_AUTH | SANSBOX_SMOL | SANSBOX_EPOLL => Kind::Variant,
        _ => Kind::Peer,
    }
}

/// Where the first mark of a row lies on the figure's own scale. That of the variant with the
/// system's congestion controller is left to the table: two lines in a panel cannot be told apart.
fn mark_of(row: &Row, bars: &[&Row]) -> Option<f64> {
    if row.subject == SANSBOX_SYSTEM_CC {
        return None;
    }
    let reach = row.judged.first()?.reach;
    match reach {
        Reach::AtLeast(bound) | Reach::AtMost(bound) => Some(bound),
        Reach::TimesAtLeast(peer, bound) | Reach::TimesAtMost(peer, bound) => {
            let peer = bars.iter().find(|row| row.subject == peer)?;
            peer.value.map(|value| value * bound)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn panels_have_a_bar_per_subject_and_their_mark() {
        let (outcome, mut machine) = (sample::outcome(), sample::machine());
        machine.processor = "A & <B>".into();
        let picture = render(&sample::report(&outcome, &machine));
        assert_eq!(picture.matches("<g>").count(), 2);
        assert_eq!(picture.matches("height=\"16\"").count(), 6);
        assert_eq!(picture.matches("<line class=\"mark\"").count(), 2);
        assert!(picture.contains("A &amp; &lt;B&gt;"));
        assert!(picture.contains("prefers-color-scheme: dark"));
        for tag in ["g", "text", "style", "title"] {
            let opened = picture.matches(&format!("<{tag}>")).count()
                + picture.matches(&format!("<{tag} ")).count();
            assert_eq!(
                opened,
                picture.matches(&format!("</{tag}>")).count(),
                "{tag}"
            );
        }
    }

    #[test]
    fn a_ratio_mark_lies_at_its_multiple_of_the_peer() {
        let (outcome, machine) = (sample::outcome(), sample::machine());
        let rows = sample::report(&outcome, &machine).rows();
        let bars: Vec<&Row> = rows
            .iter()
            .filter(|row| row.figure == Figure::ConnRate)
            .collect();
        assert_eq!(mark_of(bars[0], &bars), Some(3.0 * 6_800.0));
        assert_eq!(mark_of(bars[1], &bars), None);
    }
}
