//! Whatever packets come, in whatever order: a box lets each go on once or loses it once, makes
//! nothing but packets of its own, and never panics.
use super::{
    bench::{Bench, FIRST_OWN, packet, tcp_data, udp_data},
    censor::{Censor, Exemptions, Names, Rule, Sight, Sightings, Then, Throttle, When},
    firewall::{Firewall, Refusal, Rules},
    nat::{Filtering, Hairpin, Mapping, Nat, Policy, PortChoice, Stray, Unsolicited},
};
use crate::net::{
    hop::{Hop, HopFault, Way},
    packet::{Body, Flags, Icmp, IcmpKind, Packet, PacketId, Transport},
};
use core::time::Duration;
use proptest::prelude::*;

const INSIDE: [&str; 3] = ["10.0.0.5:80", "10.0.0.5:4000", "10.0.0.6:4000"];
const OUTSIDE: [&str; 4] = [
    "198.51.100.1:443",
    "198.51.100.2:443",
    "203.0.113.1:1024",
    "203.0.113.1:1025",
];

#[derive(Clone, Debug)]
enum Op {
    Pass(Way, Packet),
    Wait(u64),
    Fault(HopFault),
}

/// Bytes that begin as something that is looked at, and go on as they like.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop_oneof![
        Just(vec![]),
        Just(vec![22, 3, 1, 0, 40, 1, 0, 0, 36, 3, 3]),
        Just(b"GET / HTTP/1.1\r\nHost: a.test\r\n".to_vec()),
        Just(vec![
            0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x40, 30
        ]),
    ];
    (begin, prop::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(begin, rest)| [begin, rest].concat())
}

fn packets() -> impl Strategy<Value = Packet> {
    let ends = (0..INSIDE.len(), 0..OUTSIDE.len(), any::<bool>());
    let flags = any::<(bool, bool, bool, bool)>();
    (ends, 0..8u8, flags, 0..200u64, payload()).prop_map(
        |((i, o, outward), kind, flags, offset, data)| {
            let (inside, outside) = (INSIDE[i], OUTSIDE[o]);
            let (from, to) = if outward {
                (inside, outside)
            } else {
                (outside, inside)
            };
            let (syn, ack, fin, rst) = flags;
            let flags = Flags { syn, ack, fin, rst };
            match kind {
                0..2 => udp_data(from, to, &data),
                2..6 => tcp_data(from, to, flags, offset, &data),
                6 => tcp_data(from, to, Flags::SYN, 0, b""),
                _ => {
                    let transport = if syn { Transport::Tcp } else { Transport::Udp };
                    let about = Icmp {
                        kind: IcmpKind::Unreachable,
                        transport,
                        about_source: to.parse().unwrap(),
                        about_destination: from.parse().unwrap(),
                    };
                    packet(from, to, Body::Icmp(about))
                }
            }
        },
    )
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let way = any::<bool>().prop_map(|out| if out { Way::Out } else { Way::In });
    let fault = prop_oneof![
        Just(HopFault::Forget),
        Just(HopFault::Rebind),
        Just(HopFault::Renumber("203.0.113.1".parse().unwrap())),
    ];
    let op = prop_oneof![
        20 => (way, packets()).prop_map(|(way, packet)| Op::Pass(way, packet)),
        2 => (1..400u64).prop_map(Op::Wait),
        1 => fault.prop_map(Op::Fault),
    ];
    prop::collection::vec(op, 1..120)
}

fn conserves(hop: impl Hop, ops: &[Op]) {
    let mut bench = Bench::new(hop);
    for (n, op) in ops.iter().enumerate() {
        let (seen, id) = match op {
            Op::Pass(way, packet) => {
                let id = PacketId(n as u64);
                let packet = Packet {
                    id,
                    ..packet.clone()
                };
                (bench.pass(*way, packet), Some(id))
            }
            Op::Wait(seconds) => (bench.wait(Duration::from_secs(*seconds)), None),
            Op::Fault(fault) => {
                bench.fault(*fault);
                continue;
            }
        };
        let went = seen.forwarded.iter().map(|(_, packet)| packet.id);
        let all = went.chain(seen.lost_ids.iter().copied());
        let (own, others): (Vec<PacketId>, Vec<PacketId>) = all.partition(|id| id.0 >= FIRST_OWN);
        assert_eq!(others, Vec::from_iter(id), "once, and no other");
        assert!(own.len() <= 2 || id.is_none(), "{seen:?}");
    }
}

fn nats() -> impl Strategy<Value = Policy> {
    (0..3usize, 0..3usize, 0..4usize, any::<[bool; 5]>()).prop_map(
        |(mapping, filtering, ports, is)| {
            let ip = "203.0.113.1".parse().unwrap();
            let host = "10.0.0.5".parse().unwrap();
            Policy {
                mapping: Mapping::ALL[mapping],
                filtering: Filtering::ALL[filtering],
                ports: PortChoice::ALL[ports],
                port_range: if is[0] { 1024..=1026 } else { 1024..=2000 },
                stray: if is[1] { Stray::Adopt } else { Stray::Reset },
                unsolicited: if is[2] {
                    Unsolicited::Unreachable
                } else {
                    Unsolicited::Reset
                },
                hairpin: if is[3] {
                    Hairpin::ExternalSource
                } else {
                    Hairpin::InternalSource
                },
                exposed: is[4].then_some((ip, host)).into_iter().collect(),
                rebind_every: is[0].then_some(Duration::from_secs(50)),
                ..Policy::new(ip)
            }
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let when = prop_oneof![
        Just(When::TlsName(Names::new(["a.test"]))),
        Just(When::TlsAlpn(vec![b"h2".to_vec()])),
        Just(When::QuicName(Names::new([""]))),
        Just(When::HttpHost(Names::new(["a.test"]))),
        Just(When::LooksEncrypted(Exemptions::default())),
        (0..300u64).prop_map(When::Carried),
    ];
    let throttle = Throttle {
        rate: 50,
        burst: 100,
        queue: 500,
    };
    let then = (0..4u8).prop_map(move |n| match n {
        0 => Then::Drop,
        1 => Then::Throttle(throttle),
        2 => Then::Report(Sightings::new()),
        _ => Then::Reset {
            after: Duration::from_millis(1),
        },
    });
    let rule = (when, then, any::<bool>()).prop_map(|(when, then, lasts)| {
        let lasts = lasts && matches!(then, Then::Drop | Then::Reset { .. });
        let rule = Rule::new(when, then);
        if lasts {
            rule.with_residual(Duration::from_secs(100))
        } else {
            rule
        }
    });
    prop::collection::vec(rule, 0..4)
}

proptest! {
    #[test]
    fn a_nat_conserves_packets(policy in nats(), ops in ops()) {
        conserves(Nat::new(policy), &ops);
    }

    #[test]
    fn a_firewall_conserves_packets(limit in 1..4usize, resets in any::<bool>(), ops in ops()) {
        let refusal = if resets { Refusal::Reset } else { Refusal::Unreachable };
        let rules = Rules {
            unsolicited: refusal,
            stray: refusal,
            flows_per_host: Some(limit),
            excess: refusal,
            ..Rules::default()
        };
        conserves(Firewall::new(rules), &ops);
    }

    #[test]
    fn a_censor_conserves_packets(rules in rules(), whole in any::<bool>(), ops in ops()) {
        // Rules that contradict themselves are refused, which is tested elsewhere.
        if let Ok(censor) = Censor::new(rules) {
            let sight = if whole { Sight::Stream } else { Sight::FirstPacket };
            conserves(censor.with_sight(sight), &ops);
        }
    }
}
