//! Pictures of a run: what crossed, as files for people and their tools.
//!
//! | function | gives |
//! |---|---|
//! | [`pcapng()`] | a capture for Wireshark: every packet with its fate, and the keys that open it |
//! | [`jsonl()`] | one JSON object for each entry, for scripts |
//! | [`qlog()`] | qlog of each end of each QUIC connection |
//! | [`html()`] | a timeline to look at: one file that needs nothing else |
//! | [`sequence()`] | a sequence chart for a document (SVG) |
//! | [`ladders()`] | connections packet by packet, on lanes, for a document (SVG) |
//!
//! [`IpPacket`] says in a few words what a whole packet is.
//!
//! All of them are functions of a [`Story`]: the same run gives the same bytes.
mod decode;
mod html;
mod jsonl;
mod ladder;
mod packets;
mod pcapng;
mod qlog;
mod sequence;
#[cfg(test)]
mod tests;

pub use decode::IpPacket;
pub use html::html;
pub use jsonl::{FORMAT as JSONL_FORMAT, jsonl};
pub use ladder::{Ladder, ladders};
pub use pcapng::pcapng;
pub use qlog::qlog;
pub use sequence::{Chart, sequence};

use crate::{
    quic::Capture,
    scenario::{Report, Verdict},
    transcript::{Carries, Detail, Entry, Place, Tag},
};
use core::{net::IpAddr, ops::Range};
use sansbox_core::Instant;
use std::borrow::Cow;

/// A run whose entries were kept, and what to say of it.
#[derive(Clone, Debug)]
pub struct Story<'a> {
    /// The scenario, or what else ran.
    pub title: &'a str,
    /// The seed, where there was one.
    pub seed: Option<u64>,
    /// The command that runs it again.
    pub replay: &'a str,
    /// The choices made in the seed's place, one line each: what is left after shrinking.
    pub minimised: &'a [String],
    /// Secrets and logs of encrypted connections.
    pub capture: Option<&'a Capture>,
    /// The names of the hosts.
    pub hosts: &'a [String],
    /// The addresses of each host.
    pub addresses: &'a [Vec<IpAddr>],
    /// The names of the hops.
    pub hops: &'a [String],
    /// What crossed.
    pub entries: &'a [Entry],
    /// How it ended.
    pub outcome: &'a Verdict,
    /// SHA-256 over all that crossed.
    pub digest: [u8; 32],
    /// When the last event happened.
    pub virtual_time: Instant,
    /// Events handled.
    pub events: u64,
    /// Random choices made.
    pub decisions: usize,
}

impl<'a> Story<'a> {
    /// The story of a scenario's run, without its name and how to run it again.
    #[must_use]
    pub fn of(report: &'a Report) -> Self {
        Self {
            title: "",
            seed: None,
            replay: "",
            minimised: &[],
            capture: Some(&report.capture),
            hosts: &report.hosts,
            addresses: &report.addresses,
            hops: &report.hops,
            entries: &report.entries,
            outcome: &report.outcome,
            digest: report.digest,
            virtual_time: report.virtual_time,
            events: report.events,
            decisions: report.decisions,
        }
    }

    /// The name of where an entry happened.
    fn place(&self, place: Place) -> Cow<'_, str> {
        match place {
            Place::Host(host) => {
                let name = self.hosts.get(host.0 as usize);
                Cow::Borrowed(name.map_or("?", String::as_str))
            }
            Place::World => Cow::Borrowed("world"),
            Place::Hop(number) => match self.hops.get(number as usize) {
                Some(name) => Cow::Borrowed(name),
                None => Cow::Owned(format!("hop {number}")),
            },
        }
    }

    /// One line that says how it ended.
    fn verdict(&self) -> Cow<'static, str> {
        match &self.outcome {
            Ok(()) => Cow::Borrowed("passed"),
            Err(violation) => Cow::Owned(format!("failed: {violation}")),
        }
    }

    /// Which random choices decided what an entry tells. A segment's length and delay are drawn
    /// before it is sent, a datagram's fate right behind that.
    fn decisions(&self, index: usize) -> Range<usize> {
        let entries = &self.entries;
        let Some(entry) = entries.get(index) else {
            return 0..0;
        };
        let before = index.checked_sub(1).and_then(|before| entries.get(before));
        let behind = entries.get(index + 1);
        let is_segment = matches!(
            entry.detail.as_deref(),
            Some(Detail::Packet(head)) if matches!(head.carries, Carries::Tcp { .. })
        );
        if entry.tag == Tag::PacketArrived {
            0..0
        } else if entry.tag == Tag::PacketSent && !is_segment {
            entry.decisions..behind.map_or(self.decisions, |entry| entry.decisions)
        } else {
            before.map_or(0, |entry| entry.decisions)..entry.decisions
        }
    }
}
