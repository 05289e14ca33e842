//! The router's own bench, run as a program: it needs no network and no peer.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::guard;
use crate::outcome::Verdict;
use crate::subject::{BUILD_LIMIT, Folders};

/// How many times slower a lookup may be among 100,000 entries than among 10.
const SLOWDOWN_MAX: f64 = 2.0;
/// Memory of one domain suffix.
const SUFFIX_BYTES_MAX: f64 = 24.0;

/// One object of the router bench, passed on as it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    /// The object.
    pub(crate) object: Value,
    /// Name of the figure.
    pub(crate) figure: String,
    /// What was looked up in.
    pub(crate) subject: String,
    /// The value.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: String,
    /// To the smallest rule set.
    pub(crate) ratio: Option<f64>,
    /// What the ratio is to.
    pub(crate) peer: Option<String>,
}

impl Lookup {
    fn read(line: &str) -> Result<Self> {
        let object: Value = serde_json::from_str(line)?;
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(String::from);
        let named = |key: &'static str| text(key).with_context(|| format!("no {key:?}"));
        Ok(Self {
            figure: named("figure")?,
            subject: named("subject")?,
            value: object
                .get("value")
                .and_then(Value::as_f64)
                .context("no \"value\"")?,
            unit: named("unit")?,
            ratio: object.get("ratio").and_then(Value::as_f64),
            peer: text("peer"),
            object,
        })
    }

    /// A lookup among 100,000 entries, with its ratio to one among 10.
    fn is_large_lookup(&self) -> bool {
        self.figure.starts_with("lookup, 100000 ")
    }

    /// The memory of one domain suffix.
    fn is_suffix_memory(&self) -> bool {
        self.figure.starts_with("memory per ") && self.figure.contains("suffix")
    }

    /// Its mark and how it came out, if it has one.
    pub(crate) fn judge(&self) -> Option<(String, Verdict)> {
        let (text, measured, bound) = if self.is_large_lookup() {
            (format!("<= {SLOWDOWN_MAX}x"), self.ratio, SLOWDOWN_MAX)
        } else if self.is_suffix_memory() {
            (
                format!("<= {SUFFIX_BYTES_MAX} {}", self.unit),
                Some(self.value),
                SUFFIX_BYTES_MAX,
            )
        } else {
            return None;
        };
        let verdict = match measured {
            Some(measured) if measured <= bound => Verdict::Met,
            Some(_) => Verdict::Missed,
            None => Verdict::NotMeasured,
        };
        Some((text, verdict))
    }
}

/// Builds and runs it.
pub(crate) fn run(folders: &Folders) -> Result<Vec<Lookup>> {
    let mut command = Command::new("cargo");
    command.current_dir(&folders.workspace);
    command.args(["run", "--quiet", "--release", "-p", "sansbox-engine"]);
    command.arg("--target-dir").arg(&folders.target);
    command.args(["--example", "router_scale", "--", "--json"]);
    let text = guard::output(&mut command, BUILD_LIMIT)?;
    let lookups = parse(&text)?;
    check_names(&lookups)?;
    Ok(lookups)
}

/// Fails when a mark has no figure, as after a renaming: it would pass unseen otherwise.
fn check_names(lookups: &[Lookup]) -> Result<()> {
    if !lookups.iter().any(Lookup::is_large_lookup) {
        bail!("the router bench printed no lookup among 100,000 entries");
    }
    if !lookups.iter().any(Lookup::is_suffix_memory) {
        bail!("the router bench printed no memory of a suffix");
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Lookup>> {
    let objects = text
        .lines()
        .filter(|line| line.trim_start().starts_with('{'));
    objects
        .map(|line| Lookup::read(line).with_context(|| format!("in {line:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_read_and_judged() {
        let line = |figure: &str, value: f64, unit: &str, ratio: Value| {
            let peer = if ratio.is_null() {
                Value::Null
            } else {
                "10 suffixes".into()
            };
            json!({
                "bench": "router", "figure": figure, "subject": "sansbox", "value": value,
                "unit": unit, "ratio": ratio, "peer": peer,
            })
        };
        let lines = [
            line("lookup, 10 suffixes", 40.0, "ns", Value::Null),
            line("lookup, 1000 suffixes", 90.0, "ns", json!(2.25)),
            line("lookup, 100000 suffixes", 90.0, "ns", json!(2.25)),
            line("lookup, 100000 IPv4 prefixes", 70.0, "ns", json!(1.75)),
            line("memory per entry, suffixes", 21.5, "bytes", Value::Null),
            line(
                "memory per entry, IPv6 prefixes",
                32.0,
                "bytes",
                Value::Null,
            ),
        ];
        let text = lines
            .iter()
            .fold(String::from("building\n"), |text, l| format!("{text}{l}\n"));
        let lookups = parse(&text).unwrap();
        let verdicts: Vec<_> = lookups.iter().map(|l| l.judge().map(|(_, v)| v)).collect();
        let (met, missed) = (Some(Verdict::Met), Some(Verdict::Missed));
        assert_eq!(verdicts, [None, None, missed, met, met, None]);
        assert_eq!(lookups[2].object, lines[2]);
    }

    /// The marks hang on the names that the router bench prints, so they must be there.
    #[test]
    fn missing_figures_of_a_mark_are_told() {
        let named = |figure: &str| Lookup {
            object: Value::Null,
            figure: figure.into(),
            subject: "sansbox".into(),
            value: 1.0,
            unit: "ns".into(),
            ratio: None,
            peer: None,
        };
        let lookups = ["lookup, 100000 suffixes", "memory per suffix"].map(named);
        assert!(check_names(&lookups).is_ok());
        assert!(
            check_names(&lookups[..1])
                .unwrap_err()
                .to_string()
                .contains("memory")
        );
        assert!(check_names(&lookups[1..]).is_err());
    }

    #[test]
    fn an_object_without_a_value_is_an_error() {
        assert!(parse(r#"{"figure":"x","subject":"y","unit":"ns"}"#).is_err());
        assert!(parse("no objects here").unwrap().is_empty());
    }
}
