//! What was seen at both ends of a tunnel.
use super::load::Ended;
use core::{cell::RefCell, fmt, time::Duration};
use sansbox_core::Instant;
use std::{collections::BTreeMap, rc::Rc};

/// One end of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was accepted.
    pub accepted: Option<Duration>,
    /// How it ended.
    pub ended: Ended,
    /// When that was, after the start.
    pub at: Duration,
    /// Octets that came.
    pub octets: u64,
}

/// What one direction of the path carried.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Octets of them.
    pub octets: u64,
    /// The longest.
    pub longest: usize,
    /// Lengths of the first ones, in order.
    pub lengths: Vec<(Duration, usize)>,
}

/// How many lengths are kept.
const LENGTHS_MAX: usize = 4096;

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried")
            .field("datagrams", &self.datagrams)
            .field("octets", &self.octets)
            .field("longest", &self.longest)
            .finish_non_exhaustive()
    }
}

impl Carried {
    pub(crate) fn note(&mut self, at: Instant, len: usize) {
        self.datagrams += 1;
        self.octets += len as u64;
        self.longest = self.longest.max(len);
        if self.lengths.len() < LENGTHS_MAX {
            self.lengths.push((since_start(at), len));
        }
    }
}

/// What both ends saw, as far as it went.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The clients' ends of streams, by name.
    pub near: BTreeMap<String, Seen>,
    /// The targets' ends, by name: one for each time the target was connected.
    pub far: BTreeMap<String, Vec<Seen>>,
    /// When the client's tunnels stood.
    pub ups: Vec<Duration>,
    /// When and why they did not, or no more.
    pub downs: Vec<(Duration, String)>,
    /// When and why the server lost a tunnel.
    pub server_downs: Vec<(Duration, String)>,
    /// What the server was asked for.
    pub requests: Vec<(Duration, String)>,
    /// Requests that were taken back.
    pub cancelled: usize,
    /// Why the server dropped datagrams, and how many.
    pub server_drops: BTreeMap<String, u64>,
    /// Why the client dropped datagrams.
    pub client_drops: BTreeMap<String, u64>,
    /// From the client.
    pub up: Carried,
    /// From the server.
    pub down: Carried,
    /// The server's program ended.
    pub exit: Option<(Duration, String)>,
    /// Sockets that the client opened.
    pub sockets: usize,
}

/// Facts that two hosts write and a test reads.
pub type Shared = Rc<RefCell<Facts>>;

/// How long after the start an instant is.
pub(crate) fn since_start(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::ZERO)
}

impl Facts {
    /// How the client's end of a stream ended.
    #[must_use]
    pub fn ended(&self, name: &str) -> Ended {
        let seen = self.near.get(name);
        seen.map_or(Ended::Pending, |seen| seen.ended.clone())
    }

    /// When the client's end of a stream ended.
    #[must_use]
    pub fn ended_at(&self, name: &str) -> Duration {
        self.near.get(name).map_or(Duration::ZERO, |seen| seen.at)
    }

    /// How often the server dropped datagrams for reasons that contain `what`.
    #[must_use]
    pub fn dropped(&self, what: &str) -> u64 {
        count(&self.server_drops, what)
    }

    /// The same of the client.
    #[must_use]
    pub fn client_dropped(&self, what: &str) -> u64 {
        count(&self.client_drops, what)
    }

    /// Did all streams go as written?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.near.values().all(|seen| seen.ended == Ended::Whole)
    }
}

fn count(drops: &BTreeMap<String, u64>, what: &str) -> u64 {
    let of = drops.iter().filter(|(why, _)| why.contains(what));
    of.map(|(_, n)| *n).sum()
}
