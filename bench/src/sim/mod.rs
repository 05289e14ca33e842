//! How fast the simulator is: virtual seconds, packets and seeds per second of one core.

mod echo;
mod socks;

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::args::Sim;

/// One figure and what it must at least be.
struct Figure {
    name: &'static str,
    unit: &'static str,
    goal: f64,
    /// One round; returns how much was done.
    round: fn(u64) -> Result<f64>,
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "echo, one pair, every second",
        unit: "virtual s/s",
        goal: 1_000_000.0,
        round: |_| echo::pairs(1, 1000, 400_000),
    },
    Figure {
        name: "echo, one pair, every 10 ms",
        unit: "virtual s/s",
        goal: 20_000.0,
        round: |_| echo::pairs(1, 10, 8000),
    },
    Figure {
        name: "echo, 100 pairs, every 10 ms",
        unit: "packets/s",
        goal: 5_000_000.0,
        round: |_| Ok(echo::pairs(100, 10, 80)? * 100.0 * 100.0 * 2.0),
    },
    Figure {
        name: "64 KiB echo through a SOCKS session",
        unit: "seeds/s",
        goal: 1500.0,
        round: |round| socks::sessions(round, 300, 64 << 10),
    },
    Figure {
        name: "SOCKS session of 100 octets",
        unit: "seeds/s",
        goal: 5000.0,
        round: |round| socks::sessions(round, 2000, 100),
    },
];

pub(crate) fn run(args: &Sim) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its simulator is slow (use --release)");
    }
    let mut stdout = io::stdout().lock();
    for figure in FIGURES {
        let mut rates = Vec::new();
        for round in 0..args.rounds {
            let began = Instant::now();
            let done = (figure.round)(u64::from(round))?;
            rates.push(done / began.elapsed().as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        let median = rates.get(rates.len() / 2).copied().context("no round")?;
        let Figure {
            name, unit, goal, ..
        } = figure;
        let verdict = if median >= *goal { "reached" } else { "missed" };
        writeln!(
            stdout,
            "{name:<38} {median:>12.0} {unit:<12} goal {goal:>9.0} {verdict}"
        )?;
    }
    Ok(())
}
