//! Forged frames in somebody else's tunnel: whoever sees a tunnel knows its addresses and headers,
//! and nothing else.
use super::{
    hostile::shown,
    profile::Profile,
    relay::pattern,
    world::{ECHO, World, server_address},
};
use bytes::{BufMut as _, BytesMut};
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    obf::Kind,
    transport::{FORWARD_JUMP_MAX, INNER_LEN_MAX, REJECT_AFTER_MESSAGES, WINDOW_LEN},
};
use std::time::Duration;

/// A frame as a forger makes it.
#[derive(Clone, Copy, Debug)]
struct Forged {
    counter: u64,
    inner_len: usize,
    /// What the frame says of it.
    claimed: usize,
    /// QUIC's first octet.
    first: u8,
}

const FORGED: Forged = Forged {
    counter: 0,
    inner_len: 60,
    claimed: 60,
    first: 0x40,
};

impl Forged {
    const fn with_counter(counter: u64) -> Self {
        Self { counter, ..FORGED }
    }

    fn frame(self, world: &World, draws: &mut Draws) -> BytesMut {
        let codec = world.profile.codec();
        let mut frame = BytesMut::new();
        codec.framer().begin(draws, Kind::Transport, &mut frame);
        if world.profile.budget().has_counter() {
            frame.put_u64(self.counter);
        }
        frame.put_u16(u16::try_from(self.claimed).unwrap());
        let at = frame.len();
        draws.append(self.inner_len, &mut frame);
        if let Some(first) = frame.get_mut(at) {
            *first = self.first;
        }
        frame
    }
}

fn counted() -> Profile {
    let mut profile = Profile::new();
    profile.sizes.has_counter = true;
    profile
}

/// A client with a tunnel, to which both ends are sent these frames as if by the other, and which
/// goes on as if nothing was.
fn survives(profile: &Profile, what: &str, forged: &[Forged]) {
    let mut world = World::new(profile.clone(), 7);
    let data = pattern(1, 40_000);
    let stream = world.open(ECHO, &data);
    world.run(|world| world.apps[&stream].came.len() > 10_000);
    let mut draws = Draws::new(Seed::from_u64(1));
    let (path, peer) = world.paths.iter().map(|(p, a)| (*p, *a)).next().unwrap();
    for forged in forged {
        let frame = forged.frame(&world, &mut draws);
        assert_eq!(shown(&mut world, peer, &frame), 0, "{what}: an answer");
        let frame = forged.frame(&world, &mut draws);
        let _ = world
            .client
            .handle_datagram(world.now, path, server_address(), frame);
    }
    let again = world.open(ECHO, &data);
    world.run(World::all_done);
    for stream in [stream, again] {
        assert!(world.apps[&stream].came == data, "{what}: bytes");
    }
    let ends = (world.ups, world.downs.len(), world.server_downs);
    assert_eq!(ends, (1, 0, 0), "{what}: the tunnel");
    // Nobody waited for anything.
    let waited = world.now.as_nanos() / 1_000_000;
    assert!(waited < 2_000, "{what}: {waited} ms");
}

#[test]
fn forged_counters_change_nothing() {
    let jumps = [
        ("the end", vec![REJECT_AFTER_MESSAGES - 1]),
        ("above the end", vec![u64::MAX]),
        ("the greatest jump", vec![FORWARD_JUMP_MAX]),
        ("more than a window", vec![WINDOW_LEN + 1000]),
        (
            "half a window at a time",
            (1..40).map(|n| n * WINDOW_LEN / 2).collect(),
        ),
        (
            "jump after jump",
            (1..400).map(|n| n * FORWARD_JUMP_MAX / 2).collect(),
        ),
        ("all that come next", (0..2 * WINDOW_LEN).collect()),
    ];
    for (what, counters) in jumps {
        let forged: Vec<_> = counters.into_iter().map(Forged::with_counter).collect();
        survives(&counted(), what, &forged);
    }
}

#[test]
fn one_packet_ends_no_tunnel() {
    let lengths = [
        ("nothing inside", 0, 0),
        ("more than there is", 60, 61),
        ("far more than there is", 60, 0xffff),
        ("an octet", 1, 1),
        ("the longest", INNER_LEN_MAX, INNER_LEN_MAX),
        (
            "what ends a Go server",
            INNER_LEN_MAX + 1,
            INNER_LEN_MAX + 1,
        ),
        ("as long as can be", 60_000, 60_000),
    ];
    // Short header; Initial, 0-RTT, Handshake, Retry of version 1 (RFC 9000 17); no QUIC at all.
    let firsts = [0x40, 0xc0, 0xd0, 0xe0, 0xf0, 0x00];
    for profile in [Profile::new(), counted(), Profile::keyless()] {
        for (what, inner_len, claimed) in lengths {
            let forged = firsts.map(|first| Forged {
                counter: 5000,
                inner_len,
                claimed,
                first,
            });
            survives(&profile, what, &forged);
        }
    }
}

/// Version negotiation, and resets that nobody has the token of.
#[test]
fn quic_packets_that_anybody_can_make_end_no_tunnel() {
    for profile in [Profile::new(), counted()] {
        let mut world = World::new(profile, 8);
        let stream = world.open(ECHO, &pattern(1, 40_000));
        world.run(|world| world.apps[&stream].came.len() > 10_000);
        let mut draws = Draws::new(Seed::from_u64(1));
        let (path, peer) = world.paths.iter().map(|(p, a)| (*p, *a)).next().unwrap();
        let codec = world.profile.codec();
        let negotiation = [0xc0, 0, 0, 0, 0, 0, 0, 0x1a, 0x2a, 0x3a, 0x4a];
        let mut reset = [0x40; 43];
        draws.fill(&mut reset[1..]);
        for inner in [&negotiation[..], &reset] {
            let mut frame = BytesMut::new();
            let mut sealer = Default::default();
            codec
                .seal(&mut draws, &mut sealer, inner, &mut frame)
                .unwrap();
            assert_eq!(shown(&mut world, peer, &frame), 0);
            let from = server_address();
            let _ = world.client.handle_datagram(world.now, path, from, frame);
        }
        world.run(World::all_done);
        assert_eq!(
            (world.ups, world.downs.len(), world.server_downs),
            (1, 0, 0)
        );
    }
}

/// What was authentic once is not handed to QUIC again.
#[test]
fn counters_still_stop_what_was_recorded() {
    let mut world = World::new(counted(), 9);
    world.trace = Some(Vec::new());
    let stream = world.open(ECHO, &pattern(1, 40_000));
    world.run(World::all_done);
    assert!(world.apps[&stream].is_done());
    // What the server has to say of all that is said.
    world.run_for(Duration::from_secs(1), |_| false);
    let peer = *world.paths.values().next().unwrap();
    let recorded = world.trace.take().unwrap();
    let framer = world.profile.codec().framer().clone();
    let mut stopped = 0;
    for (is_up, datagram) in recorded {
        let is_transport = matches!(framer.decode(&datagram), Ok((Kind::Transport, _)));
        if is_up && is_transport {
            assert_eq!(shown(&mut world, peer, &datagram), 0, "an answer");
            let data = BytesMut::from(&datagram[..]);
            let taken = world.server.handle_datagram(world.now, peer, data);
            stopped += usize::from(taken.is_err());
        }
    }
    assert!(stopped > 20, "{stopped}");
}
