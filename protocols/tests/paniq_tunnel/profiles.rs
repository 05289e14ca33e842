//! Whatever the profile, datagrams fit, and nothing depends on chance.
use super::{
    profile::Profile,
    relay::pattern,
    world::{ECHO, World},
};
use sansbox_protocols::paniq::{
    obf::{Framer, Kind},
    transport::INNER_LEN_MAX,
};

/// Transport frames of the trace, and the longest QUIC datagram in them.
fn check_sizes(world: &World) -> (usize, usize) {
    let framer = Framer::new(world.profile.params.clone().into());
    let budget = world.profile.budget();
    let (mut frames, mut inner_max) = (0, 0);
    for (_, datagram) in world.trace.as_ref().unwrap() {
        let Ok((Kind::Transport, at)) = framer.decode(datagram) else {
            continue;
        };
        assert!(datagram.len() <= budget.packet_len_max(), "too long");
        let at = at + if budget.has_counter() { 8 } else { 0 };
        let inner = usize::from(u16::from_be_bytes([datagram[at], datagram[at + 1]]));
        assert!(inner <= budget.inner_len_max() && at + 2 + inner <= datagram.len());
        inner_max = inner_max.max(inner);
        frames += 1;
    }
    assert!(inner_max <= INNER_LEN_MAX);
    (frames, inner_max)
}

#[test]
fn every_datagram_fits_with_any_profile() {
    for seed in 0..25 {
        let mut world = World::new(Profile::random(seed), seed);
        world.trace = Some(Vec::new());
        world.wire.loss_percent = seed % 3;
        let data = pattern(1, 100_000);
        let stream = world.open(ECHO, &data);
        world.run(World::all_done);
        assert!(world.apps[&stream].came == data, "profile {seed}");
        let (frames, inner_max) = check_sizes(&world);
        assert!(frames > 100, "profile {seed}");
        assert_eq!(inner_max, world.profile.budget().inner_len_max());
    }
}

#[test]
fn datagrams_go_in_batches_only_where_they_are_equally_long() {
    let batches = |profile: Profile| {
        let mut world = World::new(profile, 1);
        world.open(ECHO, &pattern(1, 200_000));
        world.run(World::all_done);
        world.batches
    };
    // No room for padding beside a full datagram: all are equally long.
    assert!(batches(Profile::new()) > 10);
    let mut roomy = Profile::new();
    roomy.sizes.max_payload = 1200;
    assert_eq!(batches(roomy), 0);
}

#[test]
fn a_profile_without_keys_works() {
    let mut world = World::new(Profile::keyless(), 3);
    world.open(ECHO, b"hello");
    world.run(World::all_done);
}

#[test]
fn servers_that_judge_as_the_go_server_does_are_reached_through_loss() {
    for seed in 0..10 {
        let mut profile = Profile::random(seed);
        profile.has_go_server = true;
        let mut world = World::new(profile, seed);
        world.wire.loss_percent = 3;
        world.wire.reorder_percent = 3;
        let stream = world.open(ECHO, b"hello");
        world.run(|world| {
            let app = &world.apps[&stream];
            app.is_done() || app.refused.is_some()
        });
        assert_eq!(world.apps[&stream].came, b"hello", "profile {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let mut world = World::new(Profile::random(3), seed);
        world.trace = Some(Vec::new());
        world.wire.loss_percent = 5;
        for n in 0..5 {
            world.open(ECHO, &pattern(n, 10_000));
        }
        world.run(World::all_done);
        world.trace
    };
    assert!(run(1) == run(1), "the same seed");
    assert!(run(1) != run(2), "another seed");
}
