//! The reader of recordings.
use crate::input::Input;
use sansbox_core::Instant;
use sansbox_flight::{
    KeyPair, Mode, Preamble, Reason, Recording, Snapshot,
    file::{self, Configuration, Key},
    ring::{Kept, Ring, Span},
    track::tracks,
    wire::{Chunk, Entry},
};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// Most bytes that a small input may become: what is read is bounded by what is there, times what
/// zstd can make of it.
const PLAIN_MAX: usize = 64 << 20;

static PAIR: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::from_random(&[7; 32]));

/// The first byte chooses: a file as it is; frames whose checks are made to fit; or records in a
/// file that is otherwise whole, encrypted or not.
///
/// No file makes the reader panic, and what it reads comes back when it is written again.
pub fn sbx_reader(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.below(8);
    let rest = data.get(1..).unwrap_or_default();
    // Keys are slow; once in a while will do.
    let (bytes, pair) = match choice {
        0 | 1 => (rest.to_vec(), None),
        2..=4 => (rechecked(rest), None),
        5 | 6 => (around(rest, None), None),
        _ => (around(rest, Some(&PAIR)), Some(&*PAIR)),
    };
    let _header = file::header(&bytes);
    let Ok(recording) = Recording::read(&bytes, pair.map(|pair| &pair.private)) else {
        return;
    };
    let total: usize = recording
        .chunks()
        .map(|chunk| chunk.records().count())
        .sum();
    assert!(
        total <= PLAIN_MAX,
        "{total} records of {} bytes",
        bytes.len()
    );
    again(&recording);
}

/// A file that begins as files do, with the fuzzer's frames behind: kind, plain length, stored
/// length, stored bytes.
fn rechecked(data: &[u8]) -> Vec<u8> {
    let whole = around(&[], None);
    let mut out = whole.get(..frames_at(&whole)).unwrap_or_default().to_vec();
    let mut input = Input::new(data);
    let mut at = 0;
    while at + 7 <= data.len() {
        let kind = input.byte();
        let plain = u32::from(input.u16()) << input.below(16);
        let len = usize::from(input.u16());
        at += 6;
        let stored: Vec<u8> = (0..len.min(data.len() - at))
            .map(|_| input.byte())
            .collect();
        at += stored.len();
        out.push(kind);
        out.extend(plain.to_le_bytes());
        out.extend(
            u32::try_from(stored.len())
                .unwrap_or_default()
                .to_le_bytes(),
        );
        out.extend(&Sha256::digest(&stored)[..8]);
        out.extend(stored);
    }
    out
}

/// Where the first frame of a file without key begins: behind the check of the header.
fn frames_at(whole: &[u8]) -> usize {
    (12..whole.len())
        .find(|at| {
            let (body, rest) = whole.split_at(*at);
            rest.starts_with(&Sha256::digest(body)[..8])
        })
        .map_or(0, |at| at + 8)
}

/// A whole file whose only chunk is the fuzzer's.
fn around(chunk: &[u8], pair: Option<&KeyPair>) -> Vec<u8> {
    let preamble = Preamble {
        reason: Reason::Signal,
        unix_nanos: 0,
        now: Instant::ZERO,
        dropped: 0,
        configuration: Some(Configuration {
            text: b"{}".to_vec(),
        }),
    };
    let mut span = Span::default();
    let mut worker = 0;
    if let Ok(parsed) = Chunk::parse(chunk) {
        worker = parsed.worker;
        for record in parsed.records().flatten() {
            if span.records == 0 {
                span.first = record.at;
            }
            span.last = record.at;
            span.records += 1;
        }
    }
    let data = chunk.to_vec().into();
    let chunks = vec![Kept { span, data }];
    let snapshot = Snapshot {
        worker,
        dropped: 0,
        chunks,
    };
    let key = pair.map(|pair| Key {
        public: &pair.public,
        random: [8; 32],
    });
    file::write(Mode::Full, &preamble, &[snapshot], key).expect("small enough")
}

/// Writes what was read, machine by machine, and reads it again.
fn again(recording: &Recording) {
    let limits = sansbox_flight::ring::Limits {
        bytes: usize::MAX,
        age: std::time::Duration::MAX,
    };
    for (id, track) in tracks(recording) {
        let mut ring = Ring::new(id.worker, limits);
        if let Some((at, begin)) = &track.begin {
            ring.write(*at, id.number, &Entry::Begin(begin.clone()));
        }
        for (at, entry) in &track.entries {
            ring.write(*at, id.number, entry);
        }
        let snapshots = [ring.snapshot(Instant::ZERO)];
        let mode = recording.header.mode;
        let written = file::write(mode, &recording.preamble, &snapshots, None);
        let Ok(written) = written else {
            continue;
        };
        let read = Recording::read(&written, None).expect("what was written is read");
        let mut same = tracks(&read);
        let (same_id, same) = same.pop_first().expect("a machine");
        assert_eq!(same_id, id);
        assert_eq!(same.begin, track.begin);
        assert_eq!(same.entries, track.entries);
    }
}
