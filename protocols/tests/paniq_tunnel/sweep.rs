//! Anything may happen, as long as it ends well.
use super::{
    profile::Profile,
    relay::pattern,
    world::{AT_END, BANNER, ECHO, REFUSES, RESETS, World},
};
use sansbox_core::Seed;
use sansbox_protocols::paniq::Draws;
use std::time::Duration;

/// Streams come and go while ports change, the server restarts and the path ends for a while.
fn run(seed: u64) {
    let mut draws = Draws::new(Seed::from_u64(seed));
    let mut world = World::new(Profile::random(seed), seed);
    let mut sent = Vec::new();
    for step in 0..30 {
        world.wire.loss_percent = draws.below(2) * draws.below(15);
        world.wire.reorder_percent = draws.below(2) * draws.below(50);
        world.wire.is_cut = draws.below(12) == 0;
        if draws.below(10) == 0 {
            world.rebind();
        }
        if draws.below(15) == 0 {
            world.restart_server(seed + 1000 * step);
        }
        for _ in 0..draws.below(6) {
            let ports = [ECHO, ECHO, AT_END, BANNER, REFUSES, RESETS];
            let port = ports[usize::try_from(draws.below(6)).unwrap()];
            let len = match port {
                AT_END => draws.below(20_000),
                _ => draws.below(200_000),
            };
            let data = pattern(sent.len(), usize::try_from(len).unwrap());
            sent.push((world.open(port, &data), port, data));
        }
        if let Some((stream, ..)) = sent.last()
            && draws.below(10) == 0
        {
            let now = world.now;
            world.client.abandon(now, *stream);
            world.apps.remove(stream);
            sent.pop();
        }
        let pause = Duration::from_millis(draws.below(3_000));
        let _ = world.run_for(pause, |_| false);
        assert!(world.client.occupancy()[0] <= 4, "seed {seed}: sockets");
    }
    world.wire.loss_percent = 0;
    world.wire.is_cut = false;
    let is_over = world.run_for(Duration::from_secs(300), |world| {
        let mut apps = world.apps.values();
        apps.all(|app| app.is_done() || app.is_reset() || app.refused.is_some())
    });
    assert!(
        is_over,
        "seed {seed}: {:?} {:?}",
        world.client, world.server
    );
    for (stream, port, data) in &sent {
        let app = &world.apps[stream];
        let banner: &[u8] = if *port == BANNER {
            b"220 hello\r\n"
        } else {
            b""
        };
        let whole = [banner, data].concat();
        assert!(
            whole.starts_with(&app.came),
            "seed {seed}: bytes were changed"
        );
        let is_whole = app.came == whole;
        assert!(is_whole || !app.is_done(), "seed {seed}: bytes were lost");
    }
    let last = world.open(ECHO, b"last");
    world.run(|world| world.apps[&last].is_done());
    let is_empty = world.run_for(Duration::from_secs(300), |world| {
        world.client.occupancy() == [1, 0] && world.server.occupancy() == [1, 0]
    });
    let (client, server) = (world.client.occupancy(), world.server.occupancy());
    assert!(is_empty, "seed {seed}: {client:?} {server:?}");
}

#[test]
fn whatever_happens_streams_end_and_bytes_are_right() {
    for seed in 0..12 {
        run(seed);
    }
}
