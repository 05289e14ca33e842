//! `sansbox-bench`: sansbox beside other proxies on one machine, in one run.
//!
//! Everything stays on loopback, every wait is bounded, and every process that is started is killed
//! by its id when it has served. Subjects take turns within a round, so that a ratio compares what
//! ran under the same conditions.

mod args;
mod callgrind;
mod counts;
mod figure;
mod guard;
mod load;
mod machine;
mod outcome;
mod paniq;
mod process;
mod proxy;
mod recorder;
mod report;
mod router;
mod run;
mod sim;
mod socks;
mod stats;
mod subject;
mod tun;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;

use crate::args::{Cli, Command, Group, Relay};
use crate::machine::{Machine, Moment};
use crate::report::{Report, json, markdown, plot, table};
use crate::subject::{Folders, Subject};

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Sink => load::idle::sink(),
        Command::Relay(args) => relay(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Recorder(args) => recorder::run(&args),
        Command::Paniq(args) => paniq::run(&args),
        Command::PaniqEnd(args) => paniq::end(&args),
        Command::PaniqPart(args) => paniq::part(&args),
        Command::Tun(args) => tun::run(&args),
        Command::TunPart(args) => tun::part(&args),
    }
}

fn relay(args: &Relay) -> Result<()> {
    guard::install()?;
    process::raise_file_limit()?;
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its load generator is slow (use --release)");
    }
    let machine = Machine::look();
    let folders = Folders::find()?;
    let groups = args.groups();
    let mut remarks = Vec::new();
    // The router alone needs no proxy.
    let subjects = if groups == [Group::Router] {
        Vec::new()
    } else {
        subjects(args, &folders, &mut remarks)
    };
    let began = Moment::now()?;
    let mut outcome = run::run(args, &groups, &subjects, &folders);
    let disturbance = began.disturbance()?;
    outcome.notes.splice(0..0, remarks);
    // A report is read on other machines, where this one's paths mean nothing.
    let here = format!("{}/", folders.workspace.display());
    for note in &mut outcome.notes {
        *note = note.replace(&here, "");
    }
    let versions: Vec<String> = subjects
        .iter()
        .map(|subject| format!("{}: {}", subject.name, subject.version))
        .collect();
    let report = Report {
        outcome: &outcome,
        groups: &groups,
        machine: &machine,
        disturbance,
        versions: &versions,
        command: &command(),
        rounds: args.rounds,
        seconds: args.seconds,
    };
    print(&report, args.json)?;
    write(&report, args)
}

/// The subjects that can run here; why the others cannot, and what is to be said of those that
/// can, goes to `remarks`.
fn subjects(args: &Relay, folders: &Folders, remarks: &mut Vec<String>) -> Vec<Subject> {
    let mut subjects = Vec::new();
    match subject::sansbox(folders, args.sansbox.as_deref()) {
        Ok(own) => subjects.extend(own),
        Err(error) => remarks.push(left_out(subject::SANSBOX, &error)),
    }
    for name in args.loops.iter().filter(|name| !name.is_empty()) {
        match subject::on_loop(folders, name, args.program_of(name)) {
            Ok((own, remark)) => {
                subjects.push(own);
                remarks.extend(remark);
            }
            Err(error) => remarks.push(left_out(name, &error)),
        }
    }
    for name in args.peers.iter().filter(|name| !name.is_empty()) {
        match subject::peer(folders, name) {
            Ok(peer) => subjects.push(peer),
            Err(error) => remarks.push(left_out(name, &error)),
        }
    }
    subjects
}

fn left_out(name: &str, error: &anyhow::Error) -> String {
    eprintln!("{name} is left out: {error:#}");
    format!("{name} is left out: {error:#}.")
}

/// The command line that repeats this run.
fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "cargo run --release -p sansbox-bench -- {}",
        arguments.join(" ")
    )
}

fn print(report: &Report<'_>, as_json: bool) -> Result<()> {
    let mut stdout = io::stdout().lock();
    if as_json {
        for object in json::render(report) {
            writeln!(stdout, "{object}")?;
        }
    } else {
        write!(stdout, "{}", table::render(report))?;
    }
    stdout.flush().context("print the report")
}

fn write(report: &Report<'_>, args: &Relay) -> Result<()> {
    if let Some(path) = &args.svg {
        save(path, &plot::render(report))?;
    }
    if let Some(path) = &args.markdown {
        let old = fs::read_to_string(path).unwrap_or_default();
        let plot = plot_name(args.svg.as_deref());
        save(path, &markdown::render(report, plot, &old))?;
    }
    Ok(())
}

/// How a page refers to its plot: side by side, as in docs/, the name is the path.
fn plot_name(svg: Option<&Path>) -> Option<&str> {
    svg.and_then(Path::file_name).and_then(|name| name.to_str())
}

fn save(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
