//! The tun inbound beside sing-box's and Xray's, behind devices in network namespaces; and the
//! terminator alone, in memory.
//!
//! Only the processor time of the process behind the device counts. Clients are the kernel's TCP,
//! and the upstream serves from memory, so that neither is the narrow place.

mod devices;
mod line;
mod load;
mod memory;
mod net;
mod ping;
mod report;
mod sink;
mod stage;
mod subject;

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::Tun;
use crate::guard;
use crate::machine::{Machine, Moment};
use crate::process;
use crate::subject::Folders;
use report::Report;

pub(crate) use memory::part;

/// Runs the bench and prints its tables.
pub(crate) fn run(args: &Tun) -> Result<()> {
    guard::install()?;
    if !args.memory {
        net::check()?;
        process::raise_file_limit()?;
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing (use --release)");
    }
    let mut machine = Machine::look();
    if let Some(name) = &args.congestion {
        // Before minutes are spent on it.
        net::Namespace::new()?.set_congestion(name)?;
        machine.congestion.clone_from(name);
    }
    let folders = Folders::find()?;
    let (subjects, mut notes) = if args.memory {
        Default::default()
    } else {
        subject::find(args, &folders)?
    };
    let began = Moment::now()?;
    let mut devices = Vec::new();
    if !args.memory {
        let setting = devices::Setting {
            length: Duration::from_secs(args.seconds),
            folder: &folders.scratch,
            congestion: args.congestion.as_deref(),
        };
        let ran = devices::run(&subjects, args.rounds, setting);
        devices = ran.lines();
        notes.extend(ran.notes);
    }
    let mut memory = Vec::new();
    if args.only.is_empty() {
        memory = memory::lines(args.rounds, &mut notes);
    }
    let mut versions: Vec<&str> = subjects.iter().map(|s| s.version.as_str()).collect();
    versions.dedup();
    // A report is read on other machines, where this one's paths mean nothing.
    let here = format!("{}/", folders.workspace.display());
    for note in &mut notes {
        *note = note.replace(&here, "");
    }
    let report = Report {
        devices: &devices,
        memory: &memory,
        notes: &notes,
        machine: &machine,
        disturbance: began.disturbance()?.text(machine.cores),
        versions: &versions,
        command: &crate::command(),
        rounds: args.rounds,
        seconds: args.seconds,
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(report.table().as_bytes())?;
    stdout.flush().context("print the report")?;
    if let Some(path) = &args.svg {
        crate::save(path, &report.plot())?;
    }
    if let Some(path) = &args.markdown {
        let old = fs::read_to_string(path).unwrap_or_default();
        let plot = crate::plot_name(args.svg.as_deref());
        crate::save(path, &report.page(plot, &old))?;
    }
    Ok(())
}
