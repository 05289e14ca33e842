//! The options that draw a run, for every command that has one.
use crate::args::{Failure, say};
use sansbox_simulator::out::{self, Story};
use std::{fs, path::PathBuf};

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
    /// Takes an option that draws, with its value; `None`: it is another one.
    pub(crate) fn option(name: &str) -> Option<Draw> {
        let known = PICTURES.iter().find(|(known, _)| *known == name);
        known.map(|(_, draw)| *draw)
    }

    /// Draws into this file.
    pub(crate) fn add(&mut self, draw: Draw, parser: &mut lexopt::Parser) -> Result<(), Failure> {
        self.wanted.push((draw, parser.value()?.into()));
        Ok(())
    }

    /// Must the run keep its entries?
    pub(crate) const fn are_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Draws everything that is wanted.
    pub(crate) fn draw(&self, story: &Story<'_>) -> Result<(), Failure> {
        for (draw, path) in &self.wanted {
            let shown = path.display();
            fs::write(path, draw(story))
                .map_err(|error| Failure::Told(format!("{shown}: {error}")))?;
            say(format_args!("written      {shown}"))?;
        }
        Ok(())
    }
}
