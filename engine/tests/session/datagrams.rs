//! Associations over a carrier's stream of records, at both of its ends.
use super::{T0, action, send, take};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{End, Instant, Refusal, Seed};
use sansbox_engine::{
    Association, Peer, Plan, Session,
    config::{ReadOptions, Sources, read},
    ids::{ActionId, InboundId, Slot},
    machine::{Action, Input, Machine, Outcome, Stage, Wanted},
    record::{CloseReason, Drops},
};
use sansbox_protocols::paniq::proxy::record::Record;
use std::sync::Arc;

/// To and from 192.0.2.7, port 53, as in a record.
pub(crate) const PUBLIC: &[u8] = &[1, 192, 0, 2, 7, 0, 53];
const PRIVATE: &[u8] = &[1, 127, 0, 0, 1, 0, 53];
const NAMED: &[u8] = b"\x03\x06a.test\x00\x35";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn plan(text: &str) -> Arc<Plan> {
    let sources = Sources::single("c.json", text.to_owned());
    let (config, _) = read(&sources, &ReadOptions::default()).expect(text);
    Arc::new(Plan::build(&config).unwrap())
}

pub(crate) fn peer() -> Peer {
    Peer {
        remote: addr("198.51.100.9:50000"),
        local: addr("203.0.113.1:9000"),
    }
}

pub(crate) fn record(address: &[u8], data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(address.len() + data.len()).unwrap();
    [&len.to_be_bytes()[..], address, data].concat()
}

pub(crate) fn drops(s: &Session) -> Drops {
    s.record().drops.as_deref().copied().unwrap_or_default()
}

/// Why targets are refused; nothing else is done.
fn refused(s: &mut Session) -> Vec<Refusal> {
    let actions = std::iter::from_fn(|| s.poll_action());
    let refused = actions.filter_map(|action| {
        let Action::Log(stage) = action else {
            panic!("{action:?}");
        };
        let Stage::Refused(why) = stage else {
            return None;
        };
        Some(why)
    });
    refused.collect()
}

/// The session that serves a client's stream, with its answer given.
pub(crate) fn served(inbound: &str, rules: &str) -> Session {
    let text = format!(
        r#"{{"inbounds": [{{"type": "paniq", "listen": "::", "listen_port": 9000, {inbound}
            "profile": {{"obfuscation": {{"i1": "<t>"}}, "sansbox_udp": true}}}}],
            "route": {{"rules": [{rules}]}}}}"#
    );
    let (inbound, seed) = (InboundId(0), Seed::from_u64(1));
    let mut s = Session::carried(plan(&text), inbound, peer(), Wanted::Datagrams, seed, T0);
    s.apply(T0, Input::Tick);
    let answer = action(&mut s);
    assert!(matches!(answer, Some(Action::Answer(Ok(_)))), "{answer:?}");
    assert!(action(&mut s).is_none() && take(&mut s, Slot::CLIENT).is_empty());
    s
}

pub(crate) fn bound(s: &mut Session) -> Slot {
    let Some(Action::Bind { id, slot, .. }) = action(s) else {
        panic!("no socket");
    };
    s.apply(T0, Input::Done(id, Outcome::Bound(addr("0.0.0.0:41000"))));
    slot
}

#[track_caller]
pub(crate) fn sent(s: &mut Session) -> (Slot, SocketAddr, BytesMut) {
    match action(s) {
        Some(Action::Send { slot, to, data }) => (slot, to, data),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn datagram(s: &mut Session, slot: Slot, from: &str, data: &[u8]) {
    let (from, data) = (addr(from), BytesMut::from(data));
    s.apply(T0, Input::Datagram { slot, from, data });
}

#[test]
fn a_servers_session_relays_records() {
    let mut s = served("", "");
    let ask = record(PUBLIC, b"ask");
    let (early, late) = ask.split_at(6);
    send(&mut s, Slot::CLIENT, early);
    assert!(action(&mut s).is_none(), "it is not whole");
    send(&mut s, Slot::CLIENT, &[late, &record(PUBLIC, b"")].concat());
    let slot = bound(&mut s);
    let (to, first) = (addr("192.0.2.7:53"), BytesMut::from(&b"ask"[..]));
    assert_eq!(sent(&mut s), (slot, to, first));
    assert_eq!(sent(&mut s), (slot, to, BytesMut::new()));
    datagram(&mut s, slot, "192.0.2.7:53", b"answer");
    datagram(&mut s, slot, "[::ffff:192.0.2.8]:7", b"");
    let other = [1, 192, 0, 2, 8, 0, 7];
    let expected = [record(PUBLIC, b"answer"), record(&other, b"")].concat();
    assert_eq!(take(&mut s, Slot::CLIENT), expected);
    assert_eq!((s.record().bytes_up, s.record().bytes_down), (3, 6));

    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    let closed = action(&mut s);
    assert!(
        matches!(closed, Some(Action::Close(of, End::Fin)) if of == slot),
        "{closed:?}"
    );
    assert!(matches!(
        action(&mut s),
        Some(Action::Close(Slot::CLIENT, End::Fin))
    ));
    assert_eq!(s.record().closed, Some(CloseReason::Completed));
}

#[test]
fn private_targets_are_not_reached_by_address_or_name() {
    let mut s = served("", "");
    send(&mut s, Slot::CLIENT, &record(PRIVATE, b"x"));
    assert_eq!(refused(&mut s), [Refusal::PrivateAddress]);
    assert_eq!(drops(&s).policy, 1);
    for (addresses, reached) in [
        (&["127.0.0.1", "10.0.0.1", "::1"][..], None),
        (&["10.0.0.1", "192.0.2.9"], Some("192.0.2.9:53")),
    ] {
        send(&mut s, Slot::CLIENT, &record(NAMED, b"x"));
        let Some(Action::Resolve { id, .. }) = action(&mut s) else {
            panic!("no lookup");
        };
        let ips: Vec<_> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        s.apply(T0, Input::Done(id, Outcome::Resolved(&ips)));
        match reached {
            None => {
                assert_eq!(refused(&mut s), [Refusal::PrivateAddress]);
                assert_eq!(drops(&s).policy, 2);
            }
            Some(to) => {
                let _ = bound(&mut s);
                assert_eq!(sent(&mut s).1, addr(to));
            }
        }
    }
    let mut s = served(r#""allow_private": true,"#, "");
    send(&mut s, Slot::CLIENT, &record(PRIVATE, b"x"));
    let _ = bound(&mut s);
    assert_eq!(sent(&mut s).1, addr("127.0.0.1:53"));
}

#[test]
fn rules_see_each_target_and_that_it_is_udp() {
    let rule = r#"{"network": "udp", "port": 53, "action": "reject"}"#;
    let mut s = served("", rule);
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    assert!(action(&mut s).is_none());
    assert_eq!(drops(&s).policy, 1);
    let elsewhere = [1, 192, 0, 2, 7, 0, 54];
    send(&mut s, Slot::CLIENT, &record(&elsewhere, b"x"));
    let _ = bound(&mut s);
    assert_eq!(sent(&mut s).1.port(), 54);
}

#[test]
fn a_malformed_record_resets_the_stream_and_a_bad_name_only_loses_its_datagram() {
    let mut s = served("", "");
    send(&mut s, Slot::CLIENT, &record(b"\x03\x00\x00\x35", b"x"));
    assert!(action(&mut s).is_none());
    assert_eq!((drops(&s).malformed, s.record().closed), (1, None));
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    let slot = bound(&mut s);
    let _ = sent(&mut s);
    for bad in [
        &[0, 0][..],
        &[0, 3, 1, 2, 3],
        &[0, 4, 9, 1, 0, 53],
        &[0xff, 0xff],
    ] {
        let mut s = served("", "");
        send(&mut s, Slot::CLIENT, bad);
        let closed = action(&mut s);
        let is_reset = matches!(closed, Some(Action::Close(Slot::CLIENT, End::Reset)));
        assert!(is_reset, "{bad:?}: {closed:?}");
        assert_eq!(s.record().closed, Some(CloseReason::ClientProtocol));
    }
    send(&mut s, Slot::CLIENT, &[0, 0]);
    assert!(matches!(action(&mut s), Some(Action::Close(of, _)) if of == slot));
}

#[test]
fn what_a_client_does_not_take_is_dropped_and_counted() {
    let mut s = served("", "");
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    let slot = bound(&mut s);
    for _ in 0..1000 {
        datagram(&mut s, slot, "192.0.2.7:53", &[7; 1000]);
    }
    let lost = u64::from(drops(&s).overflow);
    assert!((700..950).contains(&lost), "{lost}");
    let mut came = 0;
    loop {
        let octets = take(&mut s, Slot::CLIENT);
        if octets.is_empty() {
            break;
        }
        came += octets.len();
    }
    assert_eq!(
        came,
        (1000 - usize::try_from(lost).unwrap()) * (2 + 7 + 1000),
        "whole records"
    );
}

#[test]
fn an_association_without_datagrams_ends() {
    let mut s = served("", "");
    send(&mut s, Slot::CLIENT, &record(PUBLIC, b"x"));
    let slot = bound(&mut s);
    let _ = sent(&mut s);
    let idle = Duration::from_secs(5 * 60);
    let later = T0 + idle / 2;
    let (from, data) = (addr("192.0.2.7:53"), BytesMut::from(&b"y"[..]));
    s.apply(later, Input::Datagram { slot, from, data });
    let end: Instant = s.poll_timeout().unwrap();
    assert!(end >= T0 + idle && end <= later + idle, "{end:?}");
    s.apply(T0 + idle, Input::Tick);
    assert_eq!(s.record().closed, None, "datagrams kept it up");
    s.apply(later + idle, Input::Tick);
    assert!(matches!(action(&mut s), Some(Action::Close(of, _)) if of == slot));
    assert_eq!(s.record().closed, Some(CloseReason::IdleTimeout));
}

fn through_paniq(inbound: &str, outbound: &str) -> Arc<Plan> {
    plan(&format!(
        r#"{{"inbounds": [{{{inbound}, "tag": "in", "listen": "127.0.0.1", "listen_port": 2080}}],
            "outbounds": [{outbound}{{"tag": "p", "type": "paniq", "profile": {{
                "proxy_addr": "192.0.2.1:9000", "obfuscation": {{"i1": "<t>"}},
                "sansbox_udp": true}}}}]}}"#
    ))
}

const CLIENT: &str = "127.0.0.1:50001";

/// A SOCKS5 client's association: its session and the slot of the client's socket.
fn associated(plan: Arc<Plan>) -> (Session, Slot) {
    let peer = Peer {
        remote: addr("127.0.0.1:50000"),
        local: addr("127.0.0.1:2080"),
    };
    let mut s = Session::new(plan, InboundId(0), peer, Seed::from_u64(1), T0);
    send(&mut s, Slot::CLIENT, &[5, 1, 0]);
    send(&mut s, Slot::CLIENT, &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let slot = bound(&mut s);
    let _ = take(&mut s, Slot::CLIENT);
    (s, slot)
}

fn headed(address: &[u8], data: &[u8]) -> Vec<u8> {
    [&[0, 0, 0], address, data].concat()
}

#[track_caller]
fn asked(s: &mut impl Machine) -> (ActionId, Slot) {
    let found = std::iter::from_fn(|| s.poll_action()).find(|a| !matches!(a, Action::Log(_)));
    match found {
        Some(Action::OpenStream {
            id,
            slot,
            wanted: Wanted::Datagrams,
            ..
        }) => (id, slot),
        other => panic!("{other:?}"),
    }
}

const UNTOLD: Outcome<'_> = Outcome::Connected(SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
    0,
));

#[test]
fn a_clients_datagrams_share_one_stream_of_records() {
    let (mut s, client) = associated(through_paniq(r#""type": "mixed""#, ""));
    datagram(&mut s, client, CLIENT, &headed(PUBLIC, b"one"));
    let (id, slot) = asked(&mut s);
    datagram(&mut s, client, CLIENT, &headed(NAMED, b"two"));
    assert!(
        action(&mut s).is_none(),
        "names are the server's to look up"
    );
    s.apply(T0, Input::Done(id, UNTOLD));
    datagram(&mut s, client, CLIENT, &headed(PRIVATE, b""));
    let expected = [
        record(PUBLIC, b"one"),
        record(NAMED, b"two"),
        record(PRIVATE, b""),
    ];
    assert_eq!(take(&mut s, slot), expected.concat());

    let came = [record(PUBLIC, b"back"), record(PRIVATE, b"")].concat();
    for part in came.chunks(5) {
        send(&mut s, slot, part);
    }
    for expected in [headed(PUBLIC, b"back"), headed(PRIVATE, b"")] {
        let (from, to, data) = sent(&mut s);
        assert_eq!((from, to, &data[..]), (client, addr(CLIENT), &expected[..]));
    }
    assert_eq!((s.record().bytes_up, s.record().bytes_down), (6, 4));
    assert_eq!(drops(&s), Drops::default());

    s.apply(T0, Input::Ended(Slot::CLIENT, End::Fin));
    let closed: Vec<_> = std::iter::from_fn(|| action(&mut s)).collect();
    let is_it = |a: &Action| matches!(a, Action::Close(of, End::Fin) if *of == slot);
    assert!(closed.iter().any(is_it), "{closed:?}");
}

#[test]
fn a_stream_that_is_refused_or_broken_is_asked_for_again() {
    let (mut s, client) = associated(through_paniq(r#""type": "mixed""#, ""));
    datagram(&mut s, client, CLIENT, &headed(PUBLIC, b"one"));
    let (id, _) = asked(&mut s);
    let refused = Outcome::Failed(Refusal::UpstreamProtocol);
    s.apply(T0, Input::Done(id, refused));
    assert!(action(&mut s).is_none(), "the association itself stays");
    assert_eq!(drops(&s).unreachable, 1);
    for bad in [&[0, 0][..], &[0xff, 0xff], &[0, 3, 1, 1, 1]] {
        datagram(&mut s, client, CLIENT, &headed(PUBLIC, b"again"));
        let (id, slot) = asked(&mut s);
        s.apply(T0, Input::Done(id, UNTOLD));
        send(&mut s, slot, bad);
        let closed = action(&mut s);
        let is_reset = matches!(closed, Some(Action::Close(of, End::Reset)) if of == slot);
        assert!(is_reset, "{closed:?}");
    }
    datagram(&mut s, client, CLIENT, &headed(PUBLIC, b"again"));
    let (id, slot) = asked(&mut s);
    s.apply(T0, Input::Done(id, UNTOLD));
    s.apply(T0, Input::Ended(slot, End::Fin));
    assert!(matches!(action(&mut s), Some(Action::Close(of, _)) if of == slot));
    assert_eq!(s.record().closed, None);
}

#[test]
fn a_stream_without_room_loses_datagrams_and_keeps_records_whole() {
    let (mut s, client) = associated(through_paniq(r#""type": "mixed""#, ""));
    for _ in 0..100 {
        datagram(&mut s, client, CLIENT, &headed(PUBLIC, &[7; 1000]));
    }
    let waiting = u32::try_from(sansbox_engine::udp::QUEUE_MAX).unwrap();
    assert_eq!(drops(&s).overflow, 100 - waiting);
    let (id, slot) = asked(&mut s);
    s.apply(T0, Input::Done(id, UNTOLD));
    for _ in 0..100 {
        datagram(&mut s, client, CLIENT, &headed(PUBLIC, &[7; 1000]));
    }
    let kept = 200 - drops(&s).overflow;
    let octets = take(&mut s, slot);
    assert!(octets.len() <= 64 * 1024);
    assert_eq!(octets.len(), usize::try_from(kept).unwrap() * 1009);
    let longest = vec![7; Record::BODY_LEN_MAX];
    datagram(&mut s, client, CLIENT, &headed(PUBLIC, &longest[7..]));
    assert_eq!(take(&mut s, slot).len(), Record::LEN_MAX);
    datagram(&mut s, client, CLIENT, &headed(PUBLIC, &longest));
    assert!(take(&mut s, slot).is_empty(), "longer than a record");
}

#[test]
fn without_the_announcement_or_behind_another_proxy_udp_is_refused() {
    let mixed = r#""type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": 2080"#;
    let paniq = r#""tag": "p", "type": "paniq", "profile": {"proxy_addr": "192.0.2.1:9000",
        "obfuscation": {"i1": "<t>"}}"#;
    let unannounced = plan(&format!(
        r#"{{"inbounds": [{{{mixed}}}], "outbounds": [{{{paniq}}}]}}"#
    ));
    let socks = r#"{"type": "socks", "server": "192.0.2.2", "server_port": 1, "detour": "p"},"#;
    for plan in [unannounced, through_paniq(r#""type": "mixed""#, socks)] {
        let (mut s, client) = associated(plan);
        datagram(&mut s, client, CLIENT, &headed(PUBLIC, b"one"));
        assert!(action(&mut s).is_none());
        assert_eq!(drops(&s).policy, 1);
    }
}

#[test]
fn clients_of_a_udp_listener_get_bare_payload() {
    let direct = r#""type": "direct", "network": "udp", "override_address": "192.0.2.7",
        "override_port": 53"#;
    let peer = Peer {
        remote: addr(CLIENT),
        local: addr("127.0.0.1:2080"),
    };
    let (inbound, seed) = (InboundId(0), Seed::from_u64(1));
    let mut a = Association::new(through_paniq(direct, ""), inbound, peer, seed, T0);
    let (slot, from, data) = (Slot::CLIENT, peer.remote, BytesMut::from(&b"ask"[..]));
    a.apply(T0, Input::Datagram { slot, from, data });
    let (id, stream) = asked(&mut a);
    a.apply(T0, Input::Done(id, UNTOLD));
    let said = a.pipes(stream).unwrap().tx.segments().flatten().copied();
    assert_eq!(said.collect::<Vec<_>>(), record(PUBLIC, b"ask"));
    let answer = BytesMut::from(&record(PUBLIC, b"answer")[..]);
    a.apply(T0, Input::Received(stream, answer));
    let told = std::iter::from_fn(|| a.poll_action()).find(|a| !matches!(a, Action::Log(_)));
    match told {
        Some(Action::Send { slot, to, data }) => {
            assert_eq!(
                (slot, to, &data[..]),
                (Slot::CLIENT, peer.remote, &b"answer"[..])
            );
        }
        other => panic!("{other:?}"),
    }
}
