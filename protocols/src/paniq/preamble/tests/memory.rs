//! What a server remembers is bounded, and forgotten in time.
use super::*;
use crate::paniq::preamble::{RateLimit, replay::Replays};

fn ets() -> ClientAuth {
    ClientAuth::EncryptedTimestamp(key().public())
}

fn small() -> Rules {
    Rules {
        half_open_max: 100,
        ready_max: 10,
        limited_max: 50,
        ..Rules::default()
    }
}

fn spoofed(n: u32) -> SocketAddr {
    let [a, b, c, d] = n.to_be_bytes();
    SocketAddr::from(([10 | a, b, c, d], 1234))
}

#[test]
fn spoofed_sources_cost_no_memory() {
    let config = ServerConfig {
        rate_limit: Some(RateLimit {
            per_second: 50,
            burst: 20,
        }),
        ..lenient_config(&DOCS)
    };
    let mut server = Server::new(config, small());
    for n in 0..100_000_u32 {
        let at = Duration::from_micros(u64::from(n));
        // A signature, which is what a server must remember of a source.
        let datagram = (STARTED.as_secs() as u32).to_be_bytes();
        hand(&mut server, at, spoofed(n), &datagram).0.unwrap();
    }
    assert_eq!(server.occupancy(), [100, 0, 50, 0]);
    server.handle_timeout(instant(Duration::from_secs(60)));
    assert_eq!(server.occupancy(), [0; 4]);
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn where_time_is_proven_nothing_is_kept_of_noise() {
    let mut server = Server::new(server_config(&DOCS), small());
    for n in 0..1000 {
        hand(&mut server, Duration::ZERO, spoofed(n), b"time")
            .0
            .unwrap();
    }
    assert_eq!(server.occupancy(), [0; 4]);
}

#[test]
fn the_tunnel_that_is_idle_for_longest_makes_room() {
    let mut server = Server::new(server_config(&DOCS), small());
    let codec = server_config(&DOCS).codec;
    let mut draws = Draws::new(Seed::from_u64(9));
    for n in 0..15 {
        let at = Duration::from_secs(2 * n);
        let preamble = preamble(&DOCS, ets(), at, n);
        let peer = source(u16::try_from(n).unwrap());
        assert_eq!(hand_all(&mut server, at, peer, &preamble), NEW);
        // The first one is in use all the time.
        let mut up = BytesMut::new();
        codec
            .seal(&mut draws, &mut Default::default(), b"quic", &mut up)
            .unwrap();
        let (taken, _) = hand(&mut server, at, source(0), &up);
        assert!(matches!(taken, Ok(Taken::Inner(_))));
    }
    let ready: Vec<_> = (0..15).filter(|n| server.is_ready(source(*n))).collect();
    assert_eq!(ready, [0, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
}

#[test]
fn idle_tunnels_are_forgotten() {
    let rules = Rules::default();
    let mut server = Server::new(server_config(&DOCS), rules);
    let datagrams = preamble(&DOCS, ets(), Duration::ZERO, 1);
    hand_all(&mut server, Duration::ZERO, source(1), &datagrams).unwrap();
    let expiry = server.poll_timeout().unwrap();
    assert_eq!(expiry, instant(rules.idle));
    server.handle_timeout(instant(rules.idle - Duration::from_nanos(1)));
    assert!(server.is_ready(source(1)));
    server.handle_timeout(expiry);
    assert!(!server.is_ready(source(1)));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn a_full_memory_of_preambles_refuses_what_it_cannot_know() {
    let mut replays = Replays::new(3);
    let key = |n| [n; 32];
    for n in 0..5_u8 {
        assert!(!replays.knows(100 + u64::from(n), &key(n)));
        replays.insert(100 + u64::from(n), &key(n), 70);
    }
    assert_eq!(replays.len(), 3);
    for n in 0..5_u8 {
        assert!(replays.knows(100 + u64::from(n), &key(n)), "{n}");
    }
    assert!(
        replays.knows(101, &key(77)),
        "as old as one that was pushed out"
    );
    assert!(!replays.knows(102, &key(77)));
    // What is too old to be taken anyway is forgotten, the floor with it.
    replays.insert(200, &key(9), 170);
    assert_eq!(replays.len(), 1);
    assert!(!replays.knows(101, &key(77)));
}
