//! Bulk data in both directions, once everything has the size that it needs.
use super::{
    floor::Floor,
    net::{ECHO, Line, Net, WALL},
    profile::Profile,
};
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    transport::{Opener, Sealer},
};
use sansbox_quic::Sources;
use std::{net::SocketAddr, time::Duration};

/// How often client and server together ask for memory for 1000 datagrams. Measured are 235, and no
/// more than quinn-proto asks for by itself. About:
///
/// | times | who | what |
/// |---|---|---|
/// | 195 | quinn-proto | nodes of the tree of packets that are not acknowledged |
/// | 20 | bytes | the first cut of an application's segment, where a window ends in it |
/// | 12 | quinn-proto | lists of frames, longer than what they have room for |
/// | 8 | quinn-proto | what is to be sent again of windows that were made known |
///
/// Nothing of ours is taken for a datagram as such; [`envelopes_take_no_memory`] is exact.
const FOR_1000: u64 = 245;

const STREAMS: usize = 4;

#[test]
fn bulk_data_takes_little_memory_from_the_heap() {
    let mut net = Net::new(Profile::new(), Duration::from_millis(5), 8);
    let peer = net.add();
    for _ in 0..STREAMS {
        net.open(peer, ECHO, usize::MAX);
    }
    net.run(|net| net.peers[0].came() > 8_000_000);
    let (allocations, datagrams) = (net.allocations, net.datagrams);
    net.run(|net| net.peers[0].came() > 24_000_000);
    let allocations = net.allocations - allocations;
    let datagrams = net.datagrams - datagrams;
    assert!(datagrams > 20_000 && allocations > 0, "nothing is counted");
    let for_1000 = 1000 * allocations / datagrams;
    let floor = floor_for_1000();
    assert!(
        for_1000 <= FOR_1000,
        "{for_1000} for 1000 datagrams, floor {floor}"
    );
    assert!(for_1000 <= floor, "{for_1000} where the floor has {floor}");
}

/// The same of quinn-proto by itself.
fn floor_for_1000() -> u64 {
    let sources = Sources::new(Seed::from_u64(1), WALL, false);
    let codec = Profile::new()
        .client(SocketAddr::from(([10, 0, 0, 2], 443)))
        .codec;
    let _turn = sources.enter(Instant::ZERO);
    let line = Line::new(Duration::from_millis(5), 8);
    let mut floor = Floor::new(&sources, codec.budget(), line);
    floor.open(STREAMS);
    floor.run(|floor| floor.came() > 8_000_000);
    let (allocations, datagrams) = (floor.allocations, floor.datagrams);
    floor.run(|floor| floor.came() > 24_000_000);
    1000 * (floor.allocations - allocations) / (floor.datagrams - datagrams)
}

#[test]
fn envelopes_take_no_memory() {
    let mut profile = Profile::new();
    profile.sizes.has_counter = true;
    let codec = profile.client(SocketAddr::from(([10, 0, 0, 2], 443))).codec;
    let (mut sealer, mut opener) = (Sealer::default(), Opener::default());
    let mut draws = Draws::new(Seed::from_u64(1));
    let inner = vec![7; codec.budget().inner_len_max()];
    let mut out = BytesMut::new();
    let mut round = || {
        out.clear();
        codec
            .seal(&mut draws, &mut sealer, &inner, &mut out)
            .unwrap();
        let opened = codec.open(&mut opener, &out).unwrap();
        assert_eq!(out[opened], inner);
    };
    // The buffer gets its size, and the window is made.
    for _ in 0..100 {
        round();
    }
    let before = sansbox_heap::heap();
    for _ in 0..1000 {
        round();
    }
    assert_eq!(sansbox_heap::heap().since(before).allocations, 0);
}
