//! The plot: small bar charts, one per figure, as SVG that follows the reader's colour scheme.

use std::fmt::Write;

use super::{Report, marks, number};
use crate::figure::{Better, Figure, Reach};
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

const COLUMNS: usize = 2;
const PANEL_WIDTH: f64 = 430.0;
const GUTTER: f64 = 36.0;
const MARGIN: f64 = 28.0;
const HEADING_HEIGHT: f64 = 64.0;
const TITLE_HEIGHT: f64 = 42.0;
const BAR_PITCH: f64 = 24.0;
const BAR_HEIGHT: f64 = 16.0;
const PANEL_GAP: f64 = 26.0;
/// Left of the bars, for the subjects' names.
const NAME_WIDTH: f64 = 126.0;
/// Right of the longest bar, for its value.
const VALUE_WIDTH: f64 = 56.0;
const BAR_WIDTH_MAX: f64 = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH;

const STYLE: &str = "\
text { font-family: system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2933; }
.page { fill: #ffffff; }
.heading { font-size: 18px; font-weight: 600; }
.title { font-size: 14px; font-weight: 600; }
.faint { font-size: 11.5px; fill: #66727f; }
.name { font-size: 12px; text-anchor: end; }
.value { font-size: 12px; font-variant-numeric: tabular-nums; stroke: #ffffff; stroke-width: 4px; paint-order: stroke; stroke-linejoin: round; }
.own { fill: #1d6fd6; }
.variant { fill: #7fb0ec; }
.peer { fill: #b4bcc6; }
.mark { stroke: #c2410c; stroke-width: 1.5; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
text { fill: #e4e8ec; }
.page { fill: #12161b; }
.faint { fill: #97a3af; }
.value { stroke: #12161b; }
.own { fill: #4c9bff; }
.variant { fill: #2f5f9e; }
.peer { fill: #56616d; }
.mark { stroke: #fb923c; }
}
";

/// The picture.
pub(crate) fn render(report: &Report<'_>) -> String {
    let rows = report.rows();
    let panels: Vec<(Figure, Vec<&Row>)> = PANELS
        .iter()
        .map(|&figure| {
            let measured = |row: &&Row| row.figure == figure && row.value.is_some();
            (figure, rows.iter().filter(measured).collect::<Vec<_>>())
        })
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let mut body = String::new();
    let mut top = MARGIN + HEADING_HEIGHT;
    for line in panels.chunks(COLUMNS) {
        let mut left = MARGIN;
        let mut height: f64 = 0.0;
        for (figure, bars) in line {
            body.push_str(&panel(*figure, bars, left, top));
            height = height.max(panel_height(bars.len()));
            left += PANEL_WIDTH + GUTTER;
        }
        top += height + PANEL_GAP;
    }
    let width = 2.0 * MARGIN + 2.0 * PANEL_WIDTH + GUTTER;
    let height = top - PANEL_GAP + MARGIN;
    let machine = report.machine;
    let subtitle = escape(&format!(
        "{}, {} cores, Linux {}, {}. Medians; processor time of the proxy only.",
        machine.processor, machine.cores, machine.kernel, machine.date
    ));
    let (x, heading, faint) = (MARGIN, MARGIN + 16.0, MARGIN + 37.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n\
         <title>sansbox beside other proxies</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n\
         <text class=\"heading\" x=\"{x}\" y=\"{heading}\">sansbox beside other proxies</text>\n\
         <text class=\"faint\" x=\"{x}\" y=\"{faint}\">{subtitle} Dashed: the mark to reach.</text>\n\
         {body}</svg>\n"
    )
}

#[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
fn panel_height(bars: usize) -> f64 {
    TITLE_HEIGHT + bars as f64 * BAR_PITCH
}

fn panel(figure: Figure, bars: &[&Row], left: f64, top: f64) -> String {
    let facts = figure.facts();
    let better = match facts.better {
        Better::More => "more is better",
        Better::Less => "less is better",
    };
    let marked = bars
        .iter()
        .find_map(|row| mark_of(row, bars).map(|mark| (row, mark)));
    let mark = marked.map(|(_, mark)| mark);
    let reach = marked.map_or_else(String::new, |(row, _)| {
        format!("; to reach: {}", marks(&row.judged, facts.unit))
    });
    let values = bars.iter().filter_map(|row| row.value);
    let longest = values.chain(mark).fold(f64::MIN_POSITIVE, f64::max);
    let length = |value: f64| value / longest * BAR_WIDTH_MAX;
    let axis = left + NAME_WIDTH;
    let mut text = format!(
        "<g>\n<text class=\"title\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>\n\
         <text class=\"faint\" x=\"{left:.1}\" y=\"{:.1}\">{}, {better}{}</text>\n",
        top + 12.0,
        escape(facts.title),
        top + 29.0,
        escape(facts.unit),
        escape(&reach),
    );
    // The values come last: their halo keeps them readable where the mark crosses them.
    let mut labels = String::new();
    let mut y = top + TITLE_HEIGHT;
    for row in bars {
        let value = row.value.unwrap_or(0.0);
        let width = length(value).max(1.0);
        let class = class(row.subject);
        let base = y + BAR_HEIGHT - 4.0;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{axis:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{BAR_HEIGHT}\" rx=\"2\"/>"
        );
        let _ = writeln!(
            labels,
            "<text class=\"name\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>\n\
             <text class=\"value\" x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            axis - 8.0,
            escape(row.subject),
            axis + width + 6.0,
            number(value),
        );
        y += BAR_PITCH;
    }
    if let Some(mark) = mark {
        let x = axis + length(mark);
        let (from, to) = (top + TITLE_HEIGHT - 4.0, y - (BAR_PITCH - BAR_HEIGHT) + 4.0);
        let _ = writeln!(
            text,
            "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\"/>"
        );
    }
    text + &labels + "</g>\n"
}

/// The colour of a subject's bars.
fn class(subject: &str) -> &'static str {
    match subject {
        SANSBOX => "own",
        SANSBOX_SYSTEM_CC | SANSBOX_AUTH | SANSBOX_SMOL | SANSBOX_EPOLL => "variant",
        _ => "peer",
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
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
