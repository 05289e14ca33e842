//! The options that draw a run, for every command that has one.
use crate::args::{Failure, say, scenario};
use sansbox_simulator::{
    explore::{Decisions, decisions::inline},
    out::{self, Story},
    scenario::Report,
    world::Setup,
};
use std::{fs, path::PathBuf, slice};

/// What can be drawn.
type Draw = fn(&Story<'_>) -> Vec<u8>;

const PICTURES: &[(&str, Draw)] = &[
    ("pcap", out::pcapng),
    ("html", |story| out::html(story).into_bytes()),
    ("jsonl", |story| out::jsonl(story).into_bytes()),
];

/// What is to be drawn, and where to.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    wanted: Vec<(Draw, PathBuf)>,
}

impl Pictures {
    /// Is it an option that draws?
    pub(crate) fn has(name: &str) -> bool {
        PICTURES.iter().any(|(known, _)| *known == name)
    }

    /// Takes such an option with its value, the file to draw into.
    pub(crate) fn option(
        &mut self,
        name: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<(), Failure> {
        let known = PICTURES.iter().find(|(known, _)| *known == name);
        let unknown = || Failure::Usage(format!("invalid option '--{name}'"));
        let (_, draw) = known.ok_or_else(unknown)?;
        self.wanted.push((*draw, parser.value()?.into()));
        Ok(())
    }

    /// Must the run keep its entries?
    pub(crate) const fn are_wanted(&self) -> bool {
        !self.wanted.is_empty()
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
            let shown = path.display();
            fs::write(path, draw(story))
                .map_err(|error| Failure::Told(format!("{shown}: {error}")))?;
            say(format_args!("written      {shown}"))?;
        }
        Ok(())
    }
}
