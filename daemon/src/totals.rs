//! What was served in all, told when the daemon stops.
use crate::{logger::Level, report::Report};
use core::fmt;
use sansbox_engine::counters::{Counters, Traffic};

impl Report {
    /// One line for each inbound and outbound that served somebody, and one each for what was
    /// refused and how connections ended.
    pub(crate) fn totals(&self, served: &Counters) {
        let inbounds = served.inbounds.iter();
        let inbounds = inbounds.map(|(id, traffic)| (self.inbound(*id), traffic));
        let outbounds = served.outbounds.iter();
        let outbounds = outbounds.map(|(id, traffic)| (self.outbound(*id), traffic));
        for (label, traffic) in inbounds.chain(outbounds) {
            self.total(format_args!("{label}: served {}", Served(traffic)));
        }
        let refused = served.refused.iter().map(|(why, n)| (why.reason(), *n));
        self.total_of("requests refused", refused);
        let closed = served.closed.iter().map(|(why, n)| (why.reason(), *n));
        self.total_of("connections ended", closed);
    }

    fn total_of<'a>(&self, what: &str, counts: impl Iterator<Item = (&'a str, u64)>) {
        let counts: Vec<String> = counts.map(|(why, n)| format!("{n} {why}")).collect();
        if !counts.is_empty() {
            self.total(format_args!("{what}: {}", counts.join(", ")));
        }
    }

    fn total(&self, text: fmt::Arguments<'_>) {
        self.logger.write(Level::Info, None, text);
    }
}

struct Served<'a>(&'a Traffic);

impl fmt::Display for Served<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic {
            connections,
            bytes_up,
            bytes_down,
        } = self.0;
        write!(
            f,
            "{connections} connections, {bytes_up} bytes up, {bytes_down} bytes down"
        )
    }
}
