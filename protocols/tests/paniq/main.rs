//! What the Go programs of Bridgefall Paniq were recorded to do, done again.
//!
//! `tests/vectors/paniq/` was made by running them. A case whose outcome differs here on purpose
//! stands in a list with its reason, and a list with an entry too many fails as well.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: a panic is its way to fail"
)]
mod envelope;
mod obf;
mod proxy;
mod transcripts;

use serde_json::Value;
use std::collections::BTreeSet;

/// A file of vectors.
fn vectors(name: &str) -> Value {
    let path = format!("{}/tests/vectors/paniq/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap()
}

fn size(value: &Value, key: &str) -> usize {
    usize::try_from(number(value, key)).unwrap()
}

fn octets(value: &Value, key: &str) -> Vec<u8> {
    let digits = text(value, key);
    let octet = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(octet).collect()
}

/// Cases that differ on purpose: each must come up, and nothing else may differ.
struct Differences {
    expected: BTreeSet<&'static str>,
    seen: BTreeSet<String>,
}

impl Differences {
    fn new(pinned: &[(&'static str, &'static str)]) -> Self {
        Self {
            expected: pinned.iter().map(|(case, _)| *case).collect(),
            seen: BTreeSet::new(),
        }
    }

    /// Compares one case, unless it is pinned: then it must differ.
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, case: &str, ours: &T, theirs: &T) {
        if self.expected.contains(case) {
            assert_ne!(ours, theirs, "{case} is pinned as different");
            self.seen.insert(case.to_owned());
        } else {
            assert_eq!(ours, theirs, "{case}");
        }
    }

    fn finish(self) {
        let seen: BTreeSet<_> = self.seen.iter().map(String::as_str).collect();
        assert_eq!(seen, self.expected, "pinned cases that never came up");
    }
}
