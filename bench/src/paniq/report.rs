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
        let pairs = self.own.iter().zip(&self.floor);
        let percents: Vec<f64> = pairs
            .map(|(own, floor)| match self.is_rate {
                true => 100.0 * own / floor,
                false => 100.0 * floor / own,
            })
            .collect();
        stats::median(&percents)
    }

    fn verdict(&self) -> String {
        let (Some(reach), Some(own)) = (self.reach, stats::median(&self.own)) else {
            return String::new();
        };
        let (sign, is_met) = match self.is_rate {
            true => (">=", own >= reach),
            false => ("<=", own <= reach),
        };
        let met = if is_met { "met" } else { "MISSED" };
        format!("{sign} {reach} {met}")
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
            "{:34} {:>16} {:>9} {:>9} {:>7} {:>8} {:>14}",
            self.what,
            self.unit,
            show(stats::median(&self.own)),
            show(stats::median(&self.floor)),
            self.percent()
                .map_or_else(|| "-".to_owned(), |percent| format!("{percent:.0} %")),
            self.of_go(),
            self.verdict()
        )
    }
}

/// Prints the rows below their names.
pub(crate) fn print(rows: &[Row], out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{:34} {:>16} {:>9} {:>9} {:>7} {:>8} {:>14}",
        "what", "unit", "tunnel", "floor", "share", "Go", "to reach"
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
         the Go programs need is in brackets where it is quoted from another machine; with `--go` and\n\
         the folder where they are, they take turns with the daemons.\n\n```text\n{text}```\n"
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
        time.floor.clear();
        assert_eq!(time.percent(), None);
    }
}
