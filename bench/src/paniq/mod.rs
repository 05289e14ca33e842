//! The tunnels of paniq beside plain QUIC: the machines alone, over sockets, and two daemons.
//!
//! The floor is quinn-proto by itself, in datagrams of the same size. Both take turns within a
//! round, so that a ratio compares what ran under the same conditions. What the Go programs need is
//! quoted where they are not at hand.

mod daemons;
mod end;
mod go;
mod instructions;
mod memory;
mod plain;
mod report;
mod tunnel;
mod wire;

use std::fs;
use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::args::{Carrier, Paniq};
use crate::guard;
use crate::machine::{Machine, Moment};
use crate::process;
use end::Load;
use report::Row;

pub(crate) use instructions::part;
pub(crate) use wire::end;

/// Bytes of the datagram that is sealed and opened, and how often.
const INNER_BYTES: usize = 1400;
const ENVELOPES: u64 = 200_000;
const SEAL_AND_OPEN_US: f64 = 1.2;
const GBIT_PER_BYTE: f64 = 8e-9;

/// What the issue quotes of the Go programs, measured elsewhere, and what is to be reached: for the
/// client and the server.
const fn quoted(load: Load) -> [(Option<f64>, Option<f64>); 2] {
    match load {
        Load::Up | Load::Down => [(Some(0.7), Some(3.0)), (Some(0.6), Some(3.0))],
        Load::Trip => [(Some(28.7), Some(9.0)), (None, None)],
        Load::Conn => [(Some(168.0), Some(50.0)), (None, None)],
    }
}

const fn figure_names(load: Load) -> (&'static str, &'static str) {
    match load {
        Load::Up => ("bulk up, 8 streams", "Gbit/core-s"),
        Load::Down => ("bulk down, 8 streams", "Gbit/core-s"),
        Load::Trip => ("64 B round trip x64", "us"),
        Load::Conn => ("new stream", "us"),
    }
}

const fn is_rate(load: Load) -> bool {
    matches!(load, Load::Up | Load::Down)
}

/// How much is done in memory: about a second's work.
const fn amount(load: Load) -> u64 {
    match load {
        Load::Up | Load::Down => 256_000_000,
        Load::Trip => 100_000,
        Load::Conn => 20_000,
    }
}

/// The figure of so many seconds for each byte, round trip or stream.
fn figure(load: Load, seconds: f64) -> f64 {
    match is_rate(load) {
        true => GBIT_PER_BYTE / seconds,
        false => seconds * 1e6,
    }
}

/// Runs the bench and prints its table.
pub(crate) fn run(args: &Paniq) -> Result<()> {
    if args.instructions {
        return instructions::run();
    }
    guard::install()?;
    process::raise_file_limit()?;
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing (use --release)");
    }
    let began = Moment::now()?;
    let mut rows = Vec::new();
    if !args.idle && !args.daemons {
        rows.extend(in_memory(args.rounds)?);
    }
    if !args.memory && !args.idle && !args.daemons {
        rows.extend(over_sockets(args)?);
    }
    if !args.memory {
        rows.extend(daemons::rows(args)?);
    }
    let mut text = Vec::new();
    tell(args, &rows, &began, &mut text)?;
    io::stdout().lock().write_all(&text)?;
    if let Some(path) = &args.markdown {
        let page = report::page(&crate::command(), &String::from_utf8(text)?);
        fs::write(path, page).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn tell(args: &Paniq, rows: &[Row], began: &Moment, out: &mut impl io::Write) -> Result<()> {
    let machine = Machine::look();
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
        "medians of {} rounds; floor: quinn-proto by itself; Go: in brackets as quoted",
        args.rounds
    )?;
    report::print(rows, out)
}

fn in_memory(rounds: u32) -> Result<Vec<Row>> {
    let name = format!("seal + open of {INNER_BYTES} B");
    let mut envelope = Row::new(name, "us", false).with(None, Some(SEAL_AND_OPEN_US));
    let mut rows: Vec<Row> = Load::ALL
        .map(|load| {
            let (name, unit) = figure_names(load);
            Row::new(format!("memory, both: {name}"), unit, is_rate(load))
        })
        .into();
    for round in 0..rounds {
        envelope
            .own
            .push(memory::envelope(INNER_BYTES, ENVELOPES)? * 1e6);
        for (load, row) in Load::ALL.into_iter().zip(&mut rows) {
            let own_first = round % 2 == 0;
            if own_first {
                row.own
                    .push(figure(load, memory::tunnel(load, amount(load))?));
            }
            row.floor
                .push(figure(load, memory::plain(load, amount(load))?));
            if !own_first {
                row.own
                    .push(figure(load, memory::tunnel(load, amount(load))?));
            }
        }
    }
    rows.insert(0, envelope);
    Ok(rows)
}

fn over_sockets(args: &Paniq) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for load in Load::ALL {
        let (name, unit) = figure_names(load);
        let [mut client, mut server] = ["client", "server"]
            .map(|side| Row::new(format!("sockets, {side}: {name}"), unit, is_rate(load)));
        for round in 0..args.rounds {
            let mut turns = [Carrier::Tunnel, Carrier::Plain];
            turns.rotate_left(usize::from(round % 2 == 1));
            for carrier in turns {
                let measured = wire::measure(carrier, load, args.seconds)
                    .with_context(|| format!("{carrier:?}, {load:?}"))?;
                for (row, cpu) in [
                    (&mut client, measured.client),
                    (&mut server, measured.server),
                ] {
                    let each = cpu.as_secs_f64() / measured.count as f64;
                    match carrier {
                        Carrier::Tunnel => row.own.push(figure(load, each)),
                        Carrier::Plain => row.floor.push(figure(load, each)),
                    }
                }
            }
        }
        let [of_client, of_server] = quoted(load);
        rows.push(client.with(of_client.0, of_client.1));
        rows.push(server.with(of_server.0, of_server.1));
    }
    Ok(rows)
}
