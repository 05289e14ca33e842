//! Recorded sessions of the Go programs, with each other and with sansbox: our server takes every
//! client's preamble at its recorded time, our client every server's, and each frame after it
//! opens.
use super::{list, number, octets, size, text, vectors};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    mac::MAC1_LEN,
    obf::{Framer, Kind, Params, Spec},
    preamble::{
        Client, ClientAuth, ClientConfig, ClientEvent, Dropped, Heard, Rules, Server, ServerConfig,
        SourcePort, Taken, Window,
    },
    timestamp::{self, ServerKey, UnixTime},
    transport::{Budget, Codec, Counting, Opener, Padding, PaddingSpec, Sizes},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

/// One recorded session.
struct Session {
    name: String,
    profile: Value,
    datagrams: Vec<Recorded>,
    /// The wall clock when time was 0.
    started: Duration,
}

struct Recorded {
    is_up: bool,
    at: Duration,
    octets: Vec<u8>,
}

impl Session {
    fn key(&self) -> Option<ServerKey> {
        let key = self.profile["obfuscation"]["server_private_key"].as_str()?;
        let key = STANDARD.decode(key).unwrap().try_into().unwrap();
        Some(ServerKey::new(key))
    }

    fn has(&self, what: &str) -> bool {
        self.profile["obfuscation"][what].as_bool() == Some(true)
    }

    fn auth(&self) -> ClientAuth {
        match self.key() {
            None => ClientAuth::Keyless,
            Some(key) if self.has("encrypted_timestamp") => {
                ClientAuth::EncryptedTimestamp(key.public())
            }
            Some(key) => ClientAuth::Mac(key.public()),
        }
    }

    fn codec(&self) -> Codec {
        let obfuscation = &self.profile["obfuscation"];
        let number = |key: &str| obfuscation[key].as_i64().unwrap();
        // What is not said is empty.
        let text = |key: &str| obfuscation[key].as_str().unwrap_or_default();
        let params = Params::parse(&Spec {
            jc: number("jc"),
            jmin: number("jmin"),
            jmax: number("jmax"),
            s: ["s1", "s2", "s3", "s4"].map(number),
            h: ["h1", "h2", "h3", "h4"].map(text),
            i: ["i1", "i2", "i3", "i4", "i5"].map(text),
        })
        .unwrap();
        let padding = &self.profile["transport_padding"];
        let padding = Padding::resolve(&PaddingSpec {
            pad_min: padding["pad_min"].as_i64(),
            pad_max: padding["pad_max"].as_i64(),
            pad_burst_min: padding["pad_burst_min"].as_i64(),
            pad_burst_max: padding["pad_burst_max"].as_i64(),
            pad_burst_prob: padding["pad_burst_prob"].as_f64(),
        })
        .unwrap();
        let sizes = Sizes {
            max_packet_size: self.profile["quic"]["max_packet_size"].as_i64().unwrap(),
            max_payload: self.profile["quic"]["max_payload"].as_i64().unwrap(),
            prefix: params.prefix_len(Kind::Transport),
            has_counter: self.has("transport_replay"),
        };
        let mut counting = Counting::default();
        match obfuscation["transport_replay_limit"].as_u64() {
            None | Some(0) => {}
            Some(limit) => counting.limit = limit,
        }
        let budget = Budget::new(&sizes, &padding).unwrap();
        Codec::new(Framer::new(params.into()), budget, padding, counting)
    }

    fn server(&self) -> Server {
        let obfuscation = &self.profile["obfuscation"];
        let seconds = |key: &str| Duration::from_secs(number(obfuscation, key));
        let skew = seconds("skew_hard_seconds");
        let timeout = Duration::from_secs(5);
        let config = ServerConfig {
            codec: self.codec(),
            key: self.key(),
            draws: Draws::new(Seed::from_u64(1)),
            encrypted_timestamp: self.has("encrypted_timestamp"),
            require_encrypted_timestamp: self.has("require_encrypted_timestamp"),
            require_timestamp: self.has("require_timestamp"),
            legacy_until: None,
            signature_validate: self.has("signature_validate"),
            timestamp_window: Window {
                past: skew,
                future: skew,
            },
            timeout,
            replays_max: size(obfuscation, "replay_cache_size"),
            rate_limit: None,
        };
        Server::new(config, Rules::new(Window::new(skew, timeout, 3)))
    }

    fn wall(&self, at: Duration) -> UnixTime {
        (self.started + at).into()
    }

    /// What the encrypted timestamp says, in Unix seconds.
    fn made_at(&self) -> u64 {
        let (_, initiation) = self.initiation();
        let (_, at) = self.codec().framer().decode(&initiation.octets).unwrap();
        let end = initiation.octets.len() - MAC1_LEN;
        let opened = timestamp::open(&self.key().unwrap(), &initiation.octets[at..end]);
        opened.unwrap().unwrap().time.unix_seconds().unwrap()
    }

    /// The Initiation, and where it is.
    fn initiation(&self) -> (usize, &Recorded) {
        let framer = self.codec().framer().clone();
        let is_initiation = |(_, d): &(usize, &Recorded)| {
            matches!(framer.decode(&d.octets), Ok((Kind::Initiation, _)))
        };
        self.datagrams
            .iter()
            .enumerate()
            .find(is_initiation)
            .unwrap()
    }
}

/// Those of a file that says when each began.
fn timed_sessions(file: &str) -> Vec<Session> {
    let all = vectors(file);
    let session = |case: &Value| Session {
        name: text(&case["profile"], "name").to_owned(),
        profile: case["profile"].clone(),
        datagrams: list(case, "first_datagrams")
            .iter()
            .map(|datagram| Recorded {
                is_up: datagram["client_to_server"].as_bool().unwrap(),
                at: Duration::from_micros(number(datagram, "t_us")),
                octets: STANDARD.decode(text(datagram, "datagram")).unwrap(),
            })
            .collect(),
        started: Duration::from_secs_f64(case["wall_unix_start"].as_f64().unwrap()),
    };
    list(&all, "cases").iter().map(session).collect()
}

/// The profile of the Go program's documentation, whose transcripts do not say when they were
/// made: the encrypted timestamp of each does.
fn sessions_with_the_docs_profile() -> Vec<Session> {
    let profile = vectors("docs_profile.json");
    let all = vectors("transcript_docs_profile.json");
    [false, true]
        .into_iter()
        .map(|has_counter| {
            let mut profile = profile.clone();
            profile["obfuscation"]["transport_replay"] = has_counter.into();
            let of_this = |datagram: &&Value| datagram["transport_replay"] == has_counter;
            let datagrams = all.as_array().unwrap().iter().filter(of_this);
            let mut session = Session {
                name: format!("docs, counter {has_counter}"),
                profile,
                datagrams: datagrams
                    .map(|datagram| Recorded {
                        is_up: datagram["client_to_server"].as_bool().unwrap(),
                        at: Duration::from_micros(number(datagram, "t_us")),
                        octets: octets(datagram, "datagram"),
                    })
                    .collect(),
                started: Duration::ZERO,
            };
            session.started = Duration::from_secs(session.made_at());
            session
        })
        .collect()
}

/// A case of `transcripts_at_work.json`, and the socket of the client that each datagram has.
struct AtWork {
    session: Session,
    sockets: Vec<u16>,
    /// When the server was killed, and when another one was started.
    away: Option<[Duration; 2]>,
}

fn at_work() -> Vec<AtWork> {
    let profile = vectors("docs_profile.json");
    let all = vectors("transcripts_at_work.json");
    let case = |case: &Value| {
        let text = |key| text(case, key);
        let rows = list(case, "datagrams");
        let micros = |value: &Value| Duration::from_micros(value.as_u64().unwrap());
        let away = case["away_us"].as_array();
        AtWork {
            session: Session {
                name: format!("{} to {}: {}", text("client"), text("server"), text("what")),
                profile: profile.clone(),
                datagrams: rows
                    .iter()
                    .map(|row| Recorded {
                        is_up: row[2].as_u64() == Some(1),
                        at: micros(&row[0]),
                        octets: STANDARD.decode(row[3].as_str().unwrap()).unwrap(),
                    })
                    .collect(),
                started: Duration::from_secs_f64(case["wall_unix_start"].as_f64().unwrap()),
            },
            sockets: rows
                .iter()
                .map(|row| row[1].as_u64().unwrap().try_into().unwrap())
                .collect(),
            away: away.map(|away| [micros(&away[0]), micros(&away[1])]),
        }
    };
    list(&all, "cases").iter().map(case).collect()
}

impl AtWork {
    /// One session for each socket that was answered.
    fn split(self) -> Vec<Session> {
        let mut by_socket: BTreeMap<u16, Vec<Recorded>> = BTreeMap::new();
        let datagrams = self.session.datagrams.into_iter();
        for (socket, datagram) in self.sockets.into_iter().zip(datagrams) {
            by_socket.entry(socket).or_default().push(datagram);
        }
        let answered = by_socket
            .into_iter()
            .filter(|(_, datagrams)| datagrams.iter().any(|d| !d.is_up));
        answered
            .map(|(socket, datagrams)| Session {
                name: format!("{}, socket {socket}", self.session.name),
                profile: self.session.profile.clone(),
                datagrams,
                started: self.session.started,
            })
            .collect()
    }
}

fn sessions() -> Vec<Session> {
    let mut sessions = sessions_with_the_docs_profile();
    sessions.extend(timed_sessions("transcripts_random_profiles.json"));
    assert_eq!(sessions.len(), 18);
    sessions.extend(timed_sessions("transcripts_with_go.json"));
    assert_eq!(sessions.len(), 40);
    let at_work = at_work();
    assert_eq!(at_work.len(), 16);
    sessions.extend(at_work.into_iter().flat_map(AtWork::split));
    assert_eq!(sessions.len(), 64);
    sessions
}

fn instant(at: Duration) -> Instant {
    Instant::ZERO + at
}

const CLIENT: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
    40_000,
);

/// QUIC's fixed bit (RFC 9000 section 17).
fn is_quic(inner: &[u8]) -> bool {
    inner.first().is_some_and(|first| first & 0x40 != 0)
}

#[test]
fn our_server_takes_every_recorded_client() {
    for session in sessions() {
        let (name, mut server) = (&session.name, session.server());
        let (nth, _) = session.initiation();
        let mut answers = 0;
        for (n, datagram) in session.datagrams.iter().enumerate() {
            if !datagram.is_up {
                continue;
            }
            let mut out = BytesMut::new();
            let (now, wall) = (instant(datagram.at), session.wall(datagram.at));
            let taken = server.handle_datagram(now, wall, CLIENT, &datagram.octets, &mut out);
            match taken {
                Ok(Taken::Junk { is_signature }) if n < nth => {
                    // All signatures come behind all junk.
                    let jc = session.codec().framer().params().jc();
                    assert_eq!(is_signature, n >= jc, "{name}: datagram {n}");
                    assert!(out.is_empty());
                }
                Ok(Taken::Answered { is_new: true }) if n == nth => {
                    answers += 1;
                    let recorded = session.datagrams.iter().find(|d| !d.is_up).unwrap();
                    assert_eq!(out.len(), recorded.octets.len(), "{name}: the Response");
                }
                Ok(Taken::Inner(inner)) if n > nth => {
                    assert!(is_quic(&datagram.octets[inner]), "{name}: datagram {n}");
                    assert!(out.is_empty());
                }
                other => panic!("{name}: datagram {n}: {other:?}"),
            }
        }
        assert_eq!(answers, 1, "{name}");
    }
}

/// What is left of a client's old tunnel is nothing to a new server; who was answered by the
/// recorded one is answered by ours, on the same socket.
#[test]
fn a_server_in_place_of_another_answers_new_ports_alone() {
    let restarted = at_work()
        .into_iter()
        .filter_map(|case| case.away.map(|away| (case, away)));
    let mut cases = 0;
    for (case, [killed, back]) in restarted {
        let AtWork {
            session, sockets, ..
        } = case;
        let (name, mut server) = (&session.name, session.server());
        let mut answered: [BTreeSet<u16>; 2] = Default::default();
        let mut expected: [BTreeSet<u16>; 2] = Default::default();
        let mut is_new = false;
        for (datagram, socket) in session.datagrams.iter().zip(sockets) {
            let at = datagram.at;
            let life = usize::from(at >= killed);
            if life == 1 && !core::mem::replace(&mut is_new, true) {
                server = session.server();
            }
            if !datagram.is_up {
                expected[life].insert(socket);
            } else if at < killed || at >= back {
                let client = SocketAddr::new(CLIENT.ip(), 40_000 + socket);
                let (now, wall, mut out) = (instant(at), session.wall(at), BytesMut::new());
                let _ = server.handle_datagram(now, wall, client, &datagram.octets, &mut out);
                if !out.is_empty() {
                    answered[life].insert(socket);
                }
            }
        }
        assert_eq!(expected[0], BTreeSet::from([0]), "{name}");
        assert_eq!(answered, expected, "{name}");
        assert!(!answered[1].contains(&0), "{name}");
        cases += 1;
    }
    assert_eq!(cases, 4);
}

#[test]
fn a_recorded_preamble_opens_nothing_again() {
    // Without an encrypted timestamp nothing tells one from another.
    let is_proved = |session: &Session| session.has("encrypted_timestamp");
    for session in sessions().into_iter().filter(is_proved) {
        let mut server = session.server();
        let (nth, initiation) = session.initiation();
        // In whole seconds on both sides.
        let age = session.wall(initiation.at).secs - session.made_at();
        assert!(age <= 1, "{}", session.name);
        let mut replay = |port, later: Duration| {
            let mut last = Err(Dropped::Empty);
            for datagram in &session.datagrams[..=nth] {
                let at = datagram.at + later;
                let mut out = BytesMut::new();
                let source = SocketAddr::new(CLIENT.ip(), port);
                let (now, wall) = (instant(at), session.wall(at));
                last = server.handle_datagram(now, wall, source, &datagram.octets, &mut out);
                assert_eq!(out.is_empty(), !matches!(last, Ok(Taken::Answered { .. })));
            }
            last
        };
        let name = &session.name;
        let fresh = replay(40_000, Duration::ZERO);
        assert_eq!(fresh, Ok(Taken::Answered { is_new: true }), "{name}");
        let again = replay(40_000, Duration::from_secs(5));
        assert_eq!(again, Ok(Taken::Answered { is_new: false }), "{name}");
        for (port, later, why) in [
            (40_001, 1, Dropped::Replayed),
            (40_001, 45 - age, Dropped::Replayed),
            (40_002, 46 - age, Dropped::Skew),
            (40_002, 86_400, Dropped::Skew),
        ] {
            let replayed = replay(port, Duration::from_secs(later));
            assert_eq!(replayed, Err(why), "{name}: {later} s later");
        }
    }
}

#[test]
fn our_client_takes_every_recorded_server() {
    for session in sessions() {
        let (name, codec) = (&session.name, session.codec());
        let config = ClientConfig {
            framer: codec.framer().clone(),
            auth: session.auth(),
            attempts: 0,
            timeout: Duration::ZERO,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            source_port: SourcePort::Fresh,
        };
        let seed = Seed::from_u64(7);
        let mut client = Client::new(Instant::ZERO, config, seed).unwrap();
        let wall = session.wall(Duration::ZERO);
        let mut lengths = Vec::new();
        let mut buf = BytesMut::new();
        while let Some(n) = client.poll_transmit(Instant::ZERO, wall, &mut buf) {
            lengths.push(n);
        }
        // Ours looks like Go's: as many datagrams, and signatures and Initiation as long.
        let (nth, _) = session.initiation();
        let recorded = session.datagrams[..=nth].iter().map(|d| d.octets.len());
        let jc = codec.framer().params().jc();
        assert!(
            lengths.iter().skip(jc).copied().eq(recorded.skip(jc)),
            "{name}"
        );

        let mut opener = Opener::default();
        let mut is_ready = false;
        for (n, datagram) in session.datagrams.iter().enumerate() {
            if datagram.is_up {
                continue;
            }
            if !is_ready {
                assert_eq!(client.handle_datagram(&datagram.octets), Heard::Response);
                assert_eq!(client.poll_event(), Some(ClientEvent::Ready));
                is_ready = true;
                continue;
            }
            let inner = codec.open(&mut opener, &datagram.octets);
            let inner = inner.unwrap_or_else(|error| panic!("{name}: datagram {n}: {error}"));
            assert!(is_quic(&datagram.octets[inner]), "{name}: datagram {n}");
        }
        assert!(is_ready, "{name}");
    }
}
