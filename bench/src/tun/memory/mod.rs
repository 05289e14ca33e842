//! The terminator alone: what it costs without a device. Each figure has a process of its own, so
//! that none finds the heap of another.

pub(super) mod client;
mod load;
mod world;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use nix::unistd::Pid;
use sansbox_stack::Config;

use self::client::PAYLOAD_BYTES;
use self::load::Load;
use self::world::{BATCH, World, lap_cost};
use super::line::Line;
use crate::args::{Part, TunPart};
use crate::figure::{Better, Reach};
use crate::guard;
use crate::load::bulk::Direction;
use crate::process::resident;

const CORE: &str = "Gbit/core-s";
const FEW: &str = "10 flows";
const RARE: &str = "64 flows, rare packets";
const MANY: &str = "50,000 flows, in turn";
const SCATTERED: &str = "50,000 flows, scattered";
const IDLE: &str = "50,000 flows";
const FLOWS_FEW: usize = 10;
const FLOWS_MANY: usize = 50_000;
/// Rounds of a rate in one process, of which the fastest counts: others use the machine as well.
const ROUNDS: usize = 5;
/// SYNs of a flood, in whole batches.
const FLOOD: u32 = 1_000_000;
/// Room for a flood beside what is there.
const FLOOD_ROOM: u32 = 1 << 20;
/// A packet among 50,000 flows may take a quarter longer than among 10.
const SHARE_MANY: f64 = 0.8;
const PART_LIMIT: Duration = Duration::from_secs(300);
const BYTES_PER_MB: f64 = 1e6;

/// How much is done: some seconds' work, or just enough to see that it works.
#[derive(Debug, Clone, Copy)]
struct Amount {
    /// Batches of a rate.
    batches: usize,
    /// Flows where they are many.
    many: usize,
    /// SYNs of a flood.
    flood: u32,
}

const FULL: Amount = Amount {
    batches: 8_000,
    many: FLOWS_MANY,
    flood: FLOOD,
};

/// Title, of whom, unit, which way is up, and what is to be reached.
type Facts = (
    &'static str,
    &'static str,
    &'static str,
    Better,
    Option<Reach>,
);

const fn facts(part: Part) -> Facts {
    const UP: &str = "Terminator, up";
    const DOWN: &str = "Terminator, down";
    const FLOOD: &str = "Flood of 1 M SYNs, memory";
    let (more, less) = (Better::More, Better::Less);
    let enough = Some(Reach::AtLeast(25.0));
    let share = Some(Reach::TimesAtLeast(FEW, SHARE_MANY));
    match part {
        Part::UpFew => (UP, FEW, CORE, more, enough),
        Part::UpRare => (UP, RARE, CORE, more, None),
        Part::UpMany => (UP, MANY, CORE, more, share),
        Part::UpScattered => (UP, SCATTERED, CORE, more, share),
        Part::DownFew => (DOWN, FEW, CORE, more, enough),
        Part::DownRare => (DOWN, RARE, CORE, more, None),
        Part::DownMany => (DOWN, MANY, CORE, more, share),
        Part::DownScattered => (DOWN, SCATTERED, CORE, more, share),
        Part::Connect => {
            let reach = Some(Reach::AtLeast(30_000.0));
            (
                "SYN to first byte of the answer",
                "new flows",
                "1/core-s",
                more,
                reach,
            )
        }
        Part::FloodMemory => (
            FLOOD,
            "default limits",
            "MB",
            less,
            Some(Reach::AtMost(64.0)),
        ),
        Part::HalfOpen => (FLOOD, "room for all", "MB", less, None),
        Part::FloodShare => {
            let reach = Some(Reach::AtLeast(80.0));
            ("Rate kept between a flood's SYNs", FEW, "%", more, reach)
        }
        Part::FloodSyn => (
            "Processor time of a flood's SYN",
            "default limits",
            "ns",
            less,
            None,
        ),
        Part::IdleFlow => (
            "Idle flow, memory",
            IDLE,
            "bytes",
            less,
            Some(Reach::AtMost(400.0)),
        ),
    }
}

const PARTS: [Part; 14] = [
    Part::UpFew,
    Part::UpRare,
    Part::UpMany,
    Part::UpScattered,
    Part::DownFew,
    Part::DownRare,
    Part::DownMany,
    Part::DownScattered,
    Part::Connect,
    Part::FloodMemory,
    Part::HalfOpen,
    Part::FloodShare,
    Part::FloodSyn,
    Part::IdleFlow,
];

/// The lines of the report. What fails goes to `notes`.
pub(super) fn lines(rounds: u32, notes: &mut Vec<String>) -> Vec<Line> {
    let mut lines: Vec<Line> = PARTS.map(line).into();
    for _ in 0..rounds {
        for (part, line) in PARTS.into_iter().zip(&mut lines) {
            let value = ask(part);
            match &value {
                Ok(value) => {
                    eprintln!("{}, {}: {value:.2} {}", line.title, line.subject, line.unit)
                }
                Err(error) => {
                    let note = format!("{}, {}: failed: {error:#}.", line.title, line.subject);
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
            }
            line.rounds.push(value.ok());
        }
    }
    compare(&mut lines);
    lines
}

/// Packets among other flows with those among a few.
fn compare(lines: &mut [Line]) {
    let rates = |line: &&mut Line| line.unit == CORE;
    for same in lines.chunk_by_mut(|a, b| a.title == b.title) {
        if let Some((few, others)) = same.split_first_mut() {
            for line in others.iter_mut().filter(rates) {
                line.compare(&few.rounds);
            }
        }
    }
}

const fn line(part: Part) -> Line {
    let (title, subject, unit, better, reach) = facts(part);
    Line {
        title,
        unit,
        better,
        subject,
        rounds: Vec::new(),
        against: None,
        reach,
    }
}

/// Has another process of this program measure.
fn ask(part: Part) -> Result<f64> {
    let name = part.to_possible_value().context("a hidden part")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tun-part", name.get_name()]);
    let said = guard::output(&mut command, PART_LIMIT)?;
    said.trim().parse().context("its answer is no number")
}

/// Measures one figure and prints it.
#[expect(clippy::print_stdout, reason = "it is the answer of this process")]
pub(crate) fn part(args: &TunPart) -> Result<()> {
    println!("{}", measure(args.part, FULL)?);
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and memory of one run are below 2^52"
)]
fn measure(part: Part, amount: Amount) -> Result<f64> {
    let packets = (amount.batches * BATCH) as f64;
    let rate = |time: Duration| packets * PAYLOAD_BYTES as f64 * 8e-9 / time.as_secs_f64();
    let (few, many) = (Load::in_turn(FLOWS_FEW), Load::in_turn(amount.many));
    let scattered = Load::scattered(amount.many);
    Ok(match part {
        Part::UpFew => rate(bulk(few, amount, Direction::Up)?),
        Part::UpRare => rate(bulk(Load::rare(), amount, Direction::Up)?),
        Part::UpMany => rate(bulk(many, amount, Direction::Up)?),
        Part::UpScattered => rate(bulk(scattered, amount, Direction::Up)?),
        Part::DownFew => rate(bulk(few, amount, Direction::Down)?),
        Part::DownRare => rate(bulk(Load::rare(), amount, Direction::Down)?),
        Part::DownMany => rate(bulk(many, amount, Direction::Down)?),
        Part::DownScattered => rate(bulk(scattered, amount, Direction::Down)?),
        Part::Connect => packets / connect(amount)?.as_secs_f64(),
        Part::FloodMemory => flood_bytes(Config::default(), amount)? as f64 / BYTES_PER_MB,
        Part::HalfOpen => flood_bytes(roomy(), amount)? as f64 / BYTES_PER_MB,
        Part::FloodShare => {
            let (alone, between, _) = flood_times(amount)?;
            100.0 * alone.as_secs_f64() / between.as_secs_f64()
        }
        Part::FloodSyn => flood_times(amount)?.2.as_secs_f64() * 1e9 / packets,
        Part::IdleFlow => idle_bytes(amount)? as f64 / amount.many as f64,
    })
}

/// With a window for each flow, however many there are.
fn windows() -> Config {
    Config {
        window_budget: 8 << 30,
        ..Config::default()
    }
}

/// With room for a flood.
fn roomy() -> Config {
    Config {
        flows_max: FLOOD_ROOM + FLOWS_FEW as u32,
        half_open_max: FLOOD_ROOM,
        half_open_per_source: FLOOD_ROOM,
        ..Config::default()
    }
}

/// Processor time of bulk in one direction, in the best round.
fn bulk(load: Load, amount: Amount, direction: Direction) -> Result<Duration> {
    let mut world = World::new(windows(), load);
    world.connect(0, false)?;
    let (batch, each): (fn(&mut World, usize) -> Result<()>, _) = match direction {
        Direction::Up => (World::up, PAYLOAD_BYTES),
        Direction::Down => (World::down, 0),
    };
    let mut best = Duration::MAX;
    for round in 0..=ROUNDS {
        world.reset();
        for n in 0..amount.batches {
            batch(&mut world, (round * amount.batches + n) * BATCH)?;
        }
        let expected = amount.batches * BATCH * each;
        ensure!(world.consumed() == expected as u64, "bytes were lost");
        // The first round fills caches and stores.
        if round > 0 {
            best = best.min(world.spent()?);
        }
    }
    let counters = world.stack.counters();
    ensure!(counters.copied_retained == 0, "bytes were copied");
    ensure!(counters.retransmitted == 0, "packets were sent twice");
    Ok(best)
}

/// Processor time of connections, each from its SYN over a byte there and back to its RST.
fn connect(amount: Amount) -> Result<Duration> {
    let mut world = World::new(Config::default(), Load::in_turn(BATCH));
    for n in 0..amount.batches + amount.batches / 10 {
        if n == amount.batches / 10 {
            world.reset();
        }
        world.renew();
        world.connect(1, true)?;
        world.reset_all()?;
    }
    world.spent()
}

/// By how much the process grows under a flood, beside a few flows.
fn flood_bytes(config: Config, amount: Amount) -> Result<u64> {
    let mut world = World::new(config, Load::in_turn(FLOWS_FEW));
    world.connect(0, false)?;
    let before = resident(Pid::this())?;
    for _ in 0..amount.flood as usize / BATCH {
        world.flood()?;
    }
    Ok(resident(Pid::this())?.saturating_sub(before))
}

/// Processor time of a few flows' bulk alone, of as much between the batches of a flood, and of
/// those batches.
fn flood_times(amount: Amount) -> Result<(Duration, Duration, Duration)> {
    let mut world = World::new(windows(), Load::in_turn(FLOWS_FEW));
    world.connect(0, false)?;
    for n in 0..amount.batches / 10 {
        world.up(n * BATCH)?;
    }
    world.reset();
    for n in 0..amount.batches {
        world.up(n * BATCH)?;
    }
    let (alone, sent) = (world.spent()?, world.consumed());
    // Until no more half-open connections fit.
    for _ in 0..amount.batches / 10 {
        world.flood()?;
    }
    let (mut between, mut floods) = (Duration::ZERO, Duration::ZERO);
    world.reset();
    for n in 0..amount.batches {
        let begin = world.lapped();
        world.flood()?;
        let middle = world.lapped();
        world.up(n * BATCH)?;
        floods += middle - begin;
        between += world.lapped() - middle;
    }
    ensure!(world.consumed() == sent, "open flows lost bytes");
    let each = lap_cost()? * u32::try_from(amount.batches)?;
    Ok((
        alone,
        between.saturating_sub(each),
        floods.saturating_sub(each),
    ))
}

/// By how much the process grows with many flows that have carried data both ways.
fn idle_bytes(amount: Amount) -> Result<u64> {
    let mut world = World::new(windows(), Load::in_turn(amount.many));
    let before = resident(Pid::this())?;
    world.connect(0, false)?;
    for first in (0..amount.many).step_by(BATCH) {
        world.up(first)?;
    }
    for first in (0..amount.many).step_by(BATCH) {
        world.down(first)?;
    }
    Ok(resident(Pid::this())?.saturating_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_number_above_nothing() {
        let little = Amount {
            batches: 100,
            many: 1000,
            flood: 20_000,
        };
        for part in PARTS {
            let value = measure(part, little).unwrap();
            let may_be_nothing = matches!(part, Part::FloodMemory | Part::IdleFlow);
            assert!(value > 0.0 || may_be_nothing, "{part:?}: {value}");
            assert!(value.is_finite(), "{part:?}");
        }
    }

    #[test]
    fn ratios_of_rates_are_to_few_flows() {
        let mut lines: Vec<Line> = PARTS.map(line).into();
        for line in &mut lines {
            line.rounds
                .push(Some(if line.subject == FEW { 40.0 } else { 10.0 }));
        }
        compare(&mut lines);
        for line in lines {
            let compared = line.unit == CORE && line.subject != FEW;
            let against = compared.then_some((40.0, 0.25));
            assert_eq!(line.against, against, "{}, {}", line.title, line.subject);
        }
    }
}
