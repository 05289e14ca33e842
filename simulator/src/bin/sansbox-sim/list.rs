//! `list`: names every scenario.
use crate::args::{Failure, say};
use sansbox_simulator::scenario::{self, Scenario};

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut all = scenario::all();
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("planted") => all = scenario::planted(),
            other => return Err(other.unexpected().into()),
        }
    }
    let width = all.iter().map(|s| s.name.len()).max().unwrap_or(0);
    for Scenario { name, about, .. } in all {
        say(format_args!("{name:<width$} {}", about.trim()))?;
    }
    Ok(true)
}
