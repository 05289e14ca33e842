#![allow(clippy::unwrap_used, reason = "a failed test may panic")]
use super::*;
use crate::{Sources, session::boxed};
use core::time::Duration;
use rustls::{
    Side,
    quic::{Keys, Suite, Version},
};
use sansbox_core::{Instant, Seed};

const PATH_ID: &[u8] = b"12345678";
const HEADER_LEN: usize = 9;
const PAYLOAD: &[u8] = b"what nobody is to read";

fn sources() -> Sources {
    Sources::new(Seed::from_u64(1), Duration::ZERO, false)
}

/// The keys of an end as rustls makes them, and the same ones cold.
fn both(suite: Suite, side: Side) -> (Keys, Arc<Chain>, crypto::Keys) {
    let (hot, made) = turn::recording(|| suite.keys(PATH_ID, side, Version::V1));
    let (chain, cold) = Chain::begin(&hot, &made).unwrap();
    (hot, chain, cold)
}

fn quic_suites() -> Vec<Suite> {
    let suites = suites();
    let suites = suites.iter().filter_map(|suite| suite.tls13());
    suites.filter_map(|suite| suite.quic_suite()).collect()
}

/// A packet with a short header and a number of so many octets.
fn sealed(keys: &crypto::Keys, number_len: u8) -> Vec<u8> {
    let mut packet = vec![0x40 | (number_len - 1), 1, 2, 3, 4];
    packet.extend_from_slice(&[0, 0, 0, 7][4 - usize::from(number_len)..]);
    let header_len = packet.len();
    packet.extend_from_slice(PAYLOAD);
    packet.resize(packet.len() + keys.packet.local.tag_len(), 0);
    keys.packet.local.encrypt(7, &mut packet, header_len);
    keys.header.local.encrypt(5, &mut packet);
    packet
}

fn opened(keys: &crypto::Keys, packet: &[u8]) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    keys.header.remote.decrypt(5, &mut packet);
    let header_len = 5 + usize::from(packet[0] & 0x03) + 1;
    let mut payload = BytesMut::from(&packet[header_len..]);
    let result = keys
        .packet
        .remote
        .decrypt(7, &packet[..header_len], &mut payload);
    result.is_ok().then(|| payload.to_vec())
}

#[test]
fn cold_keys_do_what_those_of_rustls_do_with_each_suite() {
    let sources = sources();
    let _turn = sources.enter(Instant::ZERO);
    assert_eq!(quic_suites().len(), 3);
    for suite in quic_suites() {
        let (hot, _, cold) = both(suite, Side::Client);
        let (hot, from) = (boxed(hot), cold);
        let (to_hot, _, to_cold) = both(suite, Side::Server);
        let to_hot = boxed(to_hot);
        for number_len in 1..=4 {
            let packet = sealed(&from, number_len);
            assert_eq!(packet, sealed(&hot, number_len));
            for to in [&to_hot, &to_cold] {
                assert_eq!(opened(to, &packet).unwrap(), PAYLOAD);
            }
            for at in [1, HEADER_LEN, packet.len() - 1] {
                let mut other = packet.clone();
                other[at] ^= 1;
                assert_eq!(opened(&to_cold, &other), None, "octet {at}");
            }
        }
        for (a, b) in [(&hot, &from), (&to_hot, &to_cold)] {
            assert_eq!(a.header.local.sample_size(), b.header.local.sample_size());
            let limits = |keys: &crypto::Keys| {
                let key = &keys.packet.remote;
                [key.confidentiality_limit(), key.integrity_limit()]
            };
            assert_eq!(limits(a), limits(b));
        }
    }
}

fn openings() -> Vec<Vec<u32>> {
    turn::hot(|_, hot| hot.unwrap().openings())
}

#[test]
fn what_is_not_used_gets_cold_and_is_expanded_for_all_phases_at_once() {
    let sources = sources();
    let suite = quic_suites().remove(0);
    let after = |nanos| Instant::ZERO + Duration::from_nanos(nanos);
    let turn = sources.enter(Instant::ZERO);
    let (_, chain, keys) = both(suite, Side::Server);
    let (_, _busy, other) = both(suite, Side::Client);
    let packet = sealed(&other, 2);
    let (next, made) = turn::recording(|| suite.keys(b"other", Side::Server, Version::V1));
    let next = chain.add(1, &*next.local.packet, &*next.remote.packet, &made);
    assert_eq!(openings(), [vec![0, 1], vec![0]]);
    drop(turn);
    let later = after(Duration::from_secs(1).as_nanos() as u64);
    {
        let _turn = sources.enter(later);
        assert_eq!(sealed(&other, 2), packet);
    }
    sources.cool(later);
    let turn = sources.enter(later);
    assert_eq!(openings(), [vec![0]]);
    assert_eq!(opened(&keys, &packet).unwrap(), PAYLOAD);
    assert!(openings().contains(&vec![0, 1]));
    // A phase that is over is forgotten, and so is a connection.
    drop(keys);
    assert!(openings().contains(&vec![1]));
    let known = |way| chain.phases(|phases| phases.all(way).map(|(phase, _)| phase).collect());
    let known: [Vec<u32>; 2] = [Way::Out, Way::In].map(known);
    assert_eq!(known, [[1], [1]]);
    drop((chain, next));
    assert_eq!(openings(), [vec![0]]);
    drop(turn);
}

#[test]
fn only_many_are_worth_a_timer_and_it_is_met_by_cooling() {
    let sources = sources();
    let suite = quic_suites().remove(0);
    let begin = Instant::ZERO + Duration::from_secs(100);
    let turn = sources.enter(begin);
    let mut all: Vec<_> = (0..15).map(|_| both(suite, Side::Client)).collect();
    drop(turn);
    assert_eq!(sources.cools_at(), None);
    let turn = sources.enter(begin);
    all.push(both(suite, Side::Client));
    drop(turn);
    let at = sources.cools_at().unwrap();
    assert!(at > begin);
    sources.cool(at);
    assert_eq!(sources.cools_at(), None);
    let _turn = sources.enter(at);
    assert!(openings().is_empty());
}

#[test]
fn keys_work_in_nobody_s_turn_too() {
    let sources = sources();
    let suite = quic_suites().remove(0);
    let turn = sources.enter(Instant::ZERO);
    let (_, _, from) = both(suite, Side::Client);
    let (_, _, to) = both(suite, Side::Server);
    drop(turn);
    assert_eq!(opened(&to, &sealed(&from, 1)).unwrap(), PAYLOAD);
}

#[test]
fn nothing_is_recorded_unasked() {
    let sources = sources();
    let _turn = sources.enter(Instant::ZERO);
    let suite = quic_suites().remove(0);
    let hot = suite.keys(PATH_ID, Side::Client, Version::V1);
    let (_, made) = turn::recording(|| ());
    assert!(made.is_empty() && Chain::begin(&hot, &made).is_none());
}
