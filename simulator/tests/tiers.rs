//! The ideal and the packet tier of TCP give the same application transcripts: what each host
//! wrote and read on each connection, how its ends came, how dials and sessions ended. Not when,
//! nor in pieces of which length.
use sansbox_simulator::{
    explore::threads,
    scenario::{self, Report, Scenario},
    tcp::Tier,
    transcript::{Place, Tag, hex},
    world::Setup,
};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, thread};

const SEEDS: u64 = 2;
/// At least so many scenarios over TCP must agree.
const SAME_MIN: usize = 80;

/// Several connections begin at once; answers name ports, and so show the order.
const ORDER: &str =
    "Which connection is served first is a matter of timing, and so which port it gets.";
const RESET: &str =
    "A reset throws away what was not read, and how much that is is a matter of timing.";
const RACE: &str = "Which of two things that happen at once is seen first is a matter of timing.";
const CUTS: &str = "Where a censor steps in depends on how bytes are cut into segments.";

/// Scenarios whose transcripts may differ, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("carried_stop", ORDER),
    ("carried_target_is_silent", ORDER),
    ("carried_target_refuses", ORDER),
    ("censor_blocks_the_server_for_a_while", CUTS),
    ("censor_drops_a_tls_name", CUTS),
    ("censor_freezes_a_relay", CUTS),
    ("client_leaves_during_dial", ORDER),
    ("client_resets_during_handshake", RESET),
    ("client_resets_half_closed", RESET),
    ("client_resets_relay", RESET),
    ("daemon_stop", ORDER),
    // The refusal comes before or after the first bytes.
    ("direct_stream_refused", RACE),
    ("early_payload_is_kept", ORDER),
    // The ends of both sides come one by one, or together.
    ("flood_before_connected", RACE),
    ("happy_eyeballs_close_race", RACE),
    ("http_client_leaves_response", RESET),
    ("nat_udp_association_through_every_kind", ORDER),
    ("one_byte_segments", ORDER),
    ("origin_resets_at_once", RESET),
    ("refused_client_that_reads_nothing", RESET),
    ("stop_ends_everything", ORDER),
    // A client that takes its SYN back does so before or after the target refused.
    ("tun_junk", RACE),
    ("tun_junk_plain", RACE),
    // The proxy needs only the beginning of the refusal, and may read all of it.
    ("upstream_socks_refuses", RACE),
    ("upstream_socks_resets", RESET),
];

/// One end of a connection as its host saw it.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    /// Length and beginning of the digest of all bytes.
    written: (u64, String),
    read: (u64, String),
    /// What the host did to end it, and what it saw of the other side's end.
    ended: Vec<String>,
    saw: Vec<String>,
}

#[derive(Default)]
struct Bytes {
    len: u64,
    hash: Sha256,
}

impl Bytes {
    fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.hash.update(bytes);
    }

    fn said(self) -> (u64, String) {
        (self.len, hex(&self.hash.finalize())[..16].to_owned())
    }
}

/// What one host saw.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    sockets: Vec<Socket>,
    dials: Vec<String>,
    finished: Vec<String>,
}

fn seen(report: &Report) -> BTreeMap<String, Seen> {
    let mut hosts: BTreeMap<String, Seen> = BTreeMap::new();
    let mut sockets: BTreeMap<(String, u64), (Socket, Bytes, Bytes)> = BTreeMap::new();
    for entry in &report.entries {
        let Place::Host(host) = entry.place else {
            continue;
        };
        // Hosts of one name are told apart by their numbers.
        let name = format!("{host:?}");
        let text = String::from_utf8_lossy(&entry.bytes).into_owned();
        let socket = (name.clone(), entry.number);
        let tag = format!("{:?}", entry.tag);
        match entry.tag {
            Tag::Written => sockets.entry(socket).or_default().1.add(&entry.bytes),
            Tag::Read => sockets.entry(socket).or_default().2.add(&entry.bytes),
            Tag::Shutdown | Tag::Close | Tag::Abort | Tag::Vanish => {
                sockets.entry(socket).or_default().0.ended.push(tag);
            }
            Tag::Fin | Tag::Reset => {
                let saw = &mut sockets.entry(socket).or_default().0.saw;
                if saw.last() != Some(&tag) {
                    saw.push(tag);
                }
            }
            Tag::Dialed => hosts.entry(name).or_default().dials.push(text),
            Tag::Finished => hosts.entry(name).or_default().finished.push(text),
            Tag::Dial
            | Tag::Accepted
            | Tag::DatagramSent
            | Tag::Datagram
            | Tag::DatagramLost
            | Tag::Resolve
            | Tag::Resolved
            | Tag::Action
            | Tag::Input
            | Tag::Command
            | Tag::PacketSent
            | Tag::PacketArrived
            | Tag::PacketLost
            | Tag::PacketNote
            | Tag::Fault
            | Tag::MachineBorn
            | Tag::SlotOpened
            | Tag::TimerSet
            | Tag::TimerFired
            | Tag::PipeFill => {}
        }
    }
    for ((name, _), (mut socket, written, read)) in sockets {
        socket.written = written.said();
        socket.read = read.said();
        hosts.entry(name).or_default().sockets.push(socket);
    }
    for seen in hosts.values_mut() {
        seen.sockets.sort();
        seen.dials.sort();
        seen.finished.sort();
    }
    hosts
}

fn run(scenario: &Scenario, seed: u64, tier: Tier) -> BTreeMap<String, Seen> {
    let report = scenario.run(Setup {
        seed,
        tier,
        keeps_entries: true,
        ..Setup::default()
    });
    let again = format!(
        "sansbox-sim run {} --seed {seed} --tier {tier}",
        scenario.name
    );
    assert_eq!(report.outcome, Ok(()), "{again}");
    seen(&report)
}

/// What the comparison of one scenario gave.
struct Compared {
    agrees: bool,
    /// What differs and may not.
    differ: Vec<String>,
}

fn compare(scenario: &Scenario) -> Compared {
    let (mut is_different, mut has_bytes, mut differ) = (false, false, Vec::new());
    for seed in 0..SEEDS {
        let ideal = run(scenario, seed, Tier::Ideal);
        let packet = run(scenario, seed, Tier::Packet);
        has_bytes |= ideal.values().any(|seen| !seen.sockets.is_empty());
        if ideal == packet {
            continue;
        }
        is_different = true;
        if DIFFERENT.iter().all(|(name, _)| *name != scenario.name) {
            for (host, seen) in &ideal {
                if packet.get(host) != Some(seen) {
                    let other = packet.get(host);
                    differ.push(format!(
                        "{} --seed {seed}: {host}\n  ideal:  {seen:?}\n  packet: {other:?}",
                        scenario.name
                    ));
                }
            }
        }
    }
    Compared {
        agrees: has_bytes && !is_different,
        differ,
    }
}

#[test]
fn both_tiers_give_the_same_transcripts() {
    let scenarios = scenario::all();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let compared = threads::map(&scenarios, cores, compare);
    let differ: Vec<_> = compared.iter().flat_map(|one| &one.differ).collect();
    let same = compared.iter().filter(|one| one.agrees).count();
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(same >= SAME_MIN, "only {same} scenarios agree");
}

#[test]
fn the_list_of_differences_names_scenarios_and_reasons() {
    for (name, reason) in DIFFERENT {
        assert!(scenario::find(name).is_some(), "{name}");
        assert!(reason.ends_with('.'), "{name}: {reason}");
    }
}

#[test]
fn a_run_on_the_packet_tier_replays() {
    for name in [
        "narrow_path",
        "packet_loss_both_ways",
        "half_close_by_client",
    ] {
        let scenario = scenario::find(name).expect("registered");
        let run = |seed| {
            scenario.run(Setup {
                seed,
                tier: Tier::Packet,
                ..Setup::default()
            })
        };
        assert_eq!(run(3).digest, run(3).digest, "{name}");
        assert_ne!(run(3).digest, run(4).digest, "{name}");
    }
}
