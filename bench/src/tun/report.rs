//! The tables, the page and the plot.

use super::devices::BEST;
use super::line::Line;
use super::subject::SANSBOX;
use crate::machine::Machine;
use crate::outcome::Verdict;
use crate::report::panels::{self, Bar, Kind, Panel};
use crate::report::{cell, markdown, number, table, times};

const HEADER: [&str; 8] = [
    "figure", "subject", "median", "unit", "rounds", "ratio", "reach", "result",
];
/// Columns that hold numbers are flush right.
const RIGHT: [bool; 8] = [false, false, true, false, true, true, false, false];

/// What cannot be run here, as measured on another machine with the same topology: up x1, down x1,
/// up x8, down x8 in Gbit per core-second, and the peak memory in MB.
const QUOTED: [(&str, [f64; 5]); 2] = [
    ("tun2socks, MTU 65535", [6.8, 4.7, 6.3, 4.9, 97.0]),
    ("hev-socks5-tunnel, MTU 8500", [6.5, 5.2, 6.4, 7.3, 4.4]),
];

/// Above the table of the terminator alone.
const MEMORY: &str = "\n## The terminator alone\n\nIn memory, without a kernel: packets of 1400 bytes \
     of payload, checksums in software both ways, on one core. What making the clients' packets costs \
     is not counted; a rate is that of the best of five rounds in one process. Ratios are to 10 flows. \
     Rare packets are alone in their batch, as those of 50,000 flows are. New flows include the RST that ends \
     them. A flood's SYNs come from addresses of their own; between its batches of 64, open flows \
     send as many packets, and what these take is compared with what they took before. Memory is \
     what a process of its own grows by.\n\n";

/// All that a report may say.
#[derive(Debug)]
pub(super) struct Report<'a> {
    /// Through devices.
    pub(super) devices: &'a [Line],
    /// The terminator alone.
    pub(super) memory: &'a [Line],
    pub(super) notes: &'a [String],
    pub(super) machine: &'a Machine,
    /// In words, what other processes took meanwhile.
    pub(super) disturbance: String,
    pub(super) versions: &'a [&'a str],
    /// The command that was run.
    pub(super) command: &'a str,
    pub(super) rounds: u32,
    /// Length of a window through a device.
    pub(super) seconds: u64,
}

impl Report<'_> {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.devices.iter().chain(self.memory)
    }

    /// For a terminal.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for lines in [self.devices, self.memory] {
            if !lines.is_empty() {
                let rows: Vec<_> = [HEADER.map(String::from)]
                    .into_iter()
                    .chain(lines.iter().map(row))
                    .collect();
                text.push_str(&table::align(&rows, RIGHT));
                text.push('\n');
            }
        }
        text.push_str(&format!("note: {}.\n", self.disturbance));
        for note in self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        text
    }

    /// The page. `plot` is its path from the page's folder; `old` is the page it replaces.
    pub(super) fn page(&self, plot: Option<&str>, old: &str) -> String {
        let mut page = String::from("# TUN, measured\n\n");
        page.push_str(&self.setting());
        if let Some(plot) = plot {
            page.push_str(&format!("\n![The figures as bars]({plot})\n"));
        }
        if !self.devices.is_empty() {
            page.push_str(&self.through_devices());
            page.push_str(&quoted());
        }
        if !self.memory.is_empty() {
            page.push_str(MEMORY);
            page.push_str(&rows(self.memory));
        }
        page.push_str(&self.open_marks());
        page.push_str(&markdown::remarks(self.notes));
        page.push_str(&markdown::notes(old));
        page
    }

    fn setting(&self) -> String {
        let machine = self.machine;
        let mut text = format!(
            "```\n{}\n```\n\n- Date: {}\n- Machine: {}, {} cores, Linux {}, TCP congestion control \
             {}; load when it began {}; {}\n",
            self.command,
            machine.date,
            machine.processor,
            machine.cores,
            machine.kernel,
            machine.congestion,
            machine.load,
            self.disturbance,
        );
        for version in self.versions {
            text.push_str(&format!("- {version}\n"));
        }
        text.push_str(&format!(
            "\nEach value is the median of {} interleaved rounds. MB are 10^6 bytes.\n",
            self.rounds
        ));
        text
    }

    fn through_devices(&self) -> String {
        format!(
            "\n## Through a device\n\nClients (the kernel's TCP) and the program with its device are \
             in one network namespace, a SOCKS5 server that takes, gives and answers from memory is \
             in another. In every round all programs are at work, each in namespaces of its own, and \
             take turns under each load for windows of {} s after 1 s to warm up. Processor time is \
             that of the program alone, user and system; clients and server, on the same cores, \
             bound what is reached per second. Bytes count where they arrive. Peak memory is VmHWM. \
             A new connection is from SYN to the first byte of the answer, 16 clients at a time; an \
             echo is the median of 200, as ping(8) has it. A ratio is the median of the rounds' own \
             ratios to {BEST} for that figure. sing-box has MTU 65535, but for `-1500`, where it has the device cut \
             segments.\n\n{}",
            self.seconds,
            rows(self.devices)
        )
    }

    /// What is missed and what could not be said.
    fn open_marks(&self) -> String {
        let of = |wanted: Verdict| {
            let items: Vec<String> = self
                .lines()
                .filter(|line| line.verdict() == Some(wanted))
                .map(|line| {
                    let [title, subject, median, unit, _, ratio, reach, _] = row(line);
                    let ratio = match ratio.as_str() {
                        "" => ratio,
                        ratio => format!(" ({ratio})"),
                    };
                    format!("{title}, {subject}: {median} {unit}{ratio}, to reach {reach}")
                })
                .collect();
            items
        };
        format!(
            "{}{}",
            markdown::list("Missed marks", &of(Verdict::Missed)),
            markdown::list("Marks not measured", &of(Verdict::NotMeasured))
        )
    }

    /// The picture.
    pub(super) fn plot(&self) -> String {
        let lines: Vec<&Line> = self.lines().collect();
        let charts: Vec<Panel<'_>> = lines
            .chunk_by(|a, b| a.title == b.title)
            .filter_map(panel)
            .collect();
        panels::draw(
            "sansbox's tun beside other programs",
            self.machine,
            "Medians; processor time of the program behind the device only.",
            &charts,
        )
    }
}

fn row(line: &Line) -> [String; 8] {
    let range = line.range().map_or_else(String::new, |(low, high)| {
        let (low, high) = (number(low), number(high));
        if low == high {
            String::new()
        } else {
            format!("{low} - {high}")
        }
    });
    [
        line.title.into(),
        line.subject.into(),
        line.value().map_or_else(|| "-".into(), number),
        line.unit.into(),
        range,
        line.against
            .map_or_else(String::new, |(_, ratio)| times(ratio)),
        line.reach
            .map_or_else(String::new, |reach| reach.text(line.unit)),
        line.verdict()
            .map_or_else(String::new, |verdict| verdict.text().into()),
    ]
}

/// As a table of Markdown.
fn rows(lines: &[Line]) -> String {
    let mut text = format!(
        "| {} |\n|---|---|--:|---|--:|--:|---|---|\n",
        HEADER.join(" | ")
    );
    for line in lines {
        let cells = row(line).map(|text| cell(&text));
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

fn quoted() -> String {
    let mut text = String::from(
        "\nQuoted, from another machine with the same topology, Gbit per core-second:\n\n\
         | | up x1 | down x1 | up x8 | down x8 | peak memory |\n|---|--:|--:|--:|--:|--:|\n",
    );
    for (name, values) in QUOTED {
        let cells = values.map(number);
        text.push_str(&format!("| {name} | {} MB |\n", cells.join(" | ")));
    }
    text
}

/// The chart of one figure, unless there is nothing to draw.
fn panel<'a>(lines: &[&'a Line]) -> Option<Panel<'a>> {
    let bars: Vec<Bar<'_>> = lines
        .iter()
        .filter_map(|line| {
            Some(Bar {
                name: line.subject,
                value: line.value()?,
                kind: kind(line),
            })
        })
        .collect();
    let first = lines.first().filter(|_| !bars.is_empty())?;
    let marked = lines.iter().find_map(|line| line.mark().zip(line.reach));
    Some(Panel {
        title: first.title,
        unit: first.unit,
        better: first.better,
        reach: marked.map_or_else(String::new, |(_, reach)| reach.text(first.unit)),
        mark: marked.map(|(mark, _)| mark),
        bars,
    })
}

fn kind(line: &Line) -> Kind {
    match line.subject.strip_prefix(SANSBOX) {
        Some("") => Kind::Own,
        Some(_) => Kind::Variant,
        None if super::subject::names().any(|name| name == line.subject) => Kind::Peer,
        // The terminator's lines say of how many.
        None => Kind::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::tests::line;
    use super::*;
    use crate::figure::Reach;
    use crate::report::sample;

    #[test]
    fn missed_marks_are_said_plainly_and_notes_survive() {
        let mut own = line(SANSBOX, &[Some(8.0), Some(9.0)]);
        own.compare(&[Some(10.0), Some(10.0)]);
        own.reach = Some(Reach::TimesAtLeast(BEST, 1.6));
        let devices = [own, line("sing-box-system", &[Some(10.0), Some(10.0)])];
        let mut alone = line("10 flows", &[]);
        (alone.title, alone.reach) = ("Terminator", Some(Reach::AtLeast(25.0)));
        let memory = [alone];
        let machine = sample::machine();
        let report = Report {
            devices: &devices,
            memory: &memory,
            notes: &["xray: not available: <gone>.".into()],
            machine: &machine,
            disturbance: "quiet".into(),
            versions: &["sing-box version 1"],
            command: "sansbox-bench tun",
            rounds: 2,
            seconds: 4,
        };
        let page = report.page(Some("tun.svg"), "<!-- notes -->\nWhy.\n<!-- /notes -->\n");
        let (_, missed) = page.split_once("## Missed marks").unwrap();
        let (missed, open) = missed.split_once("## Marks not measured").unwrap();
        let said = "Up x1, sansbox: 8.50 Gbit/core-s (0.85x), to reach >= 1.60x sing-box's";
        assert!(missed.contains(said), "{missed}");
        assert!(open.contains("Terminator, 10 flows: - Gbit/core-s"));
        assert!(page.contains("not available: &lt;gone>.") && page.contains("Why."));
        let text = report.table();
        assert!(
            text.contains("MISSED") && text.contains("8.00 - 9.00"),
            "{text}"
        );
        let picture = report.plot();
        assert_eq!(picture.matches("<g>").count(), 1);
        assert_eq!(picture.matches("class=\"own\"").count(), 1);
        assert_eq!(picture.matches("class=\"peer\"").count(), 1);
        assert_eq!(picture.matches("<line class=\"mark\"").count(), 1);
    }
}
