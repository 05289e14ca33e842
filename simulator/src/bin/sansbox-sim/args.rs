//! What all commands share: arguments, output, and ways to fail.
use lexopt::ValueExt as _;
use sansbox_simulator::scenario::{self, Scenario};
use std::{
    fmt,
    io::{self, Write as _},
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

fn parse_number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a number is wanted, decimal or hexadecimal behind 0x".to_owned())
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
