//! Who is no client learns nothing and changes nothing.
use super::{
    profile::Profile,
    relay::pattern,
    world::{ECHO, World, server_address},
};
use bytes::BytesMut;
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    tunnel::{Failure, Pin, Server},
};
use std::net::SocketAddr;

pub(crate) fn stranger() -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], 999))
}

/// Shows `data` to the server as if it came from `from`; how much it sends because of it.
pub(crate) fn shown(world: &mut World, from: SocketAddr, data: &[u8]) -> usize {
    let data = BytesMut::from(data);
    let _ = world.server.handle_datagram(world.now, from, data);
    let mut out = BytesMut::new();
    let mut sent = 0;
    while world.server.poll_transmit(world.now, 8, &mut out).is_some() {
        sent += out.len();
    }
    sent
}

#[test]
fn garbage_and_what_was_recorded_is_never_answered() {
    let mut world = World::new(Profile::new(), 1);
    world.trace = Some(Vec::new());
    let data = pattern(1, 30_000);
    world.open(ECHO, &data);
    world.run(World::all_done);
    let recorded = world.trace.take().unwrap();
    let before = world.server.occupancy();
    for (_, datagram) in &recorded {
        assert_eq!(shown(&mut world, stranger(), datagram), 0, "a replay");
    }
    let mut draws = Draws::new(Seed::from_u64(1));
    for len in [0, 1, 4, 41, 100, 444, 1200, 1452, 3000] {
        let mut data = vec![0; len];
        draws.fill(&mut data);
        assert_eq!(shown(&mut world, stranger(), &data), 0, "{len} octets");
        for (_, datagram) in recorded.iter().take(30) {
            let mut changed = datagram.clone();
            let at = usize::try_from(draws.below(changed.len() as u64)).unwrap();
            changed[at] ^= 1 << draws.below(8);
            assert_eq!(shown(&mut world, stranger(), &changed), 0, "a bit");
        }
    }
    assert_eq!(world.server.occupancy(), before);
    let again = world.open(ECHO, &data);
    world.run(|world| world.apps[&again].is_done());
    assert_eq!(world.ups, 1);
}

#[test]
fn garbage_inside_a_tunnel_is_never_answered_and_ends_nothing() {
    for profile in [Profile::new(), Profile::random(1), Profile::random(2)] {
        let mut world = World::new(profile, 2);
        world.trace = Some(Vec::new());
        let stream = world.open(ECHO, &pattern(1, 30_000));
        world.run(World::all_done);
        assert!(world.apps[&stream].is_done());
        let (path, peer) = world.paths.iter().map(|(p, a)| (*p, *a)).next().unwrap();
        let recorded = world.trace.take().unwrap();
        let mut draws = Draws::new(Seed::from_u64(3));
        let prefix = world.profile.budget().head_len();
        for (is_up, datagram) in recorded.iter().rev().take(300) {
            let mut changed = datagram.clone();
            if changed.len() <= prefix {
                continue;
            }
            let rest = u64::try_from(changed.len() - prefix).unwrap();
            let at = prefix + usize::try_from(draws.below(rest)).unwrap();
            changed[at] ^= 0xff;
            // Nothing vouches for the padding.
            let inner = u16::from_be_bytes([changed[prefix - 2], changed[prefix - 1]]);
            let is_padding = at >= prefix + usize::from(inner);
            for data in [&changed, datagram] {
                // What repeats a valid packet may be acknowledged again, within the tunnel.
                let is_replay = *is_up && (is_padding || data == datagram);
                let sent = shown(&mut world, peer, data);
                assert!(is_replay || sent == 0, "{sent} octets");
                let data = BytesMut::from(&data[..]);
                let from = server_address();
                let _ = world.client.handle_datagram(world.now, path, from, data);
            }
        }
        let again = world.open(ECHO, b"hello");
        world.run(|world| world.apps[&again].is_done());
        assert_eq!((world.ups, world.downs.len()), (1, 0));
    }
}

#[test]
fn a_server_with_another_key_than_the_pinned_one_is_not_taken() {
    let mut world = World::pinned(5, Server::pin);
    let stream = world.open(ECHO, b"hello");
    world.run(|world| world.apps[&stream].is_done());
    let mut world = World::pinned(5, |_| Pin([1; 32]));
    let stream = world.open(ECHO, b"hello");
    world.run(|world| world.apps[&stream].refused.is_some());
    assert_eq!((world.ups, world.requests.len()), (0, 0));
    assert_eq!(world.downs[0].0, Failure::WrongKey);
    let told = world.downs[0].0.to_string();
    assert_eq!(told, "the server's key is not the pinned one");
    // The server is told as well, and keeps nothing.
    world.run(|world| world.server.occupancy() == [0, 0]);
}

#[test]
fn hosts_have_a_share_of_connections() {
    let mut profile = Profile::new();
    profile.limits.connections_per_host = 0;
    let mut world = World::new(profile, 4);
    let stream = world.open(ECHO, b"hello");
    world.run(|world| world.apps[&stream].refused.is_some());
    assert_eq!(world.ups, 0);
    world.run(|world| world.server.occupancy() == [0, 0]);
}
