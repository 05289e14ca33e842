//! `run`: runs one scenario with one seed.
use crate::args::{self, Failure, Faults, Word, duration, number, say, scenario, text, value};
use crate::pictures::Pictures;
use sansbox_simulator::{
    explore::{
        Decisions,
        decisions::{self, Signature},
    },
    scenario::Report,
    tcp::Tier,
    transcript::hex,
    world::Setup,
};
use std::time::Duration;

/// What to run, as the command line says it.
#[derive(Default)]
pub(crate) struct Orders {
    name: Option<String>,
    seed: Option<u64>,
    faults: Option<Faults>,
    made: Option<String>,
    tier: Option<Tier>,
    is_calm: bool,
    branch_at: Option<Duration>,
    branch_seed: Option<u64>,
}

impl Orders {
    /// Reads one argument; gives it back when it is none of these.
    pub(crate) fn option(&mut self, arg: Word, parser: &mut lexopt::Parser) -> Result<(), Failure> {
        match &arg {
            Word::Value(name) if self.name.is_none() => self.name = Some(name.clone()),
            Word::Value(_) | Word::Short(_) => return Err(arg.unexpected()),
            Word::Long(name) => match name.as_str() {
                "seed" => self.seed = Some(number(parser)?),
                "decisions" => self.made = Some(text(parser)?),
                "tier" => self.tier = Some(value(parser, str::parse::<Tier>)?),
                "calm" => self.is_calm = true,
                "branch-at" => self.branch_at = Some(value(parser, duration)?),
                "branch-seed" => self.branch_seed = Some(number(parser)?),
                _ => {
                    let faults = self.faults.get_or_insert_with(Faults::none);
                    faults.option(arg, parser)?;
                }
            },
        }
        Ok(())
    }

    /// The run; a file's own seed, faults and branch stand where the line says nothing.
    pub(crate) fn decisions(self, command: &str) -> Result<Decisions, Failure> {
        let file = match self.made.as_deref().and_then(|made| made.strip_prefix('@')) {
            Some(path) => Some(load(path)?),
            None => None,
        };
        let is_file = file.is_some();
        let name = self
            .name
            .or_else(|| file.as_ref().map(|f| f.scenario.clone()));
        let wants = || Failure::Usage(format!("{command} wants the name of a scenario"));
        let name = scenario(&name.ok_or_else(wants)?)?.name;
        let mut run = file.unwrap_or_else(|| Decisions {
            scenario: name.into(),
            ..Decisions::default()
        });
        run.check_scenario(name).map_err(told)?;
        run.seed = self.seed.unwrap_or(run.seed);
        if let Some(faults) = self.faults {
            run.swarm = faults.swarm();
        }
        run.tier = self.tier.unwrap_or(run.tier);
        run.is_calm |= self.is_calm;
        run.branch = match (self.branch_at, self.branch_seed) {
            (Some(at), Some(seed)) => Some((at, seed)),
            (None, None) => run.branch,
            _ => {
                let why = "--branch-at and --branch-seed go together".to_owned();
                return Err(Failure::Usage(why));
            }
        };
        if let (Some(line), false) = (self.made, is_file) {
            run.made = decisions::parse_inline(&line).map_err(told)?;
        }
        Ok(run)
    }
}

fn told(error: impl ToString) -> Failure {
    Failure::Told(error.to_string())
}

/// Reads a decision file.
pub(crate) fn load(path: &str) -> Result<Decisions, Failure> {
    let text = args::read(path)?;
    Decisions::parse(&text).map_err(|e| Failure::Told(format!("{path}: {e}")))
}

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut orders = Orders::default();
    let mut traces = false;
    let mut pictures = Pictures::default();
    while let Some(arg) = args::next(&mut args)? {
        match arg.name() {
            "trace" => traces = true,
            name if Pictures::has(name) => pictures.option(name, &mut args)?,
            _ => orders.option(arg, &mut args)?,
        }
    }
    let run = orders.decisions("run")?;
    let setup = Setup {
        keeps_entries: traces || pictures.are_wanted(),
        ..run.setup()
    };
    let report = scenario(&run.scenario)?.run(setup);
    for line in report.lines().filter(|_| traces) {
        say(format_args!("{line}"))?;
    }
    told_of(&run, &report)?;
    pictures.draw(&run, &report)?;
    Ok(report.outcome.is_ok())
}

fn told_of(run: &Decisions, report: &Report) -> Result<(), Failure> {
    say(format_args!("scenario     {}", run.scenario))?;
    say(format_args!("seed         {}", run.seed))?;
    say(format_args!("digest       {}", hex(&report.digest)))?;
    say(format_args!("virtual time {}", report.virtual_time))?;
    say(format_args!("events       {}", report.events))?;
    say(format_args!("decisions    {}", report.decisions))?;
    for bad in &report.hazards {
        say(format_args!("bad luck     {}@{}", bad.stream, bad.nth))?;
    }
    for (mark, hits) in report.marks.iter() {
        say(format_args!("mark         {mark}: {hits}"))?;
    }
    for unasked in report.unasked(&run.made) {
        let (stream, nth) = (&unasked.stream, unasked.nth);
        say(format_args!("not asked    {stream}@{nth}"))?;
    }
    let got = report.outcome.as_ref().err().map(Signature::of);
    if let Some(expected) = run.signature.as_ref().filter(|s| got.as_ref() != Some(*s)) {
        let but = "the file says that it fails, by";
        say(format_args!("differs      {but} {expected}"))?;
    }
    match &report.outcome {
        Ok(()) => say(format_args!("outcome      passed")),
        Err(violation) => {
            say(format_args!("outcome      failed: {violation}"))?;
            match run.command() {
                Some(command) => say(format_args!("again        {command}")),
                None => Ok(()),
            }
        }
    }
}
