//! `run`: runs one scenario with one seed.
use crate::{
    args::{Failure, number, say, scenario},
    pictures::Pictures,
};
use lexopt::Arg;
use sansbox_simulator::{out::Story, transcript::hex, world::Setup};

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut name = None;
    let mut setup = Setup::default();
    let mut pictures = Pictures::default();
    let mut is_traced = false;
    while let Some(arg) = args.next()? {
        if let Arg::Long(name) = arg
            && let Some(draw) = Pictures::option(name)
        {
            pictures.add(draw, &mut args)?;
            continue;
        }
        match arg {
            Arg::Long("seed") => setup.seed = number(&mut args)?,
            Arg::Long("trace") => is_traced = true,
            Arg::Value(value) if name.is_none() => {
                name = Some(value.to_string_lossy().into_owned());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let name = name.ok_or_else(|| Failure::Usage("run wants the name of a scenario".into()))?;
    let seed = setup.seed;
    setup.keeps_entries = is_traced || pictures.are_wanted();
    let report = scenario(&name)?.run(setup);
    if is_traced {
        for line in report.lines() {
            say(format_args!("{line}"))?;
        }
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
    pictures.draw(&Story {
        title: &name,
        seed: Some(seed),
        report: &report,
        replay: &format!("sansbox-sim run {name} --seed {seed}"),
        minimised: &[],
        key_log: &[],
    })?;
    Ok(report.outcome.is_ok())
}
