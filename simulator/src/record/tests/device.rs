//! The carriers of TUN devices, recorded, replayed and drawn.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each test looks for one kind of entry among all"
)]

use super::*;
use crate::out::{html, jsonl, pcapng};
use sansbox_core::End;
use sansbox_flight::{
    Track,
    wire::{DeviceEntry, Way},
};

/// The recording of the scenario's daemon.
fn daemon(name: &str, mode: Mode) -> (Arc<Plan>, Recording) {
    let (plan, snapshot) = recorded(name, 1, mode).remove(0);
    (plan, recording(mode, snapshot))
}

const fn is_device(track: &Track<'_>) -> bool {
    match &track.begin {
        Some((_, begin)) => matches!(begin.kind, MachineKind::Device(_)),
        None => false,
    }
}

fn device_of(recording: &Recording) -> (TrackId, Track<'_>) {
    let all = tracks(recording).into_iter();
    let mut devices = all.filter(|(_, track)| is_device(track));
    let device = devices.next().expect("a device");
    assert!(devices.next().is_none(), "only one");
    device
}

/// Every scenario is replayed with the others of [`super`]; here it is looked at what that is.
#[test]
fn a_device_replays_bit_for_bit() {
    for name in ["tun_plain", "tun_udp_two_targets"] {
        let (plan, recording) = daemon(name, Mode::Full);
        let (_, track) = device_of(&recording);
        let (mut frames, mut packets, mut written) = (0, 0, 0);
        let verdict = replay(&plan, &track, &mut |event| match event.kind {
            EventKind::Packet(_) => packets += 1,
            EventKind::Input(Entry::Device(DeviceEntry::Frame(_))) => frames += 1,
            EventKind::Input(Entry::Device(DeviceEntry::Written(..))) => written += 1,
            _ => {}
        });
        assert!(matches!(verdict, Verdict::Identical(_)), "{verdict:?}");
        assert!(!track.is_open(), "{name}: it was dropped");
        let all = (frames, packets, written);
        assert!(frames > 2 && packets > 2 && written > 2, "{name}: {all:?}");
    }
}

#[test]
fn the_head_of_a_device_replays_until_it_is_cut() {
    let (plan, recording) = daemon("tun_echo", Mode::Head);
    let (_, track) = device_of(&recording);
    let verdict = replay(&plan, &track, &mut |_| {});
    let Verdict::IdenticalUntilCut(replayed) = verdict else {
        panic!("{verdict:?}");
    };
    let is_begun = replayed.inputs > 3 && replayed.outputs.bytes > 40;
    assert!(is_begun, "{replayed:?}");
    let entries = track.entries.iter().map(|(_, entry)| entry);
    let behind = entries.skip_while(|entry| !matches!(entry, Entry::Cut));
    let bytes: usize = behind.map(Entry::content_len).sum();
    assert_eq!(bytes, 0, "only sizes follow");
}

#[test]
fn the_shape_of_a_device_holds_sizes_only() {
    let (plan, snapshot) = recorded("tun_echo", 1, Mode::Shape).remove(0);
    let machine = [10, 11, 12, 1];
    for chunk in &snapshot.chunks {
        let has_address = chunk.data.windows(4).any(|bytes| bytes == machine);
        assert!(!has_address, "an address is in a shape");
    }
    let recording = recording(Mode::Shape, snapshot);
    let (_, track) = device_of(&recording);
    assert_eq!(replay(&plan, &track, &mut |_| {}), Verdict::NoContent);
    let (mut batches, mut sent) = (0, 0);
    for (_, entry) in &track.entries {
        match entry {
            Entry::Device(DeviceEntry::Batch { bytes, .. }) => batches += bytes,
            Entry::Device(DeviceEntry::Sent { bytes, .. }) => sent += bytes,
            Entry::Device(DeviceEntry::Answered(_, answer)) => assert_eq!(*answer, Ok(None)),
            Entry::Device(DeviceEntry::Abandoned(_)) | Entry::Stop => {}
            Entry::End { digest, .. } => assert_eq!(*digest, None),
            other => panic!("{other:?} in a shape"),
        }
    }
    assert!(batches > 100_000 && sent > 100_000, "{batches} and {sent}");
}

/// What becomes of a device's recording when `plant` changed one entry; it says whether it did.
fn planted(name: &str, plant: impl Fn(&mut Entry<'_>) -> bool) -> Difference {
    let (plan, recording) = daemon(name, Mode::Full);
    let mut track = device_of(&recording).1;
    let mut is_planted = false;
    for (_, entry) in &mut track.entries {
        is_planted = is_planted || plant(entry);
    }
    assert!(is_planted);
    difference(replay(&plan, &track, &mut |_| {}))
}

/// A byte of `bytes`, from its end, was another one.
fn changed(bytes: &[u8], from_end: usize) -> Option<&'static [u8]> {
    let mut other = bytes.to_vec();
    let at = other.len().checked_sub(from_end)?;
    other[at] ^= 1;
    Some(other.leak())
}

#[test]
fn every_changed_byte_is_found() {
    // Of a payload: that comes out at the session.
    let frame = |entry: &mut Entry<'_>| match entry {
        Entry::Device(DeviceEntry::Frame(frame)) if frame.len() > 500 => {
            *frame = changed(frame, 1).expect("it is long enough");
            true
        }
        _ => false,
    };
    for name in ["tun_echo", "tun_plain", "tun_echo_v6"] {
        let found = planted(name, frame);
        let is_known = matches!(
            found,
            Difference::Digest { .. } | Difference::Actions { .. } | Difference::Stream { .. }
        );
        assert!(is_known, "{name}: {found}");
    }
    // Of what goes to the client: that comes out at the device.
    let written = planted("tun_echo", |entry| match entry {
        Entry::Device(DeviceEntry::Written(_, segment)) => {
            *segment = changed(segment, 1).expect("none is empty");
            true
        }
        _ => false,
    });
    assert!(matches!(written, Difference::Digest { .. }), "{written}");
}

#[test]
fn every_difference_of_a_device_is_found() {
    let batch = planted("tun_echo", |entry| match entry {
        Entry::Device(DeviceEntry::Batch { frames, .. }) => {
            *frames += 1;
            true
        }
        _ => false,
    });
    assert!(matches!(batch, Difference::Batch { .. }), "{batch}");
    let taken = planted("tun_echo", |entry| match entry {
        Entry::Device(DeviceEntry::Taken(_, n)) => {
            *n += 1 << 40;
            true
        }
        _ => false,
    });
    assert!(matches!(taken, Difference::Stream { .. }), "{taken}");
    let ended = planted("tun_echo", |entry| match entry {
        Entry::Device(DeviceEntry::Ended(_, Way::ToSend, end)) if *end == End::Fin => {
            *end = End::Reset;
            true
        }
        _ => false,
    });
    let is_known = matches!(
        ended,
        Difference::Digest { .. } | Difference::Actions { .. }
    );
    assert!(is_known, "{ended}");
    let digest = planted("tun_echo", |entry| match entry {
        Entry::Produced { digest, .. } => {
            digest[0] ^= 1;
            true
        }
        _ => false,
    });
    assert!(matches!(digest, Difference::Digest { .. }), "{digest}");
    let end = planted("tun_echo", |entry| match entry {
        Entry::End { bytes_up, .. } => {
            *bytes_up += 1;
            true
        }
        _ => false,
    });
    assert!(matches!(end, Difference::End { .. }), "{end}");
}

#[test]
fn a_device_with_other_facts_is_another_device() {
    let (plan, recording) = daemon("tun_echo", Mode::Full);
    let mut track = device_of(&recording).1;
    let (_, begin) = track.begin.as_mut().expect("its beginning");
    let MachineKind::Device(facts) = &mut begin.kind else {
        unreachable!("it is a device");
    };
    facts.mtu = 1280;
    difference(replay(&plan, &track, &mut |_| {}));
}

#[test]
fn a_device_is_promoted_and_blessed() {
    let (plan, whole) = daemon("tun_echo", Mode::Full);
    let (id, track) = device_of(&whole);
    let before = replay(&plan, &track, &mut |_| {});
    let file = promote(&whole, id).expect("a file");
    let promoted = Recording::read(&file, None).expect("an open recording");
    let (_, track) = device_of(&promoted);
    assert_eq!(replay(&plan, &track, &mut |_| {}), before);
    // The configuration of the recording is not that of the scenario, and has no device.
    assert!(matches!(bless(&promoted), Err(PromoteError::Partial(_))));
    let mut own = promoted.clone();
    own.preamble.configuration = Some(Configuration {
        text: WITH_DEVICE.to_vec(),
    });
    let blessed = bless(&own).expect("it fits");
    let blessed = Recording::read(&blessed, None).expect("an open recording");
    let (_, track) = device_of(&blessed);
    let plan = super::super::plan(&blessed).expect("a plan");
    assert_eq!(replay(&plan, &track, &mut |_| {}), before);
}

/// What `tun_echo` runs on.
const WITH_DEVICE: &[u8] = br#"{
    "inbounds": [{"type": "tun", "tag": "tun", "address": ["10.11.12.1/24", "fd11::1/64"],
        "sansbox": {"handshake_mode": "fast"}}],
    "outbounds": [{"type": "direct", "tag": "direct"}]
}"#;

#[test]
fn packets_of_a_device_are_drawn() {
    let (plan, recording) = daemon("tun_echo", Mode::Full);
    let (id, track) = device_of(&recording);
    let mut picture = Picture::default();
    let mut connection = picture.connection(&track);
    let verdict = replay(&plan, &track, &mut |event| connection.event(&event));
    connection.finish(&track, Some(&verdict));
    picture.verdict(id, &track, &verdict);
    let drawn = picture.finish();
    let story = drawn.story("device", "");
    let lines = jsonl(&story);
    assert!(lines.contains("a TUN device of MTU 1500, with offload"));
    let page = html(&story);
    for text in ["TCP SYN seq", "TCP SYN ACK seq", "FIN "] {
        assert!(page.contains(text), "no {text:?}");
    }
    let address = [10, 11, 12, 1];
    let capture = pcapng(&story);
    let packets = capture.windows(4).filter(|bytes| *bytes == address);
    assert!(packets.count() > 50);
}
