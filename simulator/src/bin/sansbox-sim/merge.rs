//! `merge`: puts the results of a sweep's shards together.
use crate::args::{Failure, read, text, write};
use lexopt::Arg;
use sansbox_simulator::{explore::sweep::Outcome, scenario};

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let (mut paths, mut json, mut wants_marks) = (Vec::new(), None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => json = Some(text(&mut args)?),
            Arg::Long("all-marks") => wants_marks = true,
            Arg::Value(path) => paths.push(path.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut merged: Option<Outcome> = None;
    for path in &paths {
        let told = |e| Failure::Told(format!("{path}: {e}"));
        let outcome = Outcome::parse(&read(path)?).map_err(told)?;
        match &mut merged {
            Some(merged) => merged.merge(outcome).map_err(told)?,
            None => merged = Some(outcome),
        }
    }
    let merged = merged.ok_or_else(|| Failure::Usage("merge wants results of sweeps".into()))?;
    if let Some(path) = json {
        write(&path, merged.to_json().as_bytes())?;
    }
    let is_well = crate::sweep::told(&merged, &scenario::all(), wants_marks)?;
    Ok(is_well && merged.missing().is_empty() && !merged.cut_short)
}
