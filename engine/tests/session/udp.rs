//! UDP associations of sessions, driven by hand.
use super::{T0, action, plan, send, take};
use bytes::BytesMut;
use core::net::SocketAddr;
use sansbox_core::{Refusal, Seed};
use sansbox_engine::{
    Peer, Session,
    ids::{ActionId, InboundId, Slot},
    machine::{Action, Input, Machine, Outcome},
    udp::QUEUE_MAX,
};

const ASSOCIATE: &[u8] = &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A SOCKS5 client up to the client-facing socket: its number, slot and local address.
fn asked(client: &str, local: &str) -> (Session, ActionId, Slot, SocketAddr) {
    let peer = Peer {
        remote: addr(client),
        local: addr(local),
    };
    let mut s = Session::new(plan(&[]), InboundId(0), peer, Seed::from_u64(1), T0);
    send(&mut s, Slot::CLIENT, &[5, 1, 0]);
    assert_eq!(take(&mut s, Slot::CLIENT), [5, 0]);
    send(&mut s, Slot::CLIENT, ASSOCIATE);
    match action(&mut s) {
        Some(Action::Bind {
            id, slot, local, ..
        }) => (s, id, slot, local),
        other => panic!("{other:?}"),
    }
}

/// The same with the association open.
fn open(client: &str, local: &str) -> (Session, Slot) {
    let (mut s, id, slot, mut local) = asked(client, local);
    local.set_port(40_000);
    s.apply(T0, Input::Done(id, Outcome::Bound(local)));
    let reply = take(&mut s, Slot::CLIENT);
    assert_eq!(reply.get(..3), Some(&[5, 0, 0][..]));
    (s, slot)
}

fn datagram(s: &mut Session, slot: Slot, from: &str, parts: &[&[u8]]) {
    s.apply(
        T0,
        Input::Datagram {
            slot,
            from: addr(from),
            data: BytesMut::from(&*parts.concat()),
        },
    );
}

fn bind(s: &mut Session) -> (ActionId, Slot) {
    match action(s) {
        Some(Action::Bind { id, slot, .. }) => (id, slot),
        other => panic!("{other:?}"),
    }
}

const V4_TARGET: &[u8] = &[0, 0, 0, 1, 192, 0, 2, 7, 0, 53];
const V6_TARGET: &[u8] = &[
    0, 0, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 53,
];

#[test]
fn a_client_cannot_make_an_association_hold_more_than_its_queue() {
    let (mut s, slot) = open("127.0.0.1:50000", "127.0.0.1:2080");
    let mut lookups = 0;
    for n in 0..2000_u16 {
        let name = format!("{n:04}.test");
        datagram(
            &mut s,
            slot,
            "127.0.0.1:50001",
            &[&[0, 0, 0, 3, 9], name.as_bytes(), &[0, 53], b"payload"],
        );
        while let Some(action) = action(&mut s) {
            assert!(matches!(action, Action::Resolve { .. }), "{action:?}");
            lookups += 1;
        }
    }
    assert_eq!(lookups, QUEUE_MAX);
    let drops = s.record().drops.as_deref().copied().unwrap();
    assert_eq!(drops.overflow as usize, 2000 - QUEUE_MAX);
    assert_eq!(s.record().bytes_up as usize, QUEUE_MAX * b"payload".len());
}

#[test]
fn a_name_that_was_refused_for_lack_of_room_is_asked_for_again() {
    let (mut s, slot) = open("127.0.0.1:50000", "127.0.0.1:2080");
    let named = |s: &mut Session, name: &[u8; 9]| {
        let parts: [&[u8]; 4] = [&[0, 0, 0, 3, 9], name, &[0, 53], b"x"];
        datagram(s, slot, "127.0.0.1:50001", &parts);
    };
    for _ in 0..QUEUE_MAX {
        named(&mut s, b"slow.test");
    }
    let Some(Action::Resolve { id, .. }) = action(&mut s) else {
        panic!("no lookup");
    };
    named(&mut s, b"next.test");
    assert!(action(&mut s).is_none());
    s.apply(T0, Input::Done(id, Outcome::Failed(Refusal::NameNotFound)));
    named(&mut s, b"next.test");
    assert!(matches!(action(&mut s), Some(Action::Resolve { .. })));
}

#[test]
fn a_link_local_client_is_served_on_its_interface() {
    let (_, _, _, local) = asked("[fe80::5%3]:50000", "[fe80::1%3]:2080");
    assert_eq!(local, addr("[fe80::1%3]:0"));
    let (mut s, slot) = open("[fe80::5%3]:50000", "[fe80::1%3]:2080");
    datagram(&mut s, slot, "[fe80::5%3]:50001", &[V4_TARGET, b"ask"]);
    let (id, upstream) = bind(&mut s);
    s.apply(T0, Input::Done(id, Outcome::Bound(addr("0.0.0.0:41000"))));
    assert!(matches!(action(&mut s), Some(Action::Send { .. })));
    datagram(&mut s, upstream, "192.0.2.7:53", &[b"answer"]);
    match action(&mut s) {
        Some(Action::Send { to, .. }) => assert_eq!(to, addr("[fe80::5%3]:50001")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_family_without_sockets_leaves_the_other_familys_alone() {
    let (mut s, slot) = open("127.0.0.1:50000", "127.0.0.1:2080");
    datagram(&mut s, slot, "127.0.0.1:50001", &[V4_TARGET, b"one"]);
    let (id, v4) = bind(&mut s);
    s.apply(T0, Input::Done(id, Outcome::Bound(addr("0.0.0.0:41000"))));
    assert!(matches!(action(&mut s), Some(Action::Send { slot, .. }) if slot == v4));

    datagram(&mut s, slot, "127.0.0.1:50001", &[V6_TARGET, b"lost"]);
    let (id, _) = bind(&mut s);
    let failed = Outcome::Failed(Refusal::NetworkUnreachable);
    s.apply(T0, Input::Done(id, failed));
    assert!(action(&mut s).is_none(), "the IPv4 socket stays");
    let drops = s.record().drops.as_deref().copied().unwrap();
    assert_eq!(drops.unreachable, 1);

    datagram(&mut s, slot, "127.0.0.1:50001", &[V4_TARGET, b"two"]);
    assert!(matches!(action(&mut s), Some(Action::Send { slot, .. }) if slot == v4));
    datagram(&mut s, slot, "127.0.0.1:50001", &[V6_TARGET, b"again"]);
    assert!(matches!(action(&mut s), Some(Action::Bind { .. })));
}
