//! Probers, each with what it has: none is ever answered, and none leaves anything behind.
use super::{
    hostile::{shown, stranger},
    profile::Profile,
    raw,
    relay::pattern,
    world::{ECHO, WALL, World, server_address},
};
use bytes::{BufMut as _, BytesMut};
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    mac::MAC1_LEN,
    obf::{Framer, Kind},
    timestamp::{ENCRYPTED_LEN, ServerKey},
    tunnel::Server,
};
use std::{net::SocketAddr, time::Duration};

/// What a prober saw of a session, and what it draws from.
struct Prober {
    framer: Framer,
    /// Datagrams before the Initiation, in order.
    before: Vec<Vec<u8>>,
    initiation: Vec<u8>,
    /// What the client and the server sent after it.
    up: Vec<Vec<u8>>,
    down: Vec<Vec<u8>>,
    draws: Draws,
}

/// Datagrams that are sent from one address, in order.
type Flight = Vec<Vec<u8>>;

struct Persona {
    name: &'static str,
    /// Where nothing is authenticated, whoever knows the headers is no prober any more.
    needs_key: bool,
    flights: fn(&mut Prober) -> Vec<Flight>,
}

const PERSONAS: &[Persona] = &[
    Persona {
        name: "replays a preamble",
        needs_key: false,
        flights: |prober| vec![prober.preamble()],
    },
    Persona {
        name: "replays an Initiation",
        needs_key: false,
        flights: |prober| vec![vec![prober.initiation.clone(); 5]],
    },
    Persona {
        name: "replays what a client sent in its tunnel",
        needs_key: false,
        flights: |prober| {
            let all = [prober.preamble(), prober.up.clone()].concat();
            vec![prober.up.clone(), all]
        },
    },
    Persona {
        name: "reflects what the server sent",
        needs_key: false,
        flights: |prober| vec![prober.down.clone()],
    },
    Persona {
        name: "sends random octets",
        needs_key: false,
        flights: |prober| {
            let lengths = [1, 4, 16, 41, 100, 444, 1200, 1452, 3000];
            vec![lengths.map(|n| prober.random(n)).to_vec()]
        },
    },
    Persona {
        name: "sends nothing",
        needs_key: false,
        flights: |_| vec![vec![Vec::new(); 3]],
    },
    Persona {
        name: "speaks QUIC",
        needs_key: false,
        flights: |prober| {
            let versions = [[0, 0, 0, 1], [0x1a, 0x2a, 0x3a, 0x4a], [0; 4]];
            let hello = |version: [u8; 4]| {
                let mut packet = prober.random(1200);
                packet[0] |= 0xc0;
                packet[1..5].copy_from_slice(&version);
                packet[5] = 8;
                packet[14] = 0;
                packet
            };
            vec![versions.map(hello).to_vec()]
        },
    },
    Persona {
        name: "frames random octets",
        needs_key: false,
        flights: Prober::framed,
    },
    Persona {
        name: "has another key",
        needs_key: true,
        flights: |prober| {
            let key = ServerKey::new([0x77; 32]);
            let mut forged = prober.initiation.clone();
            let at = forged.len() - MAC1_LEN;
            let tag = key.mac().tag(&forged[..at]);
            forged[at..].copy_from_slice(&tag);
            vec![[prober.before.clone(), vec![forged]].concat()]
        },
    },
    Persona {
        name: "turns a bit of the Initiation",
        needs_key: true,
        flights: |prober| {
            let octets = 0..prober.initiation.len();
            let flight = |at: usize| {
                let mut changed = prober.initiation.clone();
                changed[at] ^= 1 << prober.draws.below(8);
                [prober.before.clone(), vec![changed]].concat()
            };
            octets.map(flight).collect()
        },
    },
    Persona {
        name: "cuts the Initiation, or adds to it",
        needs_key: true,
        flights: |prober| {
            let cut = (0..prober.initiation.len()).map(|n| prober.initiation[..n].to_vec());
            let added = (1..20).map(|n| [prober.initiation.clone(), vec![n; n.into()]].concat());
            let all: Vec<_> = cut.chain(added).collect();
            let flight = |last| [prober.before.clone(), vec![last]].concat();
            all.into_iter().map(flight).collect()
        },
    },
    Persona {
        name: "changes what comes before the Initiation",
        needs_key: true,
        flights: |prober| {
            let flight = |_| {
                let mut all = prober.preamble();
                let last = all.len() - 1;
                for datagram in &mut all[..last] {
                    let at = prober.draws.below(datagram.len() as u64);
                    datagram[usize::try_from(at).unwrap()] ^= 1;
                }
                all
            };
            (0..50).map(flight).collect()
        },
    },
];

impl Prober {
    fn of(world: &mut World) -> Self {
        let framer = world.profile.codec().framer().clone();
        let recorded = world.trace.take().unwrap();
        let (up, down): (Vec<_>, Vec<_>) = recorded.into_iter().partition(|(is_up, _)| *is_up);
        let mut before: Vec<_> = up.into_iter().map(|(_, datagram)| datagram).collect();
        let is_initiation =
            |datagram: &Vec<u8>| matches!(framer.decode(datagram), Ok((Kind::Initiation, _)));
        let at = before.iter().position(is_initiation).unwrap();
        let up = before.split_off(at + 1);
        Self {
            initiation: before.pop().unwrap(),
            before,
            up,
            down: down.into_iter().map(|(_, datagram)| datagram).collect(),
            draws: Draws::new(Seed::from_u64(1)),
            framer,
        }
    }

    fn preamble(&self) -> Flight {
        [self.before.clone(), vec![self.initiation.clone()]].concat()
    }

    fn random(&mut self, len: usize) -> Vec<u8> {
        let mut octets = vec![0; len];
        self.draws.fill(&mut octets);
        octets
    }

    /// Frames of every kind, with payloads of the lengths that real ones have, and others.
    fn framed(&mut self) -> Vec<Flight> {
        let lengths = [0, 1, 2, 10, 15, 16, 85, 100, 101, 102, 200, 1200];
        let mut flights = Vec::new();
        for kind in Kind::ALL {
            for len in lengths {
                let mut payload = self.random(len);
                if len >= ENCRYPTED_LEN {
                    payload[0] = 1;
                }
                let mut frame = BytesMut::new();
                self.framer.begin(&mut self.draws, kind, &mut frame);
                frame.put_slice(&payload);
                flights.push(vec![frame.to_vec()]);
            }
        }
        flights
    }
}

/// What a server has for somebody: sources with a tunnel, connections, streams.
fn kept(world: &World) -> [usize; 3] {
    let [connections, streams] = world.server.occupancy();
    let [_, ready, _, _] = world.server.preamble().occupancy();
    [ready, connections, streams]
}

/// Every persona, from addresses that nobody had before.
fn probe(world: &mut World, prober: &mut Prober, when: &str, port: &mut u16) {
    let before = kept(world);
    let has_key = world.profile.key.is_some();
    for persona in PERSONAS {
        if persona.needs_key && !has_key {
            continue;
        }
        let is_silent = |world: &mut World, from, datagram: &[u8]| {
            assert_eq!(shown(world, from, datagram), 0, "{} {when}", persona.name);
        };
        for flight in (persona.flights)(prober) {
            *port += 1;
            let from = SocketAddr::new(stranger().ip(), *port);
            for datagram in &flight {
                is_silent(world, from, datagram);
            }
        }
        assert_eq!(kept(world), before, "{} {when}", persona.name);
    }
    assert_eq!(kept(world), before, "{when}");
}

/// Time passes and nothing is said to anybody.
fn stays_silent(world: &mut World, time: Duration) {
    let end = world.now + time;
    let mut out = BytesMut::new();
    while let Some(at) = world.server.poll_timeout().filter(|at| *at <= end) {
        world.now = world.now.max(at);
        world.server.handle_timeout(world.now);
        while let Some(outgoing) = world.server.poll_transmit(world.now, 8, &mut out) {
            assert_ne!(outgoing.to.ip(), stranger().ip());
        }
    }
    world.now = end;
}

fn probed(profile: Profile, seed: u64) {
    let mut world = World::new(profile, seed);
    world.trace = Some(Vec::new());
    let data = pattern(1, 20_000);
    let first = world.open(ECHO, &data);
    world.run(World::all_done);
    assert!(world.apps[&first].is_done());
    let mut prober = Prober::of(&mut world);
    let mut port = 1000;
    probe(
        &mut world,
        &mut prober,
        "while the tunnel stands",
        &mut port,
    );
    let again = world.open(ECHO, &data);
    world.run(|world| world.apps[&again].is_done());
    assert_eq!((world.ups, world.downs.len()), (1, 0), "nothing was hurt");

    stays_silent(&mut world, Duration::from_secs(20));
    probe(&mut world, &mut prober, "20 s later", &mut port);
    stays_silent(&mut world, Duration::from_secs(300));
    assert_eq!(kept(&world), [0; 3]);
    probe(&mut world, &mut prober, "once all is forgotten", &mut port);
    stays_silent(&mut world, Duration::from_secs(300));
    assert_eq!(kept(&world), [0; 3]);
}

#[test]
fn probers_of_written_profiles_learn_nothing() {
    for (n, profile) in Profile::all_written().into_iter().enumerate() {
        probed(profile, n as u64);
    }
}

#[test]
fn probers_of_profiles_with_nothing_but_a_mac_learn_nothing() {
    let mut profile = Profile::all_written().swap_remove(0);
    profile.encrypted_timestamp = false;
    profile.require_encrypted = false;
    probed(profile, 1);
}

#[test]
fn probers_of_profiles_without_keys_learn_nothing() {
    probed(Profile::keyless(), 1);
    let mut profile = Profile::all_written().swap_remove(0);
    profile.key = None;
    profile.encrypted_timestamp = false;
    profile.require_encrypted = false;
    probed(profile, 2);
}

/// A server that has forgotten all it knew takes nothing that it may have taken before.
#[test]
fn a_preamble_that_was_recorded_before_a_restart_opens_nothing() {
    let legacy = |mut profile: Profile| {
        profile.encrypted_timestamp = false;
        profile
    };
    for profile in [Profile::new(), legacy(Profile::new()), Profile::keyless()] {
        let mut world = World::new(profile, 3);
        world.trace = Some(Vec::new());
        let stream = world.open(ECHO, b"hello");
        world.run(World::all_done);
        assert!(world.apps[&stream].is_done());
        let prober = Prober::of(&mut world);
        world.now += Duration::from_secs(2);
        world.restart_server(99);
        for datagram in prober.preamble() {
            assert_eq!(shown(&mut world, stranger(), &datagram), 0);
        }
        assert_eq!(kept(&world), [0; 3]);
        // Whoever comes now is welcome.
        let again = world.open(ECHO, b"hello");
        world.run(|world| world.apps[&again].is_done() || world.apps[&again].is_reset());
        let last = world.open(ECHO, b"hello");
        world.run(|world| world.apps[&last].is_done());
    }
}

/// Somebody who has the profile, and then nothing to say.
#[test]
fn who_is_let_in_and_says_nothing_sensible_is_told_nothing() {
    for profile in [Profile::new(), Profile::random(1), Profile::keyless()] {
        let seed = Seed::from_u64(1);
        let identity = Server::identity(&seed, WALL).unwrap();
        let config = profile.server(3);
        let mut server = Server::new(Instant::ZERO, WALL, config, &identity, seed).unwrap();
        let client = profile.client(server_address());
        let now = raw::open(&mut server, &client, Instant::ZERO);
        assert!(server.preamble().is_ready(raw::address()));
        let (mut draws, mut sealer) = (Draws::new(Seed::from_u64(2)), Default::default());
        let mut out = BytesMut::new();
        for len in [1, 20, 43, 500, 1200] {
            for first in [0x00, 0x40, 0xc0, 0xd0, 0xe0, 0xf0] {
                for version in [[0, 0, 0, 1], [0x1a, 0x2a, 0x3a, 0x4a]] {
                    let mut inner = vec![0; len];
                    draws.fill(&mut inner);
                    inner[0] = first;
                    for (to, from) in inner.iter_mut().skip(1).zip(version) {
                        *to = from;
                    }
                    let mut frame = BytesMut::new();
                    let codec = &client.codec;
                    codec
                        .seal(&mut draws, &mut sealer, &inner, &mut frame)
                        .unwrap();
                    let _ = server.handle_datagram(now, raw::address(), frame);
                    assert!(server.poll_transmit(now, 1, &mut out).is_none());
                }
            }
        }
        assert_eq!(server.occupancy(), [0, 0]);
    }
}
