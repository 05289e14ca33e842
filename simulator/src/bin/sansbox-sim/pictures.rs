//! The options that draw a run, for every command that has one.
use crate::args::{Failure, say, scenario};
use sansbox_simulator::{
    explore::{Decisions, decisions::inline},
    out::{self, Story},
    scenario::Report,
    world::Setup,
};
use std::{
    fs,
    path::{Path, PathBuf},
    slice,
};

/// What can be drawn.
type Draw = fn(&Story<'_>) -> Vec<u8>;

const PICTURES: &[(&str, Draw)] = &[
    ("pcap", out::pcapng),
    ("html", |story| out::html(story).into_bytes()),
    ("jsonl", |story| out::jsonl(story).into_bytes()),
];

/// The option that writes a folder.
const QLOG: &str = "qlog";

/// What is to be drawn, and where to.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    wanted: Vec<(Draw, PathBuf)>,
    /// Folder for the qlog of each connection.
    qlog: Option<PathBuf>,
}

impl Pictures {
    /// Is it an option that draws?
    pub(crate) fn has(name: &str) -> bool {
        name == QLOG || PICTURES.iter().any(|(known, _)| *known == name)
    }

    /// Is it an option that draws a recording? That knows of no qlog.
    pub(crate) fn of_recordings(name: &str) -> bool {
        name != QLOG && Self::has(name)
    }

    /// Takes such an option with its value, the file or folder to draw into.
    pub(crate) fn option(
        &mut self,
        name: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<(), Failure> {
        if name == QLOG {
            self.qlog = Some(parser.value()?.into());
            return Ok(());
        }
        let known = PICTURES.iter().find(|(known, _)| *known == name);
        let unknown = || Failure::Usage(format!("invalid option '--{name}'"));
        let (_, draw) = known.ok_or_else(unknown)?;
        self.wanted.push((*draw, parser.value()?.into()));
        Ok(())
    }

    /// Must the run keep its entries?
    pub(crate) const fn are_wanted(&self) -> bool {
        !self.wanted.is_empty() || self.qlog.is_some()
    }

    /// Draws a scenario's run whose entries were kept.
    pub(crate) fn draw(&self, run: &Decisions, report: &Report) -> Result<(), Failure> {
        let minimised: Vec<String> = run
            .made
            .iter()
            .map(|d| inline(slice::from_ref(d)))
            .collect();
        let replay = run.command();
        let replay = replay.unwrap_or_else(|| run.command_with("FILE"));
        self.draw_story(&Story {
            title: &run.scenario,
            seed: Some(run.seed),
            replay: &replay,
            minimised: &minimised,
            ..Story::of(report)
        })
    }

    /// Runs once more, to keep what crosses, and draws it.
    pub(crate) fn draw_again(&self, run: &Decisions) -> Result<(), Failure> {
        if !self.are_wanted() {
            return Ok(());
        }
        let setup = Setup {
            keeps_entries: true,
            ..run.setup()
        };
        let report = scenario(&run.scenario)?.run(setup);
        self.draw(run, &report)
    }

    /// Draws anything.
    pub(crate) fn draw_story(&self, story: &Story<'_>) -> Result<(), Failure> {
        for (draw, path) in &self.wanted {
            write(path, &draw(story))?;
        }
        let Some(folder) = &self.qlog else {
            return Ok(());
        };
        fs::create_dir_all(folder)
            .map_err(|error| Failure::Told(format!("{}: {error}", folder.display())))?;
        let all = out::qlog(story);
        if all.is_empty() {
            say(format_args!("qlog         none: no host speaks QUIC"))?;
        }
        for (name, text) in all {
            write(&folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let shown = path.display();
    fs::write(path, bytes).map_err(|error| Failure::Told(format!("{shown}: {error}")))?;
    say(format_args!("written      {shown}"))
}
