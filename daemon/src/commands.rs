//! The commands that end by themselves.
use crate::{
    cli::HELP,
    fatal::Fatal,
    load::{Inputs, STDIN, load, refuse},
    logger::Logger,
    runtime,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sansbox_engine::config;
use sansbox_flight::KeyPair;
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{self, Path},
    time::Instant,
};
use zeroize::Zeroizing;

/// The sing-box whose configuration is read.
const SING_BOX: &str = "1.12.24";
const OWN: &str = env!("CARGO_PKG_VERSION");
/// Random bytes printed at a time; a multiple of three, so that base64 needs no padding between.
const CHUNK: usize = 48 * 1024;

/// How `generate rand` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Raw,
    Base64,
    Hex,
}

/// Writes what was asked for to stdout.
pub(crate) fn print(data: &[u8]) -> Result<(), Fatal> {
    let mut stdout = io::stdout().lock();
    let done = stdout.write_all(data).and_then(|()| stdout.flush());
    done.map_err(|e| Fatal::io("write to stdout", &e))
}

/// Names a file that was written.
pub(crate) fn name_written(path: &Path) -> Result<(), Fatal> {
    let done = writeln!(io::stderr(), "{}", absolute(path)?);
    done.map_err(|e| Fatal::io("write to stderr", &e))
}

fn absolute(path: &Path) -> Result<String, Fatal> {
    let absolute = path::absolute(path);
    let absolute = absolute.map_err(|e| Fatal::io(path.display(), &e))?;
    Ok(absolute.display().to_string())
}

pub(crate) fn help() -> Result<(), Fatal> {
    print(HELP.as_bytes())
}

/// Says nothing about a good configuration, and binds nothing. Warnings go to stderr.
pub(crate) fn check(inputs: &Inputs, began: Instant, colour: bool) -> Result<(), Fatal> {
    let sources = inputs.read()?;
    let loaded = load(&sources)?;
    let logger = Logger::on_stderr(began, colour)?;
    loaded.warn(&logger, &sources);
    Ok(())
}

pub(crate) fn format(inputs: &Inputs, write: bool) -> Result<(), Fatal> {
    let sources = inputs.read()?;
    let is_one_of_many = sources.files().len() > 1;
    for source in sources.files() {
        let text = config::format(source).map_err(|errors| refuse(&errors, &sources))?;
        let path = Path::new(source.path());
        if !write {
            let name = match is_one_of_many {
                true => absolute(path)? + "\n",
                false => String::new(),
            };
            print(format!("{name}{text}\n").as_bytes())?;
        } else if source.path() == STDIN {
            return Err(Fatal::new(
                "format: what came from stdin cannot be written back",
            ));
        } else if text.as_bytes() != source.bytes() {
            let written = fs::write(path, text);
            written.map_err(|e| Fatal::io(format!("write {}", path.display()), &e))?;
            name_written(path)?;
        }
    }
    Ok(())
}

pub(crate) fn merge(inputs: &Inputs, out: &Path) -> Result<(), Fatal> {
    let sources = inputs.read()?;
    let text = config::merge(&sources).map_err(|errors| refuse(&errors, &sources))?;
    let parent = out.parent().filter(|path| !path.as_os_str().is_empty());
    let written = parent.map_or(Ok(()), fs::create_dir_all);
    let written = written.and_then(|()| fs::write(out, text));
    written.map_err(|e| Fatal::io(format!("write {}", out.display()), &e))?;
    name_written(out)
}

pub(crate) fn version(name_only: bool, sing_box: bool) -> Result<(), Fatal> {
    let (name, version) = if sing_box {
        ("sing-box", format!("{SING_BOX}-sansbox.{OWN}"))
    } else {
        ("sansbox", OWN.to_owned())
    };
    if name_only {
        return print(format!("{version}\n").as_bytes());
    }
    let mut text = format!(
        "{name} version {version}\n\nEnvironment: rustc {} {}/{}\n",
        env!("SANSBOX_RUSTC"),
        std::env::consts::OS,
        std::env::consts::ARCH,
    );
    // Writing to a String does not fail.
    let _ = writeln!(text, "Tags: {}", runtime::TAG);
    let revision = env!("SANSBOX_REVISION");
    if !revision.is_empty() {
        let _ = writeln!(text, "Revision: {revision}");
    }
    let _ = writeln!(text, "Configuration: sing-box {SING_BOX}");
    print(text.as_bytes())
}

/// Fills `bytes` from the system's randomness.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Fatal> {
    getrandom::fill(bytes).map_err(|e| Fatal::new(format!("no randomness: {e}")))
}

/// A random UUID, version 4 (RFC 9562 section 5.4).
pub(crate) fn uuid() -> Result<(), Fatal> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    print(uuid_text(u128::from_be_bytes(bytes)).as_bytes())
}

fn uuid_text(random: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = random & !VERSION & !VARIANT | 4 << 76 | 0b10 << 62;
    let text = format!("{bits:032x}");
    let (head, node) = text.split_at(20);
    let (head, clock) = head.split_at(16);
    let (head, high) = head.split_at(12);
    let (low, mid) = head.split_at(8);
    format!("{low}-{mid}-{high}-{clock}-{node}\n")
}

/// A pair of keys for the flight recorder.
pub(crate) fn recorder_keypair() -> Result<(), Fatal> {
    let mut random = Zeroizing::new([0; 32]);
    fill(&mut *random)?;
    let pair = KeyPair::from_random(&random);
    let private = pair.private.to_text();
    let text = format!("PrivateKey: {}\nPublicKey: {}\n", *private, pair.public);
    print(Zeroizing::new(text).as_bytes())
}

pub(crate) fn rand(len: u64, encoding: Encoding) -> Result<(), Fatal> {
    let mut left = len;
    let mut buffer = [0; CHUNK];
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let (chunk, _) = buffer.split_at_mut(n);
        fill(chunk)?;
        match encoding {
            Encoding::Raw => print(chunk)?,
            Encoding::Base64 => print(STANDARD.encode(chunk).as_bytes())?,
            Encoding::Hex => {
                let digits: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
                print(digits.as_bytes())?;
            }
        }
        left -= n as u64;
    }
    match encoding {
        Encoding::Raw => Ok(()),
        Encoding::Base64 | Encoding::Hex => print(b"\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_carry_version_and_variant() {
        assert_eq!(uuid_text(0), "00000000-0000-4000-8000-000000000000\n");
        assert_eq!(
            uuid_text(u128::MAX),
            "ffffffff-ffff-4fff-bfff-ffffffffffff\n"
        );
    }
}
