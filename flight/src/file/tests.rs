use super::*;
use crate::{
    keys::KeyPair,
    ring::{Limits, Ring},
    track::tracks,
    wire::{Begin, Content, Entry, MachineKind},
};
use proptest::prelude::*;
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    Peer,
    ids::{InboundId, Slot},
};
use std::sync::LazyLock;

const RANDOM: [u8; 32] = [9; 32];

fn begin() -> Entry<'static> {
    let address = ([127, 0, 0, 1], 80).into();
    Entry::Begin(Begin {
        kind: MachineKind::Session,
        inbound: InboundId(0),
        log_id: 7,
        content: Some(Content {
            target: None,
            peer: Peer {
                remote: address,
                local: address,
            },
            seed: Seed::from_u64(1),
        }),
    })
}

fn snapshot(machines: u64) -> crate::Snapshot {
    let mut ring = Ring::new(1, Limits::default());
    for n in 0..machines {
        let at = Instant::from_nanos(n * 1000);
        ring.write(at, n, &begin());
        let bytes = vec![n.to_le_bytes()[0]; 5000];
        let received = Entry::Received {
            slot: Slot::CLIENT,
            len: 5000,
            bytes: Some(&bytes),
        };
        ring.write(at, n, &received);
    }
    ring.snapshot(Instant::ZERO)
}

fn preamble() -> Preamble {
    Preamble {
        reason: Reason::Signal,
        unix_nanos: 1,
        now: Instant::from_nanos(2),
        dropped: 3,
        configuration: Some(Configuration {
            text: b"{\"secret\": 1}".to_vec(),
        }),
    }
}

/// An open file and the same sealed to [`pair`], made once.
static FILES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| [made(None), made(Some(&pair()))]);

fn file(key: Option<&KeyPair>) -> Vec<u8> {
    let [open, sealed] = &*FILES;
    key.map_or(open, |_| sealed).clone()
}

fn made(key: Option<&KeyPair>) -> Vec<u8> {
    let key = key.map(|pair| Key {
        public: &pair.public,
        random: RANDOM,
    });
    write(Mode::Full, &preamble(), &[snapshot(40)], key).expect("a file")
}

fn pair() -> KeyPair {
    KeyPair::from_random(&[5; 32])
}

#[test]
fn what_was_written_is_read() {
    let pair = pair();
    for key in [None, Some(&pair)] {
        let bytes = file(key);
        let key = key.map(|pair| &pair.private);
        let recording = Recording::read(&bytes, key).expect("a recording");
        assert_eq!(recording.preamble, preamble());
        assert_eq!(recording.header.mode, Mode::Full);
        assert_eq!(header(&bytes).as_ref(), Ok(&recording.header));
        let tracks = tracks(&recording);
        assert_eq!(tracks.len(), 40);
        for (id, track) in tracks {
            assert_eq!(id.worker, 1);
            assert!(track.begin.is_some() && track.is_open());
            let [(_, Entry::Received { bytes, .. })] = &track.entries[..] else {
                panic!("{:?}", track.entries);
            };
            assert_eq!(bytes.map(<[u8]>::len), Some(5000));
        }
        // Compressed: the payload of forty machines is two hundred thousand bytes.
        assert!(bytes.len() < 20_000, "{}", bytes.len());
    }
}

#[test]
fn a_sealed_file_shows_nothing_and_needs_its_key() {
    let bytes = file(Some(&pair()));
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
    assert_eq!(Recording::read(&bytes, None), Err(ReadError::KeyNeeded));
    let other = KeyPair::from_random(&[6; 32]).private;
    assert_eq!(
        Recording::read(&bytes, Some(&other)),
        Err(ReadError::WrongKey)
    );
}

#[test]
fn every_truncation_is_found() {
    let pair = pair();
    for key in [None, Some(&pair)] {
        let bytes = file(key);
        for len in (0..bytes.len()).step_by(29).chain([bytes.len() - 1]) {
            let read = Recording::read(&bytes[..len], key.map(|pair| &pair.private));
            assert!(read.is_err(), "{len} of {}", bytes.len());
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(Recording::read(&longer, key.map(|pair| &pair.private)).is_err());
    }
}

#[test]
fn a_foreign_file_and_another_version_are_named() {
    for foreign in [&b""[..], b"\x89PNG\r\n\x1a\n", b"{\"log\": {}}"] {
        assert_eq!(
            Recording::read(foreign, None),
            Err(ReadError::NotARecording)
        );
    }
    let mut bytes = file(None);
    bytes[8] = 9;
    assert_eq!(Recording::read(&bytes, None), Err(ReadError::Version(9)));
}

/// Splits a file into its header, frames and trailer.
fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut from = crate::wire::Cursor::new(bytes);
    Header::parse(&mut from).expect("a header");
    let mut at = bytes.len() - from.len();
    let mut pieces = vec![bytes[..at].to_vec()];
    while bytes.len() - at > 16 {
        let stored = u32::from_le_bytes(bytes[at + 5..at + 9].try_into().expect("four bytes"));
        let end = at + 17 + stored as usize;
        pieces.push(bytes[at..end].to_vec());
        at = end;
    }
    pieces.push(bytes[at..].to_vec());
    pieces
}

#[test]
fn frames_cannot_be_left_out_or_moved() {
    let pair = pair();
    for key in [None, Some(&pair)] {
        let key_of = key.map(|pair| &pair.private);
        let whole = pieces(&file(key));
        assert!(whole.len() > 6, "{} pieces", whole.len());
        assert!(Recording::read(&whole.concat(), key_of).is_ok());
        for n in 1..whole.len() - 1 {
            let mut without = whole.clone();
            without.remove(n);
            assert!(Recording::read(&without.concat(), key_of).is_err(), "{n}");
            let mut moved = whole.clone();
            moved.swap(n, 2);
            let read = Recording::read(&moved.concat(), key_of);
            assert_eq!(read.is_ok(), n == 2, "{n}");
        }
    }
}

#[test]
fn a_configuration_too_long_for_a_file_is_refused() {
    let mut preamble = preamble();
    let text = vec![b' '; CONFIGURATION_BYTES_MAX + 1];
    preamble.configuration = Some(Configuration { text });
    let written = write(Mode::Full, &preamble, &[], None);
    assert!(matches!(written, Err(WriteError::Configuration(_))));
}

proptest! {
    #[test]
    fn every_changed_byte_is_found(at: prop::sample::Index, to: u8, sealed: bool) {
        let pair = pair();
        let mut bytes = file(sealed.then_some(&pair));
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let key = sealed.then_some(&pair.private);
        prop_assert!(Recording::read(&bytes, key).is_err(), "byte {} to {}", at, to);
    }

    #[test]
    fn any_bytes_are_refused_in_order(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let recording = [&header::MAGIC[..], &[1, 0], &bytes[..]].concat();
        prop_assert!(Recording::read(&recording, None).is_err());
    }
}
