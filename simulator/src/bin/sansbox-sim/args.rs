//! What all commands share: arguments, output, and ways to fail.
use lexopt::ValueExt as _;
use sansbox_simulator::{
    explore::{Preset, Swarm},
    scenario::{self, Scenario},
};
use std::{
    fmt,
    io::{self, Write as _},
    time::Duration,
};

/// Why a command did not do what it was told.
pub(crate) enum Failure {
    /// It was told wrongly.
    Usage(String),
    /// It could not; this says why.
    Told(String),
    /// Nobody reads its output any more.
    Deaf,
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Writes a line to standard output.
pub(crate) fn say(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Failure::Deaf),
        Err(e) => Err(Failure::Told(format!("standard output: {e}"))),
    }
}

/// The value of the option just seen, as a number: decimal, or hexadecimal behind `0x`.
pub(crate) fn number(parser: &mut lexopt::Parser) -> Result<u64, Failure> {
    Ok(parser.value()?.parse_with(parse_number)?)
}

pub(crate) fn parse_number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a number is wanted, decimal or hexadecimal behind 0x".to_owned())
}

/// An argument on its own.
pub(crate) enum Word {
    /// `--NAME`.
    Long(String),
    /// Anything that is no option.
    Value(String),
    /// An option with one dash.
    Short(char),
}

impl Word {
    /// The name of an option with two dashes; of anything else, none that an option could have.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Long(name) => name,
            Self::Short(_) | Self::Value(_) => "",
        }
    }

    /// Nobody knows it.
    pub(crate) fn unexpected(self) -> Failure {
        Failure::Usage(match self {
            Self::Long(name) => format!("invalid option '--{name}'"),
            Self::Short(name) => format!("invalid option '-{name}'"),
            Self::Value(text) => format!("unexpected argument {text:?}"),
        })
    }
}

/// The next argument.
pub(crate) fn next(parser: &mut lexopt::Parser) -> Result<Option<Word>, Failure> {
    Ok(parser.next()?.map(|arg| match arg {
        lexopt::Arg::Long(name) => Word::Long(name.to_owned()),
        lexopt::Arg::Short(name) => Word::Short(name),
        lexopt::Arg::Value(text) => Word::Value(text.to_string_lossy().into_owned()),
    }))
}

/// The value of the option just seen, as text.
pub(crate) fn text(parser: &mut lexopt::Parser) -> Result<String, Failure> {
    value(parser, |text| Ok::<_, String>(text.to_owned()))
}

/// The value of the option just seen, as `parse` reads it.
pub(crate) fn value<T, E: fmt::Display>(
    parser: &mut lexopt::Parser,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Failure> {
    Ok(parser
        .value()?
        .parse_with(|text| parse(text).map_err(|e| e.to_string()))?)
}

/// Threads of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A number of threads.
pub(crate) fn jobs(text: &str) -> Result<usize, String> {
    let jobs = text.parse().ok().filter(|jobs| (1..=4096).contains(jobs));
    jobs.ok_or_else(|| "a number of threads is wanted, from 1 to 4096".to_owned())
}

/// A time with its unit: `90s`, `1500ms`, `2m`, `7ns`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let n: Option<u64> = digits.parse().ok();
    let nanos = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => 0,
    };
    let nanos = n.filter(|_| nanos > 0).and_then(|n| n.checked_mul(nanos));
    let time = nanos.map(Duration::from_nanos);
    time.ok_or_else(|| "a time is a number with its unit: ns, us, ms, s, m, h".to_owned())
}

/// Which faults a run has.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    preset: Option<Preset>,
    heal_at: Duration,
}

impl Faults {
    /// None, unless said otherwise.
    pub(crate) fn none() -> Self {
        Self {
            preset: None,
            heal_at: Swarm::default().heal_at,
        }
    }

    /// Few, unless said otherwise.
    pub(crate) fn swarming() -> Self {
        Self {
            preset: Some(Preset::default()),
            ..Self::none()
        }
    }

    /// Reads `--swarm` or `--heal-at`; refuses all else.
    pub(crate) fn option(&mut self, arg: Word, parser: &mut lexopt::Parser) -> Result<(), Failure> {
        let Word::Long(name) = &arg else {
            return Err(arg.unexpected());
        };
        match name.as_str() {
            "swarm" => {
                self.preset = value(parser, |text| match text {
                    "none" => Ok(None),
                    other => other.parse().map(Some),
                })?;
            }
            "heal-at" => self.heal_at = value(parser, duration)?,
            _ => return Err(arg.unexpected()),
        }
        Ok(())
    }

    /// The swarm, if there is one.
    pub(crate) fn swarm(self) -> Option<Swarm> {
        let heal_at = self.heal_at;
        self.preset.map(|preset| Swarm { preset, heal_at })
    }
}

/// The scenarios of these names; all where none is given.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<Scenario>, Failure> {
    if names.is_empty() {
        return Ok(scenario::all());
    }
    names.iter().map(|name| scenario(name)).collect()
}

/// Reads a text file.
pub(crate) fn read(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::Told(format!("{path}: {e}")))
}

/// Writes a file.
pub(crate) fn write(path: &str, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|e| Failure::Told(format!("{path}: {e}")))
}

/// The scenario of this name, or an error that lists near ones.
pub(crate) fn scenario(name: &str) -> Result<Scenario, Failure> {
    scenario::find(name).ok_or_else(|| {
        let near = scenario::near(name);
        let hint = if near.is_empty() {
            "`sansbox-sim list` shows all".to_owned()
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        Failure::Told(format!("no scenario is called {name:?}; {hint}"))
    })
}
