//! Lists scenarios, runs one, or runs all of them twice and compares.
#![expect(clippy::print_stdout, reason = "a command line tool")]
use sansbox_simulator::{
    scenario::{self, Scenario},
    transcript::hex,
};
use std::process::ExitCode;

const USAGE: &str = "\
usage: sansbox-sim list
       sansbox-sim run NAME [--seed N] [--trace]
       sansbox-sim gate [--seeds N]
A seed is a decimal number, or a hexadecimal one behind 0x.";

/// Seeds of each scenario in the gate, unless said otherwise.
const GATE_SEEDS: u64 = 8;

enum Order {
    List,
    Run {
        name: String,
        seed: u64,
        trace: bool,
    },
    Gate {
        seeds: u64,
    },
}

fn number(text: Option<&str>, what: &str) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{what} wants a number"))?;
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{what} wants a number, not {text:?}"))
}

fn parse(args: &[String]) -> Result<Order, String> {
    let mut args = args.iter().map(String::as_str);
    let order = args.next().ok_or("what is to be done?")?;
    let mut name = None;
    let (mut seed, mut seeds, mut trace) = (None, None, false);
    while let Some(arg) = args.next() {
        match arg {
            "--seed" if order == "run" => seed = Some(number(args.next(), arg)?),
            "--trace" if order == "run" => trace = true,
            "--seeds" if order == "gate" => seeds = Some(number(args.next(), arg)?),
            _ if order == "run" && name.is_none() && !arg.starts_with('-') => {
                name = Some(arg.to_owned());
            }
            _ => return Err(format!("{order} does not know {arg:?}")),
        }
    }
    match order {
        "list" => Ok(Order::List),
        "run" => Ok(Order::Run {
            name: name.ok_or("run wants the name of a scenario")?,
            seed: seed.unwrap_or(0),
            trace,
        }),
        "gate" => Ok(Order::Gate {
            seeds: seeds.unwrap_or(GATE_SEEDS),
        }),
        _ => Err(format!("no such order: {order:?}")),
    }
}

fn list() -> ExitCode {
    let all = scenario::all();
    let width = all.iter().map(|s| s.name.len()).max().unwrap_or(0);
    for Scenario { name, about, .. } in all {
        println!("{name:<width$} {about}");
    }
    ExitCode::SUCCESS
}

fn run(name: &str, seed: u64, trace: bool) -> ExitCode {
    let Some(scenario) = scenario::find(name) else {
        let near = scenario::near(name);
        let hint = if near.is_empty() {
            "`sansbox-sim list` shows all".to_owned()
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        println!("no scenario is called {name:?}; {hint}");
        return ExitCode::FAILURE;
    };
    let report = scenario.run(seed, trace);
    for line in &report.trace {
        println!("{line}");
    }
    println!("scenario     {name}");
    println!("seed         {seed}");
    println!("digest       {}", hex(&report.digest));
    println!("virtual time {}", report.virtual_time);
    println!("events       {}", report.events);
    println!("decisions    {}", report.decisions);
    match report.outcome {
        Ok(()) => {
            println!("outcome      passed");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("outcome      failed: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn gate(seeds: u64) -> ExitCode {
    let (mut passed, mut failed) = (0_u64, 0_u64);
    for scenario in scenario::all() {
        for seed in 0..seeds {
            let (first, second) = (scenario.run(seed, false), scenario.run(seed, false));
            let name = scenario.name;
            match &first.outcome {
                Err(violation) => println!("FAILED {name} --seed {seed}: {violation}"),
                Ok(()) if first != second => {
                    println!("FAILED {name} --seed {seed}: two runs differ");
                }
                Ok(()) => {
                    passed += 1;
                    continue;
                }
            }
            failed += 1;
        }
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match parse(&args) {
        Ok(Order::List) => list(),
        Ok(Order::Run { name, seed, trace }) => run(&name, seed, trace),
        Ok(Order::Gate { seeds }) => gate(seeds),
        Err(why) => {
            println!("{why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}
