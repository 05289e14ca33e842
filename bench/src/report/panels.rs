//! Small bar charts below a heading, as SVG that follows the reader's colour scheme.

use std::fmt::Write;

use super::number;
use crate::figure::Better;
use crate::machine::Machine;

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

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: f64,
    pub(crate) kind: Kind,
}

/// Whose a bar is, which gives it its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of the subject that marks are about.
    Own,
    /// Of a variant of it.
    Variant,
    /// Of another program.
    Peer,
}

impl Kind {
    const fn class(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Variant => "variant",
            Self::Peer => "peer",
        }
    }
}

/// One chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) better: Better,
    /// What is to be reached, in words; may be empty.
    pub(crate) reach: String,
    /// Where that lies on the scale of the bars.
    pub(crate) mark: Option<f64>,
    /// At least one.
    pub(crate) bars: Vec<Bar<'a>>,
}

/// The picture.
pub(crate) fn draw(heading: &str, machine: &Machine, note: &str, panels: &[Panel<'_>]) -> String {
    let mut body = String::new();
    let mut top = MARGIN + HEADING_HEIGHT;
    for line in panels.chunks(COLUMNS) {
        let mut left = MARGIN;
        let mut height: f64 = 0.0;
        for panel in line {
            body.push_str(&panel.draw(left, top));
            height = height.max(panel.height());
            left += PANEL_WIDTH + GUTTER;
        }
        top += height + PANEL_GAP;
    }
    let width = 2.0 * MARGIN + 2.0 * PANEL_WIDTH + GUTTER;
    let height = top - PANEL_GAP + MARGIN;
    let heading = escape(heading);
    let subtitle = escape(&format!(
        "{}, {} cores, Linux {}, {}. {note}",
        machine.processor, machine.cores, machine.kernel, machine.date
    ));
    let (x, heading_y, faint) = (MARGIN, MARGIN + 16.0, MARGIN + 37.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n\
         <title>{heading}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n\
         <text class=\"heading\" x=\"{x}\" y=\"{heading_y}\">{heading}</text>\n\
         <text class=\"faint\" x=\"{x}\" y=\"{faint}\">{subtitle} Dashed: the mark to reach.</text>\n\
         {body}</svg>\n"
    )
}

impl Panel<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    fn height(&self) -> f64 {
        TITLE_HEIGHT + self.bars.len() as f64 * BAR_PITCH
    }

    fn draw(&self, left: f64, top: f64) -> String {
        let better = match self.better {
            Better::More => "more is better",
            Better::Less => "less is better",
        };
        let reach = match self.reach.as_str() {
            "" => String::new(),
            reach => format!("; to reach: {reach}"),
        };
        let values = self.bars.iter().map(|bar| bar.value);
        let longest = values.chain(self.mark).fold(f64::MIN_POSITIVE, f64::max);
        let length = |value: f64| value / longest * BAR_WIDTH_MAX;
        let axis = left + NAME_WIDTH;
        let mut text = format!(
            "<g>\n<text class=\"title\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>\n\
             <text class=\"faint\" x=\"{left:.1}\" y=\"{:.1}\">{}, {better}{}</text>\n",
            top + 12.0,
            escape(self.title),
            top + 29.0,
            escape(self.unit),
            escape(&reach),
        );
        // The values come last: their halo keeps them readable where the mark crosses them.
        let mut labels = String::new();
        let mut y = top + TITLE_HEIGHT;
        for bar in &self.bars {
            let width = length(bar.value).max(1.0);
            let class = bar.kind.class();
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
                escape(bar.name),
                axis + width + 6.0,
                number(bar.value),
            );
            y += BAR_PITCH;
        }
        if let Some(mark) = self.mark {
            let x = axis + length(mark);
            let (from, to) = (top + TITLE_HEIGHT - 4.0, y - (BAR_PITCH - BAR_HEIGHT) + 4.0);
            let _ = writeln!(
                text,
                "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\"/>"
            );
        }
        text + &labels + "</g>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
