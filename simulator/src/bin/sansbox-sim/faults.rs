//! `faults`: names every class of faults.
use crate::args::{Failure, say};
use sansbox_simulator::fault::{self, FaultClass};

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    if let Some(arg) = args.next()? {
        return Err(arg.unexpected().into());
    }
    let width = fault::all().map(|c| c.name.len()).max().unwrap_or(0);
    for class in fault::all() {
        let FaultClass {
            name, about, kind, ..
        } = class;
        let note = if class.keeps_bytes {
            ""
        } else {
            " (not in swarms)"
        };
        say(format_args!("{name:<width$} {kind:<5} {about}{note}"))?;
    }
    Ok(true)
}
