//! Bytes, ends and refusals.
use super::{
    profile::Profile,
    world::{AT_END, App, BANNER, ECHO, LISTENS, REFUSES, RESETS, World},
};
use sansbox_core::Refusal;

pub(crate) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| ((n * 31 + seed) % 251) as u8).collect()
}

#[test]
fn bytes_go_both_ways_over_many_streams() {
    let mut world = World::new(Profile::new(), 1);
    let data: Vec<_> = (0..40).map(|n| pattern(n, 1000 * n)).collect();
    let streams: Vec<_> = data.iter().map(|data| world.open(ECHO, data)).collect();
    world.run(World::all_done);
    for (stream, data) in streams.iter().zip(&data) {
        assert!(world.apps[stream].came == *data, "bytes were changed");
        assert!(world.apps[stream].accepted.is_some());
    }
    assert_eq!(world.ups, 1);
    assert_eq!(world.client.occupancy(), [1, 0]);
    assert_eq!(world.server.occupancy(), [1, 0]);
}

#[test]
fn a_mebibyte_goes_both_ways_whatever_is_lost_or_reordered() {
    for (seed, loss_percent, reorder_percent) in
        [(2, 0, 0), (2, 5, 20), (3, 5, 20), (4, 10, 5), (5, 10, 20)]
    {
        let mut world = World::new(Profile::new(), seed);
        world.wire.loss_percent = loss_percent;
        world.wire.reorder_percent = reorder_percent;
        let data = pattern(1, 1 << 20);
        let stream = world.open(ECHO, &data);
        world.run(World::all_done);
        assert!(world.apps[&stream].came == data, "bytes were changed");
    }
}

#[test]
fn an_answer_may_come_after_the_end_of_the_question() {
    let mut world = World::new(Profile::new(), 3);
    let stream = world.open(AT_END, b"question");
    world.run(World::all_done);
    assert_eq!(world.apps[&stream].came, b"question");
}

#[test]
fn a_target_may_listen_after_its_end() {
    let mut world = World::new(Profile::new(), 7);
    let data = pattern(1, 300_000);
    world.open(LISTENS, &data);
    world.run(|world| world.all_done() && world.upstreams() == 0);
    assert!(world.kept == [data], "bytes were changed");
}

#[test]
fn what_follows_the_reply_is_not_lost() {
    let mut world = World::new(Profile::new(), 4);
    let stream = world.open(BANNER, b"quit");
    world.run(World::all_done);
    assert_eq!(world.apps[&stream].came, b"220 hello\r\nquit");
}

#[test]
fn a_refused_target_hurts_its_stream_alone() {
    let mut world = World::new(Profile::new(), 5);
    let data = pattern(3, 200_000);
    let long = world.open(ECHO, &data);
    world.run(|world| world.apps[&long].came.len() > 1000);
    let refused = world.open(REFUSES, b"");
    let reset = world.open(RESETS, b"x");
    world.run(|world| world.apps[&refused].refused.is_some() && world.apps[&reset].is_reset());
    assert!(!world.apps[&long].is_done(), "too little to be disturbed");
    let (why, _) = world.apps[&refused].refused.unwrap();
    assert_eq!(why, Refusal::General);
    world.run(|world| world.apps[&long].is_done());
    assert!(world.apps[&long].came == data);
    assert_eq!((world.ups, world.downs.len()), (1, 0));
    assert_eq!(world.client.occupancy(), [1, 0]);
    assert_eq!(world.requests.len(), 3, "nothing is asked for twice");
}

#[test]
fn a_stream_of_datagrams_is_opened_where_the_server_has_such_and_refused_elsewhere() {
    let mut profile = Profile::new();
    profile.has_datagrams = true;
    let mut world = World::new(profile, 6);
    let data = pattern(4, 50_000);
    let (datagrams, bytes) = (world.open_datagrams(&data), world.open(ECHO, &data));
    world.run(World::all_done);
    for stream in [datagrams, bytes] {
        assert!(world.apps[&stream].came == data, "bytes were changed");
    }
    assert_eq!(world.requests.len(), 1, "the other has no target");

    let mut world = World::new(Profile::new(), 6);
    let (datagrams, bytes) = (world.open_datagrams(b""), world.open(ECHO, &data));
    world.run(|world| world.apps[&bytes].is_done());
    let (why, _) = world.apps[&datagrams].refused.unwrap();
    assert_eq!(why, Refusal::UpstreamProtocol);
    assert!(world.apps[&bytes].came == data, "it hurts nobody else");
}

#[test]
fn more_streams_than_the_peer_allows_wait_for_their_turn() {
    let mut profile = Profile::new();
    profile.settings.streams_max = 4;
    let mut world = World::new(profile, 6);
    let data = pattern(3, 20_000);
    let streams: Vec<_> = (0..30).map(|_| world.open(ECHO, &data)).collect();
    world.run(World::all_done);
    let is_whole = |app: &App| app.came == data;
    assert!(streams.iter().all(|stream| is_whole(&world.apps[stream])));
}
