//! `list`: names every scenario.
use crate::args::{Failure, say};
use sansbox_simulator::scenario::{self, Scenario};

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    if let Some(arg) = args.next()? {
        return Err(arg.unexpected().into());
    }
    let all = scenario::all();
    let width = all.iter().map(|s| s.name.len()).max().unwrap_or(0);
    for Scenario { name, about, .. } in all {
        say(format_args!("{name:<width$} {}", about.trim()))?;
    }
    Ok(true)
}
