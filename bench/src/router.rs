//! The router's own bench, run as a program: it needs no network and no peer.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::guard;
use crate::outcome::Verdict;
use crate::subject::{BUILD_LIMIT, Folders};

/// A lookup may be this many times slower with 100,000 rules than with 10.
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

    /// The mark that applies: a ratio compares a large rule set with a small one, and a unit of
    /// bytes is the memory of one suffix.
    pub(crate) fn judge(&self) -> Option<(String, Verdict)> {
        let (text, measured, bound) = if let Some(ratio) = self.ratio {
            (format!("<= {SLOWDOWN_MAX}x"), ratio, SLOWDOWN_MAX)
        } else if self.unit.to_ascii_lowercase().starts_with("byte") {
            (
                format!("<= {SUFFIX_BYTES_MAX} {}", self.unit),
                self.value,
                SUFFIX_BYTES_MAX,
            )
        } else {
            return None;
        };
        Some((
            text,
            if measured <= bound {
                Verdict::Met
            } else {
                Verdict::Missed
            },
        ))
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
    if lookups.is_empty() {
        bail!("the router bench printed no figure");
    }
    Ok(lookups)
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
    use super::*;

    #[test]
    fn objects_are_read_and_judged() {
        let text = concat!(
            "building\n",
            r#"{"bench":"router","figure":"domain_lookup","subject":"10","value":40.0,"unit":"ns","ratio":null,"peer":null}"#,
            "\n",
            r#"{"bench":"router","figure":"domain_lookup","subject":"100000","value":90.0,"unit":"ns","ratio":2.25,"peer":"10"}"#,
            "\n",
            r#"{"bench":"router","figure":"suffix_memory","subject":"100000","value":21.5,"unit":"bytes","ratio":null,"peer":null}"#,
            "\n",
        );
        let lookups = parse(text).unwrap();
        let verdicts: Vec<_> = lookups.iter().map(|l| l.judge().map(|(_, v)| v)).collect();
        assert_eq!(verdicts, [None, Some(Verdict::Missed), Some(Verdict::Met)]);
        assert_eq!(lookups[1].object["peer"], "10");
    }

    #[test]
    fn an_object_without_a_value_is_an_error() {
        assert!(parse(r#"{"figure":"x","subject":"y","unit":"ns"}"#).is_err());
        assert!(parse("no objects here").unwrap().is_empty());
    }
}
