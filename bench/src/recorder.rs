//! What the flight recorder costs: the proxy as it comes (mode `shape`) and with the recorder off,
//! in turn, under the same load.
//!
//! Processor time of one window scatters by more than the recorder can cost, so there are many
//! pairs of windows, who begins changes from pair to pair, and each pair has processes of its own.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;

use crate::args::Recorder;
use crate::guard;
use crate::load::{conn, trip};
use crate::machine::{Machine, Moment};
use crate::process;
use crate::proxy::{Proxy, Under};
use crate::stats;
use crate::subject::{Folders, Subject, with_and_without_recorder};

/// What the recorder may cost: the time with it, as a multiple of that without.
const REACH: f64 = 1.02;

/// Runs the bench and prints its table.
pub(crate) fn run(args: &Recorder) -> Result<()> {
    guard::install()?;
    process::raise_file_limit()?;
    let folders = Folders::find()?;
    let subjects = with_and_without_recorder(&folders, args.sansbox.as_deref())?;
    let length = Duration::from_secs(args.seconds);
    let began = Moment::now()?;
    let [mut trips, mut connections] = [Pairs::default(), Pairs::default()];
    for round in 0..args.rounds {
        let turns = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut pair = [[0.0; 2]; 2];
        for turn in turns {
            if let (Some(subject), Some(place)) = (subjects.get(turn), pair.get_mut(turn)) {
                *place = measure(subject, length, &folders)?;
                eprintln!("{}, pair {}: {place:.2?} us", subject.name, round + 1);
            }
        }
        let [[trip, connection], [bare_trip, bare_connection]] = pair;
        trips.push(trip, bare_trip);
        connections.push(connection, bare_connection);
    }
    let machine = Machine::look();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}, {} cores, Linux {}; {}",
        machine.processor,
        machine.cores,
        machine.kernel,
        began.disturbance()?.text(machine.cores)
    )?;
    writeln!(
        out,
        "processor time of the proxy, medians of {} pairs",
        args.rounds
    )?;
    writeln!(out, "{}", trips.line("64 B round trip"))?;
    writeln!(out, "{}", connections.line("new connection"))?;
    Ok(())
}

/// Processor time in microseconds of a round trip and of a connection.
fn measure(subject: &Subject, length: Duration, folders: &Folders) -> Result<[f64; 2]> {
    let proxy = Proxy::start(subject, Under::Nothing, &folders.scratch)?;
    let trip = trip::run(proxy.target(), length)?;
    let connection = conn::run(proxy.target(), length)?;
    Ok([trip.cpu_us, connection.cpu_us])
}

/// Values with and without the recorder, measured one after the other.
#[derive(Debug, Default)]
struct Pairs {
    with: Vec<f64>,
    without: Vec<f64>,
    ratios: Vec<f64>,
}

impl Pairs {
    fn push(&mut self, with: f64, without: f64) {
        self.with.push(with);
        self.without.push(without);
        self.ratios.push(with / without);
    }

    fn line(&self, what: &str) -> String {
        let median = |values: &[f64]| stats::median(values).unwrap_or(f64::NAN);
        let ratio = median(&self.ratios);
        let verdict = if ratio <= REACH { "met" } else { "MISSED" };
        format!(
            "{what}: shape {:.2} us, off {:.2} us, ratio {ratio:.3} (to reach <= {REACH}: {verdict})",
            median(&self.with),
            median(&self.without),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_that_of_the_median_of_ratios() {
        let mut pairs = Pairs::default();
        for (with, without) in [(10.1, 10.0), (20.0, 20.0), (90.0, 30.0)] {
            pairs.push(with, without);
        }
        assert!(
            pairs
                .line("x")
                .ends_with("ratio 1.010 (to reach <= 1.02: met)")
        );
        pairs.push(31.0, 30.0);
        pairs.push(31.0, 30.0);
        assert!(
            pairs
                .line("x")
                .ends_with("ratio 1.033 (to reach <= 1.02: MISSED)")
        );
    }
}
