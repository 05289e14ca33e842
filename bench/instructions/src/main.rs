//! Counts the instructions of `apply` under callgrind, and compares with what was committed. Unlike
//! a time, a count is the same on every machine with the same target and compiler.
//!
//! ```text
//! cargo run --release -p sansbox-instructions              compare
//! cargo run --release -p sansbox-instructions -- --bless   write the baseline
//! ```
//!
//! Each case runs twice, with different numbers of rounds: the difference of the totals is what
//! the rounds cost, and start and set-up drop out.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]
mod baseline;
#[path = "../../src/callgrind.rs"]
mod callgrind;
mod cases;

use anyhow::{Context as _, bail, ensure};
use baseline::{Counts, TOLERANCE, bless, change, compare, load};
use cases::{CASES, Case};
use std::{
    env,
    process::{Command, ExitCode},
};

/// Target and compiler that made this program.
const BUILD: &str = env!("SANSBOX_BUILD");
/// Rounds of the two runs.
const ROUNDS: [u64; 2] = [500, 2500];

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => check(),
        ["--bless"] => {
            let counts = count_all()?;
            bless(BUILD, &counts)?;
            print(&counts, &counts);
            Ok(ExitCode::SUCCESS)
        }
        ["run", name, rounds] => {
            let case = Case::find(name).with_context(|| format!("no case {name}"))?;
            case.run(rounds.parse()?);
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("usage: instructions [--bless]"),
    }
}

fn check() -> anyhow::Result<ExitCode> {
    if !callgrind::is_here() {
        let must = env::var_os("SANSBOX_CI").is_some_and(|value| value == "1");
        ensure!(
            !must,
            "valgrind is missing, and SANSBOX_CI=1 says that it must be there"
        );
        println!("skipped: valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(baseline) = load()?.remove(BUILD) else {
        println!("no baseline for {BUILD}: skipped");
        return Ok(ExitCode::SUCCESS);
    };
    let counts = count_all()?;
    print(&counts, &baseline);
    let wrong = compare(&counts, &baseline);
    for line in &wrong {
        println!("{line}");
    }
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("more than {TOLERANCE} % off; if it is meant to be, --bless makes it the baseline");
    Ok(ExitCode::FAILURE)
}

fn print(counts: &Counts, baseline: &Counts) {
    println!("instructions, {BUILD}");
    for (case, count) in counts {
        let known = baseline.get(case).copied();
        let change = known.map_or(f64::NAN, |known| change(*count, known));
        println!("{case:20} {count:>8} {change:>+6.1} %");
    }
}

/// Instructions of one round of every case.
fn count_all() -> anyhow::Result<Counts> {
    ensure!(
        !cfg!(debug_assertions),
        "what is not optimised is not worth counting: build with --release"
    );
    let counts = CASES.iter().map(|case| {
        let [few, many] = ROUNDS;
        let difference = total(case.name, many)?.saturating_sub(total(case.name, few)?);
        Ok((case.name.to_owned(), difference / (many - few)))
    });
    counts.collect()
}

/// Instructions of this program when it runs a case.
fn total(case: &str, rounds: u64) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["run", case, &rounds.to_string()])
        .output()
        .context("run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{case}: {text}");
    callgrind::collected(&text).with_context(|| format!("callgrind says no total: {text}"))
}
