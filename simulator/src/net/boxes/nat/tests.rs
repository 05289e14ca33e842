//! One test for each behaviour that a [`Policy`] names.
use super::*;
use crate::net::{
    boxes::bench::{ACK, Bench, FIN, RST, SYN, SYN_ACK, addr, tcp, udp},
    packet::{Ecn, Icmp, IcmpKind, PacketId},
};
use core::time::Duration;

const EXTERNAL: &str = "203.0.113.1";
const INSIDE: &str = "10.0.0.5:4000";
const SERVER: &str = "198.51.100.1:80";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn policy() -> Policy {
    Policy::new(ip(EXTERNAL))
}

fn nat(policy: Policy) -> Bench<Nat> {
    Bench::new(Nat::new(policy))
}

/// The outside endpoint that a packet gets.
fn mapped(nat: &mut Bench<Nat>, packet: Packet) -> String {
    let seen = nat.out(packet);
    let (way, packet) = seen.only();
    assert_eq!(way, Way::Out);
    packet.source.to_string()
}

/// Where a packet from outside arrives.
fn arrives(nat: &mut Bench<Nat>, packet: Packet) -> Option<String> {
    let seen = nat.inward(packet);
    let mut ends = seen.ends().into_iter();
    ends.find(|(way, ..)| *way == Way::In).map(|(_, _, to)| to)
}

fn open_tcp(nat: &mut Bench<Nat>, inside: &str) -> String {
    let external = mapped(nat, tcp(inside, SERVER, SYN));
    assert!(arrives(nat, tcp(SERVER, &external, SYN_ACK)).is_some());
    external
}

#[test]
fn mappings_are_shared_and_filters_open_as_their_names_say() {
    for policy in Policy::all(ip(EXTERNAL)) {
        let (mapping, filtering) = (policy.mapping, policy.filtering);
        let mut nat = nat(policy);
        let mut out = |to: &str| mapped(&mut nat, udp(INSIDE, to));
        let first = out("198.51.100.1:1");
        let same_address = out("198.51.100.1:2");
        let other_address = out("198.51.100.2:1");
        let case = format!("{mapping:?} {filtering:?}");
        assert_eq!(
            first == same_address,
            mapping != Mapping::AddressAndPortDependent,
            "{case}"
        );
        assert_eq!(
            first == other_address,
            mapping == Mapping::EndpointIndependent,
            "{case}"
        );
        let mut hears = |from: &str| arrives(&mut nat, udp(from, &first)).is_some();
        assert!(hears("198.51.100.1:1"), "{case}");
        assert_eq!(
            hears("198.51.100.1:9"),
            filtering != Filtering::AddressAndPortDependent,
            "{case}"
        );
        assert_eq!(
            hears("198.51.100.3:1"),
            filtering == Filtering::EndpointIndependent,
            "{case}"
        );
    }
}

#[test]
fn ports_are_chosen_as_the_policy_says() {
    let choose = |ports| {
        let mut nat = nat(Policy { ports, ..policy() });
        let inside = ["10.0.0.5:4001", "10.0.0.6:4001", "10.0.0.7:4000"];
        inside.map(|inside| addr(&mapped(&mut nat, udp(inside, SERVER))).port())
    };
    assert_eq!(choose(PortChoice::Preserve), [4001, 4002, 4000]);
    assert_eq!(choose(PortChoice::Sequential), [1024, 1025, 1026]);
    assert_eq!(choose(PortChoice::Parity), [1025, 1027, 1028]);
    let random = choose(PortChoice::Random);
    assert!(random[0].abs_diff(random[1]) > 1, "{random:?}");
}

#[test]
fn a_port_in_use_is_never_given_away() {
    for ports in PortChoice::ALL {
        let mut nat = nat(Policy {
            ports,
            port_range: 5000..=5003,
            ..policy()
        });
        let mut given = Vec::new();
        for host in 1..=4 {
            let seen = nat.out(udp(&format!("10.0.0.{host}:4000"), SERVER));
            given.extend(seen.ends().into_iter().filter(|(way, ..)| *way == Way::Out));
        }
        given.dedup();
        let expected = if ports == PortChoice::Parity { 2 } else { 4 };
        assert_eq!(given.len(), expected, "{ports:?}");
        let seen = nat.out(udp("10.0.0.9:4000", SERVER));
        assert_eq!(seen.lost, [Lost::NoMapping], "{ports:?}");
        let (way, told) = seen.only();
        assert_eq!((way, told.destination), (Way::In, addr("10.0.0.9:4000")));
        nat.wait(UDP_EXPIRY_RECOMMENDED);
        mapped(&mut nat, udp("10.0.0.9:4000", SERVER));
    }
}

#[test]
fn one_host_gets_so_many_ports_and_others_theirs() {
    let mut nat = nat(Policy::carrier(vec![ip(EXTERNAL)], 2));
    mapped(&mut nat, udp("10.0.0.5:1", SERVER));
    mapped(&mut nat, udp("10.0.0.5:2", SERVER));
    assert_eq!(nat.out(udp("10.0.0.5:3", SERVER)).lost, [Lost::NoMapping]);
    mapped(&mut nat, udp("10.0.0.6:3", SERVER));
    mapped(&mut nat, tcp("10.0.0.5:3", SERVER, SYN));
    assert_eq!(nat.hop.mappings(), 4);
}

#[test]
fn a_host_keeps_its_address_when_pooling_is_paired() {
    let external = vec![ip("203.0.113.1"), ip("203.0.113.2")];
    let addresses = |pooling, host: &str| {
        let mut nat = nat(Policy {
            external: external.clone(),
            pooling,
            ..policy()
        });
        mapped(&mut nat, udp("10.0.0.9:9", SERVER));
        let out = |port| mapped(&mut nat, udp(&format!("{host}:{port}"), SERVER));
        let mut all: Vec<IpAddr> = (1..30).map(out).map(|e| addr(&e).ip()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(addresses(Pooling::Paired, "10.0.0.9"), [external[0]]);
    assert_eq!(addresses(Pooling::Paired, "10.0.0.5"), [external[1]]);
    assert_eq!(addresses(Pooling::Arbitrary, "10.0.0.5"), external);
}

#[test]
fn only_what_the_policy_says_keeps_a_udp_mapping_alive() {
    for refresh in Refresh::ALL {
        let step = UDP_EXPIRY_RECOMMENDED * 2 / 3;
        let begin = || {
            let mut nat = nat(Policy {
                refresh,
                ..policy()
            });
            let external = mapped(&mut nat, udp(INSIDE, SERVER));
            nat.wait(step);
            (nat, external)
        };
        let (mut by_out, external) = begin();
        mapped(&mut by_out, udp(INSIDE, SERVER));
        by_out.wait(step);
        let lives = arrives(&mut by_out, udp(SERVER, &external)).is_some();
        assert_eq!(lives, refresh != Refresh::Inbound, "{refresh:?} out");

        let (mut by_in, external) = begin();
        assert!(arrives(&mut by_in, udp(SERVER, &external)).is_some());
        by_in.wait(step);
        let lives = arrives(&mut by_in, udp(SERVER, &external)).is_some();
        assert_eq!(lives, refresh != Refresh::Outbound, "{refresh:?} in");
    }
}

#[test]
fn strangers_keep_nothing_alive() {
    let mut nat = nat(Policy::full_cone(ip(EXTERNAL)));
    let external = mapped(&mut nat, udp(INSIDE, SERVER));
    nat.wait(UDP_EXPIRY_RECOMMENDED * 2 / 3);
    assert!(arrives(&mut nat, udp("198.51.100.9:9", &external)).is_some());
    nat.wait(UDP_EXPIRY_RECOMMENDED * 2 / 3);
    let late = nat.inward(udp("198.51.100.9:9", &external));
    assert!(late.is_lost(Lost::NoMapping), "{late:?}");
}

#[test]
fn tcp_lives_as_long_as_its_state_says() {
    let minute = Duration::from_secs(60);
    let data = |external: &str| tcp(SERVER, external, ACK);

    let mut opening = nat(policy());
    let external = mapped(&mut opening, tcp(INSIDE, SERVER, SYN));
    opening.wait(TCP_TRANSITORY_MIN);
    assert_eq!(arrives(&mut opening, data(&external)), None);

    let mut open = nat(policy());
    let external = open_tcp(&mut open, INSIDE);
    for _ in 0..3 {
        open.wait(TCP_ESTABLISHED_MIN - minute);
        assert!(arrives(&mut open, data(&external)).is_some());
    }
    open.wait(TCP_ESTABLISHED_MIN);
    assert_eq!(arrives(&mut open, data(&external)), None);

    let mut half = nat(policy());
    let external = open_tcp(&mut half, INSIDE);
    half.out(tcp(INSIDE, SERVER, FIN));
    half.wait(TCP_ESTABLISHED_MIN - minute);
    assert!(arrives(&mut half, data(&external)).is_some(), "half closed");
    half.inward(tcp(SERVER, &external, FIN));
    half.wait(TCP_TRANSITORY_MIN);
    assert_eq!(arrives(&mut half, data(&external)), None, "closed");

    let mut reset = nat(policy());
    let external = open_tcp(&mut reset, INSIDE);
    reset.inward(tcp(SERVER, &external, RST));
    reset.wait(TCP_TRANSITORY_MIN - minute);
    reset.out(tcp(INSIDE, SERVER, RST));
    reset.wait(minute);
    assert_eq!(
        arrives(&mut reset, data(&external)),
        None,
        "a RST refreshes nothing"
    );
}

#[test]
fn both_sides_may_open_at_once() {
    let mut nat = nat(Policy::port_restricted(ip(EXTERNAL)));
    let external = mapped(&mut nat, tcp(INSIDE, SERVER, SYN));
    let syn = arrives(&mut nat, tcp(SERVER, &external, SYN));
    assert_eq!(syn.as_deref(), Some(INSIDE));
    nat.wait(TCP_TRANSITORY_MIN * 2);
    assert!(arrives(&mut nat, tcp(SERVER, &external, ACK)).is_some());
}

#[test]
fn segments_of_forgotten_connections_are_treated_as_the_policy_says() {
    for stray in [Stray::Adopt, Stray::Drop, Stray::Reset] {
        let mut nat = nat(Policy { stray, ..policy() });
        let before = open_tcp(&mut nat, INSIDE);
        assert!(nat.fault(HopFault::Forget));
        assert_eq!(arrives(&mut nat, tcp(SERVER, &before, ACK)), None);
        let seen = nat.out(tcp(INSIDE, SERVER, ACK));
        match stray {
            Stray::Adopt => assert_ne!(seen.only().1.source.to_string(), before),
            Stray::Drop => assert!(seen.is_lost(Lost::NoMapping)),
            Stray::Reset => {
                assert_eq!(seen.resets(), [Way::In]);
                let expected = (Way::In, SERVER.to_owned(), INSIDE.to_owned());
                assert_eq!(seen.ends(), [expected]);
            }
        }
        let reset = nat.out(tcp("10.0.0.5:5555", SERVER, RST));
        assert!(reset.is_lost(Lost::NoMapping), "nobody answers a RST");
    }
}

#[test]
fn an_unsolicited_syn_is_answered_as_the_policy_says() {
    let to = format!("{EXTERNAL}:4000");
    let call = |unsolicited| {
        let mut nat = nat(Policy {
            unsolicited,
            ports: PortChoice::Preserve,
            ..policy()
        });
        let seen = nat.inward(tcp(SERVER, &to, SYN));
        assert_eq!(seen.lost, [Lost::NoMapping]);
        (nat, seen)
    };
    let (mut nat, seen) = call(Unsolicited::Drop);
    assert!(seen.forwarded.is_empty() && nat.wait(2 * UNSOLICITED_SYN_WAIT).forwarded.is_empty());

    let (_, seen) = call(Unsolicited::Reset);
    assert_eq!(seen.ends(), [(Way::Out, to.clone(), SERVER.to_owned())]);

    let (mut nat, seen) = call(Unsolicited::Unreachable);
    assert!(seen.forwarded.is_empty());
    assert!(nat.wait(UNSOLICITED_SYN_WAIT / 2).forwarded.is_empty());
    let told = nat.wait(UNSOLICITED_SYN_WAIT);
    assert_eq!(told.only().1.destination, addr(SERVER));
    assert!(matches!(told.only().1.body, Body::Icmp(_)));

    let (mut nat, _) = call(Unsolicited::Unreachable);
    assert_eq!(mapped(&mut nat, tcp(INSIDE, SERVER, SYN)), to);
    let told = nat.wait(2 * UNSOLICITED_SYN_WAIT);
    assert!(told.forwarded.is_empty(), "the inside opened it itself");
}

#[test]
fn packets_to_the_own_outside_address_turn_around() {
    let neighbour = "10.0.0.6:5000";
    for hairpin in [
        Hairpin::None,
        Hairpin::InternalSource,
        Hairpin::ExternalSource,
    ] {
        let mut nat = nat(Policy {
            hairpin,
            ..Policy::port_restricted(ip(EXTERNAL))
        });
        let mine = mapped(&mut nat, udp(INSIDE, SERVER));
        let theirs = mapped(&mut nat, udp(neighbour, SERVER));
        let early = nat.out(udp(INSIDE, &theirs));
        assert!(
            early.forwarded.is_empty(),
            "the filter does not know me yet"
        );
        nat.out(udp(neighbour, &mine));
        let seen = nat.out(udp(INSIDE, &theirs));
        let source = match hairpin {
            Hairpin::None => {
                assert!(seen.is_lost(Lost::NoMapping));
                continue;
            }
            Hairpin::InternalSource => INSIDE.to_owned(),
            Hairpin::ExternalSource => mine,
        };
        assert_eq!(seen.ends(), [(Way::In, source, neighbour.to_owned())]);
    }
}

fn icmp(about_source: &str, about_destination: &str, source: &str, destination: &str) -> Packet {
    Packet {
        id: PacketId(9),
        source: addr(source),
        destination: addr(destination),
        ecn: Ecn::NotEct,
        may_fragment: true,
        body: Body::Icmp(Icmp {
            kind: IcmpKind::PacketTooBig { mtu: 1280 },
            transport: Transport::Udp,
            about_source: addr(about_source),
            about_destination: addr(about_destination),
        }),
    }
}

#[test]
fn icmp_errors_are_translated_with_what_they_are_about() {
    let mut nat = nat(policy());
    let external = mapped(&mut nat, udp(INSIDE, SERVER));
    let router = "192.0.2.1:0";
    let seen = nat.inward(icmp(&external, SERVER, router, &external));
    let (way, packet) = seen.only();
    let Body::Icmp(inner) = &packet.body else {
        panic!("{packet:?}");
    };
    assert_eq!((way, packet.source), (Way::In, addr(router)));
    assert_eq!(packet.destination, addr(INSIDE));
    assert_eq!(inner.about_source, addr(INSIDE));
    assert_eq!(inner.about_destination, addr(SERVER));

    let seen = nat.out(icmp(SERVER, INSIDE, "10.0.0.1:0", SERVER));
    let (way, packet) = seen.only();
    let Body::Icmp(inner) = &packet.body else {
        panic!("{packet:?}");
    };
    assert_eq!((way, packet.source), (Way::Out, addr(&external)));
    assert_eq!(inner.about_destination, addr(&external));

    let other = nat.inward(icmp(&external, "198.51.100.77:1", router, &external));
    assert!(
        other.is_lost(Lost::NoMapping),
        "about nothing that was sent"
    );
    nat.wait(UDP_EXPIRY_RECOMMENDED);
    let late = nat.inward(icmp(&external, SERVER, router, &external));
    assert!(
        late.is_lost(Lost::NoMapping),
        "an error keeps nothing alive"
    );
}

#[test]
fn a_rebind_changes_ports_and_keeps_filters() {
    for ports in PortChoice::ALL {
        let mut nat = nat(Policy { ports, ..policy() });
        let before = mapped(&mut nat, udp(INSIDE, SERVER));
        assert!(nat.fault(HopFault::Rebind));
        let lost = nat.inward(udp(SERVER, &before));
        assert!(lost.is_lost(Lost::NoMapping), "{ports:?}");
        let after = mapped(&mut nat, udp(INSIDE, SERVER));
        assert_ne!(before, after, "{ports:?}");
        assert!(arrives(&mut nat, udp(SERVER, &after)).is_some());
    }
}

#[test]
fn a_nat_rebinds_by_itself_as_often_as_the_policy_says() {
    let every = Duration::from_secs(60);
    let mut nat = nat(Policy {
        rebind_every: Some(every),
        ..policy()
    });
    let first = mapped(&mut nat, udp(INSIDE, SERVER));
    nat.wait(every / 2);
    assert_eq!(mapped(&mut nat, udp(INSIDE, SERVER)), first);
    nat.wait(every / 2);
    assert_ne!(mapped(&mut nat, udp(INSIDE, SERVER)), first);
    assert_eq!(nat.hop.poll_timeout(), None, "it never wakes a quiet world");
}

#[test]
fn a_new_outside_address_takes_every_flow_along() {
    let mut nat = nat(policy());
    let before = mapped(&mut nat, udp(INSIDE, SERVER));
    assert!(nat.fault(HopFault::Renumber(ip("203.0.113.9"))));
    assert!(!nat.hop.owns(ip(EXTERNAL)) && nat.hop.owns(ip("203.0.113.9")));
    let after = mapped(&mut nat, udp(INSIDE, SERVER));
    assert_eq!(addr(&after).ip(), ip("203.0.113.9"));
    assert_eq!(addr(&after).port(), addr(&before).port());
    assert!(arrives(&mut nat, udp(SERVER, &after)).is_some());
    assert!(nat.inward(udp(SERVER, &before)).is_lost(Lost::NoMapping));
}

#[test]
fn other_families_pass_untouched_and_inside_addresses_mean_nothing_outside() {
    let mut nat = nat(policy());
    let v6 = udp("[fd00::5]:4000", "[2001:db8::1]:80");
    assert_eq!(nat.out(v6.clone()).only(), (Way::Out, &v6));
    assert_eq!(nat.inward(v6.clone()).only(), (Way::In, &v6));
    assert!(nat.inward(udp(SERVER, INSIDE)).is_lost(Lost::NoMapping));
    assert!(!nat.fault(HopFault::Down) && !nat.fault(HopFault::Mtu(1280)));
}

#[test]
fn an_exposed_host_is_called_at_its_own_ports_and_calls_from_others() {
    let exposed = [(ip(EXTERNAL), addr(INSIDE).ip())].into();
    let mut nat = nat(Policy {
        exposed,
        ..Policy::symmetric(ip(EXTERNAL))
    });
    let listens = format!("{EXTERNAL}:80");
    for open in [tcp(SERVER, &listens, SYN), udp(SERVER, &listens)] {
        assert_eq!(arrives(&mut nat, open).as_deref(), Some("10.0.0.5:80"));
    }
    assert_eq!(
        mapped(&mut nat, tcp("10.0.0.5:80", SERVER, SYN_ACK)),
        listens
    );
    assert_eq!(mapped(&mut nat, udp("10.0.0.5:80", SERVER)), listens);
    let other = mapped(&mut nat, udp("10.0.0.5:80", "198.51.100.9:9"));
    assert_ne!(other, listens, "that is a flow of its own");
    assert!(nat.fault(HopFault::Rebind));
    assert_eq!(
        mapped(&mut nat, udp("10.0.0.5:80", SERVER)),
        listens,
        "who called is answered"
    );
    assert_ne!(
        mapped(&mut nat, udp("10.0.0.5:80", "198.51.100.9:9")),
        other
    );
    let stray = nat.inward(tcp("198.51.100.9:9", &listens, ACK));
    assert!(stray.is_lost(Lost::Filtered), "nobody called");
    nat.wait(TCP_ESTABLISHED_MIN);
    assert!(
        nat.inward(tcp(SERVER, &listens, ACK))
            .is_lost(Lost::Filtered)
    );
}

#[test]
fn in_place_only_ports_are_translated() {
    let hosts = [ip("10.0.0.5"), ip("10.0.0.6"), ip("fd00::5")];
    let mut nat = nat(Policy::in_place(hosts));
    for (inside, to) in [
        (INSIDE, SERVER),
        ("10.0.0.6:1", SERVER),
        ("[fd00::5]:1", "[fd00::9]:9"),
    ] {
        let external = addr(&mapped(&mut nat, udp(inside, to)));
        assert_eq!(external.ip(), addr(inside).ip());
        assert!((50_000..60_000).contains(&external.port()), "{external}");
        let back = arrives(&mut nat, udp(to, &external.to_string()));
        assert_eq!(back.as_deref(), Some(inside));
    }
    let called = arrives(&mut nat, tcp(SERVER, "10.0.0.6:1080", SYN));
    assert_eq!(called.as_deref(), Some("10.0.0.6:1080"));
    assert!(!nat.hop.owns(ip("10.0.0.7")) && nat.hop.owns(ip("10.0.0.6")));
}
