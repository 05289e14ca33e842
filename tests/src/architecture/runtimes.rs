//! What holds between the runtimes: they have the same names, and say nothing twice.
use super::{
    Package, Source, Violation, code_only,
    rules::{Kind, RULES, violation},
    without_tests,
};

/// Lines that two runtimes may have in common without a break: the head of a function of the trait
/// that both implement is that long.
const COMMON_LINES_MAX: usize = 8;

/// The runtimes of an executor; what they share is in another crate.
fn runtimes(packages: &[Package]) -> Vec<&Package> {
    let is_runtime = |package: &&Package| {
        let rule = RULES.iter().find(|rule| rule.name == package.name);
        rule.is_some_and(|rule| rule.kind == Kind::Runtime)
            && package.dependencies.iter().any(|d| d == "sansbox-runtime")
    };
    packages.iter().filter(is_runtime).collect()
}

/// Checks each pair of runtimes.
pub(super) fn check(packages: &[Package], wrong: &mut Vec<Violation>) {
    let runtimes = runtimes(packages);
    for (n, a) in runtimes.iter().enumerate() {
        for b in runtimes.iter().skip(n + 1) {
            names(a, b, wrong);
            twins(a, b, wrong);
        }
    }
}

/// The part of a path behind the package's folder.
fn inner(source: &Source) -> &str {
    source.path.split_once("src/").map_or("", |(_, path)| path)
}

fn is_root(source: &Source) -> bool {
    inner(source) == "lib.rs"
}

/// The lines of code, without what surrounds them.
fn lines(source: &Source) -> Vec<String> {
    let code = code_only(&without_tests(&source.text), true);
    let lines = code.lines().map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// Same files, and the same code at the root, which holds all public names.
fn names(a: &Package, b: &Package, wrong: &mut Vec<Violation>) {
    let files = |package: &Package| {
        let mut files: Vec<_> = package
            .sources
            .iter()
            .map(inner)
            .map(str::to_owned)
            .collect();
        files.sort();
        files
    };
    if files(a) != files(b) {
        let what = format!("has other files than {}", b.name);
        wrong.push(violation(&a.name, what));
    }
    let root = |package: &Package| package.sources.iter().find(|s| is_root(s)).map(lines);
    if root(a) != root(b) {
        let what = format!("has other public names than {}", b.name);
        wrong.push(violation(&a.name, what));
    }
}

/// No long run of lines is in both.
fn twins(a: &Package, b: &Package, wrong: &mut Vec<Violation>) {
    for source in a.sources.iter().filter(|source| !is_root(source)) {
        for other in b.sources.iter().filter(|source| !is_root(source)) {
            let common = longest_common(&lines(source), &lines(other));
            if common > COMMON_LINES_MAX {
                let what = format!("{common} lines are also in {}", other.path);
                wrong.push(violation(&source.path, what));
            }
        }
    }
}

/// How many lines the longest run has that is in both.
fn longest_common(a: &[String], b: &[String]) -> usize {
    let mut longest = 0;
    // Lengths of the runs that end at each line of `b` and the line of `a` before.
    let mut before = vec![0; b.len() + 1];
    for line in a {
        let mut here = vec![0; b.len() + 1];
        for (n, other) in b.iter().enumerate() {
            if line == other {
                here[n + 1] = before[n] + 1;
                longest = longest.max(here[n + 1]);
            }
        }
        before = here;
    }
    longest
}
