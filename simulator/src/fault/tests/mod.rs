//! Each class of faults changes an outcome: one world, run without and with it.
//!
//! The world: a client that fetches an echo of 60 kB through a SOCKS proxy of the engine, by a
//! name with a dead first address, and exchanges datagrams with an echo server beside it.
mod boxes;
mod calm;
mod probe;
mod table;

use super::{Draw, FaultClass};
use crate::{
    World,
    check::Closed,
    drive::{MachineHost, Rules, plan},
    net::{Answer, UdpPath, link::Link},
    rng::Source,
    tcp::{Path, Segments},
    transcript::{Entry, Tag},
    world::Setup,
};
use core::{net::IpAddr, time::Duration};
use probe::{Client, Heard, Origin};
use sansbox_engine::record::CloseReason;
use std::{cell::RefCell, rc::Rc, sync::OnceLock};

const HEAL_AT: Duration = Duration::from_secs(40);
const LIMIT: Duration = Duration::from_secs(3 * 3600);
const SEEDS: u64 = 4;

/// What came of a run.
struct Outcome {
    heard: Heard,
    closed: Vec<Closed>,
    entries: Vec<Entry>,
    end: Duration,
}

impl core::fmt::Display for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Heard {
            reply,
            dial_failed,
            done_at,
            echoed,
            was_reset,
            ..
        } = &self.heard;
        write!(f, "reply {reply:?}, dial {dial_failed:?}, {echoed} bytes, ")?;
        write!(
            f,
            "done {done_at:?}, reset {was_reset}, {} datagrams, ",
            self.back()
        )?;
        write!(f, "closed {:?} at {:?}", self.reasons(), self.end)
    }
}

impl Outcome {
    fn count(&self, tag: Tag) -> usize {
        let told = self.entries.iter().filter(|e| !e.is_sketch);
        told.filter(|e| e.tag == tag).count()
    }

    /// Packets that were lost for this reason.
    fn lost(&self, why: &str) -> usize {
        let is_it = |e: &&Entry| e.tag == Tag::PacketLost && *e.bytes == *why.as_bytes();
        self.entries.iter().filter(is_it).count()
    }

    /// Notes of packets that begin like this.
    fn noted(&self, what: &str) -> usize {
        let is_it = |e: &&Entry| e.tag == Tag::PacketNote && e.bytes.starts_with(what.as_bytes());
        self.entries.iter().filter(is_it).count()
    }

    /// When the echo was complete.
    fn took(&self) -> Option<Duration> {
        self.heard.done_at
    }

    /// Was it so much longer than without the fault, or never complete?
    fn is_later(&self, base: &Self, by: Duration) -> bool {
        let base = base.took().expect("complete without faults");
        self.took().is_none_or(|took| took > base + by)
    }

    fn reasons(&self) -> Vec<CloseReason> {
        self.closed.iter().filter_map(|c| c.reason).collect()
    }

    /// When the n-th tick of the client's clock came, in the world.
    fn tick(&self) -> Option<Duration> {
        let tick = self.entries.iter().find(|e| &*e.bytes == b"tick");
        tick.map(|e| Duration::from_nanos(e.at.as_nanos()))
    }

    /// All arrived, once and whole, soon and without loss.
    fn is_well(&self) -> bool {
        self.heard.reply == Some(0)
            && self.took().is_some_and(|t| t < Duration::from_secs(3))
            && self.back() == probe::DATAGRAMS as usize
            && !self.heard.has_wrong_bytes
            && self.heard.datagrams_damaged == 0
            && self.reasons() == [CloseReason::Completed]
            && self.count(Tag::PacketLost) == 0
    }

    /// Datagrams that came back.
    fn back(&self) -> usize {
        self.heard.datagrams.len()
    }
}

/// The standard world, with hops between its hosts or without.
fn run(seed: u64, with_hops: bool, class: Option<&FaultClass>) -> Outcome {
    run_from(Source::default(), seed, with_hops, class)
}

/// The same, with choices from a source.
fn run_from(source: Source, seed: u64, with_hops: bool, class: Option<&FaultClass>) -> Outcome {
    let is_calm = source.is_calm;
    let mut world = World::with(Setup {
        seed,
        source,
        keeps_entries: true,
        ..Setup::default()
    });
    world.default_path(Path {
        rate: Some(200_000),
        segments: Segments::UpTo(1460),
        ..Path::default()
    });
    world.default_udp_path(UdpPath {
        jitter: Duration::ZERO,
        ..UdpPath::default()
    });
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let hop = || -> Vec<Box<dyn crate::net::hop::Hop>> {
        let link: Link = "2ms".parse().unwrap();
        if with_hops {
            vec![Box::new(link)]
        } else {
            vec![]
        }
    };
    let heard = Rc::new(RefCell::new(Heard::default()));
    let site = world.site("home", hop());
    let client = Client::new(Rc::clone(&heard));
    world.host_in(site, "client", &[ip("10.0.0.1"), ip("fd00::1")], client);
    let config = r#"{"inbounds": [{"type": "socks", "listen": "10.0.0.2", "listen_port": 1080}],
        "outbounds": [{"type": "direct"}]}"#;
    let proxy = MachineHost::of_plan(Rules::default(), &plan(config).unwrap());
    world.host("proxy", &[ip("10.0.0.2"), ip("fd00::2")], proxy);
    let site = world.site("hosting", hop());
    let origin = Origin::default();
    world.host_in(site, "origin", &[ip("10.0.0.3"), ip("fd00::3")], origin);
    let addresses = vec![ip("fd00::3"), ip("10.0.0.3")];
    world.name("origin.test", Answer::Addresses(addresses));
    if let Some(class) = class {
        let mut draw = Draw::severe(&mut world, class, HEAL_AT);
        (class.install)(&mut world, &mut draw);
    }
    let verdict = world.run(LIMIT);
    // What a class damages unnoticed may well break what is checked; no other class may, and none
    // in a calm world.
    if is_calm || class.is_none_or(|class| class.keeps_bytes) {
        let name = class.map(|class| class.name);
        verdict.unwrap_or_else(|broken| panic!("{name:?} with seed {seed}: {broken}"));
    }
    let heard = heard.borrow().clone();
    Outcome {
        heard,
        closed: world.closed().to_vec(),
        entries: world.entries().to_vec(),
        end: Duration::from_nanos(world.now().as_nanos()),
    }
}

#[test]
fn without_faults_everything_arrives() {
    for with_hops in [false, true] {
        for seed in 0..SEEDS {
            let base = base(seed, with_hops);
            assert!(base.is_well(), "seed {seed}, hops {with_hops}: {base}");
        }
    }
}

/// The world without faults, run once for all tests.
fn base(seed: u64, with_hops: bool) -> &'static Outcome {
    static BASES: [[OnceLock<Outcome>; SEEDS as usize]; 2] =
        [const { [const { OnceLock::new() }; SEEDS as usize] }; 2];
    BASES[usize::from(with_hops)][seed as usize].get_or_init(|| run(seed, with_hops, None))
}

/// Does the class change the outcome that the table names, with one seed at least?
fn changes(class: &FaultClass, differs: fn(&Outcome, &Outcome) -> bool) -> bool {
    [true, false].into_iter().any(|with_hops| {
        (0..SEEDS).any(|seed| {
            let base = base(seed, with_hops);
            let with = run(seed, with_hops, Some(class));
            eprintln!("seed {seed}, hops {with_hops}: {with}");
            differs(base, &with)
        })
    })
}

#[test]
fn every_class_has_a_row_and_every_row_a_class() {
    let classes: Vec<&str> = super::all().map(|class| class.name).collect();
    let rows = table::ROWS.iter().chain(boxes::ROWS);
    let rows: Vec<&str> = rows.map(|(name, _)| *name).collect();
    assert_eq!(classes, rows);
    let unique: std::collections::BTreeSet<&&str> = classes.iter().collect();
    assert_eq!(unique.len(), classes.len());
}
