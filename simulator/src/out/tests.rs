//! What the pictures of real runs must say.
use super::{Story, html, jsonl, packets, pcapng};
use crate::{
    scenario::{Report, find},
    transcript::{Carries, Detail, Entry, Tag},
    world::Setup,
};
use core::net::SocketAddr;
use serde_json::Value;
use std::collections::BTreeMap;

fn run(name: &str, seed: u64) -> Report {
    find(name).unwrap().run(Setup {
        seed,
        keeps_entries: true,
        ..Setup::default()
    })
}

fn story(report: &Report) -> Story<'_> {
    Story {
        title: "a <b> & \"c\"",
        seed: Some(7),
        replay: "sansbox-sim run </script>",
        ..Story::of(report)
    }
}

/// Payload by direction, from what arrived.
fn streams(entries: &[Entry]) -> BTreeMap<(SocketAddr, SocketAddr), Vec<u8>> {
    let mut out: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for packet in packets::gather(entries) {
        let (Some(_), Some(head)) = (packet.arrived, packet.head(entries)) else {
            continue;
        };
        let Carries::Tcp { offset, .. } = head.carries else {
            continue;
        };
        let stream = out.entry((head.source, head.destination)).or_default();
        if packet.payload(entries).is_empty() {
            continue;
        }
        assert_eq!(offset, stream.len() as u64, "{head:?}");
        stream.extend(packet.payload(entries));
    }
    out
}

#[test]
fn arrived_segments_are_what_was_written() {
    for seed in 1..6 {
        let report = run("socks5_connects", seed);
        let mut written: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for entry in report.entries.iter().filter(|e| e.tag == Tag::Written) {
            written
                .entry(entry.number)
                .or_default()
                .extend(&*entry.bytes);
        }
        let mut arrived: Vec<Vec<u8>> = streams(&report.entries).into_values().collect();
        let mut written: Vec<Vec<u8>> = written.into_values().collect();
        arrived.sort();
        written.sort();
        assert!(written.iter().map(Vec::len).sum::<usize>() > 10_000);
        assert_eq!(arrived, written, "seed {seed}");
    }
}

#[test]
fn sketches_are_there_only_where_entries_are_kept() {
    let report = run("udp_association_with_loss", 3);
    let sketches = report.entries.iter().filter(|entry| entry.is_sketch);
    assert!(sketches.count() > 100);
    let hashed = report.entries.iter().filter(|entry| !entry.is_sketch);
    assert_eq!(hashed.count(), report.lines().count());
    let bare = find("udp_association_with_loss").unwrap().run(Setup {
        seed: 3,
        ..Setup::default()
    });
    assert_eq!(bare.digest, report.digest);
    assert_eq!(bare.events, report.events);
    assert_eq!(bare.decisions, report.decisions);
    assert!(bare.entries.is_empty());
}

#[test]
fn every_datagram_has_one_fate() {
    let report = run("udp_association_with_loss", 3);
    let all = packets::gather(&report.entries);
    let of = |keep: fn(&packets::Packet) -> bool| all.iter().filter(|p| keep(p)).count();
    assert!(of(|p| p.lost.is_some()) > 5);
    assert!(of(|p| !p.notes.is_empty()) > 2, "copies");
    assert_eq!(of(|p| p.lost.is_some() && p.arrived.is_some()), 0);
    assert_eq!(of(|p| p.sent.is_none()), 0);
}

#[test]
fn the_same_run_gives_the_same_pictures() {
    let (first, second) = (run("dial_refused", 5), run("dial_refused", 5));
    let (first, second) = (story(&first), story(&second));
    assert_eq!(pcapng(&first), pcapng(&second));
    assert_eq!(jsonl(&first), jsonl(&second));
    assert_eq!(html(&first), html(&second));
}

#[test]
fn lines_are_json_with_stable_ids() {
    let report = run("udp_association_echo", 1);
    let text = jsonl(&story(&report));
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let first = lines.next().unwrap();
    assert_eq!(first["format"], super::JSONL_FORMAT);
    assert_eq!(first["seed"], 7);
    assert_eq!(first["hosts"][0]["name"], report.hosts[0]);
    let mut count = 0;
    for (line, entry) in lines.zip(&report.entries) {
        assert_eq!(line["id"], count);
        assert_eq!(line["at"], entry.at.as_nanos());
        assert_eq!(line["tag"], format!("{:?}", entry.tag));
        assert_eq!(line["len"].is_u64(), entry.is_payload(), "{line}");
        let has_head = matches!(entry.detail.as_deref(), Some(Detail::Packet(_)));
        assert_eq!(line["packet"].is_object(), has_head, "{line}");
        count += 1;
    }
    assert_eq!(count, report.entries.len());
}

/// The data inside a page.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_page_needs_nothing_else_and_is_safe_to_open() {
    let report = run("http_connect_relays", 2);
    let page = html(&story(&report));
    for outside in [
        "src=",
        "<link",
        "@import",
        "url(",
        "fetch(",
        "XMLHttpRequest",
        "{{",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("<title>a &lt;b&gt; &amp; &quot;c&quot;"));
    assert!(page.contains("default-src 'none'"));
    // What runs say cannot end the script element.
    assert_eq!(page.matches("</script>").count(), 2);
    let data = data(&page);
    assert_eq!(data["replay"], "sansbox-sim run </script>");
    assert_eq!(data["passed"], true);
}

#[test]
fn a_page_holds_every_packet_and_every_entry_once() {
    let report = run("http_connect_relays", 2);
    let data = data(&html(&story(&report)));
    let packets = packets::gather(&report.entries).len();
    let marks = report.entries.iter();
    let marks = marks
        .filter(|entry| !packets::is_of_packet(entry.tag))
        .count();
    assert_eq!(data["count"], packets + marks);
    let columns = data["columns"].as_object().unwrap();
    for (name, column) in columns {
        assert_eq!(column.as_array().unwrap().len(), packets + marks, "{name}");
    }
    let strings: Vec<&str> = data["strings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let has = |part: &str| strings.iter().any(|text| text.contains(part));
    assert!(has("HTTP CONNECT 10.0.0.3:80") && has("SYN ACK") && has("HTTP 200"));
}

#[test]
fn a_broken_invariant_is_the_last_item() {
    let mut report = run("socks5_connects", 2);
    report.outcome = Err(crate::check::Violation {
        at: report.virtual_time,
        host: "proxy".into(),
        invariant: crate::check::Invariant::NothingLeft,
        detail: "a\tb\nc".into(),
    });
    let data = data(&html(&story(&report)));
    assert_eq!(data["passed"], false);
    let at = data["count"].as_u64().unwrap() as usize - 1;
    let label = data["columns"]["label"][at].as_u64().unwrap() as usize;
    assert_eq!(data["strings"][label], "NothingLeft broken");
    assert_eq!(data["columns"]["entry"][at], report.entries.len());
}

#[test]
fn pipes_timers_and_machines_are_drawn() {
    let report = run("slow_reader_of_a_response", 1);
    let has = |tag| report.entries.iter().any(|entry| entry.tag == tag);
    for tag in [
        Tag::MachineBorn,
        Tag::SlotOpened,
        Tag::TimerSet,
        Tag::PipeFill,
    ] {
        assert!(has(tag), "{tag:?}");
    }
    assert!(
        run("silent_client", 1)
            .entries
            .iter()
            .any(|e| e.tag == Tag::TimerFired)
    );
}
