//! `promote`: makes one connection of a recording a file of its own, to be kept as a test.
use crate::{
    args::{Failure, say},
    recording::{connection, key, load, told},
};
use lexopt::Arg;
use sansbox_simulator::record;
use std::{fs, path::PathBuf};

const WARNING: &str = "\
The file is not encrypted. Everybody who has it can read all that the connection sent and
received, its configuration with every password in it, and the seed of its secrets.";

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let (mut path, mut out, mut wanted, mut private) = (None, None, None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("key") => private = Some(key(&mut args)?),
            Arg::Long("connection") => wanted = Some(connection(&mut args)?),
            Arg::Short('o') | Arg::Long("output") => out = Some(PathBuf::from(args.value()?)),
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            other => return Err(other.unexpected().into()),
        }
    }
    let wants = |what: &str| Failure::Usage(format!("promote wants {what}"));
    let path = path.ok_or_else(|| wants("a recording"))?;
    let out = out.ok_or_else(|| wants("-o and where to write"))?;
    let wanted = wanted.ok_or_else(|| wants("--connection"))?;
    let recording = load(&path, private.as_ref())?;
    let id = wanted.find(&record::tracks(&recording))?;
    let file = record::promote(&recording, id).map_err(|e| told(&path, &e))?;
    fs::write(&out, &file).map_err(|e| told(&out, &e))?;
    say(format_args!("{}: {} bytes", out.display(), file.len()))?;
    eprintln!("{WARNING}");
    Ok(true)
}
