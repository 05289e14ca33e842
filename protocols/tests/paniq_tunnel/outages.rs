//! Servers that restart, ports that change, paths that end.
use super::{
    profile::{Profile, TIMEOUT},
    relay::pattern,
    world::{self, ECHO, KEEPS, LATENCY, SILENT, World},
};
use sansbox_core::{Instant, Refusal};
use sansbox_protocols::paniq::{preamble::ClientError, tunnel::Failure};
use std::time::Duration;

/// Round trip, its variation at first (half a round trip, four times), and the delay of
/// acknowledgements: RFC 9002 section 6.2.1.
const PROBE_TIMEOUT: Duration = Duration::from_millis(2 * 10 * 3 + 26);

/// No tunnel is given up before: loss could explain its silence.
const SILENCE_DEAD: Duration = Duration::from_secs(2);

/// Preamble with its pauses (five of 10 ms at most), one round trip for the Response, two for QUIC,
/// and the timer's grain.
const HANDSHAKE: Duration = Duration::from_millis(5 * 10 + 3 * 2 * 10 + 10);

#[test]
fn a_lost_response_costs_one_attempt() {
    let mut world = World::new(Profile::new(), 1);
    world.drop_answers = 1;
    let stream = world.open(ECHO, b"hello");
    world.run(World::all_done);
    assert_eq!(world.apps[&stream].came, b"hello");
    assert!(world.now < Instant::ZERO + TIMEOUT + Duration::from_secs(1));
    assert_eq!(world.paths.len(), 1);
}

#[test]
fn a_restarted_server_is_found_again() {
    let mut world = World::new(Profile::new(), 2);
    let before = world.open(ECHO, b"before");
    world.run(World::all_done);
    let lost = world.open(ECHO, &pattern(1, 5_000_000));
    world.run(|world| world.apps[&lost].came.len() > 10_000);
    world.restart_server(77);
    let began = world.now;
    let after = world.open(ECHO, b"after");
    world.run(|world| world.apps[&after].is_done());
    assert_eq!(world.apps[&before].came, b"before");
    assert_eq!(world.apps[&after].came, b"after", "asked for again");
    assert!(world.now < began + 3 * PROBE_TIMEOUT + HANDSHAKE + 5 * LATENCY);
    // Loss could explain the silence of the old tunnel for a while.
    world.run(|world| world.apps[&lost].is_reset());
    assert!(world.now < began + SILENCE_DEAD + PROBE_TIMEOUT);
    assert_eq!(world.downs.len(), 1);
    assert_eq!(world.downs[0].0, Failure::Silent);
    assert_eq!(world.client.occupancy()[1], 0);
}

#[test]
fn a_tunnel_that_is_idle_is_replaced_when_it_is_needed() {
    let mut world = World::new(Profile::new(), 3);
    let _ = world.open(ECHO, b"before");
    world.run(World::all_done);
    world.rebind();
    let was_done = world.run_for(Duration::from_secs(300), |world| !world.downs.is_empty());
    assert!(was_done, "an idle connection times out");
    assert_eq!(world.client.occupancy()[0], 0);
    let after = world.open(ECHO, b"after");
    world.run(World::all_done);
    assert_eq!(world.apps[&after].came, b"after");
    assert_eq!(world.ups, 2);
}

#[test]
fn a_new_port_in_the_middle_of_an_upload_is_survived_by_the_carrier() {
    let mut world = World::new(Profile::new(), 4);
    let upload = world.open(ECHO, &pattern(1, 20_000_000));
    world.run(|world| world.apps[&upload].came.len() > 50_000);
    world.rebind();
    let began = world.now;
    world.run(|world| world.ups == 2);
    let needed = world.now.saturating_duration_since(began);
    let bound = 3 * PROBE_TIMEOUT + HANDSHAKE;
    assert!(needed <= bound, "{needed:?} is above {bound:?}");
    let after = world.open(ECHO, b"after");
    world.run(|world| world.apps[&after].is_done());
    world.run(|world| world.apps[&upload].is_reset());
    assert!(world.now < began + SILENCE_DEAD + PROBE_TIMEOUT);
}

#[test]
fn an_outage_shorter_than_the_idle_timeout_loses_nothing() {
    let mut world = World::new(Profile::new(), 5);
    let data = pattern(1, 2_000_000);
    let stream = world.open(ECHO, &data);
    world.run(|world| world.apps[&stream].came.len() > 50_000);
    world.wire.is_cut = true;
    let _ = world.run_for(Duration::from_secs(20), |_| false);
    world.wire.is_cut = false;
    // Whichever of the two is heard first wins; a tunnel that lives is not given up for a new one
    // unless it stays silent.
    world.run(|world| world.apps[&stream].is_done() || world.apps[&stream].is_reset());
    assert!(world.client.occupancy()[0] <= 2);
    let after = world.open(ECHO, b"after");
    world.run(|world| world.apps[&after].is_done());
}

/// Its own probes are far apart by then, and a new tunnel stands before one of them is answered.
#[test]
fn a_quiet_stream_outlives_an_outage_shorter_than_the_idle_timeout() {
    for outage in [1, 5, 20, 60, 100] {
        let mut world = World::new(Profile::new(), 5);
        let quiet = world.open(KEEPS, b"hello");
        world.run(|world| world.apps[&quiet].came == b"hello");
        let _ = world.run_for(Duration::from_secs(15), |_| false);
        world.wire.is_cut = true;
        let _ = world.run_for(Duration::from_secs(outage), |_| false);
        world.wire.is_cut = false;
        let _ = world.run_for(Duration::from_secs(30), |_| false);
        assert!(
            !world.apps[&quiet].is_reset(),
            "{outage} s: {:?}",
            world.downs
        );
        world.finish_kept();
        world.run(|world| world.apps[&quiet].is_done());
    }
}

/// An acknowledgement that waited for a server that stood still looks like a very long round trip.
#[test]
fn a_server_that_stood_still_gives_streams_up_with_their_tunnel() {
    for millis in (0..60).step_by(5) {
        let mut world = World::new(Profile::new(), 5);
        let quiet = world.open(KEEPS, b"hello");
        world.run(|world| world.apps[&quiet].came == b"hello");
        let _ = world.run_for(Duration::from_millis(millis), |_| false);
        world.wire.is_cut = true;
        world.now += Duration::from_secs(1000);
        let is_over = world.run_for(Duration::from_secs(160), |world| {
            world.server.occupancy()[1] == 0
        });
        assert!(is_over, "{millis} ms: {:?}", world.server);
    }
}

#[test]
fn a_server_that_is_not_there_is_told_in_bounded_time() {
    let mut world = World::new(Profile::new(), 6);
    world.wire.is_cut = true;
    let streams: Vec<_> = (0..5).map(|_| world.open(ECHO, b"x")).collect();
    world.run(|world| world.apps.values().all(|app| app.refused.is_some()));
    assert!(world.now <= Instant::ZERO + 3 * TIMEOUT);
    let timed_out = Failure::Preamble(ClientError::TimedOut);
    assert_eq!(world.downs, [(timed_out, world.now)]);
    for stream in streams {
        assert_eq!(world.apps[&stream].refused.unwrap().0, Refusal::TimedOut);
    }
    // Dials go on only while somebody wants them, with pauses.
    assert_eq!(world.client.poll_timeout(world.now), None);
    for _ in 0..10 {
        let stream = world.open(ECHO, b"x");
        world.run(|world| world.apps[&stream].refused.is_some());
    }
    let gaps = world
        .downs
        .windows(2)
        .map(|pair| pair[1].1.saturating_duration_since(pair[0].1));
    assert!(gaps.clone().all(|gap| gap <= Duration::from_secs(34)));
    assert!(
        gaps.clone()
            .any(|gap| gap > 3 * TIMEOUT + Duration::from_secs(1))
    );
    world.wire.is_cut = false;
    let stream = world.open(ECHO, b"back");
    world.run(|world| world.apps[&stream].is_done());
}

#[test]
fn a_host_without_sockets_is_told_at_once() {
    let mut world = World::new(Profile::new(), 9);
    world.has_no_sockets = true;
    let stream = world.open(ECHO, b"x");
    world.flush();
    let (why, at) = world.apps[&stream].refused.unwrap();
    assert_eq!((why, at), (Refusal::NetworkUnreachable, world.now));
    assert_eq!(world.client.occupancy(), [0, 0]);
    world.has_no_sockets = false;
    let stream = world.open(ECHO, b"x");
    world.run(|world| world.apps[&stream].is_done());
}

#[test]
fn a_target_that_says_nothing_times_out_alone() {
    let mut world = World::new(Profile::new(), 7);
    let silent = world.open(SILENT, b"");
    let echo = world.open(ECHO, b"hello");
    world.run(|world| world.apps[&silent].refused.is_some());
    let (why, at) = world.apps[&silent].refused.unwrap();
    assert_eq!(why, Refusal::TimedOut);
    assert!(at > Instant::ZERO + 2 * TIMEOUT && at < Instant::ZERO + 2 * TIMEOUT + TIMEOUT / 5);
    assert!(world.apps[&echo].is_done());
    assert_eq!((world.ups, world.downs.len()), (1, 0));
    world.run(|world| world.server.occupancy()[1] == 0);
    assert_eq!(world.cancelled, 1, "the server's owner is told");
}

#[test]
fn counters_that_run_out_make_a_new_tunnel() {
    let mut profile = Profile::random(8);
    profile.sizes.has_counter = true;
    profile.counting.limit = 400;
    let mut world = World::new(profile, 8);
    for n in 0..40 {
        let data = pattern(n, 20_000);
        let stream = world.open(ECHO, &data);
        world.run(|world| world.apps[&stream].is_done());
        assert!(world.apps[&stream].came == data);
    }
    assert!(world.ups > 2, "{} tunnels", world.ups);
    assert_eq!(world.downs, [], "each was replaced in time");
}

/// Longest pause between attempts that do not arrive.
const REFUSED_MAX: Duration = Duration::from_secs(1);

/// How far apart attempts are that began.
fn gaps(world: &World) -> Vec<Duration> {
    let began = world.paths_made.windows(2);
    began
        .map(|pair| pair[1].saturating_duration_since(pair[0]))
        .collect()
}

/// A client of a server that is away from `from` on for so long; how long it takes from then on
/// until a stream that was asked for in between carries bytes.
fn recovery(seed: u64, outage: Duration, begin: impl Fn(&mut World, bool)) -> Duration {
    let mut world = World::new(Profile::new(), seed);
    let _ = world.open(ECHO, b"before");
    world.run(World::all_done);
    begin(&mut world, true);
    let during = world.open(ECHO, b"during");
    let _ = world.run_for(outage, |_| false);
    world.restart_server(77);
    begin(&mut world, false);
    let back = world.now;
    world.run(|world| world.apps[&during].is_done() || world.apps[&during].refused.is_some());
    let app = &world.apps[&during];
    assert_eq!(
        app.came, b"during",
        "{outage:?}: {:?} {:?} {:?} {:?}",
        app.refused, world.downs, world.paths_made, back
    );
    world.now.saturating_duration_since(back)
}

#[test]
fn a_server_whose_port_was_closed_is_found_within_a_second() {
    for (seed, millis) in (30_u64..).zip([10, 150, 400, 900, 2_500, 6_000, 14_000]) {
        let took = recovery(seed, Duration::from_millis(millis), |world, is_away| {
            world.wire.is_refused = is_away;
        });
        let bound = REFUSED_MAX + HANDSHAKE + 5 * LATENCY;
        assert!(took <= bound, "{took:?} after {millis} ms");
    }
}

#[test]
fn a_server_that_was_out_of_reach_for_a_moment_is_found_soon() {
    for (seed, (millis, most)) in
        (40_u64..).zip([(10, 1_400), (400, 1_400), (900, 1_400), (2_500, 2_800)])
    {
        let took = recovery(seed, Duration::from_millis(millis), |world, is_away| {
            world.wire.is_cut = is_away;
        });
        let bound = Duration::from_millis(most) + HANDSHAKE + 5 * LATENCY;
        assert!(took <= bound, "{took:?} after {millis} ms");
    }
}

/// What a stream that began during a dial waits for is the next one.
#[test]
fn who_came_late_to_a_dial_waits_for_the_next() {
    let mut world = World::new(Profile::new(), 50);
    world.wire.is_refused = true;
    let early = world.open(ECHO, b"early");
    let _ = world.run_for(3 * TIMEOUT - Duration::from_secs(1), |_| false);
    let late = world.open(ECHO, b"late");
    let _ = world.run_for(Duration::from_secs(2), |_| false);
    let (why, at) = world.apps[&early].refused.unwrap();
    assert_eq!((why, world.downs.len()), (Refusal::TimedOut, 1));
    assert_eq!(at, Instant::ZERO + 3 * TIMEOUT);
    world.wire.is_refused = false;
    world.run(|world| world.apps[&late].is_done());
    assert_eq!(world.apps[&late].came, b"late");
}

/// Attempts that do not arrive are a second apart at most and cut short; those that nobody answers
/// are ever further apart, and after a dial in vain as far as those of a Go client.
#[test]
fn attempts_are_no_noise() {
    let mut world = World::new(Profile::new(), 51);
    world.wire.is_refused = true;
    let _ = world.open(ECHO, b"x");
    let _ = world.run_for(3 * TIMEOUT, |_| false);
    let refused = gaps(&world);
    assert!(refused[0] >= Duration::from_millis(100) && refused[0] < Duration::from_millis(200));
    assert!(refused.iter().all(|gap| *gap <= REFUSED_MAX + 2 * LATENCY));
    let late = refused.iter().skip(3);
    assert!(late.clone().count() > 10 && late.clone().all(|gap| *gap >= REFUSED_MAX * 4 / 5));
    // The message comes back after the second or third of six datagrams at the earliest.
    assert!(
        world.sent <= 4 * world.paths_made.len() as u64,
        "{}",
        world.sent
    );

    let mut world = World::new(Profile::new(), 52);
    world.wire.is_cut = true;
    for _ in 0..2 {
        let _ = world.open(ECHO, b"x");
        let _ = world.run_for(3 * TIMEOUT + Duration::from_secs(1), |_| false);
    }
    let unanswered: Vec<u64> = gaps(&world).iter().map(Duration::as_secs).collect();
    assert!(world.paths_made.len() <= 5 + 4, "{unanswered:?}");
    assert!(unanswered[0] == 1 && (2..=3).contains(&unanswered[1]) && unanswered[2] >= 4);
    let second = world.paths_made.iter().rev().take(2).collect::<Vec<_>>();
    assert!(second[0].saturating_duration_since(*second[1]) >= TIMEOUT);
}

/// A message that a port is closed may be forged, or have crossed with the start of the server: the
/// answer counts, and a tunnel that stands is left alone.
#[test]
fn a_message_that_a_port_is_closed_ends_nothing_by_itself() {
    let mut world = World::new(Profile::new(), 53);
    let forged = world.open(ECHO, b"forged");
    // The Initiation is on its way.
    let _ = world.run_for(HANDSHAKE, |world| world.sent == 6);
    let path = *world.paths.keys().next().unwrap();
    world
        .client
        .path_unreachable(world.now, path, world::server_address());
    world.run(|world| world.apps[&forged].is_done());
    assert_eq!((world.paths_made.len(), world.ups), (1, 1));
    let stands = world.open(KEEPS, b"stands");
    world.run(|world| world.apps[&stands].came == b"stands");
    world
        .client
        .path_unreachable(world.now, path, world::server_address());
    let _ = world.run_for(Duration::from_secs(3), |_| false);
    world.finish_kept();
    world.run(|world| world.apps[&stands].is_done());
    assert_eq!((world.paths_made.len(), world.downs.len()), (1, 0));
}

/// On a path so slow that attempts begin before the one before can be answered, the first answer
/// is taken.
#[test]
fn an_answer_counts_after_the_next_attempt_began() {
    let mut world = World::new(Profile::new(), 54);
    let stream = world.open(ECHO, b"slow");
    world.wire.latency = Duration::from_millis(900);
    world.run(|world| world.apps[&stream].is_done());
    assert_eq!((world.paths_made.len(), world.ups), (2, 1));
    assert_eq!(world.paths.keys().next().map(|path| path.0), Some(0));
    assert_eq!(world.paths.len(), 1, "the other one is closed");
}
