//! The simulator's command line: one file per command.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what a command line says beyond what is known is refused alike"
)]
mod args;
mod bisect;
mod branch;
mod faults;
mod gate;
mod list;
mod merge;
mod pictures;
mod promote;
mod recording;
mod replay;
mod run;
mod shrink;
mod sweep;
mod tell;

use args::Failure;
use std::process::ExitCode;

/// One command.
struct Command {
    name: &'static str,
    /// What follows the name on the command line.
    usage: &'static str,
    about: &'static str,
    /// Does it; `Ok(false)`: done, and what it looked for is not well.
    run: fn(lexopt::Parser) -> Result<bool, Failure>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "list",
        usage: "[--planted]",
        about: "name every scenario, or those with planted bugs",
        run: list::run,
    },
    Command {
        name: "faults",
        usage: "",
        about: "name every class of faults",
        run: faults::run,
    },
    Command {
        name: "run",
        usage: "NAME [--seed N] [FAULTS] [--tier ideal|packet] [--calm] [--decisions D] [--branch-at T --branch-seed N] [--trace] [--pcap F] [--html F] [--jsonl F] [--qlog DIR]",
        about: "run one scenario, and draw it",
        run: run::run,
    },
    Command {
        name: "gate",
        usage: "[--seeds N] [--jobs N]",
        about: "run every scenario twice with N seeds and compare",
        run: gate::run,
    },
    Command {
        name: "replay",
        usage: "FILE|FOLDER ... [--key FILE] [--connection ID] [--trace] [--whole] [--any-build] [--pcap F] [--html F] [--jsonl F]",
        about: "feed recordings to fresh machines and compare what comes out",
        run: replay::run,
    },
    Command {
        name: "promote",
        usage: "FILE --connection ID -o FILE [--key FILE]",
        about: "make one connection of a recording a file of its own",
        run: promote::run,
    },
    Command {
        name: "sweep",
        usage: "[NAME..] [--seeds A..B] [--time T] [--jobs N] [--shard I/N] [FAULTS] [--json FILE]",
        about: "run many seeds under faults",
        run: sweep::run,
    },
    Command {
        name: "shrink",
        usage: "NAME --seed N [FAULTS] [--runs N] [--jobs N] [--out FILE] [--html F], or --decisions @FILE",
        about: "make a failing run small",
        run: shrink::run,
    },
    Command {
        name: "branch",
        usage: "NAME --seed N [FAULTS] [--at T] [--branches N] [--points N] [--jobs N]",
        about: "how likely it fails from some moment on",
        run: branch::run,
    },
    Command {
        name: "bisect",
        usage: "NAME --seed N [FAULTS] --with-seed N | --with @FILE | --with-program PATH",
        about: "show where two runs part",
        run: bisect::run,
    },
    Command {
        name: "diff",
        usage: "FILE FILE",
        about: "show where two traces part",
        run: bisect::diff,
    },
    Command {
        name: "merge",
        usage: "FILE.. [--json FILE]",
        about: "put results of shards together",
        run: merge::run,
    },
];

fn usage() -> String {
    let mut out = String::from("usage:\n");
    let width = |c: &Command| c.name.len() + 1 + c.usage.len();
    let widest = COMMANDS.iter().map(width).max().unwrap_or(0);
    for command in COMMANDS {
        let line = format!("{} {}", command.name, command.usage);
        out += &format!("  sansbox-sim {line:<widest$}  {}\n", command.about);
    }
    out += "A connection is the number of its log lines, or WORKER.NUMBER.\n";
    out + "A seed is a decimal number, or a hexadecimal one behind 0x. A time has its unit: 90s, 5ms.\n\
           FAULTS: --swarm lite|full|none, --heal-at T. D: @FILE, or STREAM@NTH=CHOICE,..; with\n\
           --calm nothing bad happens but what D says."
}

fn perform() -> Result<bool, Failure> {
    let mut parser = lexopt::Parser::from_env();
    let name = match parser.next()? {
        Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")) => {
            args::say(format_args!("{}", usage()))?;
            return Ok(true);
        }
        Some(other) => return Err(other.unexpected().into()),
        None => return Err(Failure::Usage("what is to be done?".into())),
    };
    let known = COMMANDS.iter().find(|command| command.name == name);
    let known = known.ok_or_else(|| Failure::Usage(format!("no such command: {name:?}")))?;
    (known.run)(parser)
}

fn main() -> ExitCode {
    match perform() {
        Ok(is_well) => ExitCode::from(u8::from(!is_well)),
        Err(Failure::Usage(why)) => {
            eprintln!("{why}\n{}", usage());
            ExitCode::from(2)
        }
        Err(Failure::Told(why)) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
        // Whoever read our output has seen enough.
        Err(Failure::Deaf) => ExitCode::SUCCESS,
    }
}
