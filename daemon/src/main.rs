//! `sansbox`: a proxy that reads sing-box configurations.
//!
//! | module | holds |
//! |---|---|
//! | `cli` | the command line |
//! | `commands` | the commands that end by themselves |
//! | `paniq` | `sansbox paniq`: keys and profiles |
//! | `run` | the proxy: start, signals, end |
//! | `reload` | the configuration, read again while it is served |
//! | `load` | configuration files, read and compiled |
//! | `runtime` | the runtime that this build has |
//! | `report`, `story` | what the runtime tells, and of each connection, as log lines |
//! | `totals` | what was served in all, told at the end |
//! | `recorder` | the flight recorder: rings and recordings |
//! | `logger` | log lines, formatted and written |
//! | `fatal` | the error that ends the program |
mod cli;
mod commands;
mod fatal;
mod load;
mod logger;
mod paniq;
mod recorder;
mod reload;
mod report;
mod run;
mod runtime;
mod story;
mod totals;

use cli::{Action, Invocation, Refusal};
use fatal::Fatal;
use std::{
    env, fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    time::Instant,
};

fn main() -> ExitCode {
    let began = Instant::now();
    let invocation = match Invocation::parse(env::args_os()) {
        Ok(invocation) => invocation,
        Err(Refusal::Usage(text)) => {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(
                io::stderr(),
                "Error: {text}\nRun 'sansbox --help' for usage."
            );
            return ExitCode::FAILURE;
        }
        Err(Refusal::Fatal(fatal)) => return fatal.tell(began, may_colour(false)),
    };
    let colour = may_colour(invocation.disable_color);
    match perform(&invocation, began, colour) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => fatal.tell(began, colour),
    }
}

/// Colours are for people: on a terminal, unless the command line or `NO_COLOR` says no.
fn may_colour(is_disabled: bool) -> bool {
    !is_disabled && io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none()
}

fn perform(invocation: &Invocation, began: Instant, colour: bool) -> Result<(), Fatal> {
    if let Some(directory) = &invocation.directory {
        enter(directory)?;
    }
    let inputs = &invocation.inputs;
    match &invocation.action {
        Action::Help => commands::help(),
        Action::Run => run::run(inputs, began, colour),
        Action::Check => commands::check(inputs, began, colour),
        Action::Format { write } => commands::format(inputs, *write),
        Action::Merge { out } => commands::merge(inputs, out),
        Action::Version {
            name_only,
            sing_box,
        } => commands::version(*name_only, *sing_box),
        Action::Uuid => commands::uuid(),
        Action::RecorderKeypair => commands::recorder_keypair(),
        Action::Rand { len, encoding } => commands::rand(*len, *encoding),
        Action::Paniq(command) => command.perform(began, colour),
    }
}

/// Goes to the working directory, which is made when it is not there.
fn enter(directory: &Path) -> Result<(), Fatal> {
    let done = fs::create_dir_all(directory).and_then(|()| env::set_current_dir(directory));
    done.map_err(|e| Fatal::io(format!("enter {}", directory.display()), &e))
}
