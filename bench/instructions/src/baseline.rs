//! The counts that were committed, by target and compiler, and how others differ from them.
use anyhow::Context as _;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Most that a count may differ, in percent. Fewer count as well: a baseline that is too high
/// would hide the next loss.
pub(crate) const TOLERANCE: f64 = 3.0;

/// Instructions of one run by the name of the case.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Where the baselines are.
pub(crate) fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

/// All baselines, by build. None when there is no file.
pub(crate) fn load() -> anyhow::Result<BTreeMap<String, Counts>> {
    let path = path();
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let value: serde_json::Value = serde_json::from_slice(&text)?;
    let builds = value.as_object().context("the baselines are no object")?;
    let builds = builds.iter().map(|(build, counts)| {
        let counts = counts.as_object().context("the counts are no object")?;
        let counts = counts.iter().map(|(case, count)| {
            let count = count.as_u64().context("a count is no number")?;
            Ok((case.clone(), count))
        });
        Ok((build.clone(), counts.collect::<anyhow::Result<Counts>>()?))
    });
    builds.collect()
}

/// Writes the counts of one build beside those of others.
pub(crate) fn bless(build: &str, counts: &Counts) -> anyhow::Result<()> {
    let mut all = load()?;
    all.insert(build.to_owned(), counts.clone());
    let mut text = serde_json::to_string_pretty(&serde_json::json!(all))?;
    text.push('\n');
    let path = path();
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// How much a count differs, in percent of the baseline.
pub(crate) fn change(count: u64, baseline: u64) -> f64 {
    (count as f64 - baseline as f64) * 100.0 / baseline.max(1) as f64
}

/// What is wrong with counts, line by line.
pub(crate) fn compare(counts: &Counts, baseline: &Counts) -> Vec<String> {
    let mut wrong = Vec::new();
    for (case, count) in counts {
        match baseline.get(case) {
            None => wrong.push(format!("{case}: not in the baseline")),
            Some(known) => {
                let change = change(*count, *known);
                if change.abs() > TOLERANCE {
                    wrong.push(format!(
                        "{case}: {count} instead of {known}, {change:+.1} %"
                    ));
                }
            }
        }
    }
    let gone = baseline.keys().filter(|case| !counts.contains_key(*case));
    wrong.extend(gone.map(|case| format!("{case}: only in the baseline")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter()
            .map(|(case, count)| ((*case).to_owned(), *count))
            .collect()
    }

    #[test]
    fn three_percent_either_way_are_the_same() {
        let baseline = counts(&[("a", 1000)]);
        for same in [970, 1000, 1030] {
            assert!(compare(&counts(&[("a", same)]), &baseline).is_empty());
        }
        for (other, text) in [
            (969, "a: 969 instead of 1000, -3.1 %"),
            (1031, "a: 1031 instead of 1000, +3.1 %"),
        ] {
            assert_eq!(compare(&counts(&[("a", other)]), &baseline), [text]);
        }
    }

    #[test]
    fn cases_on_one_side_only_are_told() {
        let wrong = compare(&counts(&[("a", 1)]), &counts(&[("b", 1)]));
        assert_eq!(wrong, ["a: not in the baseline", "b: only in the baseline"]);
    }
}
