//! Hosts behind hops reach each other over them, and nothing else changes.
use super::{
    hop::{Hop, HopCx, HopFault, Lost, Way},
    packet::{Body, Flags, Icmp, IcmpKind, Packet, Segment},
};
use crate::{
    World,
    check::Violation,
    fault::Fault,
    net::SiteId,
    peers::{Script, ScriptHost, Step},
    transcript::{Place, Tag},
    world::Setup,
};
use core::{net::SocketAddr, time::Duration};

const LIMIT: Duration = Duration::from_secs(48 * 3600);
const SERVER: &str = "10.0.0.2:80";

/// What a test hop does with the packets that pass outwards; 0 based counts.
#[derive(Clone, Copy)]
enum Does {
    Nothing,
    LosesEvery(u64),
    Doubles,
    Swaps,
    /// Answers everything but ICMP with it.
    Refuses(IcmpKind),
    /// Lets so many through, then sends a reset both ways.
    ResetsAfter(u64),
}

struct TestHop {
    does: Does,
    seen: u64,
    is_down: bool,
}

fn hop(does: Does) -> Box<dyn Hop> {
    Box::new(TestHop {
        does,
        seen: 0,
        is_down: false,
    })
}

fn icmp(cx: &mut HopCx<'_>, about: &Packet, kind: IcmpKind) -> Packet {
    Packet {
        id: cx.new_packet_id(),
        source: SocketAddr::new(about.destination.ip(), 0),
        destination: about.source,
        ecn: about.ecn,
        may_fragment: true,
        body: Body::Icmp(Icmp {
            kind,
            transport: about.transport(),
            about_source: about.source,
            about_destination: about.destination,
        }),
    }
}

fn reset(cx: &mut HopCx<'_>, from: SocketAddr, to: SocketAddr) -> Packet {
    Packet {
        id: cx.new_packet_id(),
        source: from,
        destination: to,
        ecn: super::packet::Ecn::NotEct,
        may_fragment: false,
        body: Body::Tcp(Segment {
            flags: Flags::RST,
            ..Segment::default()
        }),
    }
}

impl Hop for TestHop {
    fn kind(&self) -> &'static str {
        "test"
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        if self.is_down {
            cx.lose(packet, Lost::Down);
            return;
        }
        self.seen += 1;
        let later = cx.now() + Duration::from_millis(10);
        match self.does {
            Does::LosesEvery(n) if self.seen.is_multiple_of(n) => cx.lose(packet, Lost::Chance),
            Does::Doubles => {
                let mut copy = packet.clone();
                copy.id = cx.new_packet_id();
                cx.forward_at(later, way, packet);
                cx.forward_at(later, way, copy);
            }
            // Every other one comes late.
            Does::Swaps if self.seen.is_multiple_of(2) => {
                cx.forward_at(later + Duration::from_millis(30), way, packet);
            }
            Does::Refuses(kind) if way == Way::Out && !matches!(packet.body, Body::Icmp(_)) => {
                let answer = icmp(cx, &packet, kind);
                cx.lose(packet, Lost::TooLong);
                cx.forward(way.back(), answer);
            }
            Does::ResetsAfter(n) if self.seen == n => {
                let there = reset(cx, packet.source, packet.destination);
                let back = reset(cx, packet.destination, packet.source);
                cx.forward(way, there);
                cx.forward(way.back(), back);
            }
            Does::Nothing
            | Does::LosesEvery(_)
            | Does::Swaps
            | Does::Refuses(_)
            | Does::ResetsAfter(_) => cx.forward_at(later, way, packet),
        }
    }

    fn fault(&mut self, _cx: &mut HopCx<'_>, fault: HopFault) -> bool {
        self.is_down = fault == HopFault::Down;
        matches!(fault, HopFault::Down | HopFault::Up)
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A client behind a hop and a server without.
fn world(seed: u64, does: Does, client: Script, server: Script) -> (World, SiteId) {
    let mut world = World::with(Setup {
        seed,
        keeps_entries: true,
        ..Setup::default()
    });
    let site = world.site("home", vec![hop(does)]);
    let host = ScriptHost::new().dial(addr(SERVER), client);
    world.host_in(site, "client", &[addr("10.0.0.1:0").ip()], host);
    let host = ScriptHost::new()
        .serve(addr(SERVER), move |_| server.clone())
        .echo_datagrams(addr("10.0.0.2:7"));
    world.host("server", &[addr(SERVER).ip()], host);
    (world, site)
}

fn talk(len: u64) -> (Script, Script) {
    let client = Script::new().exchange("up", "down", len).fin("up");
    let server = Script::new().exchange("down", "up", len).expect_fin("up");
    (client.expect_fin("down"), server.fin("down"))
}

fn count(world: &World, tag: Tag) -> usize {
    let told = world.entries().iter().filter(|e| !e.is_sketch);
    told.filter(|e| e.tag == tag).count()
}

#[test]
fn bytes_arrive_in_order_over_every_kind_of_trouble() {
    for does in [
        Does::Nothing,
        Does::LosesEvery(4),
        Does::LosesEvery(7),
        Does::Doubles,
        Does::Swaps,
    ] {
        for seed in 0..8 {
            let (client, server) = talk(60_000);
            let (mut world, _) = world(seed, does, client, server);
            world.run(LIMIT).unwrap();
            assert_eq!(world.flows().delivered_len("up"), 60_000);
            assert_eq!(world.flows().delivered_len("down"), 60_000);
            let lost = count(&world, Tag::PacketLost);
            assert_eq!(lost > 0, matches!(does, Does::LosesEvery(_)), "{lost}");
            assert!(count(&world, Tag::PacketArrived) > 80);
        }
    }
}

#[test]
fn loss_costs_time_and_repeats_the_same_run() {
    let run = |does| {
        let (client, server) = talk(60_000);
        let (mut world, _) = world(3, does, client, server);
        world.run(LIMIT).unwrap();
        (world.now(), world.digest())
    };
    assert!(run(Does::LosesEvery(4)).0 > run(Does::Nothing).0);
    assert_eq!(run(Does::LosesEvery(4)), run(Does::LosesEvery(4)));
}

#[test]
fn a_link_that_goes_down_kills_the_connection_in_its_time() {
    let client = Script::new().upload("up", 1 << 20).tolerant();
    let server = Script::new().download("up", 1 << 20).tolerant();
    let (mut world, site) = world(1, Does::Nothing, client, server);
    let fault = HopFault::Down;
    let index = 0;
    world.at(
        Duration::from_millis(100),
        Fault::Hop { site, index, fault },
    );
    world.run(LIMIT).unwrap();
    let minutes = world.now().as_nanos() / 60_000_000_000;
    // Linux gives up after some 15 minutes; the receiver by keep-alive.
    assert!((10..40).contains(&minutes), "{minutes}");
    assert_eq!(count(&world, Tag::Fault), 1);
}

#[test]
fn a_link_that_comes_back_in_time_loses_nothing() {
    let (client, server) = talk(200_000);
    let (mut world, site) = world(1, Does::Nothing, client, server);
    for (at, fault) in [(30, HopFault::Down), (30_000, HopFault::Up)] {
        let index = 0;
        world.at(Duration::from_millis(at), Fault::Hop { site, index, fault });
    }
    world.run(LIMIT).unwrap();
    assert!(world.now().as_nanos() > 30_000_000_000);
}

fn failure(does: Does) -> (Duration, Violation) {
    let (client, server) = talk(10);
    let (mut world, _) = world(1, does, client, server);
    let said = world.run(LIMIT).unwrap_err();
    (Duration::from_nanos(world.now().as_nanos()), said)
}

#[test]
fn dials_over_hops_fail_as_the_network_says() {
    let (time, said) = failure(Does::LosesEvery(1));
    assert!(said.detail.contains("timed out"), "{said}");
    assert_eq!(time.as_secs(), 127);
    let (time, said) = failure(Does::Refuses(IcmpKind::Unreachable));
    assert!(said.detail.contains("host unreachable"), "{said}");
    assert!(time < Duration::from_millis(100), "{time:?}");
    let (client, _) = talk(10);
    let (mut world, _) = world(1, Does::Nothing, Script::new(), Script::new());
    let host = ScriptHost::new().dial(addr("10.0.0.2:81"), client);
    let site = world.site("other", vec![hop(Does::Nothing)]);
    world.host_in(site, "other", &[addr("10.0.0.9:0").ip()], host);
    let said = world.run(LIMIT).unwrap_err();
    assert!(said.detail.contains("connection refused"), "{said}");
}

#[test]
fn an_injected_reset_kills_both_ends() {
    let client = Script::new().exchange("up", "down", 1 << 20);
    let client = client.then(Step::ExpectReset).tolerant();
    let server = Script::new().exchange("down", "up", 1 << 20).tolerant();
    let (mut world, _) = world(1, Does::ResetsAfter(20), client, server);
    world.run(LIMIT).unwrap();
    assert!(count(&world, Tag::Reset) >= 1);
    assert!(world.flows().delivered_len("up") < 1 << 20);
}

#[test]
fn a_closed_window_opens_again() {
    let client = Script::new().upload("up", 300_000).fin("up");
    let server = Script::new()
        .sleep(Duration::from_secs(400))
        .download("up", 300_000)
        .expect_fin("up");
    for does in [Does::Nothing, Does::LosesEvery(3)] {
        let (mut world, _) = world(1, does, client.clone(), server.clone());
        world.run(LIMIT).unwrap();
        assert_eq!(world.flows().delivered_len("up"), 300_000);
    }
}

#[test]
fn an_idle_connection_lives_and_a_vanished_peer_is_noticed() {
    let idle = Duration::from_secs(20 * 3600);
    let client = Script::new().sleep(idle).send("still").expect("here");
    let server = Script::new().expect("still").send("here");
    let (mut first, _) = world(1, Does::Nothing, client, server);
    first.run(LIMIT).unwrap();
    let client = Script::new().then(Step::ExpectReset);
    let server = Script::new().then(Step::Vanish);
    let (mut second, _) = world(1, Does::Nothing, client, server);
    second.run(LIMIT).unwrap();
    let seconds = second.now().as_nanos() / 1_000_000_000;
    assert!((1000..2000).contains(&seconds), "{seconds}");
}

#[test]
fn datagrams_pass_hops_and_hear_of_closed_ports() {
    let to = addr("10.0.0.2:7");
    let script = Script::of([
        Step::Bind,
        Step::ToAddr(to, b"hello".to_vec()),
        Step::ExpectDatagram(b"hello".to_vec()),
        Step::ToAddr(addr("10.0.0.2:8"), b"nobody".to_vec()),
        Step::ExpectNoDatagram(Duration::from_secs(1)),
    ]);
    let mut world = World::with(Setup {
        keeps_entries: true,
        ..Setup::default()
    });
    let site = world.site("home", vec![hop(Does::Nothing)]);
    let host = ScriptHost::new().offline(Duration::ZERO, script);
    world.host_in(site, "client", &[addr("10.0.0.1:0").ip()], host);
    let host = ScriptHost::new().echo_datagrams(to);
    world.host("echo", &[to.ip()], host);
    world.run(LIMIT).unwrap();
    // Three datagrams and an ICMP message.
    assert_eq!(count(&world, Tag::PacketSent), 4);
    assert_eq!(count(&world, Tag::PacketArrived), 4);
}

#[test]
fn neighbours_and_sites_without_hops_pay_nothing() {
    let (client, server) = talk(1000);
    let mut world = World::with(Setup {
        keeps_entries: true,
        ..Setup::default()
    });
    let site = world.site("home", vec![hop(Does::LosesEvery(1))]);
    let host = ScriptHost::new().dial(addr(SERVER), client);
    world.host_in(site, "client", &[addr("10.0.0.1:0").ip()], host);
    let host = ScriptHost::new().serve(addr(SERVER), move |_| server.clone());
    world.host_in(site, "server", &[addr(SERVER).ip()], host);
    world.run(LIMIT).unwrap();
    // Its hop would have lost every packet.
    let on_hops = |e: &&crate::transcript::Entry| matches!(e.place, Place::Hop(_));
    assert_eq!(world.entries().iter().filter(on_hops).count(), 0);
    assert_eq!(world.flows().delivered_len("up"), 1000);
}
