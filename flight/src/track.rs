//! The records of one machine, picked out of a recording.
use crate::{
    file::Recording,
    wire::{Begin, Entry},
};
use core::fmt;
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// Which machine of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackId {
    /// Its worker.
    pub worker: u16,
    /// Its number among the machines of that worker, from 0.
    pub number: u64,
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.worker, self.number)
    }
}

/// What a recording holds of one machine.
#[derive(Clone, Debug, Default)]
pub struct Track<'a> {
    /// When and from what it was made; `None`: the ring had dropped that.
    pub begin: Option<(Instant, Begin)>,
    /// What came after that, in order.
    pub entries: Vec<(Instant, Entry<'a>)>,
}

impl Track<'_> {
    /// Whether the recording was written while it ran.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let last = self.entries.last();
        !matches!(last, Some((_, Entry::End { .. })))
    }
}

/// All machines of a recording.
#[must_use]
pub fn tracks(recording: &Recording) -> BTreeMap<TrackId, Track<'_>> {
    let mut tracks: BTreeMap<TrackId, Track<'_>> = BTreeMap::new();
    for chunk in recording.chunks() {
        let worker = chunk.worker;
        // All were read when the file was.
        for record in chunk.records().flatten() {
            let number = record.number;
            let track = tracks.entry(TrackId { worker, number }).or_default();
            if let Entry::Begin(begin) = record.entry {
                track.begin.get_or_insert((record.at, begin));
            } else {
                track.entries.push((record.at, record.entry));
            }
        }
    }
    tracks
}
