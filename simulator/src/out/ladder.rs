//! Ladders of TCP: who sends what to whom, on a lane for each host, as an SVG for documents.
//! A packet that takes time is an arrow that falls; rows are moments, not to scale.
use super::{Story, packets};
use crate::transcript::{Carries, Head, Tag};
use core::{
    fmt::{self, Write as _},
    time::Duration,
};
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// Pixels between two rows.
const ROW: usize = 25;
/// Pixels of one ladder, of its margin for times, and between two lanes.
const WIDTH: usize = 500;
const LEFT: usize = 84;
const LANE: usize = 180;
/// Pixels above the first row, and below the last.
const TOP: usize = 78;
const BOTTOM: usize = 30;
/// What is shown of one ladder.
const ROWS_MAX: usize = 40;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222;stroke:#fff;stroke-width:4px;\
paint-order:stroke}.t{font-weight:600;\
font-size:15px}.s{fill:#666;font-size:11px}.h{font-weight:600}.l{stroke:#999}\
.p{stroke:#2563a8;fill:none}.x{stroke:#c0262d;fill:none}.r{fill:#c0262d}.n{fill:#8a4b00}\
.b{fill:#fff}.k{fill:#fff;stroke:#8a4b00}";

/// One ladder.
pub struct Ladder<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// What it shows, in a line.
    pub verdict: &'a str,
    /// Hosts from left to right, at most three, and what they are called.
    pub lanes: &'a [(&'a str, &'a str)],
    /// The run.
    pub story: Story<'a>,
    /// What an entry of a host is called that is no packet; `None`: it is not shown.
    pub note: &'a dyn Fn(&str, Tag, &str) -> Option<String>,
}

impl fmt::Debug for Ladder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ladder")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

/// Something at a moment: its time and entry, by which it has a row.
type Moment = (Instant, usize);

#[derive(Debug)]
enum What {
    /// From a lane and a row to others.
    Arrow {
        from: (usize, Moment),
        to: (usize, Moment),
        is_bad: bool,
    },
    Note {
        lane: usize,
        at: Moment,
    },
}

#[derive(Debug)]
struct Shown {
    what: What,
    text: String,
}

impl Shown {
    const fn first(&self) -> Moment {
        match self.what {
            What::Arrow { from: (_, at), .. } | What::Note { at, .. } => at,
        }
    }
}

/// Ladders in rows below each other, as one picture.
#[must_use]
pub fn ladders(grid: &[Vec<Ladder<'_>>]) -> String {
    let all: Vec<Vec<(&Ladder<'_>, Vec<Shown>)>> = grid
        .iter()
        .map(|row| row.iter().map(|ladder| (ladder, shown(ladder))).collect())
        .collect();
    let heights: Vec<usize> = all
        .iter()
        .map(|row| {
            let rows = row.iter().map(|(_, shown)| places(shown).len());
            TOP + ROW * rows.max().unwrap_or(0) + BOTTOM
        })
        .collect();
    let columns = all.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (WIDTH * columns, heights.iter().sum::<usize>());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\"><style>{STYLE}</style>\
         <rect class=\"b\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    let mut top = 0;
    for (row, height) in all.iter().zip(&heights) {
        for (nth, (ladder, shown)) in row.iter().enumerate() {
            let _ = writeln!(out, "<g transform=\"translate({} {top})\">", nth * WIDTH);
            draw(&mut out, ladder, shown);
            out += "</g>\n";
        }
        top += height;
    }
    out + "</svg>\n"
}

/// What is shown, by when it begins.
fn shown(ladder: &Ladder<'_>) -> Vec<Shown> {
    let entries = ladder.story.entries;
    let lane = |index: usize| {
        let place = ladder.story.place(entries.get(index)?.place);
        ladder.lanes.iter().position(|(host, _)| *host == place)
    };
    let moment = |index: usize| Some((entries.get(index)?.at, index));
    let mut all = Vec::new();
    for packet in packets::gather(entries) {
        let found = packet.sent.zip(packet.arrived).and_then(|(sent, arrived)| {
            let from = (lane(sent)?, moment(sent)?);
            let to = (lane(arrived)?, moment(arrived)?);
            let (text, is_bad) = label(&packet.head(entries)?, packet.payload(entries).len())?;
            let what = What::Arrow { from, to, is_bad };
            Some(Shown { what, text })
        });
        all.extend(found);
    }
    for (index, entry) in entries.iter().enumerate() {
        if packets::is_of_packet(entry.tag) || entry.is_payload() {
            continue;
        }
        let text = String::from_utf8_lossy(&entry.bytes);
        let text = (ladder.note)(&ladder.story.place(entry.place), entry.tag, &text);
        if let (Some(text), Some(lane), Some(at)) = (text, lane(index), moment(index)) {
            let what = What::Note { lane, at };
            all.push(Shown { what, text });
        }
    }
    all.sort_by_key(Shown::first);
    all.truncate(ROWS_MAX);
    all
}

/// What a packet is called, and whether it bears bad news; `None`: it is not worth a row.
fn label(head: &Head, len: usize) -> Option<(String, bool)> {
    Some(match head.carries {
        Carries::Tcp { flags, ack, .. } => {
            let name = match (flags.syn, flags.ack, flags.fin, flags.rst) {
                (_, _, _, true) => "RST",
                (true, false, ..) => "SYN",
                (true, true, ..) => "SYN-ACK",
                (_, _, true, _) => "FIN",
                _ if len == 0 && ack == 0 => "ACK",
                _ if len == 0 => return None,
                _ => "",
            };
            let bytes = if len == 0 {
                String::new()
            } else {
                format!("{len} bytes")
            };
            let parts = [name, bytes.as_str()];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            (parts.join(", "), flags.rst)
        }
        Carries::Icmp(icmp) => (
            format!("ICMP: {:?}", icmp.kind)
                .to_lowercase()
                .replace("icmp", "ICMP"),
            true,
        ),
        Carries::Udp | Carries::Raw => return None,
    })
}

/// Which row each moment has. What takes no time is one row.
fn places(shown: &[Shown]) -> BTreeMap<Moment, usize> {
    let mut moments: Vec<Moment> = shown.iter().map(Shown::first).collect();
    for one in shown {
        if let What::Arrow { from, to, .. } = one.what
            && !is_flat(from.1, to.1)
        {
            moments.push(to.1);
        }
    }
    moments.sort_unstable();
    moments.dedup();
    moments.into_iter().zip(1..).collect()
}

fn is_flat(from: Moment, to: Moment) -> bool {
    to.0.saturating_duration_since(from.0) < Duration::from_millis(1)
}

fn text(class: &str, (x, y): (usize, usize), anchor: &str, text: &str) -> String {
    let text = super::sequence::escaped(text);
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn draw(out: &mut String, ladder: &Ladder<'_>, shown: &[Shown]) {
    let places = places(shown);
    let y = |at: Moment| TOP + ROW * places.get(&at).copied().unwrap_or_default();
    let x = |lane: usize| LEFT + LANE * lane;
    *out += &text("t", (14, 24), "start", ladder.title);
    *out += &text("s", (14, 42), "start", ladder.verdict);
    for (lane, (_, name)) in ladder.lanes.iter().enumerate() {
        *out += &text("h", (x(lane), 68), "middle", name);
        let bottom = TOP + ROW * places.len() + BOTTOM / 2;
        let _ = writeln!(
            out,
            "<path class=\"l\" d=\"M{0} 76L{0} {bottom}\"/>",
            x(lane)
        );
    }
    let mut told = String::new();
    for at in places.keys().copied() {
        let time = super::sequence::rounded(at.0);
        if time != told {
            *out += &text("s", (LEFT - 30, y(at) + 4), "end", &time);
            told = time;
        }
    }
    for one in shown {
        match one.what {
            What::Note { lane, at } => {
                let (x, y) = (x(lane), y(at));
                let _ = writeln!(out, "<circle class=\"k\" cx=\"{x}\" cy=\"{y}\" r=\"3.5\"/>");
                *out += &text("n", (x + 9, y + 4), "start", &one.text);
            }
            What::Arrow { from, to, is_bad } => {
                let down = if is_flat(from.1, to.1) { from.1 } else { to.1 };
                let (a, b) = ((x(from.0), y(from.1)), (x(to.0), y(down)));
                *out += &arrow(is_bad, a, b);
                let middle = (usize::midpoint(a.0, b.0), usize::midpoint(a.1, b.1) - 5);
                *out += &text(if is_bad { "r" } else { "m" }, middle, "middle", &one.text);
            }
        }
    }
}

/// An arrow with its head turned as the line is.
fn arrow(is_bad: bool, from: (usize, usize), to: (usize, usize)) -> String {
    let class = if is_bad { "x" } else { "p" };
    let (dx, dy) = (to.0 as f64 - from.0 as f64, to.1 as f64 - from.1 as f64);
    let angle = dy.atan2(dx).to_degrees();
    format!(
        "<path class=\"{class}\" d=\"M{} {}L{} {}\"/><path class=\"{class}\" d=\"M-8 -4L0 0L-8 4\" \
         transform=\"translate({} {}) rotate({angle:.1})\"/>\n",
        from.0, from.1, to.0, to.1, to.0, to.1
    )
}
