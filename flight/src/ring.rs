//! The last records of one worker, in bounded memory.
use crate::{
    file::PLAIN_BYTES_MAX,
    wire::{Chunk, Entry, put_record},
};
use bytes::Bytes;
use core::time::Duration;
use sansbox_core::Instant;
use std::collections::VecDeque;

/// Most bytes of a chunk, unless its only record has more.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Most bytes of a record besides its content, with room to spare: two addresses, a seed and a
/// few numbers. A list of addresses may go beyond, and then the chunk grows.
const RECORD_BYTES: usize = 256;
/// Most bytes of chunks that go into one file; the rest of a file's limit is for everything else.
const RECORDS_BYTES_MAX: usize = PLAIN_BYTES_MAX - (PLAIN_BYTES_MAX >> 3);
/// Least that a ring may be told to keep: the chunk that is written, and a few that can be
/// dropped one by one.
pub const RING_BYTES_MIN: usize = 4 * CHUNK_BYTES;

/// How much a ring keeps. What is beyond either limit is dropped, the oldest first, a chunk at a
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, at least [`RING_BYTES_MIN`].
    pub bytes: usize,
    /// How long back.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            age: Duration::from_secs(60),
        }
    }
}

/// The last records of one worker.
#[derive(Debug)]
pub struct Ring {
    worker: u16,
    limits: Limits,
    closed: VecDeque<Kept>,
    /// Bytes in `closed`.
    bytes: usize,
    open: Vec<u8>,
    span: Span,
    next_number: u64,
    dropped: u64,
}

/// Times and number of a chunk's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// When its first record was.
    pub first: Instant,
    /// When its last record was.
    pub last: Instant,
    /// How many there are.
    pub records: u64,
}

/// A chunk as bytes, for [`Chunk::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it covers.
    pub span: Span,
    /// Its bytes.
    pub data: Bytes,
}

/// What a ring held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose.
    pub worker: u16,
    /// Records dropped so far, as there was no room for them or they were too old.
    pub dropped: u64,
    /// The chunks, oldest first.
    pub chunks: Vec<Kept>,
}

impl Ring {
    /// An empty ring. It takes memory as records come.
    #[must_use]
    pub fn new(worker: u16, limits: Limits) -> Self {
        Self {
            worker,
            limits,
            closed: VecDeque::new(),
            bytes: 0,
            open: Vec::new(),
            span: Span::default(),
            next_number: 0,
            dropped: 0,
        }
    }

    /// A number for a new machine of this worker.
    pub const fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Keeps a record.
    pub fn write(&mut self, at: Instant, number: u64, entry: &Entry<'_>) {
        let room = entry.content_len() + RECORD_BYTES;
        if self.span.records > 0 && self.open.len() + room > CHUNK_BYTES {
            self.close();
            self.drop_old(at);
        }
        if self.span.records == 0 {
            self.open.reserve(room.max(CHUNK_BYTES));
            Chunk::emit_front(self.worker, at, &mut self.open);
            self.span.first = at;
            self.span.last = at;
        }
        put_record(&mut self.open, at, self.span.last, number, entry);
        self.span.last = at;
        self.span.records += 1;
    }

    fn close(&mut self) {
        let data = Bytes::from(core::mem::take(&mut self.open));
        self.bytes += data.len();
        let span = core::mem::take(&mut self.span);
        self.closed.push_back(Kept { span, data });
    }

    fn drop_old(&mut self, now: Instant) {
        let Limits { bytes, age } = self.limits;
        let room = bytes.max(RING_BYTES_MIN) - CHUNK_BYTES;
        while let Some(oldest) = self.closed.front() {
            let is_old = now.saturating_duration_since(oldest.span.last) > age;
            if self.bytes <= room && !is_old {
                return;
            }
            self.bytes -= oldest.data.len();
            self.dropped += oldest.span.records;
            self.closed.pop_front();
        }
    }

    /// What it holds, with what is older than its limit left out. Copies no more than the chunk
    /// that is being written.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let open = (self.span.records > 0).then(|| Kept {
            span: self.span,
            data: Bytes::copy_from_slice(&self.open),
        });
        let mut dropped = self.dropped;
        let mut chunks: Vec<Kept> = self.closed.iter().cloned().chain(open).collect();
        chunks.retain(|chunk| {
            let is_old = now.saturating_duration_since(chunk.span.last) > self.limits.age;
            if is_old {
                dropped += chunk.span.records;
            }
            !is_old
        });
        Snapshot {
            worker: self.worker,
            dropped,
            chunks,
        }
    }
}

/// Drops the oldest chunks of all rings until one file can hold the rest.
pub fn trim(snapshots: &mut [Snapshot]) {
    trim_to(snapshots, RECORDS_BYTES_MAX);
}

fn trim_to(snapshots: &mut [Snapshot], limit: usize) {
    let chunks = snapshots.iter().flat_map(|snapshot| &snapshot.chunks);
    let mut ages: Vec<_> = chunks
        .map(|chunk| (chunk.span.last, chunk.data.len()))
        .collect();
    ages.sort_unstable();
    let mut total: usize = ages.iter().map(|(_, len)| len).sum();
    let mut too_old = None;
    for (last, len) in ages {
        if total <= limit {
            break;
        }
        total -= len;
        too_old = Some(last);
    }
    for snapshot in snapshots {
        let Snapshot {
            chunks, dropped, ..
        } = snapshot;
        chunks.retain(|chunk| {
            let is_old = too_old.is_some_and(|moment| chunk.span.last <= moment);
            if is_old {
                *dropped += chunk.span.records;
            }
            !is_old
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Record;
    use sansbox_engine::ids::Slot;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn records(snapshot: &Snapshot) -> Vec<Record<'_>> {
        let chunks = snapshot.chunks.iter();
        let chunks = chunks.map(|kept| Chunk::parse(&kept.data).expect("a chunk"));
        let records = chunks.flat_map(|chunk| chunk.records());
        records.map(|record| record.expect("a record")).collect()
    }

    fn received(bytes: &[u8]) -> Entry<'_> {
        Entry::Received {
            slot: Slot::CLIENT,
            len: bytes.len() as u64,
            bytes: Some(bytes),
        }
    }

    #[test]
    fn keeps_the_youngest_and_counts_the_rest() {
        let limits = Limits {
            bytes: RING_BYTES_MIN,
            age: Duration::MAX,
        };
        let mut ring = Ring::new(3, limits);
        let payload = [7; 1000];
        for n in 0..1000 {
            ring.write(at(n), n, &received(&payload));
        }
        let snapshot = ring.snapshot(at(1000));
        let kept = records(&snapshot);
        assert_eq!(kept.len() as u64 + snapshot.dropped, 1000);
        let held: usize = snapshot.chunks.iter().map(|chunk| chunk.data.len()).sum();
        assert!(held <= RING_BYTES_MIN, "{held}");
        assert!(held > RING_BYTES_MIN / 2, "{held}");
        let first = snapshot.dropped;
        for (n, record) in (first..).zip(&kept) {
            assert_eq!((record.at, record.number), (at(n), n));
            assert_eq!(record.entry, received(&payload));
        }
    }

    #[test]
    fn what_is_too_old_is_left_out() {
        let limits = Limits {
            bytes: 64 << 20,
            age: Duration::from_millis(500),
        };
        let mut ring = Ring::new(0, limits);
        for n in 0..1000 {
            ring.write(at(n), n, &received(&[0; 1000]));
        }
        let kept = records(&ring.snapshot(at(1000))).len();
        // A chunk is kept as long as its youngest record.
        assert!(
            (500..=500 + CHUNK_BYTES / 1000 + 1).contains(&kept),
            "{kept}"
        );
        assert!(ring.snapshot(at(2000)).chunks.is_empty());
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let mut ring = Ring::new(0, Limits::default());
        for n in 0..100 {
            ring.write(at(n), n, &received(&[0; 1000]));
        }
        let before = ring.snapshot(at(100));
        let text = format!("{before:?}");
        for n in 100..20_000 {
            ring.write(at(n), n, &received(&[1; 1000]));
        }
        assert_eq!(format!("{before:?}"), text);
        assert!(ring.snapshot(at(20_000)).dropped > 0);
    }

    #[test]
    fn what_one_file_cannot_hold_is_dropped_from_the_oldest_on() {
        let mut snapshots: Vec<Snapshot> = (0..2)
            .map(|worker| {
                let mut ring = Ring::new(worker, Limits::default());
                for n in 0..500 {
                    let moment = at(2 * n + u64::from(worker));
                    ring.write(moment, n, &received(&[0; 1000]));
                }
                ring.snapshot(at(1000))
            })
            .collect();
        let whole = snapshots.clone();
        trim_to(&mut snapshots, usize::MAX);
        assert_eq!(snapshots, whole);
        trim_to(&mut snapshots, 300_000);
        let mut kept = Vec::new();
        for snapshot in &snapshots {
            let left = records(snapshot);
            assert_eq!(left.len() as u64 + snapshot.dropped, 500);
            kept.extend(left.iter().map(|record| record.at));
        }
        assert!((150..300).contains(&kept.len()), "{}", kept.len());
        // All that is left is younger than what was dropped, but for the size of a chunk.
        assert!(
            kept.iter().min() > Some(&at(600)),
            "{:?}",
            kept.iter().min()
        );
    }

    #[test]
    fn time_may_go_back() {
        let mut ring = Ring::new(0, Limits::default());
        let times = [5, 9, 2, 2, 7].map(Instant::from_nanos);
        for now in times {
            ring.write(now, 0, &Entry::Tick);
        }
        let snapshot = ring.snapshot(Instant::from_nanos(9));
        let kept: Vec<_> = records(&snapshot).iter().map(|record| record.at).collect();
        assert_eq!(kept, times);
    }
}
