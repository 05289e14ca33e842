//! Pictures of a run: what crossed, as files for people and their tools.
//!
//! | function | gives |
//! |---|---|
//! | [`pcapng()`] | a capture for Wireshark: every packet with its fate, and the keys that open it |
//! | [`jsonl()`] | one JSON object for each entry, for scripts |
//! | [`html()`] | a timeline to look at: one file that needs nothing else |
//!
//! All of them are functions of a [`Story`]: the same run gives the same bytes.
mod decode;
mod html;
mod jsonl;
mod packets;
mod pcapng;
#[cfg(test)]
mod tests;

pub use html::html;
pub use jsonl::{FORMAT as JSONL_FORMAT, jsonl};
pub use pcapng::pcapng;

use crate::{
    scenario::Report,
    transcript::{Carries, Detail, Place, Tag},
};
use core::ops::Range;
use std::borrow::Cow;

/// A run whose entries were kept, and what to say of it.
#[derive(Clone, Copy, Debug)]
pub struct Story<'a> {
    /// The scenario, or what else ran.
    pub title: &'a str,
    /// The seed, where there was one.
    pub seed: Option<u64>,
    /// The run.
    pub report: &'a Report,
    /// The command that runs it again.
    pub replay: &'a str,
    /// The choices that are left after shrinking, one line each; empty when nothing was shrunk.
    pub minimised: &'a [String],
    /// Lines of a TLS key log (`SSLKEYLOGFILE`).
    pub key_log: &'a [String],
}

impl Story<'_> {
    /// The name of where an entry happened.
    fn place(&self, place: Place) -> Cow<'_, str> {
        match place {
            Place::Host(host) => {
                let name = self.report.hosts.get(host.0 as usize);
                Cow::Borrowed(name.map_or("?", String::as_str))
            }
            Place::Hop(number) => Cow::Owned(format!("hop {number}")),
        }
    }

    /// One line that says how it ended.
    fn verdict(&self) -> Cow<'static, str> {
        match &self.report.outcome {
            Ok(()) => Cow::Borrowed("passed"),
            Err(violation) => Cow::Owned(format!("failed: {violation}")),
        }
    }

    /// Which random choices decided what an entry tells. A segment's length and delay are drawn
    /// before it is sent, a datagram's fate right behind that.
    fn decisions(&self, index: usize) -> Range<usize> {
        let entries = &self.report.entries;
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
            entry.decisions..behind.map_or(self.report.decisions, |entry| entry.decisions)
        } else {
            before.map_or(0, |entry| entry.decisions)..entry.decisions
        }
    }
}
