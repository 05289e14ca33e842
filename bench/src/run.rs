//! The run: every figure in rounds, and in every round every subject once.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::args::{Group, Relay};
use crate::counts::{self, Counted};
use crate::figure::Figure;
use crate::guard;
use crate::load::bulk::{self, Direction};
use crate::load::{conn, idle, trip};
use crate::outcome::Outcome;
use crate::process;
use crate::proxy::{Proxy, Under};
use crate::router;
use crate::subject::{Folders, SANSBOX_AUTH, SANSBOX_SYSTEM_CC, Subject};

/// Starts are short and scatter, so there are more of them.
const STARTS: u32 = 9;
/// From ready to where start-up work has ended and the memory is read.
const START_SETTLE: Duration = Duration::from_millis(300);
/// The limit on open files of the limit figure.
const FILE_LIMIT: u64 = 20_000;
/// Enough files for [`idle::CONNECTIONS`] of a proxy that keeps six open for each.
const ROOMY_FILE_LIMIT: u64 = 65_536;
const BYTES_PER_KIB: f64 = 1024.0;
const BYTES_PER_MB: f64 = 1e6;

/// Values of one measurement, and what to say beside them.
#[derive(Debug, Default)]
struct Measured {
    values: Vec<(Figure, f64)>,
    note: Option<String>,
}

/// Measures `groups` on `subjects`.
pub(crate) fn run(
    args: &Relay,
    groups: &[Group],
    subjects: &[Subject],
    folders: &Folders,
) -> Outcome {
    let mut outcome = Outcome::default();
    for &group in groups {
        if group == Group::Router {
            eprintln!("router: building and running router_scale");
            match router::run(folders) {
                Ok(lookups) => outcome.lookups = lookups,
                Err(error) => outcome
                    .notes
                    .push(format!("router: not measured: {error:#}.")),
            }
            continue;
        }
        for round in 0..rounds(group, args.rounds) {
            for subject in subjects.iter().filter(|subject| takes_part(subject, group)) {
                round_of(&mut outcome, group, subject, round, args.seconds, folders);
            }
        }
    }
    outcome
}

/// Rounds of a group. Counts do not scatter, so they are taken once.
const fn rounds(group: Group, asked: u32) -> u32 {
    match group {
        Group::Start => STARTS,
        Group::IdleLimit | Group::Counts => 1,
        Group::BulkUp
        | Group::BulkDown
        | Group::Trip
        | Group::Conn
        | Group::Idle
        | Group::Router => asked,
    }
}

/// The variants of sansbox take part where they differ.
fn takes_part(subject: &Subject, group: Group) -> bool {
    match subject.name {
        SANSBOX_SYSTEM_CC => matches!(group, Group::BulkUp | Group::BulkDown),
        SANSBOX_AUTH => group == Group::Idle,
        _ => true,
    }
}

fn round_of(
    outcome: &mut Outcome,
    group: Group,
    subject: &Subject,
    round: u32,
    seconds: u64,
    folders: &Folders,
) {
    let group_name = group
        .to_possible_value()
        .map_or_else(String::new, |v| v.get_name().into());
    let what = format!("{group_name}, {}", subject.name);
    match measure(group, subject, Duration::from_secs(seconds), folders) {
        Ok(Measured { values, note }) => {
            let texts: Vec<String> = values
                .iter()
                .map(|(figure, value)| format!("{value:.2} {}", figure.facts().unit))
                .collect();
            eprintln!("{what}, round {}: {}", round + 1, texts.join(", "));
            for (figure, value) in values {
                outcome.record(figure, subject.name, round as usize, value);
            }
            outcome
                .notes
                .extend(note.map(|note| format!("{what}: {note}.")));
        }
        Err(error) => {
            eprintln!("{what}, round {}: failed: {error:#}", round + 1);
            outcome.note(format!("{what}: a round failed: {error:#}."));
        }
    }
}

fn measure(
    group: Group,
    subject: &Subject,
    length: Duration,
    folders: &Folders,
) -> Result<Measured> {
    if group == Group::Counts {
        return counts(subject, folders);
    }
    let under = if group == Group::IdleLimit {
        Under::FileLimit(FILE_LIMIT)
    } else if group == Group::Idle && allowed(ROOMY_FILE_LIMIT) {
        Under::FileLimit(ROOMY_FILE_LIMIT)
    } else {
        Under::Nothing
    };
    let proxy = Proxy::start(subject, under, &folders.scratch)?;
    let target = proxy.target();
    let mut measured = Measured::default();
    match group {
        Group::BulkUp => {
            let bulk = bulk::run(target, Direction::Up, length)?;
            measured
                .values
                .push((Figure::BulkUp, bulk.gbit_per_core_second));
            measured
                .values
                .push((Figure::BulkUpRate, bulk.gbit_per_second));
        }
        Group::BulkDown => {
            let bulk = bulk::run(target, Direction::Down, length)?;
            measured
                .values
                .push((Figure::BulkDown, bulk.gbit_per_core_second));
            measured
                .values
                .push((Figure::BulkDownRate, bulk.gbit_per_second));
        }
        Group::Trip => {
            let trip = trip::run(target, length)?;
            measured.values.push((Figure::TripCpu, trip.cpu_us));
            measured.values.push((Figure::TripP50, trip.p50_us));
            measured.values.push((Figure::TripP99, trip.p99_us));
            measured.values.push((Figure::TripRate, trip.rate));
        }
        Group::Conn => {
            let conn = conn::run(target, length)?;
            measured.values.push((Figure::ConnCpu, conn.cpu_us));
            measured.values.push((Figure::ConnRate, conn.rate));
        }
        Group::Idle => measured = memory(idle::run(target, idle::CONNECTIONS)?, subject)?,
        Group::IdleLimit => {
            let idle = idle::run(target, usize::try_from(FILE_LIMIT)?)?;
            measured.values.push((Figure::IdleLimit, count(idle.open)));
        }
        Group::Start => measured.values = start(&proxy, subject)?,
        Group::Counts | Group::Router => {}
    }
    Ok(measured)
}

/// What cannot be counted is left out, with a note.
fn counts(subject: &Subject, folders: &Folders) -> Result<Measured> {
    let mut measured = Measured::default();
    let mut notes = Vec::new();
    for (counted, trip, connection) in [
        (
            Counted::Instructions,
            Figure::TripInstructions,
            Figure::ConnInstructions,
        ),
        (Counted::Calls, Figure::TripCalls, Figure::ConnCalls),
    ] {
        match counts::count(counted, subject, &folders.scratch) {
            Ok(counts) => {
                measured.values.push((trip, counts.trip));
                measured.values.push((connection, counts.connection));
            }
            Err(error) => notes.push(format!("no {}: {error:#}", counted.name())),
        }
    }
    measured.note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(measured)
}

/// A peer that cannot hold as many has its figure from those it holds; for sansbox, whose mark
/// names the number, fewer is a failure.
fn memory(idle: idle::Idle, subject: &Subject) -> Result<Measured> {
    let values = vec![(Figure::IdleRss, idle.bytes_each / BYTES_PER_KIB)];
    if idle.open == idle::CONNECTIONS {
        return Ok(Measured { values, note: None });
    }
    let note = format!(
        "only {} of {} connections stayed open",
        idle.open,
        idle::CONNECTIONS
    );
    if subject.is_own() {
        bail!(note);
    }
    Ok(Measured {
        values,
        note: Some(note),
    })
}

fn start(proxy: &Proxy, subject: &Subject) -> Result<Vec<(Figure, f64)>> {
    std::thread::sleep(START_SETTLE);
    let resident = process::resident(proxy.target().pid)?;
    let binary = std::fs::metadata(&subject.program)?.len();
    Ok(vec![
        (Figure::StartReady, proxy.ready_after.as_secs_f64() * 1e3),
        (Figure::StartRss, bytes(resident) / BYTES_PER_MB),
        (Figure::BinarySize, bytes(binary) / BYTES_PER_MB),
    ])
}

/// Whether a child may have that many files: beyond our own hard limit only root can allow it.
fn allowed(file_limit: u64) -> bool {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--nofile={file_limit}:{file_limit}"))
        .arg("true");
    command.stderr(Stdio::null());
    guard::output(&mut command, Duration::from_secs(5)).is_ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "files and memory are below 2^52 bytes"
)]
fn bytes(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "connections are below 2^52")]
fn count(connections: usize) -> f64 {
    connections as f64
}
