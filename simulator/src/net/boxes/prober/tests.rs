//! What a prober says, hears and tells.
use super::*;
use crate::{
    World,
    net::boxes::censor::{Censor, Rule, Then, When},
    peers::{Script, ScriptHost, Step},
    rng::Streams,
};

const CLIENT: &str = "10.0.0.1";
const SUSPECT: &str = "10.0.0.3:443";
const DECOY: &str = "10.0.0.4:443";
const LEEWAY: Duration = Duration::from_millis(200);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn made(probe: &Probe, seen: &[u8]) -> Vec<u8> {
    let mut streams = Streams::new(3);
    let stream = streams.open("probes");
    probe.flight(seen, &mut streams, stream)
}

#[test]
fn each_probe_is_made_as_it_says() {
    let seen: Vec<u8> = (0..100).collect();
    let differing = |flight: &[u8]| -> Vec<usize> {
        let pairs = seen.iter().zip(flight).enumerate();
        pairs.filter(|(_, (a, b))| a != b).map(|(n, _)| n).collect()
    };
    assert_eq!(made(&Probe::Replay, &seen), seen);
    let changed = made(&Probe::Changed(vec![0, 16, 5_000]), &seen);
    assert_eq!((differing(&changed), changed.len()), (vec![0, 16], 100));
    let flipped = made(&Probe::Flipped, &seen);
    let at = differing(&flipped);
    assert_eq!(at.len(), 1);
    assert_eq!((flipped[at[0]] ^ seen[at[0]]).count_ones(), 1);
    assert_eq!(made(&Probe::Truncated(50), &seen), &seen[..50]);
    assert_eq!(made(&Probe::Truncated(100), &seen), &seen[..99]);
    let appended = made(&Probe::Appended(16), &seen);
    assert!(appended.starts_with(&seen) && appended.len() == 116);
    assert_eq!(made(&Probe::Random(221), &seen).len(), 221);
    assert_eq!(made(&Probe::Bytes(b"hi".to_vec()), &seen), b"hi");
    assert_eq!(made(&Probe::Silence, &seen), b"");
    for probe in Probe::all() {
        made(&probe, b"");
    }
}

/// A client speaks to a server past a censor; a prober follows. The servers answer every
/// connection by a script.
fn probed(suspect: fn() -> Script, decoy: fn() -> Script, probes: Vec<Probe>) -> Findings {
    let mut world = World::new(5);
    let (sightings, findings) = (Sightings::new(), Findings::new());
    let rule = Rule::new(When::Always, Then::Report(sightings.clone()));
    let censor = Censor::new(vec![rule]).unwrap();
    let home = world.site("home", vec![Box::new(censor)]);
    let script = Script::new()
        .send("first flight")
        .sleep(Duration::from_secs(5));
    let client = ScriptHost::new().dial(addr(SUSPECT), script.tolerant());
    world.host_in(home, "client", &[CLIENT.parse().unwrap()], client);
    for (name, at, script) in [("suspect", SUSPECT, suspect), ("decoy", DECOY, decoy)] {
        let host = ScriptHost::new().serve(addr(at), move |_| script().tolerant());
        world.host(name, &[addr(at).ip()], host);
    }
    let plan = Plan {
        probes,
        decoys: BTreeMap::from([(addr(SUSPECT), addr(DECOY))]),
        ..Plan::default()
    };
    let prober = Prober::new(plan, sightings, findings.clone());
    world.host("prober", &["10.0.0.9".parse().unwrap()], prober);
    world.run(Duration::from_secs(600)).unwrap();
    findings
}

fn says(text: &str) -> Script {
    Script::new().send(text)
}

/// Reads whatever there is to the end: bytes that nobody reads would turn a close into a reset.
fn ends(script: Script) -> Script {
    script.then(Step::Fin(None)).then(Step::ExpectEnd)
}

fn site() -> Script {
    ends(says("not found"))
}

fn echo() -> Script {
    Script::new().then(Step::Echo)
}

#[test]
fn equal_servers_cannot_be_told_apart() {
    let findings = probed(site, site, Probe::all());
    assert_eq!(findings.all().len(), Probe::all().len());
    assert_eq!(findings.check(LEEWAY), Ok(()));
    let replay = &findings
        .all()
        .into_iter()
        .find(|f| f.probe == Probe::Replay)
        .unwrap();
    assert_eq!(replay.flight, b"first flight");
    assert_eq!(replay.suspect.heard, [b"not found".to_vec()]);
    let silence = &findings
        .all()
        .into_iter()
        .find(|f| f.probe == Probe::Silence)
        .unwrap();
    assert_eq!(
        (silence.suspect.ending, silence.suspect.heard.len()),
        (Ending::Fin, 1)
    );
    let patient = probed(echo, echo, vec![Probe::Silence]).all();
    assert_eq!(patient[0].suspect.ending, Ending::Open);
    assert_eq!(patient[0].suspect.took, Plan::default().patience);
}

#[test]
fn a_server_is_told_by_what_it_says_how_it_ends_and_when() {
    let told = |suspect: fn() -> Script| {
        let findings = probed(suspect, site, vec![Probe::Replay]).all();
        findings[0].compare(LEEWAY).unwrap_err()
    };
    let speaks = told(|| ends(says("no, found")));
    assert!(matches!(speaks, Difference::Heard { .. }), "{speaks}");
    let resets = told(|| {
        says("not found")
            .sleep(Duration::from_millis(100))
            .then(Step::Reset)
    });
    assert!(
        matches!(
            resets,
            Difference::Ending {
                suspect: Ending::Reset,
                ..
            }
        ),
        "{resets}"
    );
    let slow = told(|| Script::new().sleep(Duration::from_secs(2)).and(site()));
    assert!(matches!(slow, Difference::Time { .. }), "{slow}");
}

#[test]
fn a_closed_port_is_a_finding_as_well() {
    let mut world = World::new(5);
    let (sightings, findings) = (Sightings::new(), Findings::new());
    let server = addr(SUSPECT);
    for transport in [Transport::Tcp, Transport::Udp] {
        let first_flight = b"hello".to_vec();
        sightings.put(Sighting {
            at: Instant::ZERO,
            transport,
            server,
            first_flight,
        });
    }
    let plan = Plan {
        probes: vec![Probe::Replay],
        ..Plan::default()
    };
    let prober = Prober::new(plan, sightings, findings.clone());
    world.host("prober", &["10.0.0.9".parse().unwrap()], prober);
    world.host("server", &[server.ip()], ScriptHost::new());
    world.run(Duration::from_secs(600)).unwrap();
    let mut endings: Vec<String> = findings
        .all()
        .iter()
        .map(|f| format!("{:?}", f.suspect.ending))
        .collect();
    endings.sort();
    assert_eq!(endings, ["Refused(ConnectionRefused)", "Reset"]);
}

#[test]
fn datagrams_are_probed_as_well() {
    let mut world = World::new(5);
    let (sightings, findings) = (Sightings::new(), Findings::new());
    sightings.put(Sighting {
        at: Instant::ZERO,
        transport: Transport::Udp,
        server: addr(SUSPECT),
        first_flight: b"hello".to_vec(),
    });
    let plan = Plan {
        probes: vec![Probe::Replay, Probe::Truncated(50)],
        ..Plan::default()
    };
    let prober = Prober::new(plan, sightings, findings.clone());
    world.host("prober", &["10.0.0.9".parse().unwrap()], prober);
    let echo = ScriptHost::new().echo_datagrams(addr(SUSPECT));
    world.host("server", &[addr(SUSPECT).ip()], echo);
    world.run(Duration::from_secs(600)).unwrap();
    let mut heard: Vec<Vec<u8>> = findings
        .all()
        .iter()
        .flat_map(|f| f.suspect.heard.clone())
        .collect();
    heard.sort();
    assert_eq!(heard, [b"he".to_vec(), b"hello".to_vec()]);
}
