//! A million spoofed sources cost a server some mebibytes, and no more than a tenth of them did. A
//! binary of its own, because it counts for the process.
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use sansbox_interop::whole::server;
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind},
    preamble::{Client, ClientConfig, SourcePort},
    profile::Profile,
    tunnel::Server,
};
use sansbox_tests::{Value, json};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn more(octets: usize) {
    let live = LIVE.fetch_add(octets, Relaxed) + octets;
    PEAK.fetch_max(live, Relaxed);
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that is allocated at any time beyond what was before `work`.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed).saturating_sub(before)
}

const MIB: usize = 1 << 20;
const SOURCES: u32 = 1_000_000;
const WALL: Duration = Duration::from_secs(1_750_000_000);

/// What strangers may cost: preambles that are not complete, and rates.
const BUDGET: usize = 4 * MIB;
/// What those may cost who have a profile without keys, and no address of their own: tunnels that
/// nothing comes from.
const BUDGET_OF_TUNNELS: usize = 24 * MIB;

fn docs(changes: &Value) -> Profile {
    let vectors = "../../protocols/tests/vectors/paniq/docs_profile.json";
    let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(vectors)).unwrap();
    let mut profile: Value = serde_json::from_slice(&text).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        profile["obfuscation"][name] = value.clone();
    }
    Profile::from_json(profile.to_string().as_bytes()).unwrap()
}

fn unencrypted() -> Value {
    json!({"encrypted_timestamp": false, "require_encrypted_timestamp": false})
}

/// A `<t>` is all that is asked for.
fn keyless(changes: &Value) -> Profile {
    let mut all = unencrypted();
    all["server_private_key"] = Value::Null;
    all["server_public_key"] = Value::Null;
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    docs(&all)
}

/// One source for each number, no two alike.
fn spoofed(n: u32) -> SocketAddr {
    let [a, b, c, d] = (n.wrapping_mul(2_654_435_761)).to_be_bytes();
    let port = 1 + u16::try_from(n % 65_535).unwrap();
    SocketAddr::from((Ipv4Addr::new(a, b, c, d), port))
}

/// What strangers send: random octets, what looks like a signature, and frames of all kinds.
fn datagrams(profile: &Profile) -> Vec<Vec<u8>> {
    let shared = profile.server(WALL.as_secs()).unwrap().settings.shared;
    let framer = Framer::new(shared.params);
    let mut draws = Draws::new(Seed::from_u64(1));
    let mut random = |len: usize| {
        let mut octets = vec![0; len];
        draws.fill(&mut octets);
        octets
    };
    let now = u32::try_from(WALL.as_secs()).unwrap();
    let mut all = vec![
        now.to_be_bytes().to_vec(),
        random(1200),
        now.to_be_bytes().to_vec(),
        random(60),
    ];
    let payloads = [random(101), random(16), Vec::new()];
    let mut draws = Draws::new(Seed::from_u64(2));
    for kind in Kind::ALL {
        for payload in &payloads {
            let mut frame = BytesMut::new();
            framer.encode(&mut draws, kind, payload, &mut frame);
            all.push(frame.to_vec());
        }
    }
    all
}

struct Flood {
    server: Server,
    now: Instant,
    answers: usize,
}

impl Flood {
    fn new(profile: &Profile) -> Self {
        Self {
            server: server(profile, WALL, 1),
            now: Instant::ZERO,
            answers: 0,
        }
    }

    fn hand(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.now += Duration::from_micros(1);
        let data = BytesMut::from(datagram);
        let _ = self.server.handle_datagram(self.now, from, data);
    }

    /// What the server does from time to time.
    fn turn(&mut self) {
        let mut out = BytesMut::new();
        while self.server.poll_transmit(self.now, 8, &mut out).is_some() {
            self.answers += 1;
        }
        if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
            self.server.handle_timeout(self.now);
        }
        while self.server.poll_event().is_some() {}
    }
}

fn strangers_cost_no_memory() {
    let profiles = [
        ("docs", docs(&json!({})), SOURCES),
        ("a MAC and a time", docs(&unencrypted()), SOURCES / 4),
    ];
    for (name, profile, sources) in profiles {
        let all = datagrams(&profile);
        let mut flood = Flood::new(&profile);
        let mut n = 0;
        let mut up_to = |sources: u32| {
            peak_of(|| {
                while n < sources {
                    let datagram = &all[usize::try_from(n).unwrap() % all.len()];
                    flood.hand(spoofed(n), datagram);
                    n += 1;
                    if n.is_multiple_of(32) {
                        flood.turn();
                    }
                }
            })
        };
        let first = up_to(SOURCES / 10);
        let later = up_to(sources);
        println!("{name}: {first} octets for the first, {later} more at most");
        assert!(first < BUDGET, "{name}: {first}");
        // All tables are full: the rest only takes the places of others.
        assert!(later < BUDGET / 10, "{name}: {later}");
        assert_eq!(flood.answers, 0, "{name}");
        let [connections, streams] = flood.server.occupancy();
        let [_, ready, _, _] = flood.server.preamble().occupancy();
        assert_eq!([connections, streams, ready], [0; 3], "{name}");
    }
}

/// Without a key, whoever has the profile gets a tunnel; many of them get no more than there are.
fn preambles_from_everywhere_cost_a_table() {
    // So many that the memory of preambles has room for those of a second.
    const A_SECOND: u32 = 4000;
    let ready_max: usize = 65_536;
    let profile = keyless(&json!({"jc": 0}));
    let client = profile.for_clients().client().unwrap().settings;
    let config = ClientConfig {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        ..client.preamble(SourcePort::Fresh)
    };
    let mut flood = Flood::new(&profile);
    let mut n = 0;
    let mut up_to = |sources: usize| {
        peak_of(|| {
            while usize::try_from(n).unwrap() < sources {
                let elapsed = Duration::from_secs((n / A_SECOND).into());
                flood.now = flood.now.max(Instant::ZERO + elapsed);
                let seed = Seed::from_u64(n.into());
                let mut client = Client::new(flood.now, config.clone(), seed).unwrap();
                let (mut out, wall) = (BytesMut::new(), (WALL + elapsed).into());
                while client.poll_transmit(flood.now, wall, &mut out).is_some() {
                    flood.hand(spoofed(n), &out);
                    out.clear();
                }
                flood.turn();
                n += 1;
            }
        })
    };
    let first = up_to(ready_max);
    let later = up_to(ready_max * 5 / 4);
    println!("tunnels: {first} octets, {later} more at most");
    assert!(first < BUDGET_OF_TUNNELS, "{first}");
    assert!(later < BUDGET_OF_TUNNELS / 10, "{later}");
    assert_eq!(flood.answers, ready_max * 5 / 4);
    assert_eq!(flood.server.preamble().occupancy()[1], ready_max);
}

#[test]
fn spoofed_sources_cost_bounded_memory() {
    strangers_cost_no_memory();
    preambles_from_everywhere_cost_a_table();
}
