//! `run`: runs one scenario with one seed.
use crate::args::{Failure, number, say, scenario};
use lexopt::Arg;
use sansbox_simulator::{transcript::hex, world::Setup};

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut name = None;
    let mut setup = Setup::default();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("seed") => setup.seed = number(&mut args)?,
            Arg::Long("trace") => setup.keeps_entries = true,
            Arg::Value(value) if name.is_none() => {
                name = Some(value.to_string_lossy().into_owned());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let name = name.ok_or_else(|| Failure::Usage("run wants the name of a scenario".into()))?;
    let seed = setup.seed;
    let report = scenario(&name)?.run(setup);
    for line in report.lines() {
        say(format_args!("{line}"))?;
    }
    say(format_args!("scenario     {name}"))?;
    say(format_args!("seed         {seed}"))?;
    say(format_args!("digest       {}", hex(&report.digest)))?;
    say(format_args!("virtual time {}", report.virtual_time))?;
    say(format_args!("events       {}", report.events))?;
    say(format_args!("decisions    {}", report.decisions))?;
    match &report.outcome {
        Ok(()) => say(format_args!("outcome      passed"))?,
        Err(violation) => say(format_args!("outcome      failed: {violation}"))?,
    }
    Ok(report.outcome.is_ok())
}
