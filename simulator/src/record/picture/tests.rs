use super::*;
use crate::{
    out::{html, jsonl, pcapng},
    record::{
        replay,
        tests::{recorded, recording},
        tracks,
    },
    scenario,
    transcript::{Detail, Place, Tag},
};
use sansbox_flight::{Mode, wire::Entry as Recorded};

/// Payload that packets of the machines carry, and payload that was only counted.
fn sent(drawn: &Drawn) -> (u64, u64) {
    let ours =
        |entry: &&Entry| entry.tag == Tag::PacketSent && entry.place == Place::Host(ink::OURS);
    let mut sums = (0, 0);
    for entry in drawn.entries.iter().filter(ours) {
        sums.0 += entry.bytes.len() as u64;
        if let Some(Detail::Packet(head)) = entry.detail.as_deref() {
            sums.1 += head.unkept;
        }
    }
    sums
}

/// Draws all recordings of a scenario in some mode, by a replay.
fn redrawn(name: &str, mode: Mode) -> Vec<Drawn> {
    let all = recorded(name, 2, mode).into_iter();
    all.map(|(plan, snapshot)| {
        let recording = recording(mode, snapshot);
        let mut picture = Picture::default();
        for (id, track) in tracks(&recording) {
            let mut connection = picture.connection(&track);
            let verdict = replay(&plan, &track, &mut |event| connection.event(&event));
            connection.finish(&track, Some(&verdict));
            picture.verdict(id, &track, &verdict);
        }
        picture.finish()
    })
    .collect()
}

#[test]
fn every_scenario_is_drawn_from_its_recording() {
    let (mut bytes, mut counted) = (0, 0);
    for scenario in scenario::all() {
        for drawn in redrawn(scenario.name, Mode::Full) {
            assert_eq!(drawn.outcome, Ok(()), "{}", scenario.name);
            let times = drawn.entries.iter().map(|entry| entry.at);
            assert!(times.is_sorted());
            let sums = sent(&drawn);
            bytes += sums.0;
            counted += sums.1;
            let story = drawn.story(scenario.name, "");
            assert_eq!(jsonl(&story).lines().count(), drawn.entries.len() + 1);
        }
    }
    assert!(bytes > 10_000 && counted > 10_000, "{bytes} {counted}");
}

#[test]
fn sizes_go_on_where_content_was_cut() {
    let mut more = 0;
    for scenario in scenario::all() {
        let full = redrawn(scenario.name, Mode::Full);
        for (head, full) in redrawn(scenario.name, Mode::Head).iter().zip(&full) {
            let is_cut = |e: &&Entry| e.bytes.starts_with(b"from here on only sizes");
            if head.entries.iter().filter(is_cut).count() == 0 {
                continue;
            }
            let ((bytes, counted), (bytes_full, counted_full)) = (sent(head), sent(full));
            assert!(counted >= counted_full, "{}", scenario.name);
            more += counted - counted_full;
            // What datagrams a machine sends is not among the sizes.
            assert!(bytes + counted <= bytes_full + counted_full);
        }
    }
    assert!(more > 1000, "{more} bytes");
}

#[test]
fn shapes_are_drawn_without_a_byte_or_an_address() {
    let (_, snapshot) = recorded("socks5_connects", 2, Mode::Shape).remove(0);
    let recording = recording(Mode::Shape, snapshot);
    let mut picture = Picture::default();
    for track in tracks(&recording).values() {
        picture.sizes(track);
    }
    let drawn = picture.finish();
    let full = redrawn("socks5_connects", Mode::Full).remove(0);
    let (bytes, counted) = sent(&full);
    assert_eq!(sent(&drawn), (0, bytes + counted));
    assert_eq!(drawn.hosts.len(), 3);
    assert!(
        drawn
            .entries
            .iter()
            .all(|entry| !entry.is_payload() || entry.bytes.is_empty())
    );
    let story = drawn.story("shape", "");
    let page = html(&story);
    assert!(page.contains("not recorded") && page.contains("192.0.2.1"));
    assert!(!page.contains("10.0.0."), "an address of the scenario");
    assert!(pcapng(&story).len() > 1000);
}

#[test]
fn a_difference_is_the_fault_of_the_picture() {
    let (plan, snapshot) = recorded("socks5_connects", 2, Mode::Full).remove(0);
    let recording = recording(Mode::Full, snapshot);
    let (id, mut track) = tracks(&recording).pop_first().expect("a connection");
    for (_, entry) in &mut track.entries {
        if let Recorded::Produced { digest, .. } = entry {
            digest[0] ^= 1;
        }
    }
    let mut picture = Picture::default();
    let mut connection = picture.connection(&track);
    let verdict = replay(&plan, &track, &mut |event| connection.event(&event));
    connection.finish(&track, Some(&verdict));
    picture.verdict(id, &track, &verdict);
    let drawn = picture.finish();
    let violation = drawn.outcome.clone().expect_err("it differs");
    assert_eq!(violation.invariant, Invariant::SameAsRecorded);
    assert!(html(&drawn.story("differs", "")).contains("SameAsRecorded broken"));
    assert!(drawn.entries.iter().all(|entry| entry.tag != Tag::Finished));
}
