//! `bisect` and `diff`: where two runs, or two traces in files, part.
use crate::{
    args::{self, Failure, Word, number, read, say, scenario, text},
    run::{Orders, load},
};
use sansbox_simulator::{
    explore::{
        Decisions,
        bisect::{Parting, parting},
    },
    world::Setup,
};
use std::process::Command;

/// `bisect`: two runs, of this program or of another build of it.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut orders = Orders::default();
    let (mut seed, mut file, mut program) = (None, None, None);
    while let Some(arg) = args::next(&mut args)? {
        match arg.name() {
            "with-seed" => seed = Some(number(&mut args)?),
            "with" => file = Some(text(&mut args)?),
            "with-program" => program = Some(text(&mut args)?),
            _ => orders.option(arg, &mut args)?,
        }
    }
    let one = orders.decisions("bisect")?;
    let mut other = match &file {
        Some(path) => load(path.strip_prefix('@').unwrap_or(path))?,
        None => one.clone(),
    };
    other
        .check_scenario(&one.scenario)
        .map_err(|e| Failure::Told(e.to_string()))?;
    other.seed = seed.unwrap_or(other.seed);
    if seed.is_none() && file.is_none() && program.is_none() {
        let why = "bisect wants --with-seed, --with @FILE or --with-program PATH";
        return Err(Failure::Usage(why.into()));
    }
    let left = lines(&one)?;
    let right = match program {
        Some(program) => lines_of(&program, &other)?,
        None => lines(&other)?,
    };
    told(parting(&left, &right))
}

fn lines(run: &Decisions) -> Result<Vec<String>, Failure> {
    let setup = Setup {
        keeps_entries: true,
        ..run.setup()
    };
    let report = scenario(&run.scenario)?.run(setup);
    Ok(report.lines().collect())
}

/// The same from another build: its trace, as it prints it.
fn lines_of(program: &str, run: &Decisions) -> Result<Vec<String>, Failure> {
    let path = std::env::temp_dir().join(format!("sansbox-bisect-{}.json", std::process::id()));
    let shown = path.display().to_string();
    args::write(&shown, run.to_json().as_bytes())?;
    let output = Command::new(program)
        .args(["run", &run.scenario, "--trace", "--decisions"])
        .arg(format!("@{shown}"))
        .output();
    // What is left of it is only a file among temporary ones.
    let _ = std::fs::remove_file(&path);
    let output = output.map_err(|e| Failure::Told(format!("{program}: {e}")))?;
    if output.status.code().is_none_or(|code| code > 1) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::Told(format!(
            "{program}: {}: {said}",
            output.status
        )));
    }
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_trace = |line: &&str| !line.starts_with("scenario     ");
    Ok(all
        .lines()
        .take_while(is_trace)
        .map(str::to_owned)
        .collect())
}

/// `diff`: two traces in files.
pub(crate) fn diff(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut paths = Vec::new();
    while let Some(arg) = args::next(&mut args)? {
        match arg {
            Word::Value(path) => paths.push(path),
            other => return Err(other.unexpected()),
        }
    }
    let [left, right] = paths.as_slice() else {
        return Err(Failure::Usage("diff wants two files".into()));
    };
    let lines = |path: &String| -> Result<Vec<String>, Failure> {
        Ok(read(path)?.lines().map(str::to_owned).collect())
    };
    told(parting(&lines(left)?, &lines(right)?))
}

fn told(parting: Option<Parting>) -> Result<bool, Failure> {
    let Some(parting) = parting else {
        say(format_args!("no difference"))?;
        return Ok(true);
    };
    say(format_args!("they part at line {}", parting.line + 1))?;
    let shown = [
        ("  ", &parting.before),
        ("- ", &parting.left),
        ("+ ", &parting.right),
    ];
    for (sign, lines) in shown {
        for line in lines {
            say(format_args!("{sign}{line}"))?;
        }
        if lines.is_empty() && sign != "  " {
            say(format_args!("{sign}(ends)"))?;
        }
    }
    Ok(false)
}
