//! Recorded connections as a [`Story`]: a lane for the clients, one for the machines, one for each
//! upstream, at the times that were recorded.
//!
//! A recording knows what machines were told and did, not packets. They follow from it: what was
//! read came in one packet, what a socket took left in one, and a connection that was made began
//! with its handshake. All of them stand at the time at which the machines' host saw them.
mod connection;
mod device;
mod ink;
#[cfg(test)]
mod tests;

pub use connection::Connection;

use super::{Replayed, Verdict};
use crate::{
    check::{Invariant, Violation},
    out::Story,
    scenario,
    transcript::Entry,
};
use core::net::IpAddr;
use ink::Ink;
use sansbox_core::Instant;
use sansbox_flight::{Track, TrackId};
use sha2::{Digest as _, Sha256};

/// Connections of one recording while they are drawn.
#[derive(Debug)]
pub struct Picture {
    ink: Ink,
    machines: u64,
    events: u64,
    digests: Vec<[u8; 32]>,
    outcome: scenario::Verdict,
}

/// Connections of one recording, drawn.
#[derive(Debug)]
pub struct Drawn {
    hosts: Vec<String>,
    addresses: Vec<Vec<IpAddr>>,
    entries: Vec<Entry>,
    events: u64,
    digest: [u8; 32],
    outcome: scenario::Verdict,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            ink: Ink::new(),
            machines: 0,
            events: 0,
            digests: Vec::new(),
            outcome: Ok(()),
        }
    }
}

impl Picture {
    /// Begins to draw one connection.
    pub fn connection(&mut self, track: &Track<'_>) -> Connection<'_> {
        self.machines += 1;
        Connection::new(&mut self.ink, self.machines, track)
    }

    /// Draws a connection of which there are sizes only.
    pub fn sizes(&mut self, track: &Track<'_>) {
        let mut connection = self.connection(track);
        for (at, entry) in &track.entries {
            connection.record(*at, entry);
        }
        connection.ended(track);
        self.count(track);
    }

    /// What a replay, whose events went to [`Connection::event`], gave in the end.
    pub fn verdict(&mut self, id: TrackId, track: &Track<'_>, verdict: &Verdict) {
        self.count(track);
        match verdict {
            Verdict::Identical(Replayed { digest, .. })
            | Verdict::IdenticalUntilCut(Replayed { digest, .. }) => self.digests.push(*digest),
            Verdict::Diverged(divergence) => {
                let detail = format!("connection {id} {divergence}");
                self.fail(divergence.at, Invariant::SameAsRecorded, detail);
            }
            Verdict::Partial | Verdict::NoContent => {}
        }
    }

    /// A replay panicked after so many inputs.
    pub fn panicked(&mut self, id: TrackId, track: &Track<'_>, inputs: u64) {
        self.count(track);
        let told = track.entries.iter().filter(|(_, entry)| entry.is_input());
        let index = usize::try_from(inputs.saturating_sub(1)).unwrap_or(usize::MAX);
        let at = told.map(|(at, _)| *at).nth(index).unwrap_or_default();
        let detail = format!("connection {id} panics at input {inputs}");
        self.fail(at, Invariant::NoPanic, detail);
    }

    fn count(&mut self, track: &Track<'_>) {
        let inputs = track.entries.iter().filter(|(_, entry)| entry.is_input());
        self.events += inputs.count() as u64;
    }

    /// Only the first failure is the story's.
    fn fail(&mut self, at: Instant, invariant: Invariant, detail: String) {
        if self.outcome.is_ok() {
            let host = "sansbox".into();
            self.outcome = Err(Violation {
                at,
                host,
                invariant,
                detail,
            });
        }
    }

    /// The finished picture.
    #[must_use]
    pub fn finish(mut self) -> Drawn {
        let digest = match &self.digests[..] {
            [one] => *one,
            all => Sha256::digest(all.concat()).into(),
        };
        Drawn {
            entries: self.ink.entries(),
            hosts: self.ink.hosts,
            addresses: self.ink.addresses,
            events: self.events,
            digest,
            outcome: self.outcome,
        }
    }
}

impl Drawn {
    /// The story to draw: its title, and the command that replays it.
    #[must_use]
    pub fn story<'a>(&'a self, title: &'a str, replay: &'a str) -> Story<'a> {
        Story {
            title,
            seed: None,
            replay,
            minimised: &[],
            capture: None,
            hosts: &self.hosts,
            addresses: &self.addresses,
            hops: &[],
            entries: &self.entries,
            outcome: &self.outcome,
            digest: self.digest,
            virtual_time: self.entries.last().map_or_else(Instant::default, |e| e.at),
            events: self.events,
            decisions: 0,
        }
    }
}
