//! What the machines cost in memory, in instructions: unlike processor time, a count is the same
//! while others use the machine.

use std::io::{self, Write as _};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::end::Load;
use super::memory;
use crate::args::{Carrier, PaniqPart};
use crate::callgrind;

/// How much is done in the two runs whose difference counts: start and set-up drop out.
const fn amounts(load: Load) -> [u64; 2] {
    match load {
        Load::Up | Load::Down => [32_000_000, 64_000_000],
        Load::Trip => [2000, 10_000],
        Load::Conn => [400, 2000],
    }
}

const fn unit(load: Load) -> (&'static str, u64) {
    match load {
        Load::Up => ("up, 1000 B", 1000),
        Load::Down => ("down, 1000 B", 1000),
        Load::Trip => ("64 B round trip", 1),
        Load::Conn => ("new stream", 1),
    }
}

/// Counts every load over the tunnel and over plain QUIC, and prints the table.
pub(crate) fn run() -> Result<()> {
    ensure!(callgrind::is_here(), "valgrind is not installed");
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "instructions of both ends, in memory; floor: quinn-proto by itself\n\
         {:16} {:>9} {:>9} {:>7}",
        "what", "tunnel", "floor", "share"
    )?;
    for load in Load::ALL {
        let (own, floor) = (each(Carrier::Tunnel, load)?, each(Carrier::Plain, load)?);
        let share = 100 * floor / own.max(1);
        writeln!(out, "{:16} {own:>9} {floor:>9} {share:>5} %", unit(load).0)?;
    }
    Ok(())
}

/// Instructions of one unit of a load.
fn each(carrier: Carrier, load: Load) -> Result<u64> {
    let [few, many] = amounts(load);
    let difference = total(carrier, load, many)?.saturating_sub(total(carrier, load, few)?);
    // A run does a quarter more, to warm up.
    let more = many / 4 + many - (few / 4 + few);
    Ok(difference * unit(load).1 / more)
}

fn total(carrier: Carrier, load: Load, count: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().context("find this program")?)
        .args(["paniq-part", carrier.name(), load.name()])
        .arg(count.to_string())
        .output()
        .context("run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{carrier:?}, {load:?}: {text}");
    callgrind::collected(&text).with_context(|| format!("callgrind says no total: {text}"))
}

/// Runs one load in memory, in this process.
pub(crate) fn part(args: &PaniqPart) -> Result<()> {
    let load = Load::find(&args.load).context("no such load")?;
    match args.carrier {
        Carrier::Tunnel => memory::tunnel(load, args.count)?,
        Carrier::Plain => memory::plain(load, args.count)?,
    };
    Ok(())
}
