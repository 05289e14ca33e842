//! A sequence chart of two hosts as an SVG: for documents, where a timeline to click in is too
//! much. Equal things in a row are one row; what it shows is rounded, so that it changes when
//! what happens does.
use super::{Story, packets};
use crate::transcript::{Carries, Tag};
use core::{
    fmt::{self, Write as _},
    time::Duration,
};
use sansbox_core::Instant;

/// Pixels between two rows.
const ROW: usize = 22;
/// Pixels of one chart, and where its lanes stand.
const WIDTH: usize = 560;
const LEFT: usize = 78;
const RIGHT: usize = 530;
/// Pixels above the first row.
const TOP: usize = 74;
/// Rows that are shown.
const ROWS_MAX: usize = 40;
/// Characters of a note, and of the line below the title.
const NOTE_LEN_MAX: usize = 74;
const VERDICT_LEN_MAX: usize = 90;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600;\
font-size:14px}.s{fill:#666;font-size:11px}.l{stroke:#999}.u{stroke:#2563a8;fill:none}\
.d{stroke:#7a3fa0;fill:none}.x{stroke:#c0262d;stroke-dasharray:5 4;fill:none}.n{fill:#8a4b00}\
.e{fill:#c0262d}.b{fill:#fff}";

/// One chart.
pub struct Chart<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// How it ended, in a line.
    pub verdict: &'a str,
    /// The host on the left.
    pub left: &'a str,
    /// The host on the right.
    pub right: &'a str,
    /// The run.
    pub story: Story<'a>,
    /// What a datagram is called; `true`: it comes from the left.
    pub label: &'a dyn Fn(bool, &[u8]) -> String,
}

impl fmt::Debug for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chart")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Packet {
        is_right: bool,
        is_lost: bool,
    },
    /// On the left lane, or the right one.
    Note {
        is_left: bool,
    },
}

#[derive(Debug)]
struct Row {
    at: Instant,
    what: What,
    text: String,
    times: usize,
}

/// Charts beside each other, as one picture.
#[must_use]
pub fn sequence(charts: &[Chart<'_>]) -> String {
    let all: Vec<Vec<Row>> = charts.iter().map(rows).collect();
    let longest = all
        .iter()
        .map(Vec::len)
        .max()
        .unwrap_or(0)
        .min(ROWS_MAX + 1);
    let (width, height) = (WIDTH * charts.len(), TOP + ROW * longest + 24);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\"><style>{STYLE}</style>\
         <rect class=\"b\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    for (nth, (chart, rows)) in charts.iter().zip(&all).enumerate() {
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", nth * WIDTH);
        draw(&mut out, chart, rows, height);
        out += "</g>\n";
    }
    out + "</svg>\n"
}

fn rows(chart: &Chart<'_>) -> Vec<Row> {
    let entries = chart.story.entries;
    // What is said when all are done tells nothing.
    let end = entries.iter().rposition(|entry| entry.tag == Tag::Finished);
    let end = end.unwrap_or(entries.len());
    let mut all: Vec<(usize, Row)> = Vec::new();
    for packet in packets::gather(entries) {
        // One that appeared on the way is shown where it arrived.
        let Some(index) = packet.sent.or(packet.arrived) else {
            continue;
        };
        let is_udp = packet
            .head(entries)
            .is_some_and(|head| head.carries == Carries::Udp);
        let Some(entry) = entries.get(index).filter(|_| is_udp) else {
            continue;
        };
        let is_left = chart.story.place(entry.place) == chart.left;
        let is_right = is_left == packet.sent.is_some();
        let text = (chart.label)(is_right, packet.payload(entries));
        let is_lost = packet.lost.is_some();
        let what = What::Packet { is_right, is_lost };
        all.push((index, row(entry.at, what, text)));
    }
    for (index, entry) in entries.iter().enumerate() {
        let is_told = matches!(
            entry.tag,
            Tag::Action | Tag::Input | Tag::Finished | Tag::Fault
        );
        if is_told {
            let text = String::from_utf8_lossy(&entry.bytes).into_owned();
            let is_left = chart.story.place(entry.place) != chart.right;
            all.push((index, row(entry.at, What::Note { is_left }, text)));
        }
    }
    all.retain(|(index, _)| *index <= end);
    all.sort_by_key(|(index, _)| *index);
    let mut rows: Vec<Row> = Vec::new();
    for (_, row) in all {
        // What goes both ways in turns is shown as two rows, not as many.
        let near = rows.iter_mut().rev().take(2);
        let mut same = near.filter(|last| last.what == row.what && last.text == row.text);
        match same.next() {
            Some(last) => last.times += 1,
            None => rows.push(row),
        }
    }
    rows
}

const fn row(at: Instant, what: What, text: String) -> Row {
    Row {
        at,
        what,
        text,
        times: 1,
    }
}

fn draw(out: &mut String, chart: &Chart<'_>, rows: &[Row], height: usize) {
    let text = |class: &str, x: usize, y: usize, anchor: &str, text: &str| {
        let text = escaped(text);
        format!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>\n"
        )
    };
    *out += &text("t", 12, 22, "start", chart.title);
    *out += &text("s", 12, 40, "start", &cut(chart.verdict, VERDICT_LEN_MAX));
    for (x, name) in [(LEFT, chart.left), (RIGHT, chart.right)] {
        let anchor = if x == LEFT { "start" } else { "end" };
        *out += &text("s", x, 60, anchor, name);
        let _ = writeln!(
            out,
            "<line class=\"l\" x1=\"{x}\" y1=\"64\" x2=\"{x}\" y2=\"{}\"/>",
            height - 12
        );
    }
    let (mut y, mut shown) = (TOP, String::new());
    for row in rows.iter().take(ROWS_MAX) {
        y += ROW;
        let time = rounded(row.at);
        if time != shown {
            *out += &text("s", LEFT - 8, y + 4, "end", &time);
            shown = time;
        }
        let times = match row.times {
            1 => String::new(),
            n => format!(" (×{n})"),
        };
        let said = format!("{}{times}", cut(&row.text, NOTE_LEN_MAX));
        match &row.what {
            What::Packet { is_right, is_lost } => {
                *out += &arrow(*is_right, *is_lost, y);
                *out += &text("s", usize::midpoint(LEFT, RIGHT), y - 4, "middle", &said);
            }
            What::Note { is_left: true } => *out += &text("n", LEFT + 8, y + 4, "start", &said),
            What::Note { is_left: false } => *out += &text("n", RIGHT - 8, y + 4, "end", &said),
        }
    }
    if let Some(more) = rows.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
        let said = format!("and {more} more rows");
        *out += &text("s", usize::midpoint(LEFT, RIGHT), y + ROW, "middle", &said);
    }
}

fn arrow(is_right: bool, is_lost: bool, y: usize) -> String {
    let class = match (is_lost, is_right) {
        (true, _) => "x",
        (false, true) => "u",
        (false, false) => "d",
    };
    let (from, to, back) = match is_right {
        true if is_lost => (LEFT, RIGHT - 60, -7),
        true => (LEFT, RIGHT, -7),
        false if is_lost => (RIGHT, LEFT + 60, 7),
        false => (RIGHT, LEFT, 7),
    };
    let tip = match is_lost {
        true => "m-5 -5 l10 10 m0 -10 l-10 10".to_owned(),
        false => format!("l{back} -4 m{} 4 l{back} 4", -back),
    };
    format!("<path class=\"{class}\" d=\"M{from} {y}L{to} {y}{tip}\"/>\n")
}

fn cut(text: &str, len_max: usize) -> String {
    match text.char_indices().nth(len_max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// To ten milliseconds, to tenths from one second on.
pub(super) fn rounded(at: Instant) -> String {
    let time = at.saturating_duration_since(Instant::ZERO);
    match time < Duration::from_secs(1) {
        true => format!("{} ms", time.as_millis() / 10 * 10),
        false => format!("{:.1} s", time.as_millis() as f64 / 1000.0),
    }
}

pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
