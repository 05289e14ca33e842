//! How fast the simulator is: virtual seconds, packets and seeds per second of one
//! core, by the time that the core spent; beside it, if asked for, other simulators.

mod echo;
mod figures;
mod peers;
mod report;
mod socks;

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use self::figures::{FIGURES, Figure};
use self::peers::Peer;
use self::report::{Measured, Page, json, markdown, table};
use crate::args::Sim;
use crate::guard;
use crate::machine::{Machine, Moment};
use crate::subject::{Folders, SANSBOX};

/// What this thread has used of a core: others that run beside it do not count.
fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("read the clock")?;
    Ok(time.into())
}

/// One round of ours, per second of this thread's processor time.
fn own_rate(figure: &Figure, round: u32) -> Result<f64> {
    let began = processor_time()?;
    let done = (figure.round)(u64::from(round))?;
    let took = processor_time()?.saturating_sub(began);
    Ok(done / took.as_secs_f64())
}

/// The peers that can run here; why the others cannot goes to `remarks`.
fn ready(folders: &Folders, remarks: &mut Vec<String>) -> Vec<Peer> {
    let mut ready = Vec::new();
    for name in peers::NAMES {
        match Peer::build(folders, name) {
            Ok(peer) => ready.push(peer),
            Err(error) => remarks.push(crate::left_out(name, &error)),
        }
    }
    ready
}

/// All rounds of one figure, the subjects taking turns.
fn measure(
    figure: &'static Figure,
    peers: &[Peer],
    rounds: u32,
    remarks: &mut Vec<String>,
) -> Result<Vec<Measured>> {
    let mut own = Measured::new(figure, SANSBOX);
    let mut others: Vec<(&Peer, Measured)> = Vec::new();
    for peer in peers {
        if figure.length_for(peer.name).is_some() {
            others.push((peer, Measured::new(figure, peer.name)));
        }
    }
    for round in 0..rounds {
        own.rounds.push(Some(own_rate(figure, round)?));
        for (peer, measured) in &mut others {
            let rate = peer.rate(figure);
            if let Err(error) = &rate {
                let Figure { name, .. } = figure;
                remarks.push(format!("{}, {name}, round {round}: {error:#}.", peer.name));
            }
            measured.rounds.push(rate.ok());
        }
    }
    let others = others.into_iter().map(|(_, measured)| measured);
    Ok(core::iter::once(own).chain(others).collect())
}

pub(crate) fn run(args: &Sim) -> Result<()> {
    guard::install()?;
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its simulator is slow (use --release)");
    }
    let machine = Machine::look();
    let mut remarks = Vec::new();
    let peers = if args.peers {
        ready(&Folders::find()?, &mut remarks)
    } else {
        Vec::new()
    };
    let began = Moment::now()?;
    let mut all = Vec::new();
    for figure in FIGURES {
        all.extend(measure(figure, &peers, args.rounds, &mut remarks)?);
    }
    let page = Page {
        measured: &all,
        machine: &machine,
        disturbance: began.disturbance()?,
        versions: peers.iter().map(Peer::version).collect(),
        command: &crate::command(),
        rounds: args.rounds,
        remarks: &remarks,
    };
    let mut stdout = io::stdout().lock();
    if args.json {
        for object in json(&all) {
            writeln!(stdout, "{object}")?;
        }
    } else {
        write!(stdout, "{}", table(&all))?;
        for remark in &remarks {
            writeln!(stdout, "{remark}")?;
        }
    }
    stdout.flush().context("print the report")?;
    if let Some(path) = &args.markdown {
        crate::save(path, &markdown(&page))?;
    }
    Ok(())
}
