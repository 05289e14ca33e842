//! Whatever the profile, datagrams fit, and nothing depends on chance.
use super::{
    profile::Profile,
    relay::pattern,
    world::{ECHO, World, server_address},
};
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind},
    profile,
    transport::INNER_LEN_MAX,
    tunnel::{ClientConfig, ServerConfig, Settings},
};
use std::time::Duration;

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
fn full_datagrams_that_leave_at_once_are_equally_long() {
    let lengths = |profile: Profile| {
        let mut world = World::new(profile, 1);
        world.trace = Some(Vec::new());
        world.open(ECHO, &pattern(1, 400_000));
        world.run(World::all_done);
        assert!(world.batches > 10, "{}", world.batches);
        let trace = world.trace.take().unwrap();
        let of_server = trace.iter().filter(|(is_up, _)| !is_up);
        let lengths = of_server.map(|(_, datagram)| datagram.len());
        let full: Vec<usize> = lengths.filter(|len| *len > 1200).collect();
        let changes = full.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let longest = full.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
        (changes, longest.unwrap())
    };
    // No room for padding beside a full datagram: all are equally long.
    let (changes, longest) = lengths(Profile::new());
    assert!(changes < 10 && longest > 100, "{changes} {longest}");
    // Otherwise each train draws its own.
    let mut roomy = Profile::new();
    roomy.sizes.max_payload = 1200;
    let (changes, longest) = lengths(roomy);
    assert!(changes > 15 && longest <= 2 * 16, "{changes} {longest}");
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

const DOCUMENTED: &str = include_str!("../vectors/paniq/docs_profile.json");

#[test]
fn a_profile_as_it_is_written_makes_both_ends() {
    let written = profile::Profile::from_json(DOCUMENTED.as_bytes()).unwrap();
    let mut world = World::of_profile(&written, 1);
    let data = pattern(1, 100_000);
    let stream = world.open(ECHO, &data);
    world.run(World::all_done);
    assert!(world.apps[&stream].came == data);
}

#[test]
fn what_a_profile_says_arrives_in_both_ends() {
    let mut written = profile::Profile::from_json(DOCUMENTED.as_bytes()).unwrap();
    written.handshake_attempts = 4;
    written.handshake_timeout = profile::Nanos::parse("3s").unwrap();
    written.quic.keepalive = profile::Nanos::parse("7s").unwrap();
    written.quic.idle_timeout = profile::Nanos::parse("70s").unwrap();
    written.quic.max_streams = 17;
    written.obfuscation.transport_replay = true;
    written.obfuscation.transport_replay_limit = 1_000_000;
    let settings = Settings {
        keepalive: Duration::from_secs(7),
        idle_timeout: Duration::from_secs(70),
        streams_max: 17,
    };
    let at = server_address();
    let client = ClientConfig::from_profile(&written.for_clients(), at).unwrap();
    assert_eq!((client.server, client.settings), (at, settings));
    assert_eq!(client.preamble.attempts, 4);
    assert_eq!(client.preamble.timeout, Duration::from_secs(3));
    assert_eq!(client.preamble.delay, Duration::from_millis(5));
    assert_eq!(client.open_timeout, Duration::from_secs(4 * 3 + 10));
    let padding = client.codec.padding();
    assert_eq!((padding.max(), padding.burst()), (96, (96, 104)));
    assert_eq!(client.codec.counting().limit, 1_000_000);
    assert!(client.codec.budget().has_counter() && client.pin.is_none());

    let wall = Duration::from_secs(1_700_000_000);
    let draws = || Draws::new(Seed::from_u64(1));
    let server = ServerConfig::from_profile(&written, wall, draws()).unwrap();
    assert_eq!(server.settings, settings);
    assert_eq!(server.preamble.codec.padding(), padding);
    assert_eq!(server.preamble.codec.counting(), client.codec.counting());
    assert_eq!(server.preamble.timeout, Duration::from_secs(3));
    let limit = server.preamble.rate_limit.unwrap();
    assert_eq!((limit.per_second, limit.burst), (200, 500));
    let window = server.rules.encrypted_window.unwrap();
    assert_eq!(window.past, Duration::from_secs(30 + 4 * 3));
    assert_eq!(window.future, Duration::from_secs(30));

    // The server's own key is no client's business; a client's profile has no limits to serve.
    assert!(ClientConfig::from_profile(&written, at).is_err());
    written.obfuscation.rate_limit_burst = 2;
    assert!(ServerConfig::from_profile(&written, wall, draws()).is_err());
}
