//! The table.

use std::io::Write;

use anyhow::Result;

use crate::stats;

/// One figure of the tunnel beside the floor, round by round.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// More is better.
    pub(crate) is_rate: bool,
    pub(crate) own: Vec<f64>,
    /// Empty where there is no floor.
    pub(crate) floor: Vec<f64>,
    /// What the Go programs needed in the same rounds.
    pub(crate) live: Vec<f64>,
    /// What they need elsewhere, as quoted.
    pub(crate) go: Option<f64>,
    /// What is to be reached.
    pub(crate) reach: Option<f64>,
}

impl Row {
    pub(crate) const fn new(what: String, unit: &'static str, is_rate: bool) -> Self {
        Self {
            what,
            unit,
            is_rate,
            own: Vec::new(),
            floor: Vec::new(),
            live: Vec::new(),
            go: None,
            reach: None,
        }
    }

    pub(crate) const fn with(mut self, go: Option<f64>, reach: Option<f64>) -> Self {
        (self.go, self.reach) = (go, reach);
        self
    }

    /// The median, over the rounds, of how fast the tunnel is in percent of the floor.
    fn percent(&self) -> Option<f64> {
        self.times(&self.floor).map(|times| 100.0 * times)
    }

    /// The median, over the rounds, of how many times as fast the tunnel is.
    fn times(&self, other: &[f64]) -> Option<f64> {
        let pairs = self.own.iter().zip(other);
        let times: Vec<f64> = pairs
            .map(|(own, other)| self.speedup(*own, *other))
            .collect();
        stats::median(&times)
    }

    fn speedup(&self, of: f64, over: f64) -> f64 {
        match self.is_rate {
            true => of / over,
            false => over / of,
        }
    }

    fn verdict(&self) -> String {
        let (Some(reach), Some(own)) = (self.reach, stats::median(&self.own)) else {
            return String::new();
        };
        let sign = if self.is_rate { ">=" } else { "<=" };
        let met = met(self.speedup(own, reach) >= 1.0);
        format!("{sign} {reach} {met}")
    }

    /// How many times as fast as Go in the same rounds: what is to be reached on the machine where
    /// Go's figure was measured is as many times that figure.
    fn verdict_of_go(&self) -> String {
        let Some(times) = self.times(&self.live) else {
            return String::new();
        };
        let (Some(go), Some(reach)) = (self.go, self.reach) else {
            return format!("{times:.2}x");
        };
        let wanted = self.speedup(reach, go);
        format!("{times:.2}x >= {wanted:.2}x {}", met(times >= wanted))
    }

    /// In brackets what is quoted.
    fn of_go(&self) -> String {
        match (stats::median(&self.live), self.go) {
            (Some(live), _) => format!("{live:.2}"),
            (None, Some(quoted)) => format!("({quoted:.2})"),
            (None, None) => "-".to_owned(),
        }
    }

    fn line(&self) -> String {
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        format!(
            "{:39} {:>11} {:>9} {:>9} {:>7} {:>8} {:>14} {:>22}",
            self.what,
            self.unit,
            show(stats::median(&self.own)),
            show(stats::median(&self.floor)),
            self.percent()
                .map_or_else(|| "-".to_owned(), |percent| format!("{percent:.0} %")),
            self.of_go(),
            self.verdict(),
            self.verdict_of_go()
        )
        .trim_end()
        .to_owned()
    }
}

const fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

/// Prints the rows below their names.
pub(crate) fn print(rows: &[Row], out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{:39} {:>11} {:>9} {:>9} {:>7} {:>8} {:>14} {:>22}",
        "what", "unit", "tunnel", "floor", "share", "Go", "to reach", "times Go, to reach"
    )?;
    for row in rows {
        writeln!(out, "{}", row.line())?;
    }
    Ok(())
}

/// The report as a page of the documents.
pub(crate) fn page(command: &str, text: &str) -> String {
    format!(
        "# paniq, measured\n\n```\n{command}\n```\n\n\
         The machines in memory, over sockets in two processes, and two `sansbox run` with a SOCKS\n\
         inbound and a direct outbound. The floor is quinn-proto with quinn-udp and nothing else. What\n\
         the Go programs need is in brackets where it is quoted from another machine, where the figures\n\
         to be reached come from; with `--go` and the folder where they are, they take turns with the\n\
         daemons, and the last column compares the two in the same rounds.\n\n```text\n{text}```\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_speed_and_the_median_of_rounds() {
        let mut rate = Row::new("bulk".into(), "Gbit/core-s", true).with(None, Some(3.0));
        (rate.own, rate.floor) = (vec![3.0, 1.0, 4.0], vec![6.0, 10.0, 5.0]);
        assert_eq!(rate.percent(), Some(50.0));
        assert!(rate.line().ends_with(">= 3 met"), "{}", rate.line());
        let mut time = Row::new("trip".into(), "us", false).with(Some(28.7), Some(9.0));
        (time.own, time.floor) = (vec![10.0], vec![8.0]);
        assert_eq!(time.percent(), Some(80.0));
        assert!(time.line().ends_with("<= 9 MISSED"), "{}", time.line());
        assert!(time.line().contains(" (28.70) "), "{}", time.line());
        time.live = vec![40.0];
        assert!(time.line().contains(" 40.00 "), "{}", time.line());
        assert!(
            time.line().ends_with(" 4.00x >= 3.19x met"),
            "{}",
            time.line()
        );
        time.live = vec![30.0];
        assert!(
            time.line().ends_with(" 3.00x >= 3.19x MISSED"),
            "{}",
            time.line()
        );
        time.floor.clear();
        assert_eq!(time.percent(), None);
    }
}
